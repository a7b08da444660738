"""The aggregator as a process of its own: what it stores, acks, puts aside and says is missing."""

import asyncio
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from tests import services
from tests.conftest import ROOT
from tests.services import Service, free_port
from tests.system.aggregator import (
    READINGS,
    T0,
    Cloud,
    Gateway,
    batch,
    connected,
    encoded,
    influx_store,
)
from tests.waiting import PATIENCE_S, until
from wire import codec, topics
from wire.aspect import Aspect
from wire.messages import GatewayState, InterlockState, Status
from wire.reading import Quality, Quantity, Reading
from wire.topics import What


@pytest.fixture
def cloud(tmp_path: Path, mosquitto: Service) -> Iterator[Cloud]:
    """The aggregator with the embedded store, not started yet."""
    with Cloud(tmp_path, mosquitto) as made:
        yield made


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
    await until(lambda: alerts.exists() and alerts.read_text())
    (told,) = [json.loads(line) for line in alerts.read_text().splitlines()]
    assert (told["kind"], told["level"]) == ("raise", "orange")


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
    # An empty message is a trial: `edge check --online` publishes one on each topic.
    assert account.quarantined == len(cases) == 8
    # Of a state only the newest counts; a batch that is known by its number is not looked at twice.
    assert sorted(case["times"] for case in cases) == [1, 1, 2, 2, 2, 2, 2, 4]
    words = {case["payload"]: case["words"] for case in cases}
    (smell,) = [case for case in cases if case["kind"] == "reading"]
    assert (smell["batch"], smell["position"], smell["readings"]) == (1, 0, 1)
    assert smell["words"] == "'smell' is not a quantity"
    assert words[b"garbage"].startswith("not zlib")
    assert words[encoded("g2", 2)[0]] == "is of gateway 'g2', but came from 'g1'"
    assert stream.readings_quarantined == 1 + READINGS


async def test_what_was_sealed_and_did_not_come_is_missing(
    cloud: Cloud, mosquitto: Service
) -> None:
    gateway, silent = Gateway("g1"), Gateway("g2")
    async with connected(gateway, mosquitto) as session:
        # Retained, before the cloud runs: it must know what to expect all the same.
        # The first has all of its batches still, the second none.
        for one, pending in ((gateway, 6), (silent, 0)):
            status = Status(one.name, GatewayState.ONLINE, T0, "stream-1", 6, 6 * READINGS, pending)
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
    assert [(one.gateway, one.missing, one.on_the_way) for one in account.streams] == [
        ("g1", [], [(3, 3), (5, 6)]),
        ("g2", [(1, 6)], []),
    ]
    assert (account.missing_batches, account.batches_on_the_way) == (6, 3)
    assert not account.ok
    told = await asyncio.to_thread(run, cloud, "account", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["streams"][0]["on_the_way"] == [[3, 3], [5, 6]]
    told = await asyncio.to_thread(run, cloud, "account", "--gateway", "g1")
    assert told.returncode == 0
    assert "pending   3, 5-6, with the gateway" in told.stdout


async def test_what_the_store_rejects_goes_to_quarantine_alone(
    tmp_path: Path, mosquitto: Service, shared_influxd: Service
) -> None:
    gateway = Gateway("g1")
    hot = Reading("underpass", "ruler", Quantity.TEMPERATURE, 21.5, T0, Quality.GOOD)
    mixed = batch("g1", 3)
    mixed = msgspec.structs.replace(mixed, readings=(*mixed.readings, hot))
    payload = codec.encode_batch(mixed)
    async with httpx.AsyncClient(timeout=PATIENCE_S, base_url=shared_influxd.url) as http:
        await http.post("/query", params={"q": "CREATE DATABASE mixed"})
        # Somebody else has written text where a number belongs.
        line = 'temperature value="hot",quality="good"'
        taken = await http.post("/write", params={"db": "mixed"}, content=line)
        assert taken.status_code == 204
    with Cloud(tmp_path, mosquitto, influx_store(shared_influxd, "mixed")) as cloud:
        # The session first, then the messages, then the cloud: all of them come in one take.
        cloud.start()
        await cloud.listening()
        cloud.stop()
        async with connected(gateway, mosquitto) as session:
            await gateway.send(session, *encoded("g1", 1, 2), payload, *encoded("g1", 4, 5))
            cloud.start()
            await until(lambda: gateway.forgotten == {1, 2, 3, 4, 5})
        (case,) = await cloud.table("quarantine")
        account = await cloud.account()
        (stream,) = account.streams
        assert (stream.received_batches, stream.missing, stream.redelivered_batches) == (5, [], 0)
        assert stream.readings_ledgered == 5 * READINGS
        assert stream.readings_quarantined == 1
        assert (case["kind"], case["batch"], case["reason"]) == ("reading", 3, "refused")
        assert "field type conflict" in case["words"]
        # It stays as long as the server says no, and is stored when it says yes: by the service,
        # for the command line must not write beside it.
        retry = ("quarantine", "retry", case["digest"].hex()[:10])
        said = await asyncio.to_thread(run, cloud, *retry)
        assert (said.returncode, said.stdout) == (1, "0 cases ended; 0 readings stored\n")
        assert "field type conflict" in said.stderr
        async with httpx.AsyncClient(timeout=PATIENCE_S, base_url=shared_influxd.url) as http:
            drop = {"db": "mixed", "q": "DROP MEASUREMENT temperature"}
            assert (await http.post("/query", params=drop)).is_success
        said = await asyncio.to_thread(run, cloud, *retry)
        assert said.stderr == ""
        assert (said.returncode, said.stdout) == (0, "1 case ended; 1 reading stored\n")
        async with connected(gateway, mosquitto) as session:  # it goes on, with what it knows
            await gateway.send(session, *encoded("g1", 3, 6))
            await until(lambda: 6 in gateway.forgotten)
        account = await cloud.account()
        rows = await cloud.rows()
    assert account.ok
    assert (account.quarantined, account.readings_quarantined) == (0, 0)
    assert account.readings_ledgered == account.readings_in_store == 6 * READINGS + 1
    assert [row.value for row in rows if row.quantity == Quantity.TEMPERATURE] == [21.5]


def run(cloud: Cloud, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shuichi", *words, "--config", str(cloud.file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_S)


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
