"""A new reading beside a backlog of three days: from the moment at which the sensor answered to the
cloud's word that it is in the store.

Simulator, gateway, mosquitto and the cloud with its SQLite store are processes of their own; 100
sensors are read each second. The outbox holds three days of them, and events of that time. It is
the age of each reading at its batch's ack that counts: the wait for the seal, which is at most
1.5 s of the 2 s that are set, is in it.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import tomlkit

from bench import backlog, edge_memory
from bench.figure import Figure, Goal, Progress, Result, percentile, spread
from bench.programs import Mosquitto, Program, free_port
from configs.loader import UserError
from edge.batches import Draft
from edge.outbox import open_outbox
from edge.shelf import Priority
from wire import codec, topics
from wire.messages import Ack, Batch, Event
from wire.mqtt import Broker, connect
from wire.topics import What

WATCHED_S: Final = 40.0
EVENTS: Final = 300
FILLING: Final = 0.3
GOAL_S: Final = 2.0

FIGURE: Final = Figure(
    "a new reading to the store while 3 days drain, 100 sensors each second, slowest of 1000",
    "s",
    Goal("<=", GOAL_S),
)


class Witness:
    """Hears what the gateway sends and what the cloud acknowledges. Times are UTC, s."""

    def __init__(self, begin_ms: int) -> None:
        self.ages: list[float] = []
        self.from_seal: list[float] = []
        self.old = 0
        self.events = 0
        self.events_done_at: float | None = None
        self.routine_began_at: float | None = None
        self._begin_ms = begin_ms
        self._on_its_way: dict[tuple[str, int], Batch] = {}

    def heard(self, topic: str, payload: bytes, now: float) -> None:
        if topic.endswith(What.ACK):
            ack = codec.decode(payload, Ack)
            for first, last in ack.batches:
                for number in range(first, last + 1):
                    if (batch := self._on_its_way.pop((ack.stream, number), None)) is not None:
                        self._stored(batch, now)
        else:
            batch = codec.decode_batch(payload)
            self._on_its_way[batch.stream, batch.number] = batch

    def _stored(self, batch: Batch, now: float) -> None:
        times = [reading.at_ms for reading in batch.readings]
        if times and min(times) >= self._begin_ms:
            self.ages += [now - at_ms / 1000 for at_ms in times]
            self.from_seal.append(now - max(times) / 1000)
        elif any(event.kind == "outage" for event in batch.events):
            self.events += 1
            self.events_done_at = now if self.events == EVENTS else None
        elif times:
            self.old += 1
            self.routine_began_at = self.routine_began_at or now


async def measure(progress: Progress) -> Result:
    """About a minute and a half. Raises UserError if a program fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder, port = Path(name), free_port()
        gateway = edge_memory.write(folder, port)
        (folder / "cloud.toml").write_text(tomlkit.dumps(_cloud(port)), encoding="utf-8")
        waiting = await backlog.fill(
            folder / "outbox.db",
            gateway,
            edge_memory.SENSORS,
            edge_memory.OUTAGE_S,
            lambda share: progress(FILLING * share, "an outage of three days"),
        )
        await _add_events(folder / "outbox.db", gateway)
        broker = Mosquitto(folder, port)
        cloud = Program("cloud", folder, "cloud", "run", "--unattended")
        sim = Program("sim", folder, "sim", "run", "sim.toml", "--truth", "truth.jsonl")
        edge = Program("edge", folder, "edge", "run", "--unattended")
        with broker, sim:
            broker.wait_until(broker.accepts)
            sim.wait_until(lambda: '"ready"' in edge_memory.text(folder / "truth.jsonl"))
            with cloud:
                cloud.wait_until(lambda: "listening at" in edge_memory.text(cloud.log))
                with edge:
                    witness = await _watch(edge, port, gateway, progress)
    if not witness.ages or not 0 < witness.old < waiting:
        raise UserError(f"{len(witness.ages)} new and {witness.old} old ones came: nothing to see")
    events_s = (witness.events_done_at or float("inf")) - (witness.routine_began_at or 0.0)
    return Result(
        percentile(witness.ages, 99.9),
        {
            "reading to store, s": spread(witness.ages),
            "newest reading of a batch to store, s": spread(witness.from_seal),
            "new readings": len(witness.ages),
            "old batches waiting": waiting,
            "old batches stored meanwhile": witness.old,
            "events of the outage stored": witness.events,
            "the last of them after the first routine batch of the outage, s": events_s,
        },
    )


async def _watch(edge: Program, port: int, gateway: str, progress: Progress) -> Witness:
    witness = Witness(time.time_ns() // 1_000_000)
    whats = (What.DATA, What.EVENT, What.ACK)
    end = time.monotonic() + WATCHED_S
    async with connect(Broker(port=port), "witness") as session:
        await session.subscribe(*(topics.topic("0", gateway, what) for what in whats))
        while (left := end - time.monotonic()) > 0:
            progress(1 - (1 - FILLING) * left / WATCHED_S, "new ones beside the backlog")
            edge.look()
            try:
                async with asyncio.timeout(1):
                    messages = await session.take(100)
            except TimeoutError:
                continue
            now = time.time()
            for message in messages:
                witness.heard(message.topic, message.payload, now)
                session.ack(message)
    return witness


async def _add_events(path: Path, gateway: str) -> None:
    at_ms = time.time_ns() // 1_000_000
    async with open_outbox(path, gateway) as outbox:
        await outbox.seal_all(
            [
                Draft(Priority.EVENT, (), (Event(at_ms, "north-underpass", "outage", str(i)),))
                for i in range(EVENTS)
            ]
        )


def _cloud(port: int) -> dict[str, Any]:
    return {"broker": {"port": port}, "store": {"kind": "sqlite"}}
