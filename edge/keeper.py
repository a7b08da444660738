"""Keeps the outbox within its bounds and its times right: one task that looks once a second.

What it does to the file it does in small steps, with pauses, so that a seal never waits long.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from edge import dating, lanes, outboxdisk
from edge.batches import Row, Sealed
from edge.clock import Clock, Jump
from edge.config import OutboxConfig
from edge.dating import Offset
from edge.lanes import Lanes, placed
from edge.outbox import Outbox
from edge.outboxfile import OutboxFile
from edge.rulers import Notice
from edge.sealer import Sealer
from edge.shedding import Shedder, drop
from edge.shelf import GIVING_ORDER, LOCAL, PLACES, Priority
from wire.codec import DecodeError
from wire.messages import Gap

log: Final = logging.getLogger("shuichi.outbox")

LOOK_EVERY_S: Final = 1.0
FLUSH_EVERY: Final = 10
RETURN_EVERY: Final = 30
"""In looks: when deletions that wait for a seal are committed without one; when a disk that refused
the outbox is tried again."""

AGED_AFTER_S: Final = 12 * 3600.0
"""A clock that has just begun, or was set, may be wrong: nothing is too old by it."""

STEPS_AT_A_LOOK: Final = 16
PAUSE_S: Final = 0.05
DATED_AT_ONCE: Final = 8

WORKING_ROOM_BYTES: Final = 512 * 1024
"""Room in the file that is kept for the next batches when the disk is full."""

MOST_IN_MEMORY_BYTES: Final = 4 * 1024 * 1024
"""For each priority, while the outbox lives in memory."""

UNUSED_BYTES: Final = 16 * 1024 * 1024
"""Unused room in the file that is not given back: the next outage needs it again."""

SHRUNK_AT_ONCE_BYTES: Final = 256 * 1024
GIVEN_AT_ONCE_BYTES: Final = 64 * 1024

MB: Final = 1024 * 1024
DAY_MS: Final = 86_400_000


class Keeper:
    """Opens the outbox, asks it for the time, and keeps both right, in `run`."""

    def __init__(
        self,
        outbox: Outbox,
        sealer: Sealer,
        clock: Clock,
        settings: OutboxConfig,
        tell: Callable[[Notice], None],
        on_sealed: Callable[[Sealed], None],
    ) -> None:
        self._outbox = outbox
        self._sealer = sealer
        self._clock = clock
        self._settings = settings
        self._tell = tell
        self._on_sealed = on_sealed
        self._shedder = Shedder()
        self._giving: set[Priority] = set()
        self._is_tight = False
        self._has_reserve = False
        self._makes_room = False
        self._told: list[Sealed] = []
        self._looks = 0
        self._has_started = False
        outbox.make_room = self._make_room

    async def start(self) -> None:
        """Find out whether the time is known already."""
        try:
            offset, newest_ms, taken = await self._outbox.run(
                lambda file: (file.offset(), file.books.newest_ms, file.books.lanes)
            )
            self._sealer.lanes.recall(taken)
            self._clock.recall(None if offset is None else offset.utc_ms, newest_ms)
            await self._look_at_clock()
        except sqlite3.Error as error:
            await self._mend(error)
        if not self._clock.trusted:
            log.warning(
                "the system's clock is not synchronised (chrony, systemd-timesyncd): readings wait "
                'until it is; [clock] source = "rtc" believes the clock of this machine'
            )

    async def run(self) -> None:
        """For ever. An outbox that fails is mended, or tried again."""
        await self._outbox.open()
        if not self._has_started:
            await self.start()
            self._has_started = True
        while True:
            try:
                await self._look()
            except sqlite3.Error as error:
                await self._mend(error)
            while self._outbox.notices:
                self._pass_on(self._outbox.notices.popleft())
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        self._looks += 1
        await self._look_at_clock()
        if self._outbox.in_memory and self._looks % RETURN_EVERY == 0:
            await self._outbox.return_to_disk()
        for _ in range(STEPS_AT_A_LOOK):
            if not await self._outbox.run(self._work):
                break
            await asyncio.sleep(PAUSE_S)
        told, self._told = self._told, []
        for batch in told:
            if not batch.is_local:
                self._on_sealed(batch)

    async def _mend(self, error: sqlite3.Error) -> None:
        with suppress(sqlite3.Error):  # the sealer says so, once
            await self._outbox.mend(error)

    async def _look_at_clock(self) -> None:
        clock = self._clock
        if not clock.trusted:
            if (offset_ms := clock.candidate()) is not None:
                await self._trust(offset_ms)
        elif (jump := clock.look()) is not None:
            if not jump.absorbed:
                # What waits is corrected at once; what comes from now on is right already.
                self._sealer.correct(jump.step_ms)
            self._tell(_jumped(jump))
            if not jump.absorbed:
                await self._outbox.begin_stream()
            await self._outbox.learn(clock.offset_ms)

    async def _trust(self, offset_ms: int) -> None:
        newest_ms = await self._outbox.run(lambda file: file.books.stream_ms)
        for name, offset in await self._outbox.learn(offset_ms):
            self._tell(_placed(name, offset))
        if not self._clock.trust(offset_ms, newest_ms):
            await self._outbox.begin_stream()
        self._tell(Notice("clock_trusted", "the time is known", {"offset_ms": offset_ms}))

    def _pass_on(self, notice: Notice) -> None:
        self._tell(notice)
        if notice.kind == "outbox_damaged":
            now = self._clock.now()
            self._sealer.declare(Gap("outbox damaged", now, now))

    # All that follows runs in the outbox's thread.

    def _work(self, file: OutboxFile) -> bool:
        """One small piece of work; False if there was none, and all is finished."""
        if (
            self._mind_the_disk(file)
            or self._mind_the_limits(file)
            or self._date(file)
            or self._salvage(file)
            or self._shrink(file)
        ):
            return True
        if file.books.losses:
            with file.transaction():
                self._told += file.tell_losses()
        elif self._looks % FLUSH_EVERY == 0:
            file.flush()
        return False

    def _mind_the_disk(self, file: OutboxFile) -> bool:
        if file.is_in_memory:
            return False
        if (free := outboxdisk.free_bytes(self._outbox.path)) is None:
            return False  # nobody knows: no reason to give anything away
        reserve = self._settings.reserve_mb * MB
        if not self._has_reserve and free >= outboxdisk.SCARCE_BYTES + 3 * reserve:
            outboxdisk.reserve(file, reserve)
            self._has_reserve = True
            if self._is_tight:
                self._is_tight = False
                text = "the disk has room again"
                self._outbox.notices.append(Notice("disk_recovered", text, {"free_bytes": free}))
        elif not self._is_tight and free < outboxdisk.SCARCE_BYTES:
            self._tighten(file)
        if not self._is_tight:
            return False
        unused = outboxdisk.unused_bytes(file)
        self._makes_room = unused < (2 if self._makes_room else 1) * WORKING_ROOM_BYTES
        return self._makes_room and self._give(file)

    def _make_room(self, file: OutboxFile) -> bool:
        """The disk was full before we saw it."""
        if not self._is_tight and not file.is_in_memory:
            self._tighten(file)
            return True
        made = False
        while outboxdisk.unused_bytes(file) < WORKING_ROOM_BYTES and self._give(file):
            made = True
        if made and not file.is_in_memory:
            outboxdisk.fit(file, self._outbox.path)
        return made

    def _tighten(self, file: OutboxFile) -> None:
        outboxdisk.release(file, self._outbox.path)
        self._is_tight, self._has_reserve = True, False
        free = outboxdisk.free_bytes(self._outbox.path)
        text = "the disk is full: the oldest routine readings give way to new ones"
        self._outbox.notices.append(Notice("disk_full", text, {"free_bytes": free}))

    def _give(self, file: OutboxFile) -> bool:
        """Shed a little of what matters least; False if nothing is left."""
        for priority in GIVING_ORDER:
            if size := sum(file.books.sizes(priority)):
                limit = max(0, size - GIVEN_AT_ONCE_BYTES)
                return self._shedder.step(file, priority, limit, "disk full")
        return False

    def _mind_the_limits(self, file: OutboxFile) -> bool:
        for priority in GIVING_ORDER:
            limit = self._settings.limit_mb(priority) * MB
            if file.is_in_memory:
                limit = min(limit, MOST_IN_MEMORY_BYTES)
            if sum(file.books.sizes(priority)) > limit:
                self._giving.add(priority)
            if priority in self._giving:
                if self._shedder.step(file, priority, limit - limit // 50, "outbox full"):
                    return True
                self._giving.discard(priority)
            if self._clock.steady_s >= AGED_AFTER_S and self._looks % FLUSH_EVERY == 0:
                oldest_ms = self._clock.now() - self._settings.limit_days(priority) * DAY_MS
                if self._shedder.drop_older(file, priority, round(oldest_ms)):
                    return True
        return False

    def _date(self, file: OutboxFile) -> bool:
        """Give UTC to a few batches that were sealed without."""
        if not self._clock.trusted or file.books.pending == file.books.sendable:
            return False
        place = next(p for p in range(LOCAL, PLACES) if file.books.held[p].batches)
        rows = file.oldest(place, DATED_AT_ONCE)
        if any(file.offset(row.boot) is None for row in rows):  # of a file that was set aside
            for name, offset in file.learn(self._clock.offset_ms):
                self._outbox.notices.append(_placed(name, offset))
        with file.transaction():
            for row in rows:
                _date_row(file, row, place - LOCAL, self._sealer.lanes)
        return True

    def _salvage(self, file: OutboxFile) -> bool:
        if (salvage := self._outbox.salvage) is None:
            return False
        if salvage.step(file):
            return True
        now_ms, boot = self._clock.now(), None if self._clock.trusted else file.books.boot
        with file.transaction():
            salvage.own_up(file, now_ms, boot)
            file.books.salvage = ""
        salvage.close()
        self._outbox.salvage = None
        text = f"{salvage.batches} batches of the damaged outbox could be read"
        self._outbox.notices.append(Notice("outbox_salvaged", text, {"batches": salvage.batches}))
        return True

    def _shrink(self, file: OutboxFile) -> bool:
        """Give room back after a long outage."""
        if self._is_tight or file.is_in_memory:
            return False
        unused = outboxdisk.unused_bytes(file)
        used = sum(sum(file.books.sizes(priority)) for priority in Priority)
        if unused < UNUSED_BYTES or unused < used:
            return False
        outboxdisk.shrink(file, SHRUNK_AT_ONCE_BYTES)
        return True


def _date_row(file: OutboxFile, row: Row, place: int, times: Lanes) -> None:
    offset = None if row.boot is None else file.offset(row.boot)
    try:
        batch = row.decode()
    except DecodeError:
        offset = None
    if offset is None:
        drop(file, row, "outbox damaged")
        return
    dated = dating.date(batch, offset)
    dated = replace(dated, readings=tuple(placed(one, times) for one in dated.readings))
    file.books.lanes = lanes.note(file.books.lanes, dated.readings)
    file.move(row, place, dated, None)
    newest_ms = row.last_ms + offset.utc_ms
    file.books.newest_ms = max(file.books.newest_ms, newest_ms)
    file.books.stream_ms = max(file.books.stream_ms, newest_ms)


def _jumped(jump: Jump) -> Notice:
    way = "forward" if jump.step_ms > 0 else "back"
    return Notice(
        "clock_jump",
        f"the clock was set {way} by {abs(jump.step_ms) / 1000:g} s",
        {"step_s": jump.step_ms / 1000, "absorbed": jump.absorbed},
    )


def _placed(name: str, offset: Offset) -> Notice:
    within = "nobody knows how well" if offset.error_ms is None else f"to {offset.error_ms} ms"
    return Notice(
        "clock_placed",
        f"readings of an earlier boot, which never knew the time, are dated by a guess: {within}",
        {"boot": name, "offset_ms": offset.utc_ms, "error_ms": offset.error_ms},
    )
