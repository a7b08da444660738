"""Collects readings and events until it is time to seal them."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Sequence
from typing import Final

from msgspec.structs import replace

from edge import outboxdisk
from edge.batches import Draft, Row, Sealed
from edge.books import Loss
from edge.clock import Clock
from edge.config import OutboxConfig
from edge.lanes import Lanes, placed
from edge.outbox import Outbox
from edge.shelf import Key, Priority
from edge.supervisor import ANY_FAULT
from wire.codec import ABSOLUTE_FROM_MS
from wire.messages import Batch, Event, Gap
from wire.reading import Reading

log: Final = logging.getLogger("shuichi.outbox")

START_AT: Final = 0.75
"""Of the seal interval: the rest is for a slow card to sync, and for the way to the cloud."""

RETRY_AFTER_S: Final = 1.0
MOST_READINGS: Final = 20_000
MOST_EVENTS: Final = 2_000
"""Kept in memory while the disk refuses; beyond it the least important and oldest go, counted."""


LARGEST_INTEGER: Final = 2**63 - 1
"""Of SQLite."""

SPARE: Final = 5_000
"""What may wait beyond that between two attempts: so the least important are not looked for at each
reading."""


class Sealer:
    """Readings wait for at most `seal_every_s`; an event is sealed at once, with what waits.

    Readings of the `urgent` sensors, a set that may change, make batches of their own if what is
    sealed `will_wait`; else one batch costs fewer bytes. With a `clock` times may be in its local
    form; they become UTC as soon as it is trusted.
    """

    def __init__(
        self,
        outbox: Outbox,
        settings: OutboxConfig,
        on_sealed: Callable[[Sealed], None],
        clock: Clock | None = None,
        urgent: Collection[str] = (),
        will_wait: Callable[[], bool] = lambda: True,
    ) -> None:
        self.urgent = frozenset(urgent)
        self.lanes = Lanes()
        self._will_wait = will_wait
        self._outbox = outbox
        self._settings = settings
        self._on_sealed = on_sealed
        self._clock = clock
        self._readings: list[Reading] = []
        self._events: list[Event] = []
        self._gaps: list[Gap] = []
        self._lost: Loss | None = None
        self._is_local = clock is not None and not clock.trusted
        self._waits = asyncio.Event()
        self._now = asyncio.Event()
        self._trouble = ""

    @property
    def unsealed(self) -> int:
        """Readings that wait."""
        return len(self._readings)

    @property
    def lost_unsealed(self) -> int:
        """Readings that were dropped while the disk refused, and of which the cloud has not been
        told yet."""
        return 0 if self._lost is None else self._lost.readings or 0

    def add(self, reading: Reading) -> None:
        """Take a reading; it is sealed soon."""
        if not self._is_local or reading.at_ms >= ABSOLUTE_FROM_MS:
            reading = placed(reading, self.lanes)  # in local form it has time until it is dated
        self._readings.append(reading)
        self._waits.set()
        if len(self._readings) >= MOST_READINGS + SPARE:
            self._drop_excess()
        if len(self._readings) >= self._settings.seal_at_readings:
            self._now.set()

    def tell(self, event: Event) -> None:
        """Take an event; it is sealed now."""
        self._events.append(event)
        if len(self._events) >= MOST_EVENTS + SPARE:
            self._drop_excess()
        self._waits.set()
        self._now.set()

    def declare(self, gap: Gap) -> None:
        """Take a loss that is to be told; it is sealed now."""
        self._gaps.append(gap)
        self._waits.set()
        self._now.set()

    def correct(self, by_ms: int, *, only_local: bool = False) -> None:
        """The clock was wrong by so much: correct what waits, or of it what is in local form."""

        def right(at_ms: int) -> int:
            return at_ms if only_local and at_ms >= ABSOLUTE_FROM_MS else at_ms + by_ms

        self._readings = [
            one
            if (at_ms := right(one.at_ms)) == one.at_ms
            else placed(replace(one, at_ms=at_ms), self.lanes)
            for one in self._readings
        ]
        self._events = [replace(one, at_ms=right(one.at_ms)) for one in self._events]
        self._gaps = [
            replace(gap, from_ms=right(gap.from_ms), to_ms=right(gap.to_ms)) for gap in self._gaps
        ]
        if (lost := self._lost) is not None:
            lost.from_ms, lost.to_ms = right(lost.from_ms), right(lost.to_ms)

    async def run(self) -> None:
        """Seal for ever. A disk that refuses is asked again; what is dropped for it is counted."""
        while True:
            await self._waits.wait()
            try:
                async with asyncio.timeout(START_AT * self._settings.seal_every_s):
                    await self._now.wait()
            except TimeoutError:
                pass
            self._now.clear()
            if not await self._whole_seal():
                await asyncio.sleep(RETRY_AFTER_S)
                self._now.set()

    async def _whole_seal(self) -> bool:
        """`seal`, and to its end even if we are cancelled: else what it took would be neither
        offered nor, where the disk refuses, put back."""
        sealing = asyncio.create_task(self.seal(), name="seal")
        try:
            return await asyncio.shield(sealing)
        finally:
            await asyncio.wait((sealing,))

    async def seal(self) -> bool:
        """Seal what waits; False if the disk refused."""
        if self._is_local and self._clock is not None and self._clock.trusted:
            self._is_local = False
            self.correct(self._clock.offset_ms, only_local=True)
        readings, events, gaps, lost = self._readings, self._events, self._gaps, self._lost
        self._readings, self._events, self._gaps, self._lost = [], [], [], None
        self._waits.clear()
        if not (readings or events or gaps or lost):
            return True
        try:
            batches = await self._seal(self._drafts(readings, events, gaps, lost))
        except sqlite3.Error as error:
            if not self._trouble:
                log.error("nothing can be sealed: %s; readings wait in memory", error)
            is_full = await asyncio.to_thread(outboxdisk.is_full, error, self._outbox.path)
            self._trouble = "disk full" if is_full else "disk refused"
            self._put_back(readings, events, gaps, lost)
            return False
        except BaseException as error:  # whatever it is, it must cost nothing that waits
            self._put_back(readings, events, gaps, lost)
            if isinstance(error, ANY_FAULT):
                await self._drop_unsealable()
            raise
        if self._trouble:
            log.info("sealing works again")
            self._trouble = ""
        for batch in batches:
            if not batch.is_local:
                self._on_sealed(batch)
        return True

    def _put_back(
        self, readings: list[Reading], events: list[Event], gaps: list[Gap], lost: Loss | None
    ) -> None:
        """What could not be sealed waits again, before what has come since."""
        self._readings, self._events = readings + self._readings, events + self._events
        self._gaps = gaps + self._gaps
        if lost is not None:
            self._lost = lost if self._lost is None else _sum(lost, self._lost)
        self._waits.set()
        self._drop_excess()

    async def _drop_unsealable(self) -> None:
        """Count as lost what no batch can hold: one such reading must not keep all others waiting.
        Looked for in a thread, for the buses must not wait."""
        waiting = [*self._readings], [*self._events], [*self._gaps]
        bad = await asyncio.to_thread(_unsealable, *waiting)
        if not bad:
            return
        readings = sum(id(one) in bad for one in self._readings)
        events = sum(id(one) in bad for one in self._events)
        self._readings = [one for one in self._readings if id(one) not in bad]
        self._events = [one for one in self._events if id(one) not in bad]
        self._gaps = [gap for gap in self._gaps if id(gap) not in bad]
        log.error(
            "%d readings and %d events cannot be encoded; they are counted as lost",
            *(readings, events),
        )
        now_ms = 0 if self._clock is None else self._clock.now()
        refused = Loss(0, None, "cannot be encoded", now_ms, now_ms, readings, events)
        self._lost = refused if self._lost is None else _sum(self._lost, refused)

    async def _seal(self, drafts: list[Draft]) -> list[Sealed]:
        local = self._is_local
        try:
            return await self._outbox.seal_all(drafts, local=local)
        except sqlite3.Error as error:
            if not await self._outbox.mend(error):
                raise
            return await self._outbox.seal_all(drafts, local=local)

    def _drafts(
        self, readings: list[Reading], events: list[Event], gaps: list[Gap], lost: Loss | None
    ) -> list[Draft]:
        """One batch with everything if there is an event; else one for each priority. More
        readings than a batch should hold, after a long refusal, are spread over several."""
        if lost is not None:
            gaps = [*gaps, lost.gap()] if lost.readings else gaps
            events = [*events, lost.event()] if lost.events else events
        drafts = []
        if events or gaps:
            along = readings if len(readings) <= self._settings.seal_at_readings else []
            drafts.append(Draft(Priority.EVENT, tuple(along), tuple(events), tuple(gaps)))
            readings = [] if along else readings
        urgent = [reading for reading in readings if reading.sensor in self.urgent]
        routine = [reading for reading in readings if reading.sensor not in self.urgent]
        if urgent and not self._will_wait():
            urgent, routine = readings, []
        for priority, some in ((Priority.INTERLOCK, urgent), (Priority.ROUTINE, routine)):
            drafts += [Draft(priority, part) for part in self._parts(some)]
        return drafts

    def _parts(self, readings: Sequence[Reading]) -> list[tuple[Reading, ...]]:
        most = self._settings.seal_at_readings
        return [tuple(readings[i : i + most]) for i in range(0, len(readings), most)]

    def _drop_excess(self) -> None:
        excess = max(0, len(self._readings) - MOST_READINGS)
        readings = sorted(self._readings, key=lambda reading: reading.sensor in self.urgent)
        gone = set(map(id, readings[:excess]))
        self._lose([reading.at_ms for reading in readings[:excess]], readings=excess)
        self._readings = [reading for reading in self._readings if id(reading) not in gone]
        excess = max(0, len(self._events) - MOST_EVENTS)
        self._lose([event.at_ms for event in self._events[:excess]], events=excess)
        del self._events[:excess]

    def _lose(self, times: list[int], readings: int = 0, events: int = 0) -> None:
        if times:
            loss = Loss(
                0, None, self._trouble or "not sealed", min(times), max(times), readings, events
            )
            self._lost = loss if self._lost is None else _sum(self._lost, loss)


def _sum(first: Loss, second: Loss) -> Loss:
    second.reason = first.reason  # one gap is enough
    second += first
    return second


def _unsealable(
    readings: list[Reading], events: list[Event], gaps: list[Gap]
) -> dict[int, Reading | Event | Gap]:
    """By id, those that make no batch."""
    alone: list[tuple[Reading | Event | Gap, Batch]] = [
        *((one, Batch("", "", 1, readings=(one,))) for one in readings),
        *((one, Batch("", "", 1, events=(one,))) for one in events),
        *((one, Batch("", "", 1, gaps=(one,))) for one in gaps),
    ]
    return {id(one): one for one, batch in alone if not _is_sealable(batch)}


def _is_sealable(batch: Batch) -> bool:
    try:
        row = Row.of(Key(0, 0, 1), batch, None)
    except ANY_FAULT:
        return False
    return row.first_ms >= -LARGEST_INTEGER and row.last_ms <= LARGEST_INTEGER
