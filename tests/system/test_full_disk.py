"""A disk that is really full: a small tmpfs, filled to the last block by somebody else."""

import ctypes
import ctypes.util
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge import outboxdisk
from edge.shelf import Priority
from tests.outbox_gateway import Gateway, gateway
from wire.messages import Event

DISK_MB = 24
MB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "card"
    folder.mkdir()
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    size = f"size={DISK_MB}m".encode()
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, size) != 0:
        pytest.skip(f"needs the right to mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    yield folder
    assert libc.umount2(str(folder).encode(), 0) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr("edge.keeper.PAUSE_S", 0)


def fill(folder: Path) -> Path:
    """Take all the room that is left."""
    ballast = folder / "somebody.log"
    with ballast.open("ab", buffering=0) as file:
        for chunk in (MB, 4096, 1):
            with suppress(OSError):
                while file.write(b"x" * chunk):
                    pass
    assert (outboxdisk.free_bytes(ballast) or 0) < 4096
    return ballast


async def work(one: Gateway, rounds: int) -> int:
    """Seal, look, and tell of something now and then; the events told."""
    events = 0
    for i in range(rounds):
        one.add(200)
        if i % 10 == 0:
            one.sealer.tell(Event(one.clock.now(), "s", "alarm", str(i)))
            events += 1
        assert await one.sealer.seal()
        if i % 5 == 0:
            await one.look()
    return events


async def account(one: Gateway) -> tuple[int, int]:
    """Readings that are there, and those that are told lost."""
    await one.look(3)
    await one.sealer.seal()
    gaps = await one.gaps()
    assert {gap.reason for gap in gaps} <= {"disk full"}
    return len(await one.readings()), sum(gap.readings or 0 for gap in gaps)


@pytest.mark.parametrize("looks_first", [True, False], ids=["seen coming", "at once"])
async def test_routine_data_gives_way_the_gap_is_told_and_events_get_through(
    looks_first: bool, small_disk: Path
) -> None:
    async with gateway(small_disk / "outbox.db", reserve_mb=2) as one:
        await one.look()
        events = await work(one, 100)
        ballast = fill(small_disk)
        if looks_first:
            await one.look()
        events += await work(one, 900)
        assert one.told.count("disk_full") == 1
        there, lost = await account(one)
        assert there > 20_000
        assert lost > 20_000
        assert there + lost == 1000 * 200
        assert one.outbox.readings_lost == lost

        ballast.unlink()
        events += await work(one, 50)
        there, lost_after = await account(one)
        assert one.told[-1] == "disk_recovered"
        assert lost_after == lost
        assert there + lost == 1050 * 200
        content = await one.content()
        told = [event.kind for batch in content.values() for event in batch.events]
        assert told.count("alarm") == events
        assert await one.outbox.run(lambda file: file.ask("PRAGMA integrity_check")) == [("ok",)]


async def test_a_gateway_that_starts_on_a_full_disk_goes_on(small_disk: Path) -> None:
    async with gateway(small_disk / "outbox.db", reserve_mb=2) as one:
        await one.look()
        await work(one, 50)
    ballast = fill(small_disk)
    async with gateway(small_disk / "outbox.db", reserve_mb=2) as one:
        await work(one, 300)
        ballast.unlink()
        await one.look(40)
        assert not one.outbox.in_memory
        await work(one, 10)
        there, lost = await account(one)
        assert there + lost == 360 * 200
        sizes = await one.outbox.run(lambda file: file.books.sizes(Priority.ROUTINE))
        assert sum(sizes) > 0
    with sqlite3.connect(small_disk / "outbox.db") as look:
        assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    look.close()
