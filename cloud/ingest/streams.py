"""The streams of the ledger that are in use: how each was committed, and what has arrived since."""

from collections import OrderedDict
from functools import partial
from typing import Final, NamedTuple

from cloud import ledger
from cloud.intake import Arrived, Intake
from cloud.ledger import Key, Stream
from cloud.quarantine import Case
from cloud.state import State

STREAMS_KNOWN: Final = 32768
"""Streams that are remembered between commits; the others are in the database."""


class Known(NamedTuple):
    """One stream: as it was committed, and with all that has arrived; there `received` holds what
    was examined too."""

    committed: Stream
    arrived: Stream


class Plan(NamedTuple):
    """What an intake comes to in the ledger: what is new, and how the streams stand afterwards."""

    now_ms: int
    fresh: list[Arrived]
    cases: list[Case]
    streams: dict[Key, Stream]
    before: dict[Key, Stream]


class Streams:
    """Those of one shard, as far as they are in use."""

    def __init__(self, database: State) -> None:
        self._database = database
        self._known = OrderedDict[Key, Known]()  # those in use last

    def clear(self) -> None:
        """Others may have been at work: have them from the database again."""
        self._known.clear()

    async def load(self, keys: set[Key]) -> dict[Key, Known]:
        """The streams of `keys`, which are theirs to change in `arrived` alone."""
        while unknown := keys - self._known.keys():  # again: some may be forgotten meanwhile
            found = await self._database.run(partial(ledger.load, keys=unknown))
            for key, stream in found.items():  # meanwhile it may have been committed
                self._known.setdefault(key, Known(stream, _arrived(stream)))
        known = {}
        for key in keys:
            self._known.move_to_end(key)
            known[key] = self._known[key]
        self._forget()
        return known

    async def committed(self, keys: set[Key]) -> dict[Key, Stream]:
        """As they are in the database."""
        return {key: one.committed for key, one in (await self.load(keys)).items()}

    async def arrived(self, keys: set[Key]) -> dict[Key, Stream]:
        """With all that has arrived."""
        return {key: one.arrived for key, one in (await self.load(keys)).items()}

    def plan(self, intake: Intake, before: dict[Key, Stream], now_ms: int) -> Plan:
        """What `intake` comes to, and nothing is changed by that."""
        streams = {key: stream.copy() for key, stream in before.items()}
        fresh: list[Arrived] = []
        cases: list[Case] = []
        for arrived in intake.batches:
            batch, stream = arrived.batch, streams[arrived.key]
            if batch.number in stream.received:
                stream.redelivered += 1
                continue
            stream.accept(batch.number, len(batch.readings), now_ms, arrived.newest_ms)
            cases += arrived.cases
            for gap in batch.gaps:
                stream.declare(gap)
            fresh.append(arrived)
        for case in intake.cases:
            if case.key is None or case.batch is None:
                cases.append(case)
            elif case.batch in (stream := streams[case.key]).received:
                stream.redelivered += 1
                cases.append(case.as_copy())
            else:
                stream.accept(case.batch, 0, now_ms)
                cases.append(case)
        for status in intake.statuses:
            if status.stream:
                key = Key(status.gateway, status.stream)
                streams[key].expect(status.sealed, status.readings_sealed)
        self.note_holes(streams)
        return Plan(now_ms, fresh, cases, streams, before)

    def note_holes(self, streams: dict[Key, Stream]) -> None:
        """What is missing is what has not arrived; that the store does not have it is another
        thing."""
        for key, stream in streams.items():
            if (known := self._known.get(key)) is not None:
                arrived = known.arrived
                stream.hole, stream.hole_since_ms = arrived.hole, arrived.hole_since_ms

    def adopt(self, streams: dict[Key, Stream]) -> None:
        """They have been committed."""
        for key, stream in streams.items():
            known = self._known.get(key)
            arrived = _arrived(stream) if known is None else known.arrived
            self._known[key] = Known(stream, arrived)
        self._forget()

    def _forget(self) -> None:
        """Each boot of a gateway is a stream more: drop those that were not used for longest."""
        while len(self._known) > STREAMS_KNOWN:
            self._known.popitem(last=False)


def _arrived(committed: Stream) -> Stream:
    """A stream as it was committed, with what was examined among what was received."""
    stream = committed.copy()
    for first, last in stream.examined:
        stream.received.add_range(first, last)
    return stream
