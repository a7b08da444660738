"""What is new goes first, then events, then rulers, then the rest; all of it against a real broker,
with a counterpart that acknowledges, or does not."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.counterpart import Counterpart
from edge.batches import Draft
from edge.config import Gateway, OutboxConfig, Uplink
from edge.outbox import Outbox, open_outbox
from edge.sealer import Sealer
from edge.shelf import Priority
from edge.uplink import MOST_SENT, TAKEN_AT_ONCE, UplinkWorker
from tests.services import Service
from tests.waiting import until
from wire.messages import Event
from wire.mqtt import Broker
from wire.reading import Quality, Quantity, Reading

UTC_MS = 1_750_000_000_000


def readings(i: int, n: int = 5) -> tuple[Reading, ...]:
    return tuple(
        Reading("s", "r", Quantity.DEPTH, k / 100, UTC_MS + 1000 * i + k, Quality.GOOD)
        for k in range(n)
    )


def event(i: int) -> Event:
    return Event(UTC_MS + 1000 * i, "s", "k", str(i))


class Gate:
    """A gateway's outbox, sealer and uplink, and the counterpart at the other end."""

    def __init__(self, outbox: Outbox, broker: Broker, **settings: Any) -> None:
        self.outbox = outbox
        fast = {"status_every_s": 0.2, "backlog_kb_per_s": 10_000} | settings
        self.uplink = UplinkWorker(
            Gateway(id="gw", site="s"), Uplink(broker=broker, **fast), outbox
        )
        self.sealer = Sealer(outbox, OutboxConfig(), self.uplink.offer)
        self.counterpart = Counterpart(broker, "gw")

    def arrived(self, stream: str = "") -> list[int]:
        """Numbers in their order of arrival."""
        stream = stream or self.outbox.position.stream
        return [number for name, number in self.counterpart.arrived if name == stream]


@asynccontextmanager
async def gate(path: Path, broker: Broker, boot: str = "boot-1", **settings: float):
    async with open_outbox(path, "gw", boot) as outbox:
        yield Gate(outbox, broker, **settings)


@asynccontextmanager
async def connected(one: Gate):
    """With the counterpart listening and the uplink running. If one of them fails, all is over."""
    async with asyncio.TaskGroup() as group:
        listener = group.create_task(one.counterpart.run(), name="counterpart")
        await one.counterpart.listens.wait()
        sender = group.create_task(one.uplink.run(), name="uplink")
        try:
            yield
        finally:
            for task in (sender, listener):
                task.cancel()


@pytest.fixture
def broker(mosquitto: Service) -> Broker:
    return Broker(port=mosquitto.port)


async def test_a_backlog_goes_by_worth_and_what_is_new_goes_at_once(tmp_path, broker):
    worth = (Priority.ROUTINE, Priority.INTERLOCK, Priority.ROUTINE, Priority.EVENT)
    async with gate(tmp_path / "o.db", broker, backlog_kb_per_s=40) as one:
        for i in range(80):
            priority = worth[i % 4]
            events = (event(i),) if priority is Priority.EVENT else ()
            await one.outbox.seal_all([Draft(priority, readings(i, 60), events)])
        async with connected(one):
            await until(lambda: len(one.arrived()) >= 10)
            one.sealer.tell(event(99))
            await one.sealer.seal()
            await until(lambda: 81 in one.arrived())
            assert one.arrived().index(81) < 40  # far from the end of the backlog
            await until(lambda: one.outbox.position.pending == 0)
        order = [number for number in one.arrived() if number != 81]
        expected = [4 * i + 4 for i in range(20)] + [4 * i + 2 for i in range(20)]
        assert order == expected + [n for n in range(1, 81) if n % 2]


async def test_batches_of_earlier_streams_go_out_and_are_forgotten(tmp_path, broker):
    streams = []
    for boot in ("boot-1", "boot-2", "boot-3"):
        async with gate(tmp_path / "o.db", broker, boot) as one:
            await one.outbox.seal(readings(1))
            await one.outbox.seal(readings(2))
            streams.append(one.outbox.position.stream)
    async with gate(tmp_path / "o.db", broker, "boot-3") as one, connected(one):
        await until(lambda: one.outbox.position.pending == 0)
        assert list(one.counterpart.arrived) == [(name, n) for name in streams for n in (1, 2)]
        await until(lambda: one.counterpart.status is not None)
        status = one.counterpart.status
        assert (status.stream, status.sealed, status.readings_lost) == (streams[-1], 2, 0)
        assert status.clock_trusted


async def test_without_acks_new_ones_go_out_all_the_same_and_memory_is_bounded(tmp_path, broker):
    async with gate(tmp_path / "o.db", broker, resend_after_s=1) as one:
        one.counterpart.acknowledges = False
        async with connected(one):
            await until(lambda: one.uplink.connected)
            for i in range(MOST_SENT + 100):
                one.uplink.offer(await one.outbox.seal(readings(i)))
                assert one.uplink.in_flight <= MOST_SENT
            await until(lambda: len(one.arrived()) == MOST_SENT + 100)
            assert one.arrived() == sorted(one.arrived())
            assert one.outbox.position.pending == MOST_SENT + 100
            one.counterpart.acknowledges = True
            one.uplink.offer(await one.outbox.seal(readings(0)))  # its ack ends the long waits
            await until(lambda: one.outbox.position.pending == 0)
        assert one.counterpart.repeated >= MOST_SENT
        assert not one.counterpart.changed


async def test_before_the_clouds_first_start_one_is_tried_now_and_then_and_after_it_all_go(
    tmp_path, broker, monkeypatch
):
    async with gate(tmp_path / "o.db", broker, resend_after_s=300) as one:
        for i in range(100):
            await one.outbox.seal(readings(i))
        sent = []
        send = one.uplink._send

        def count(session, batch):
            sent.append(batch)
            return send(session, batch)

        monkeypatch.setattr(one.uplink, "_send", count)
        sender = asyncio.create_task(one.uplink.run(), name="uplink")
        try:
            # Those that were taken from the outbox together go out one by one, with pauses.
            await until(lambda: sent and not len(sent) % TAKEN_AT_ONCE and not one.uplink.in_flight)
            tried = len(sent)
            await until(lambda: len(sent) > tried)
            await until(lambda: not one.uplink.in_flight)
            assert len(sent) == tried + 1 < 100
            listener = asyncio.create_task(one.counterpart.run(), name="counterpart")
            try:
                await one.counterpart.listens.wait()
                one.uplink.offer(await one.outbox.seal(readings(100)))
                await until(lambda: one.outbox.position.pending == 0)
            finally:
                listener.cancel()
                await asyncio.wait((listener,))
            assert one.arrived()[0] == 101
            assert sorted(one.arrived()) == list(range(1, 102))
            assert one.counterpart.repeated == 0
        finally:
            sender.cancel()
            await asyncio.wait((sender,))


async def test_what_a_crash_of_the_disk_brings_back_is_sent_again(tmp_path, broker):
    """The deletion of a batch that was acknowledged waits for the next seal; without one it is
    undone."""
    async with gate(tmp_path / "o.db", broker) as one:
        await one.outbox.seal(readings(1))
        async with connected(one):
            await until(lambda: one.outbox.position.pending == 0)
            await one.outbox.run(lambda file: file._undo())
            assert one.outbox.position.pending == 1
            await until(lambda: one.outbox.position.pending == 0)
        assert one.counterpart.repeated == 1


async def test_the_broker_dies_and_nothing_is_missing(tmp_path, mosquitto):
    broker = Broker(port=mosquitto.port)
    async with gate(tmp_path / "o.db", broker, resend_after_s=1) as one, connected(one):
        for i in range(200):
            one.uplink.offer(await one.outbox.seal(readings(i)))
            if i in (50, 120):
                await asyncio.to_thread(mosquitto.kill)
                await asyncio.to_thread(mosquitto.start)
        await until(lambda: one.outbox.position.pending == 0)
        assert sorted(one.arrived()) == list(range(1, 201))
        assert not one.counterpart.changed
