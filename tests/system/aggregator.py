"""The aggregator as a process of its own, and gateways that a test plays itself."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import psutil
from sqlalchemy import select

from cloud import account as accounts
from cloud import config, service, state, tables
from cloud.account import Account
from cloud.store import Query, Row
from tests.conftest import ROOT
from tests.services import Service
from tests.waiting import PATIENCE_S, until
from wire import codec, topics
from wire.messages import Ack, Batch, Event
from wire.mqtt import Broker, Session, connect, keep_connected
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

T0 = time.time_ns() // 1_000_000 - 3_600_000
READINGS = 20  # in a batch

RULES = """
[rule.amber]
kind = "threshold"
quantity = "depth"
orange = { over_cm = 15, clear_cm = 12 }
[channel.log]
kind = "log"
"""


class Cloud:
    """`shuichi cloud run` on a config of its own; `with` stops it, if it runs, and looks at how it
    ends."""

    def __init__(
        self, folder: Path, broker: Service, store: str = 'kind = "sqlite"', more: str = ""
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.file = folder / "cloud.toml"
        self.file.write_text(f"[broker]\nport = {broker.port}\n[store]\n{store}\n{more}{RULES}")
        self.log = folder / "cloud.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._process is not None and error is not None:
            self.kill()
        self.stop()

    def start(self, *command: str) -> None:
        command = command or ("-m", "shuichi", "cloud", "run", "--unattended", "--config")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, str(self.file)], cwd=ROOT, stderr=log
            )

    async def listening(self) -> None:
        """Wait until it has subscribed, since the last start."""
        await until(lambda: "listening at" in self.log.read_text())

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        code = self._process.wait(PATIENCE_S)
        self._process = None
        return code

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self.wait()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_paused(self) -> bool:
        """Whether it was stopped by SIGSTOP."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            code, said = self.wait(), self.log.read_text()
            assert code == 0, said
            assert "Traceback" not in said, said

    @property
    def setup(self) -> config.Setup:
        """What of the config can be used."""
        return config.read_in_part(self.file)[0]

    async def account(self) -> Account:
        async with service.opened(self.setup, read_only=True) as (database, store):
            return await accounts.take(database, store)

    async def rows(self) -> list[Row]:
        async with service.opened(self.setup, read_only=True) as (_, store):
            return await store.read(Query())

    async def table(self, name: str) -> list[dict[str, Any]]:
        async with state.opened(self.setup.database, read_only=True) as database:
            found = await database.run(
                lambda connection: connection.execute(select(tables.metadata.tables[name])).all()
            )
        return [row._asdict() for row in found]


class Gateway:
    """A gateway that sends its batches until the cloud acks them."""

    def __init__(self, name: str, batches: int = 0, shard: str = "0") -> None:
        self.name = name
        self.shard = shard
        self.batches = [batch(name, number) for number in range(1, batches + 1)]
        self.acked: list[tuple[int, int]] = []

    @property
    def forgotten(self) -> set[int]:
        return {n for first, last in self.acked for n in range(first, last + 1)}

    def topic(self, what: What) -> str:
        return topics.topic(self.shard, self.name, what)

    async def send(self, session: Session, *payloads: bytes, what: What = What.DATA) -> None:
        for payload in payloads:
            await session.publish(self.topic(what), payload)

    async def listen(self, session: Session) -> None:
        """Collect acks."""
        while True:
            for message in await session.take(100):
                self.acked += codec.decode(message.payload, Ack).batches
                session.ack(message)

    async def insist(self, broker: Broker) -> None:
        """Send all that is not acked, again and again, over every loss, until all of it is."""

        async def serve(session: Session) -> None:
            await session.subscribe(self.topic(What.ACK))
            listener = asyncio.create_task(self.listen(session), name=f"{self.name} acks")
            try:
                while left := [b for b in self.batches if b.number not in self.forgotten]:
                    for one in left:
                        session.send(self.topic(What.DATA), codec.encode_batch(one))
                        await asyncio.sleep(0.003)
                    await asyncio.sleep(0.3)
                    if listener.done():
                        listener.result()
            finally:
                listener.cancel()
                await asyncio.wait([listener])

        await keep_connected(broker, self.name, serve)


def batch(gateway: str, number: int, depth: float = 0.05, events: int = 0) -> Batch:
    """A batch whose readings no other batch of the gateway has."""
    at_ms = T0 + number * 1000
    return Batch(
        gateway,
        "stream-1",
        number,
        tuple(
            Reading("underpass", "ruler", Quantity.DEPTH, depth, at_ms + n, Quality.GOOD)
            for n in range(READINGS)
        ),
        tuple(Event(at_ms, "underpass", "aspect_wanted", "amber", {"n": n}) for n in range(events)),
    )


def encoded(gateway: str, *numbers: int) -> list[bytes]:
    return [codec.encode_batch(batch(gateway, number)) for number in numbers]


def broker_of(server: Service) -> Broker:
    return Broker(port=server.port)


def influx_store(server: Service, database: str = "shuichi") -> str:
    """What stands under [store] for a database in this InfluxDB 1.x."""
    return f'kind = "influx"\nurl = "{server.url}"\napi = "v1"\ndatabase = "{database}"'


@asynccontextmanager
async def connected(gateway: Gateway, server: Service) -> AsyncIterator[Session]:
    """A connection of `gateway` on which acks are collected."""
    async with connect(broker_of(server), gateway.name) as session:
        await session.subscribe(gateway.topic(What.ACK))
        listener = asyncio.create_task(gateway.listen(session), name=f"{gateway.name} acks")
        try:
            yield session
        finally:
            listener.cancel()
            await asyncio.wait([listener])
