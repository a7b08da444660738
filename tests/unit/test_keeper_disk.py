"""The outbox on a disk that fills and comes back: nothing raises, what is lost is counted."""

import errno
import sqlite3

import pytest

from edge import outboxdisk
from edge.sealer import MOST_EVENTS, MOST_READINGS
from tests.outbox_gateway import gateway
from wire.messages import Event, Gap

pytestmark = pytest.mark.asyncio


async def test_a_full_file_sheds_routine_data_writes_the_gap_and_takes_events(
    tmp_path, monkeypatch
):
    """The disk is full from one moment to the next: pages cannot be had (max_page_count)."""
    free = 10**9
    monkeypatch.setattr(outboxdisk, "free_bytes", lambda path: free)
    monkeypatch.setattr("edge.keeper.MB", 256 * 1024)
    monkeypatch.setattr("edge.keeper.WORKING_ROOM_BYTES", 32 * 1024)
    async with gateway(tmp_path / "o.db") as gw:
        await gw.look()
        for _ in range(30):
            gw.add(250)
            await gw.sealer.seal()
        (pages,) = await gw.outbox.run(lambda file: file.ask("PRAGMA page_count")[0])
        await gw.outbox.run(lambda file: file.ask(f"PRAGMA max_page_count = {pages}"))
        free = 0
        for i in range(160):
            gw.add(250)
            if i % 4 == 0:
                gw.sealer.tell(Event(gw.clock.now(), "s", "alarm", "t"))
            assert await gw.sealer.seal()
            if i % 20 == 0:
                await gw.look()
        ((now,),) = await gw.outbox.run(lambda file: file.ask("PRAGMA page_count"))
        assert now <= pages
        await gw.look(5)
        events = [e.kind for b in (await gw.content()).values() for e in b.events]
        assert events.count("alarm") == 40
        assert events.count("disk_full") == 1
        gaps = await gw.gaps()
        assert {gap.reason for gap in gaps} == {"disk full"}
        kept = len(await gw.readings())
        assert kept + sum(gap.readings for gap in gaps) == 190 * 250

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
        gw.add(5)
        with pytest.raises(sqlite3.DatabaseError) as error:
            await gw.content()
        assert await gw.outbox.mend(error.value)
        assert await gw.outbox.mend(error.value)  # somebody else saw it too
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
