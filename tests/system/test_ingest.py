"""The aggregator as a process of its own, with a real broker and real stores, killed at will."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cloud import account as accounts
from cloud import config, service, state
from cloud.account import Account
from cloud.store import Query, Row
from tests import services
from tests.conftest import ROOT
from tests.services import Service, free_port
from tests.waiting import until
from wire import codec, topics
from wire.aspect import Aspect
from wire.messages import Ack, Batch, Event, GatewayState, InterlockState, Status
from wire.mqtt import Broker, Session, connect, keep_connected
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

T0 = time.time_ns() // 1_000_000 - 3_600_000
READINGS = 20  # in a batch

RULES = """
[rule.amber]
quantity = "depth"
over_cm = 15
clear_cm = 12
level = "orange"
[channel.log]
kind = "log"
"""


class Cloud:
    """`shuichi cloud run` on a config of its own."""

    def __init__(self, folder: Path, broker: Service, store: str = 'kind = "sqlite"') -> None:
        self.folder = folder
        self.file = folder / "cloud.toml"
        self.file.write_text(f"[broker]\nport = {broker.port}\n[store]\n{store}\n{RULES}")
        self.log = folder / "cloud.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str) -> None:
        command = command or ("-m", "shuichi", "cloud", "run", "--unattended", "--config")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, str(self.file)], cwd=ROOT, stderr=log
            )

    async def listening(self) -> None:
        """Wait until it has subscribed, since the last start."""
        await until(lambda: "listening at" in self.log.read_text())

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        code = self._process.wait(20)
        self._process = None
        self.log.write_text("")
        return code

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            said = self.log.read_text()
            assert self.wait() == 0, said
            assert "Traceback" not in said

    async def account(self) -> Account:
        async with service.opened(config.read(self.file), read_only=True) as (database, store):
            return await accounts.take(database, store)

    async def rows(self) -> list[Row]:
        async with service.opened(config.read(self.file), read_only=True) as (_, store):
            return await store.read(Query())

    async def table(self, name: str) -> list[dict[str, Any]]:
        async with state.opened(self.folder / "cloud.db", read_only=True) as database:
            found = await database.run(
                lambda connection: connection.execute(select(state.metadata.tables[name])).all()
            )
        return [row._asdict() for row in found]


class Gateway:
    """A gateway that sends its batches until the cloud acks them."""

    def __init__(self, name: str, batches: int = 0) -> None:
        self.name = name
        self.batches = [batch(name, number) for number in range(1, batches + 1)]
        self.acked: list[tuple[int, int]] = []

    @property
    def forgotten(self) -> set[int]:
        return {n for first, last in self.acked for n in range(first, last + 1)}

    def topic(self, what: What) -> str:
        return topics.topic("0", self.name, what)

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


@pytest.fixture
def cloud(tmp_path: Path, mosquitto: Service) -> Iterator[Cloud]:
    """The aggregator with the embedded store, not started yet."""
    made = Cloud(tmp_path, mosquitto)
    yield made
    made.stop()


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


async def test_what_is_sent_is_stored_once_and_acked_by_number(
    cloud: Cloud, mosquitto: Service
) -> None:
    cloud.start()
    await cloud.listening()
    gateway = Gateway("g1")
    async with connected(gateway, mosquitto) as session:
        with_events = codec.encode_batch(batch("g1", 3, depth=0.2, events=2))
        await gateway.send(session, *encoded("g1", 1, 2))
        await gateway.send(session, with_events, what=What.EVENT)
        await until(lambda: gateway.forgotten == {1, 2, 3})
        # The same again, one old and one new: acked again, not stored again.
        await gateway.send(session, *encoded("g1", 2, 2, 4))
        await gateway.send(session, with_events, what=What.EVENT)
        await until(lambda: 4 in gateway.forgotten)
        status = Status("g1", GatewayState.ONLINE, T0, "stream-1", 4, 4 * READINGS, 0)
        await session.publish(gateway.topic(What.STATUS), codec.encode(status), retain=True)
        shown = InterlockState("underpass", Aspect.AMBER, None, 0.2, "depth", T0)
        topic = topics.topic("0", "g1", What.INTERLOCK, "underpass")
        await session.publish(topic, codec.encode(shown), retain=True)
        await until(lambda: cloud.table("interlock"))
    account = await cloud.account()
    (stream,) = account.streams
    assert account.ok
    assert (stream.sealed_batches, stream.readings_sealed) == (4, 4 * READINGS)
    assert (stream.gateway, stream.stream) == ("g1", "stream-1")
    assert (stream.received_batches, stream.redelivered_batches, stream.missing) == (4, 3, [])
    assert stream.readings_ledgered == account.readings_in_store == 4 * READINGS
    assert [row.at_ms for row in await cloud.rows()] == [
        T0 + number * 1000 + n for number in (1, 2, 3, 4) for n in range(READINGS)
    ]
    events = await cloud.table("event")
    assert [(row["batch"], row["position"], row["detail"]) for row in events] == [
        (3, 0, '{"n":0}'),
        (3, 1, '{"n":1}'),
    ]
    (alert,) = account.alerts
    assert (alert.rule, alert.level, alert.raised_value) == ("amber", "orange", 0.2)
    assert (alert.raised_at_ms, alert.cleared_at_ms) == (T0 + 3000, T0 + 4000)
    alerts = cloud.folder / "alerts.jsonl"
    await until(lambda: len(alerts.read_text().splitlines()) == 2)
    told = [json.loads(line) for line in alerts.read_text().splitlines()]
    assert [one["transition"] for one in told] == ["raised", "cleared"]


async def test_what_cannot_be_used_goes_to_quarantine_and_blocks_nothing(
    cloud: Cloud, mosquitto: Service
) -> None:
    cloud.start()
    await cloud.listening()
    gateway = Gateway("g1")
    unknown = zlib.compress(
        b'{"v":1,"gateway":"g1","stream":"stream-1","number":1,'
        b'"senml":[{"n":"g1/underpass/ruler/smell","u":"m","v":1,"t":1700000000}]}'
    )
    useless = {
        gateway.topic(What.DATA): [b"", b"garbage", zlib.compress(b"[1]"), unknown],
        gateway.topic(What.EVENT): [zlib.compress(b"{" * 100_000)],
        gateway.topic(What.STATUS): [b'{"gateway":"g2","state":"online","at_ms":1,"v":1}', b"{}"],
        topics.topic("0", "g1", What.INTERLOCK, "underpass"): [b'{"site":"elsewhere"}'],
        "shuichi/v1/0/No Name/data": encoded("g1", 1),
    }
    async with connected(gateway, mosquitto) as session:
        for topic, payloads in useless.items():
            for payload in payloads * 2:
                await session.publish(topic, payload)
        # A batch of another gateway: acked to the one that sent it, under its own name.
        await gateway.send(session, *encoded("g2", 2))
        await gateway.send(session, *encoded("g1", 3))
        await until(lambda: gateway.forgotten == {1, 2, 3})
    account = await cloud.account()
    (stream,) = account.streams
    assert (stream.gateway, stream.received_batches, stream.missing) == ("g1", 3, [])
    assert account.readings_in_store == account.readings_ledgered == READINGS
    cases = await cloud.table("quarantine")
    assert account.quarantined == len(cases) == 10
    assert sorted(case["times"] for case in cases) == [1] + [2] * 9
    reasons = {case["payload"]: case["reason"] for case in cases}
    assert reasons[unknown] == "'smell' is not a quantity"
    assert reasons[b"garbage"].startswith("not zlib")
    assert reasons[encoded("g2", 2)[0]] == "is of gateway 'g2', but came from 'g1'"


async def test_what_was_sealed_and_did_not_come_is_missing(
    cloud: Cloud, mosquitto: Service
) -> None:
    gateway, silent = Gateway("g1"), Gateway("g2")
    async with connected(gateway, mosquitto) as session:
        # Retained, before the cloud runs: it must know what to expect all the same.
        for one in (gateway, silent):
            status = Status(one.name, GatewayState.ONLINE, T0, "stream-1", 6, 6 * READINGS, 2)
            await session.publish(one.topic(What.STATUS), codec.encode(status), retain=True)
        cloud.start()
        await cloud.listening()
        await gateway.send(session, *encoded("g1", 1, 2, 4))
        await until(lambda: gateway.forgotten == {1, 2, 4})
        # The last will of a gateway knows of no batch, and takes none back.
        will = Status("g1", GatewayState.LOST, T0)
        await session.publish(gateway.topic(What.STATUS), codec.encode(will), retain=True)

    async def lost() -> bool:
        return any(row["state"] == "lost" for row in await cloud.table("gateway"))

    await until(lost)
    account = await cloud.account()
    assert [(one.gateway, one.missing) for one in account.streams] == [
        ("g1", [(3, 3), (5, 6)]),
        ("g2", [(1, 6)]),
    ]
    assert account.missing_batches == 9
    assert not account.ok
    command = [sys.executable, "-m", "shuichi", "account", "--config", str(cloud.file), "--json"]
    told = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True)
    assert told.returncode == 1
    assert json.loads(told.stdout)["streams"][0]["missing"] == [[3, 3], [5, 6]]


STORES = {
    "sqlite": lambda influxd: 'kind = "sqlite"',
    "influx": lambda influxd: (
        f'kind = "influx"\nurl = "{influxd.url}"\napi = "v1"\ndatabase = "shuichi"'
    ),
}


@pytest.mark.parametrize("point", ["in-commit", "after-commit"])
@pytest.mark.parametrize("store", STORES)
async def test_killed_between_store_and_ack_it_neither_loses_nor_doubles(
    store: str, point: str, tmp_path: Path, mosquitto: Service, influxd: Service
) -> None:
    cloud = Cloud(tmp_path, mosquitto, STORES[store](influxd))
    gateway = Gateway("g1")
    async with connected(gateway, mosquitto) as session:
        cloud.start("-m", "tests.system.dying_cloud", point)
        await cloud.listening()
        await gateway.send(session, *encoded("g1", *range(1, 11)))
        assert await asyncio.to_thread(cloud.wait) == -signal.SIGKILL
        assert gateway.forgotten == set()
        cloud.start()
        try:
            # The gateway sends nothing again: the broker has it still.
            await until(lambda: gateway.forgotten == set(range(1, 11)))
            account = await cloud.account()
            rows = await cloud.rows()
        finally:
            cloud.stop()
    assert account.ok
    assert account.streams[0].received_batches == 10
    assert (account.redelivered_batches > 0) is (point == "after-commit")
    assert len(rows) == len({row.at_ms for row in rows}) == 10 * READINGS


async def insisting(gateways: list[Gateway], server: Service, trouble: AsyncIterator[None]) -> None:
    """Let `gateways` send while `trouble` takes its course, and until they are rid of all."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for gateway in gateways:
            group.create_task(gateway.insist(broker_of(server)), name=gateway.name)
        async for _ in trouble:
            await asyncio.sleep(0.4)


async def assert_all_is_there_once(cloud: Cloud, gateways: list[Gateway]) -> None:
    account = await cloud.account()
    rows = await cloud.rows()
    expected = {
        (gateway.name, reading.at_ms)
        for gateway in gateways
        for one in gateway.batches
        for reading in one.readings
    }
    assert {(row.gateway, row.at_ms) for row in rows} == expected
    assert len(rows) == len(expected) == account.readings_in_store
    assert account.ok
    assert account.quarantined == 0


async def test_killed_and_restarted_in_mid_storm_nothing_is_lost_or_doubled(
    cloud: Cloud, mosquitto: Service
) -> None:
    gateways = [Gateway("g1", 300), Gateway("g2", 300)]

    async def trouble() -> AsyncIterator[None]:
        cloud.start()
        await cloud.listening()
        yield
        for _ in range(3):
            cloud.kill()
            cloud.start()
            await cloud.listening()
            yield
        mosquitto.kill()  # and all that it had acknowledged is gone
        yield
        mosquitto.start()

    await insisting(gateways, mosquitto, trouble())
    await assert_all_is_there_once(cloud, gateways)


async def test_a_store_that_dies_in_mid_storm_is_waited_for(
    tmp_path: Path, mosquitto: Service, influxd: Service
) -> None:
    cloud = Cloud(tmp_path, mosquitto, STORES["influx"](influxd))
    gateways = [Gateway("g1", 200), Gateway("g2", 200)]
    said = ""

    async def trouble() -> AsyncIterator[None]:
        cloud.start()
        await cloud.listening()
        yield
        for _ in range(2):
            influxd.kill()
            yield
            influxd.start()
            yield

    try:
        await insisting(gateways, mosquitto, trouble())
        said = cloud.log.read_text()
        await assert_all_is_there_once(cloud, gateways)
    finally:
        cloud.stop()
    assert 1 <= said.count("nothing is acknowledged until it is back") <= 2
    assert said.count("stored again after") == said.count(
        "nothing is acknowledged until it is back"
    )


async def test_started_before_its_broker_and_its_store_it_waits_for_both(
    tmp_path: Path, mosquitto: Service, influxd: Service
) -> None:
    mosquitto.kill()
    influxd.kill()
    cloud = Cloud(tmp_path, mosquitto, STORES["influx"](influxd))
    cloud.start()
    gateway = Gateway("g1", 2)
    try:
        await until(lambda: "trying again until it answers" in cloud.log.read_text())
        mosquitto.start()
        await cloud.listening()
        async with asyncio.TaskGroup() as group:
            group.create_task(gateway.insist(broker_of(mosquitto)), name="g1")
            await until(lambda: "nothing is acknowledged" in cloud.log.read_text())
            assert gateway.acked == []
            influxd.start()
        await assert_all_is_there_once(cloud, [gateway])
    finally:
        cloud.stop()


def run(cloud: Cloud, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shuichi", *words, "--config", str(cloud.file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)


def test_what_does_not_answer_is_told_before_anything_starts(
    tmp_path: Path, mosquitto: Service
) -> None:
    nobody = f'kind = "influx"\nurl = "http://127.0.0.1:{free_port()}"\napi = "v1"\ndatabase = "x"'
    mosquitto.kill()
    ended = run(Cloud(tmp_path, mosquitto, nobody), "cloud", "run")
    mosquitto.start()
    assert ended.returncode == 2
    store, broker = ended.stderr.splitlines()
    assert store.startswith("shuichi: [store] http://127.0.0.1:")
    assert "cannot be reached" in store
    assert broker == (
        f"shuichi: [broker] broker 127.0.0.1:{mosquitto.port} cannot be reached: connection refused"
    )
    assert ended.stdout == ""


def test_a_broker_that_refuses_is_one_line(tmp_path: Path) -> None:
    with services.mosquitto(tmp_path / "broker", users={"cloud": "secret"}) as server:
        ended = run(Cloud(tmp_path, server), "cloud", "run")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "refuses us" in line
    assert "not authori" in line.lower()
