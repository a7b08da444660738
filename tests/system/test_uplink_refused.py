"""What a broker does not let a gateway do: each no is logged once and shown; the rest goes on."""

import asyncio
import logging
import os
import random
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge import doors, preflight
from edge.batches import Draft
from edge.config import read as read_config
from edge.shelf import Priority
from edge.status import Uplink
from edge.uplink import WINDOW
from tests import services
from tests.services import Service
from tests.system.test_uplink import connected, event, gate, readings
from tests.waiting import until
from wire.messages import Event
from wire.mqtt import Broker, Message, connect

CONFIG = """\
[gateway]
id = "gw"
site = "s"
[uplink.broker]
port = {port}
protocol = "{protocol}"
"""


def broker_with(folder: Path, *lines: str) -> Service:
    broker = services.mosquitto(folder)
    with (folder / "mosquitto.conf").open("a") as config:
        config.write("\n".join(lines) + "\n")
    return broker


def access(folder: Path, *rules: str) -> Service:
    folder.mkdir(exist_ok=True)
    (folder / "acl").write_text("\n".join(rules) + "\n")
    return broker_with(folder, f"acl_file {folder}/acl")


def errors(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    return [line for line in lines if words in line]


async def test_a_topic_that_is_denied_is_told_once(tmp_path, caplog):
    rules = ("topic readwrite #", "topic deny shuichi/v1/0/gw/event")
    with access(tmp_path / "broker", *rules) as server:
        async with gate(tmp_path / "o.db", Broker(port=server.port)) as one:
            for i in range(WINDOW + 6):  # more than may be on their way
                await one.outbox.seal_all([Draft(Priority.EVENT, (), (event(i),))])
            for i in range(5):
                await one.outbox.seal(readings(i))
            async with connected(one):
                await until(lambda: len(one.uplink.broker.denied) == 1)
                await until(lambda: one.arrived() == [WINDOW + 7 + i for i in range(5)])
                assert len(one.uplink.broker.aside) == WINDOW + 6
                (topic,) = one.uplink.broker.denied
                assert topic == "shuichi/v1/0/gw/event"
                assert one.uplink.connected
    assert len(errors(caplog, "gw/event: not authorized")) == 1


async def test_a_right_that_is_taken_away_while_we_run_and_given_back_costs_nothing(
    tmp_path, caplog
):
    everything = "topic readwrite #\n"
    with access(tmp_path / "broker", everything) as server:

        def rule(rules: str) -> None:
            (tmp_path / "broker" / "acl").write_text(rules)
            os.kill(server.pid, signal.SIGHUP)

        async with gate(tmp_path / "o.db", Broker(port=server.port)) as one, connected(one):
            rule(f"{everything}topic deny shuichi/v1/0/gw/data\n")

            async def is_refused():
                await one.outbox.seal(readings(0))
                return len(one.uplink.broker.aside) >= 3

            await until(is_refused)
            refused = set(one.uplink.broker.aside)
            rule(everything)

            async def is_taken():
                one.uplink.offer(await one.outbox.seal(readings(1)))
                return not one.uplink.broker.denied

            await until(is_taken)
            # Long before they would be tried again by themselves.
            await until(lambda: {number for _, number in refused} <= {*one.arrived()}, 30)
    assert len(errors(caplog, "gw/data: not authorized")) == 1


async def test_a_gateway_that_may_not_listen_speaks_all_the_same(tmp_path, caplog):
    """mosquitto grants a filter that an access list denies, and sends nothing; others refuse."""
    with access(tmp_path / "broker", "topic write shuichi/#") as server:
        async with (
            refusing_subscriptions(server.port) as port,
            gate(tmp_path / "o.db", Broker(port=port)) as one,
        ):
            worker = asyncio.create_task(one.uplink.run(), name="uplink")
            try:
                await until(lambda: len(one.uplink.broker.denied) == 2)
                await until(lambda: one.uplink.connected)
                one.sealer.tell(event(1))
                await one.sealer.seal()
                await until(lambda: one.uplink.in_flight == 1)
            finally:
                worker.cancel()
                await asyncio.wait((worker,))
    assert len(errors(caplog, "does not let us subscribe")) == 2


@asynccontextmanager
async def refusing_subscriptions(port: int):
    """The port of a way to the broker on which each SUBACK says no."""
    serving: set[asyncio.Task[None]] = set()

    async def pump(reader, writer, *, spoil: bool) -> None:
        while data := await reader.read(65_536):
            if spoil and data[0] == 0x90:
                data = data[:5] + b"\x87" + data[6:]
            writer.write(data)

    async def serve(reader, writer) -> None:
        serving.add(asyncio.current_task())  # type: ignore[arg-type]
        there, out = await asyncio.open_connection("127.0.0.1", port)
        ways = [
            asyncio.create_task(pump(reader, out, spoil=False), name="there"),
            asyncio.create_task(pump(there, writer, spoil=True), name="back"),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        for one in (out, writer):
            one.close()
            await one.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.wait(serving)
        await server.wait_closed()


async def test_batches_are_cut_to_what_the_broker_takes_and_larger_ones_are_set_aside(
    tmp_path, caplog
):
    dice = random.Random(1)
    words = [Event(1_750_000_000_000, "s", "k", dice.randbytes(400).hex()) for _ in range(40)]
    with broker_with(tmp_path / "broker", "max_packet_size 4000") as server:
        async with gate(tmp_path / "o.db", Broker(port=server.port)) as one:
            # Sealed before anybody knows how little the broker takes.
            await one.outbox.seal_all([Draft(Priority.EVENT, (), tuple(words))])
            await one.outbox.seal_all([Draft(Priority.EVENT, (), (event(1),))])
            async with connected(one):
                await until(lambda: one.uplink.broker.aside == {(one.outbox.position.stream, 1)})
                await until(lambda: one.arrived() == [2])
                for word in words:
                    one.sealer.tell(word)
                await one.sealer.seal()
                last = one.outbox.position.sealed
                await until(lambda: sorted(one.arrived()) == list(range(2, last + 1)))
                await until(lambda: one.outbox.position.pending == 1)
        assert last > 8
    assert len(errors(caplog, "set aside")) == 1
    assert len(errors(caplog, "trying again")) == 0


async def test_what_was_set_aside_goes_when_the_broker_takes_it(tmp_path):
    whole = tuple(
        Event(1_750_000_000_000, "s", "k", random.Random(i).randbytes(400).hex()) for i in range(20)
    )
    async with gate(tmp_path / "o.db", Broker(port=1)) as one:
        await one.outbox.seal_all([Draft(Priority.EVENT, (), whole)])
    for limit in ("max_packet_size 4000", "max_packet_size 100000"):
        with broker_with(tmp_path / limit.replace(" ", "-"), limit) as server:
            async with gate(tmp_path / "o.db", Broker(port=server.port)) as one, connected(one):
                if limit.endswith("4000"):
                    await until(lambda: len(one.uplink.broker.aside) == 1)
                else:
                    await until(lambda: one.outbox.position.pending == 0)


async def test_another_client_with_the_gateways_id_is_named(tmp_path, caplog):
    turns = 0

    async def throw_out(reader, writer) -> None:
        nonlocal turns
        turns += 1
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00")  # come in
        await reader.read(100)  # what it subscribes to
        writer.write(b"\xe0\x01\x8e")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(throw_out, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with gate(tmp_path / "o.db", Broker(port=port)) as one:
            worker = asyncio.create_task(one.uplink.run(), name="uplink")
            try:
                await until(lambda: turns >= 3 and bool(one.uplink.broker.said))
                assert "another client uses this gateway's id" in one.uplink.broker.said
            finally:
                worker.cancel()
                await asyncio.wait((worker,))
    assert len(errors(caplog, "another client uses this gateway's id")) == 1
    assert len(errors(caplog, "session taken over")) == 1  # and not once for each turn
    assert not [one for one in caplog.records if "connected again" in one.getMessage()]


async def test_what_a_connack_says_is_logged_once_and_shown(tmp_path, caplog):
    server = services.mosquitto(tmp_path / "broker", users={"gw": "right"})
    (tmp_path / "password").write_text("wrong")
    with server:
        broker = Broker(port=server.port, username="gw", password_file=str(tmp_path / "password"))
        async with gate(tmp_path / "o.db", broker) as one:
            worker = asyncio.create_task(one.uplink.run(), name="uplink")
            try:
                await until(lambda: "not authorized" in one.uplink.broker.said)
                (tmp_path / "password").write_text("right")
                await until(lambda: one.uplink.connected)
                assert one.uplink.broker.said == ""
            finally:
                worker.cancel()
                await asyncio.wait((worker,))
    assert len(errors(caplog, "not authorized")) == 1


# Before anybody leaves.


async def outside(tmp_path: Path, port: int, protocol: str = "5") -> preflight.Outside:
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG.format(port=port, protocol=protocol))
    return await preflight.outside(read_config(file))


async def test_check_finds_the_topics_that_are_denied(tmp_path):
    rules = ("topic readwrite #", "topic deny shuichi/v1/0/gw/data")
    with access(tmp_path / "broker", *rules) as server:
        found = await outside(tmp_path, server.port)
        (fault,) = found.faults
        assert "[uplink.broker]" in fault
        assert "shuichi/v1/0/gw/data" in fault
        assert "not authorized" in fault
        old = await outside(tmp_path, server.port, "3.1.1")  # it cannot tell
        assert old.faults == []
        assert any("3.1.1" in doubt for doubt in old.doubts)


async def test_check_leaves_nothing_behind_and_disturbs_nobody(tmp_path, shared_mosquitto):
    broker = Broker(port=shared_mosquitto.port)
    async with connect(broker, "probe") as probe:
        for what in ("status", "interlock/s"):
            await probe.publish(f"shuichi/v1/0/gw/{what}", b"kept", retain=True)
        assert await outside(tmp_path, shared_mosquitto.port) == preflight.Outside([], [])
        await probe.subscribe("shuichi/v1/0/gw/status", "shuichi/v1/0/gw/interlock/+")
        kept: list[Message] = []
        while len(kept) < 2:
            kept += await probe.take(9)
        assert {(one.payload, one.retained) for one in kept} == {(b"kept", True)}
        for one in kept:
            await probe.publish(one.topic, b"", retain=True)


async def test_check_says_that_a_broker_keeps_nothing(tmp_path):
    with broker_with(tmp_path / "broker", "retain_available false") as server:
        found = await outside(tmp_path, server.port)
    assert found.faults == []
    assert any("retained" in doubt for doubt in found.doubts)


@pytest.mark.parametrize(
    ("uplink", "faults", "doubts"),
    [
        (Uplink("b:1", True, 0, 9, 1.0), 0, 0),
        (Uplink("b:1", True, 0, 9, 1.0, denied={"t": "the broker denies t"}), 1, 0),
        (Uplink("b:1", False, 0, 0, None, broker_said="not authorized"), 1, 0),
        (Uplink("b:1", False, 0, 0, None), 1, 0),
        (Uplink("b:1", True, 0, 9, 1.0, set_aside=3), 0, 1),
    ],
)
async def test_check_does_not_throw_out_the_gateway_that_runs_here(
    tmp_path, monkeypatch, uplink, faults, doubts
):
    """Where the broker has one session for each user, whatever name a client asks for."""

    async def ask_status(_: Path) -> SimpleNamespace:
        return SimpleNamespace(uplink=uplink)

    monkeypatch.setattr(doors, "ask_status", ask_status)
    found = await outside(tmp_path, 1)  # nobody listens there
    assert (len(found.faults), len(found.doubts)) == (faults, doubts)
    assert all(line.startswith("[uplink.broker] ") for line in found.faults)
