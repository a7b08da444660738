"""A worker of the aggregator, alone with what waits for it.

The messages are put into the worker's session at the broker before it starts, so that nobody
publishes while it is measured. Broker, store and worker share the machine's cores; the measurement
itself listens to one gateway's acks and sleeps.
"""

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import tomlkit

from bench.programs import Influxd, Mosquitto, Program, cpu_s, free_port
from cloud.intake import filters
from configs.loader import UserError
from wire import codec, topics
from wire.messages import Ack, Batch
from wire.mqtt import Broker, connect
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

GATEWAYS: Final = 200
SENSORS: Final = 10
EACH: Final = 10
"""Readings of each sensor in a batch: ten seconds, once a second."""

READINGS: Final = SENSORS * EACH
SHARD: Final = "0"
WORKER: Final = f"shuichi-cloud-{SHARD}"
"""The name of the worker's session at the broker."""

KEEP_S: Final = 3600
_WITHIN_S: Final = 90.0
_PUBLISHED_AT_ONCE: Final = 2000


class Backlog(NamedTuple):
    """Messages in the order in which they wait, and the last of them."""

    messages: Sequence[tuple[str, bytes]]
    last: Batch

    @property
    def readings(self) -> int:
        """How many there are in all."""
        return len(self.messages) * READINGS

    def halves(self) -> tuple["Backlog", "Backlog"]:
        """What was read first, and what was read later."""
        first, second = (
            self.messages[: len(self.messages) // 2],
            self.messages[len(self.messages) // 2 :],
        )
        return Backlog(first, codec.decode_batch(first[-1][1])), Backlog(second, self.last)


def batch(gateway: int, number: int, begin_ms: int) -> Batch:
    """Ten sensors of one site, each read every second."""
    return Batch(
        f"gw-{gateway:03d}",
        "5f0c9a1be2d34477",
        number,
        tuple(
            Reading(
                "north-underpass",
                f"level-{sensor}",
                Quantity.LEVEL,
                round(2 + math.sin(number / 7 + sensor + gateway) + second / 1000, 3),
                begin_ms + (number * EACH + second) * 1000 + sensor * 9,
                Quality.GOOD,
            )
            for sensor in range(SENSORS)
            for second in range(EACH)
        ),
    )


def batches(each: int, gateways: Sequence[int] = range(GATEWAYS)) -> Iterator[Batch]:
    """So many of each gateway, in turn, up to now."""
    begin_ms = time.time_ns() // 1_000_000 - (each + 1) * EACH * 1000
    for number in range(1, each + 1):
        for gateway in gateways:
            yield batch(gateway, number, begin_ms)


def backlog(each: int, shard: str = SHARD, gateways: Sequence[int] = range(GATEWAYS)) -> Backlog:
    """So many batches of each gateway of a shard, encoded."""
    messages = []
    for one in batches(each, gateways):
        topic = topics.topic(shard, one.gateway, What.DATA)
        messages.append((topic, codec.encode_batch(one)))
    return Backlog(messages, one)


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """The port of a broker that keeps all that waits."""
    port = free_port()
    with Mosquitto(folder, port, "max_queued_messages 0") as server:
        server.wait_until(server.accepts)
        yield port


@contextmanager
def servers(folder: Path) -> Iterator[tuple[int, int]]:
    """The ports of a broker that keeps all that waits, and of an InfluxDB."""
    with broker(folder) as broker_port, influxdb(folder) as server:
        yield broker_port, server.port


@contextmanager
def influxdb(folder: Path) -> Iterator[Influxd]:
    """An InfluxDB that answers."""
    with Influxd(folder, free_port()) as server:
        server.wait_until(server.accepts)
        yield server


async def queue(broker: Broker, session: str, waiting: Backlog, shard: str = SHARD) -> None:
    """Have all of it wait for the session of that name."""
    async with connect(broker, session, keep_session_s=KEEP_S) as reader:
        await reader.subscribe(*filters(shard))
    async with connect(broker, "bench-gateways") as writer:
        for begin in range(0, len(waiting.messages), _PUBLISHED_AT_ONCE):
            some = waiting.messages[begin : begin + _PUBLISHED_AT_ONCE]
            await asyncio.gather(*(writer.send(topic, payload) for topic, payload in some))


async def create(port: int, database: str) -> None:
    """Make a database in the InfluxDB at `port`."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        asked = {"q": f"CREATE DATABASE {database}"}
        (await http.post("/query", params=asked)).raise_for_status()


def write_path(database: str) -> str:
    """Where its points are posted."""
    return f"/write?db={database}&precision=ms"


def influx(port: int, database: str) -> dict[str, object]:
    """What stands under [store] for it."""
    where = {"url": f"http://127.0.0.1:{port}", "api": "v1", "database": database}
    return {"kind": "influx", **where}


async def forget(broker: Broker, session: str) -> None:
    """End the session of that name, or it goes on collecting what is meant for others."""
    async with connect(broker, session):
        pass


class Drained(NamedTuple):
    """From the moment at which the worker listens to the ack of the last batch: readings per s, and
    CPU of the worker per reading, µs."""

    per_s: float
    cpu_us: float


class Worker:
    """`shuichi cloud run` in a new folder, on a fresh state; `store` stands under [store]. It may
    drain one backlog after another, each in a new process."""

    def __init__(self, folder: Path, broker: Broker, store: dict[str, object]) -> None:
        folder.mkdir()
        self._broker = broker
        self._folder = folder
        self._store = store
        self._log_begins = 0  # of the process that is measured
        self.configure({})
        words = ("cloud", "run", "--unattended", "--config", "cloud.toml")
        self.program = Program("cloud", folder, *words)

    def configure(self, more: Mapping[str, object]) -> None:
        """Start it with these tables of config as well from now on."""
        config = {"broker": {"port": self._broker.port}, "store": self._store, **more}
        (self._folder / "cloud.toml").write_text(tomlkit.dumps(config), encoding="utf-8")

    @property
    def listens(self) -> bool:
        """Whether it has subscribed."""
        log = self.program.log
        return log.exists() and "listening at" in log.read_text("utf-8")[self._log_begins :]

    async def drain(self, waiting: Backlog) -> Drained:
        """Have all of it wait for the worker, start that, and wait until all is acknowledged.
        Raises UserError if that takes too long."""
        log = self.program.log
        self._log_begins = len(log.read_text("utf-8")) if log.exists() else 0
        await queue(self._broker, WORKER, waiting)
        async with acknowledged(self._broker, waiting.last) as done:
            with self.program as worker:
                while not self.listens:
                    worker.look()
                    await asyncio.sleep(0.002)
                begin, cpu_begin = time.monotonic(), cpu_s(worker.pid)
                while not done.done():
                    worker.look()
                    if time.monotonic() - begin > _WITHIN_S:
                        raise UserError(f"not all was acknowledged within {_WITHIN_S:g} s")
                    await asyncio.wait((done,), timeout=0.5)
                took, cpu = time.monotonic() - begin, cpu_s(worker.pid) - cpu_begin
        await forget(self._broker, WORKER)
        return Drained(waiting.readings / took, cpu / waiting.readings * 1e6)


@asynccontextmanager
async def acknowledged(
    broker: Broker, last: Batch, shard: str = SHARD
) -> AsyncIterator[asyncio.Task[None]]:
    """A task that ends with the ack of `last`."""
    async with connect(broker, f"bench-{os.getpid()}-{shard}") as session:
        await session.subscribe(topics.topic(shard, last.gateway, What.ACK))

        async def listen() -> None:
            while True:
                for message in await session.take(100):
                    session.ack(message)
                    ack = codec.decode(message.payload, Ack)
                    if any(first <= last.number <= end for first, end in ack.batches):
                        return

        task = asyncio.create_task(listen(), name="acks")
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait((task,))
