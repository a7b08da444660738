"""The outbox and the sealer: what is sealed stays, numbers have no holes."""

import sqlite3

import pytest

from edge.batches import Sealed
from edge.config import OutboxConfig
from edge.outbox import open_outbox
from edge.sealer import Sealer
from wire.codec import decode_batch
from wire.messages import Event
from wire.reading import Quality, Quantity, Reading

pytestmark = pytest.mark.asyncio


def reading(i):
    return Reading("s", "r", Quantity.DEPTH, i / 100, 1_750_000_000_000 + i, Quality.GOOD)


async def test_numbers_run_on_over_a_restart(tmp_path):
    async with open_outbox(tmp_path / "o.db", "gw") as outbox:
        first = await outbox.seal([reading(1), reading(2)])
        stream = outbox.position.stream
        await outbox.forget([(1, 1)])
    async with open_outbox(tmp_path / "o.db", "gw") as outbox:
        second = await outbox.seal([reading(3)])
        assert outbox.position == (stream, 2, 3, 1)
    assert (first.number, second.number) == (1, 2)
    batch = decode_batch(second.payload)
    assert (batch.stream, batch.number, batch.readings) == (stream, 2, (reading(3),))


async def test_pending_is_in_order_and_bounded(tmp_path):
    async with open_outbox(tmp_path / "o.db", "gw") as outbox:
        for i in range(10):
            await outbox.seal([reading(i)])
        await outbox.forget([(2, 3), (7, 7)])
        assert [b.number for b in await outbox.pending(0, 9, 4)] == [1, 4, 5, 6]
        assert [b.number for b in await outbox.pending(6, 9, 9)] == [8, 9]
        assert await outbox.pending(0, 9, 0) == []
        assert outbox.position.pending == 7


async def test_forgetting_twice_is_harmless(tmp_path):
    async with open_outbox(tmp_path / "o.db", "gw") as outbox:
        await outbox.seal([reading(1)])
        await outbox.forget([(1, 1)])
        await outbox.forget([(1, 5)])
        assert outbox.position.pending == 0


async def test_the_file_is_wal_and_fully_synchronous(tmp_path):
    async with open_outbox(tmp_path / "o.db", "gw") as outbox:
        await outbox.seal([reading(1)])
        ask = outbox._database.execute
        assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ask("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_what_the_disk_refuses_is_sealed_later_and_once(tmp_path):
    sealed: list[Sealed] = []
    async with open_outbox(tmp_path / "o.db", "gw") as outbox:
        sealer = Sealer(outbox, OutboxConfig(), sealed.append)
        blocker = sqlite3.connect(tmp_path / "o.db")
        outbox._database.execute("PRAGMA busy_timeout = 1")
        blocker.execute("BEGIN IMMEDIATE")
        sealer.add(reading(1))
        sealer.tell(Event(5, "s", "k", "t"))
        assert not await sealer.seal()
        sealer.add(reading(2))
        blocker.rollback()
        blocker.close()
        assert await sealer.seal()
        assert outbox.position[1:] == (1, 2, 1)
    (batch,) = [decode_batch(b.payload) for b in sealed]
    assert batch.readings == (reading(1), reading(2))
    assert [e.kind for e in batch.events] == ["k"]
