"""The gateway's outbox at work with a disk that fills and fails and a clock that comes late: what is
sealed stays, what is lost is counted and told, and nothing raises."""

import errno
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge import outboxdisk
from edge.batches import Sealed
from edge.clock import Clock, Source
from edge.config import OutboxConfig
from edge.keeper import Keeper
from edge.outbox import Outbox, open_outbox
from edge.sealer import MOST_EVENTS, MOST_READINGS, Sealer
from edge.shelf import LOCAL, Key, Priority, Shelf
from tests.machine import UTC_MS, FakeMachine
from wire.codec import decode_batch
from wire.messages import Event, Gap
from wire.reading import Quality, Quantity, Reading

pytestmark = pytest.mark.asyncio


class Gateway:
    """Outbox, sealer, keeper and clock, without the rest of an agent."""

    def __init__(self, outbox: Outbox, machine: FakeMachine, source: Source, **settings) -> None:
        self.dice = random.Random(1)
        self.machine = machine
        self.outbox = outbox
        self.clock = Clock(machine, source)
        self.settings = OutboxConfig(**{"reserve_mb": 1} | settings)
        self.offered: list[Sealed] = []
        self.told: list[str] = []
        self.sealer = Sealer(outbox, self.settings, self.offered.append, self.clock, {"ruler"})
        self.keeper = Keeper(
            outbox, self.sealer, self.clock, self.settings, self.tell, self.offered.append
        )

    def tell(self, notice) -> None:
        self.told.append(notice.kind)
        event = Event(self.clock.now(), "s", notice.kind, notice.text, notice.detail)
        self.sealer.tell(event)

    def add(self, n: int = 1, sensor: str = "rain") -> None:
        """Readings, each a second after the other."""
        for _ in range(n):
            self.machine.wait(1)
            at_ms = self.clock.stamp(self.machine.monotonic())
            value = self.dice.random()  # takes much room
            self.sealer.add(Reading("s", sensor, Quantity.DEPTH, value, at_ms, Quality.GOOD))

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            try:
                await self.keeper._look()
            except sqlite3.Error as error:
                await self.outbox.mend(error)
            while self.outbox.notices:
                self.keeper._pass_on(self.outbox.notices.popleft())

    async def content(self):
        """All batches in the outbox, decoded, by key."""
        rows = await self.outbox.pending(-1, 2**63 - 1, 10**6)
        return {
            Key.unpack(row.key): decode_batch(row.payload, relative=row.is_local) for row in rows
        }

    async def readings(self):
        found = [r for batch in (await self.content()).values() for r in batch.readings]
        return sorted(found, key=lambda r: r.at_ms)

    async def gaps(self):
        return [gap for batch in (await self.content()).values() for gap in batch.gaps]


@asynccontextmanager
async def gateway(path, machine=None, source=Source.TRUSTED, **settings) -> AsyncIterator[Gateway]:
    machine = machine or FakeMachine()
    async with open_outbox(path, "gw", machine.boot) as outbox:
        one = Gateway(outbox, machine, source, **settings)
        await one.keeper.start()
        yield one


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr("edge.keeper.PAUSE_S", 0)


async def test_each_priority_has_batches_of_its_own_and_an_event_takes_what_waits(tmp_path):
    async with gateway(tmp_path / "o.db") as gw:
        await gw.sealer.seal()
        gw.add(2, "rain")
        gw.add(3, "ruler")
        assert gw.sealer.unsealed == 5
        await gw.sealer.seal()
        gw.add(1, "rain")
        gw.sealer.tell(Event(gw.clock.now(), "s", "k", "t"))
        await gw.sealer.seal()
        shapes = [(Shelf(b.place), len(decode_batch(b.payload).readings)) for b in gw.offered]
        assert shapes == [
            (Shelf.EVENT, 0),  # the time is known
            (Shelf.INTERLOCK, 3),
            (Shelf.ROUTINE, 2),
            (Shelf.EVENT, 1),
        ]


# The clock


async def test_what_was_sealed_before_the_time_was_known_is_dated_and_sent_then(tmp_path):
    machine = FakeMachine(utc_ms=7000, up_s=7)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        gw.add(3)
        await gw.sealer.seal()
        gw.add(2)
        await gw.look()
        content = await gw.content()
        assert [key.place for key in content] == [Shelf.ROUTINE + LOCAL]
        assert (gw.offered, gw.outbox.sendable, gw.outbox.position.pending) == ([], 0, 1)
        machine.step(UTC_MS / 1000)
        machine.ntp = True
        await gw.look(3)
        await gw.sealer.seal()
        found = await gw.readings()
        assert [r.at_ms for r in found] == [UTC_MS + 8000 + 1000 * i for i in range(5)]
        assert {r.quality for r in found} == {Quality.GOOD}
        assert gw.outbox.sendable == gw.outbox.position.pending
        assert gw.told == ["clock_trusted"]


async def test_a_process_that_died_before_the_time_was_known_is_dated_by_the_next(tmp_path):
    machine = FakeMachine(utc_ms=0, up_s=7)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        gw.add(3)
        await gw.sealer.seal()
    machine.shown_ms, machine.ntp = UTC_MS + machine.up_s * 1000, True
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        await gw.look()
    machine.ntp = False  # and this one finds no network, but what the other has learned
    machine.step(-1000)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        assert gw.clock.trusted
        found = await gw.readings()
        assert [r.at_ms for r in found] == [UTC_MS + 8000, UTC_MS + 9000, UTC_MS + 10_000]
        assert len({b.stream for b in (await gw.content()).values()}) == 1


async def test_a_boot_that_never_knew_the_time_is_dated_by_a_guess_that_says_so(tmp_path):
    machine = FakeMachine("boot-1")
    async with gateway(tmp_path / "o.db", machine) as gw:
        gw.add(1)
        await gw.sealer.seal()
    last_ms = machine.utc_ms()
    machine = FakeMachine("boot-2", utc_ms=0, up_s=5)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        gw.add(5)  # until 10 s after the boot
        await gw.sealer.seal()
    machine = FakeMachine("boot-3", utc_ms=last_ms + 60_000, up_s=20, ntp=True)
    async with gateway(tmp_path / "o.db", machine, Source.NTP) as gw:
        await gw.look(3)
        await gw.sealer.seal()
        found = await gw.readings()
        # 40 s between the two known moments, 10 of which the boot lasted: 15 on either side.
        assert [r.at_ms - last_ms for r in found] == [
            0,
            *(15_000 + ms for ms in range(6000, 11000, 1000)),
        ]
        assert [r.quality for r in found] == [Quality.GOOD] + 5 * [Quality.SUSPECT]
        assert gw.told == ["clock_placed", "clock_trusted"]
        (placed,) = [
            e for b in (await gw.content()).values() for e in b.events if e.kind == "clock_placed"
        ]
        assert placed.detail["error_ms"] == 15_000
        assert len({b.stream for b in (await gw.content()).values()}) == 3


async def test_a_clock_set_far_back_begins_a_stream_with_what_waits(tmp_path):
    async with gateway(tmp_path / "o.db") as gw:
        gw.add(2)
        await gw.sealer.seal()
        gw.add(2)
        gw.machine.step(-86_400)
        await gw.look()
        gw.add(1)
        await gw.sealer.seal()
        by_stream: dict[int, list[int]] = {}
        for key, batch in (await gw.content()).items():
            by_stream.setdefault(key.life, []).extend(r.at_ms for r in batch.readings)
        first, second = by_stream.values()
        assert len(first) == 2
        assert first == sorted(first)
        assert len(second) == 3
        assert second == sorted(second)
        assert second[0] < first[0]
        assert gw.told == ["clock_trusted", "clock_jump"]


# Bounds


async def test_limits_are_kept_by_thinning_first_and_the_cloud_is_told(tmp_path):
    async with gateway(tmp_path / "o.db", routine_mb=1, seal_at_readings=10_000, event_mb=1) as gw:
        for _ in range(40):
            gw.add(3000)
            await gw.sealer.seal()
            await gw.look()
        await gw.look(20)
        sizes = await gw.outbox.run(lambda file: file.books.sizes(Priority.ROUTINE))
        assert sum(sizes) <= 1024 * 1024
        assert min(sizes[:2]) > 0
        assert await gw.readings()
        gaps = await gw.gaps()
        assert {gap.reason for gap in gaps} == {"outbox full"}
        kept = len(await gw.readings())
        assert kept + sum(gap.readings for gap in gaps) == 40 * 3000
        assert gw.outbox.readings_lost == sum(gap.readings for gap in gaps)
        offered = [g for b in gw.offered for g in decode_batch(b.payload).gaps]
        assert offered == gaps  # it goes to the cloud like any other event


async def test_what_is_too_old_is_dropped_and_told(tmp_path):
    async with gateway(tmp_path / "o.db", routine_days=1, interlock_days=5) as gw:
        await gw.sealer.seal()
        gw.add(3, "rain")
        gw.add(4, "ruler")
        await gw.sealer.seal()
        gw.machine.wait(2 * 86_400)
        await gw.look(10)
        (gap,) = await gw.gaps()
        assert (gap.reason, gap.readings) == ("too old", 3)
        assert len(await gw.readings()) == 4


# A disk that is full


async def test_a_full_file_sheds_routine_data_writes_the_gap_and_takes_events(
    tmp_path, monkeypatch
):
    """The disk is full from one moment to the next: pages cannot be had (max_page_count)."""
    free = 10**9
    monkeypatch.setattr(outboxdisk, "free_bytes", lambda path: free)
    monkeypatch.setattr("edge.keeper.WORKING_ROOM_BYTES", 64 * 1024)
    async with gateway(tmp_path / "o.db") as gw:
        await gw.look()
        for _ in range(30):
            gw.add(250)
            await gw.sealer.seal()
        (pages,) = await gw.outbox.run(lambda file: file.ask("PRAGMA page_count")[0])
        await gw.outbox.run(lambda file: file.ask(f"PRAGMA max_page_count = {pages}"))
        free = 0
        for i in range(400):
            gw.add(250)
            if i % 10 == 0:
                gw.sealer.tell(Event(gw.clock.now(), "s", "alarm", "t"))
            assert await gw.sealer.seal()
            if i % 20 == 0:
                await gw.look()
        assert (await gw.outbox.run(lambda file: file.ask("PRAGMA page_count")[0])) == (pages,)
        await gw.look(5)
        events = [e.kind for b in (await gw.content()).values() for e in b.events]
        assert events.count("alarm") == 40
        assert events.count("disk_full") == 1
        gaps = await gw.gaps()
        assert {gap.reason for gap in gaps} == {"disk full"}
        kept = len(await gw.readings())
        assert kept + sum(gap.readings for gap in gaps) == 430 * 250

        free = 10**9
        await gw.look()
        await gw.sealer.seal()
        assert gw.told == ["clock_trusted", "disk_full", "disk_recovered"]
        lost = gw.outbox.readings_lost
        gw.add(10_000)
        await gw.sealer.seal()
        await gw.look(3)
        assert gw.outbox.readings_lost == lost


async def test_what_does_not_fit_into_memory_is_counted_and_told(tmp_path):
    async with gateway(tmp_path / "o.db") as gw:
        await gw.sealer.seal()
        blocker = sqlite3.connect(tmp_path / "o.db")
        gw.outbox._database.execute("PRAGMA busy_timeout = 1")
        blocker.execute("BEGIN IMMEDIATE")
        gw.add(1000, "ruler")
        gw.add(MOST_READINGS + 500, "rain")
        for i in range(MOST_EVENTS + 7):
            gw.sealer.tell(Event(gw.clock.now(), "s", "k", str(i)))
        assert not await gw.sealer.seal()
        gw.add(500, "rain")
        assert not await gw.sealer.seal()
        assert gw.sealer.lost_unsealed == 2000
        assert gw.sealer.unsealed == MOST_READINGS
        blocker.rollback()
        blocker.close()
        assert await gw.sealer.seal()
        (gap,) = await gw.gaps()
        assert (gap.reason, gap.readings) == ("disk refused", 2000)
        found = await gw.readings()
        assert len(found) == MOST_READINGS
        assert sum(r.sensor == "ruler" for r in found) == 1000  # routine ones went first
        told = [e for b in (await gw.content()).values() for e in b.events]
        assert [e.detail["events"] for e in told if e.kind == "events_lost"] == [7]
        assert gw.outbox.readings_lost == 2000
        assert gw.sealer.lost_unsealed == 0


# A disk that fails


async def test_a_file_that_is_damaged_while_it_runs_is_set_aside_and_salvaged(tmp_path):
    path = tmp_path / "o.db"
    async with gateway(path) as gw:
        for _ in range(60):
            gw.add(200)
            await gw.sealer.seal()
        stream, before = gw.outbox.position.stream, len(await gw.readings())
        await gw.outbox.run(lambda file: file.ask("PRAGMA wal_checkpoint(TRUNCATE)"))
        with path.open("r+b") as disk:
            for page in range(20, 40):
                disk.seek(page * outboxdisk.PAGE_BYTES)
                disk.write(b"\xa5" * outboxdisk.PAGE_BYTES)
        await gw.outbox.run(lambda file: file.ask("PRAGMA shrink_memory"))
        with pytest.raises(sqlite3.DatabaseError):
            await gw.content()
        gw.add(5)
        try:
            await gw.outbox.pending(-1, 2**63 - 1, 10**6)
        except sqlite3.DatabaseError as error:
            assert await gw.outbox.mend(error)
            assert await gw.outbox.mend(error)  # somebody else saw it too
        assert await gw.sealer.seal()
        await gw.look(20)
        await gw.sealer.seal()
        assert gw.outbox.position.stream != stream
        after = await gw.readings()
        assert before / 2 < len(after) < before + 5
        assert gw.told == ["clock_trusted", "outbox_damaged", "outbox_salvaged"]
        gaps = await gw.gaps()
        assert {(gap.reason, gap.readings) for gap in gaps} == {("outbox damaged", None)}
        numbers = {
            n for b in (await gw.content()).values() if b.stream == stream for n in [b.number]
        }
        declared = {n for gap in gaps for a, b in gap.batches for n in range(a, b + 1)}
        assert numbers | declared >= set(range(1, 62))
        (aside,) = tmp_path.glob("o.db.damaged-*Z")
        assert aside.stat().st_size > 20_000


async def test_a_file_that_is_no_database_at_the_start_is_set_aside(tmp_path):
    (tmp_path / "o.db").write_bytes(bytes(9000))
    async with gateway(tmp_path / "o.db") as gw:
        gw.add(1)
        await gw.look()
        await gw.sealer.seal()
        assert len(await gw.readings()) == 1
        assert Gap("outbox damaged", gw.clock.now(), gw.clock.now()) in await gw.gaps()
        assert "outbox_damaged" in gw.told


async def test_without_any_disk_it_goes_on_in_memory_and_returns(tmp_path, monkeypatch):
    path = tmp_path / "o.db"
    async with gateway(path) as gw:
        gw.add(3)
        await gw.sealer.seal()

        def opens_memory_only(path, *names):
            if path is not None:
                raise sqlite3.OperationalError("disk I/O error")
            return outboxdisk.open_file(path, *names)

        def refuses(*_):
            raise OSError(errno.EROFS, "read-only file system")

        with monkeypatch.context() as patch:
            patch.setattr("edge.outbox.open_file", opens_memory_only)
            patch.setattr(outboxdisk, "set_aside", refuses)
            await gw.outbox.run(lambda file: file.database.close())
            for _ in range(5):
                gw.add(1)
                await gw.sealer.seal()
            assert gw.outbox.in_memory
            assert gw.outbox.position.pending == 1
            await gw.look()
            assert not await gw.outbox.return_to_disk()
        assert await gw.outbox.return_to_disk()
        await gw.look()
        await gw.sealer.seal()
        assert not gw.outbox.in_memory
        assert len(await gw.readings()) == 3 + 5
        assert gw.told == ["clock_trusted", "outbox_in_memory", "outbox_on_disk"]
    async with gateway(path) as gw:
        assert len(await gw.readings()) == 3 + 5
