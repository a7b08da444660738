"""`wire.mqtt` against a real broker: what is not acknowledged comes again, a no is an error."""

import asyncio
import contextlib
import socket

import pytest

from tests import services
from wire import mqtt
from wire.mqtt import Broker, Disconnected, PublishRefused, Refused, Unreachable, Will

WAIT_S = 20


@contextlib.asynccontextmanager
async def session(broker, name="probe", **settings):
    async with (
        asyncio.timeout(WAIT_S),
        mqtt.connect(Broker(port=broker.port), name, **settings) as open_session,
    ):
        yield open_session


async def test_what_is_not_acknowledged_comes_again(mosquitto):
    async with session(mosquitto, "reader", keep_session_s=60) as reader:
        await reader.subscribe("a/#")
        async with session(mosquitto, "writer") as writer:
            for i in range(3):
                await writer.publish("a/b", b"%d" % i)
        first = await reader.take(1)
        reader.ack(first[0])
    async with session(mosquitto, "reader", keep_session_s=60) as reader:
        again: list[mqtt.Message] = []
        while len(again) < 2:
            again += await reader.take(10)
    assert first[0].payload == b"0"
    assert [m.payload for m in again] == [b"1", b"2"]


async def test_the_broker_sends_no_more_than_the_receive_maximum(mosquitto):
    async with session(mosquitto, "reader", receive_maximum=5) as reader:
        await reader.subscribe("a/#")
        async with session(mosquitto, "writer") as writer:
            for i in range(20):
                await writer.publish("a/b", b"%d" % i)
        held = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    held += await reader.take(100)
        assert len(held) == 5
        while len(held) < 20:
            for message in held:
                reader.ack(message)
            held += await reader.take(100)
    assert [int(m.payload) for m in held] == list(range(20))


async def test_a_refused_publish_is_an_error(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "acl").write_text("topic read #\ntopic write allowed/#\n")
    broker = services.mosquitto(folder)
    with (folder / "mosquitto.conf").open("a") as config:
        config.write(f"acl_file {folder}/acl\n")
    with broker:
        async with session(broker) as writer:
            await writer.publish("allowed/x", b"1")
            with pytest.raises(PublishRefused, match="not authorized"):
                await writer.publish("denied/x", b"1")


async def test_a_wrong_password_is_refused_and_an_absent_broker_is_not_reached(tmp_path):
    with services.mosquitto(tmp_path / "broker", users={"gw": "right"}) as broker:
        (tmp_path / "password").write_text("wrong\n")
        settings = Broker(port=broker.port, username="gw", password_file=str(tmp_path / "password"))
        with pytest.raises(Refused, match=r"refuses us as 'probe': (not authorized|bad user)"):
            async with mqtt.connect(settings, "probe"):
                pass
        (tmp_path / "password").write_text("right\n")
        async with mqtt.connect(settings, "probe") as probe:
            await probe.publish("a", b"")
        absent = settings.model_copy(update={"password_file": str(tmp_path / "none")})
        with pytest.raises(Refused, match="No such file"):
            async with mqtt.connect(absent, "probe"):
                pass
    with pytest.raises(Unreachable, match="connection refused"):
        async with mqtt.connect(settings, "probe"):
            pass


async def test_a_killed_broker_ends_the_session_and_keep_connected_comes_back(mosquitto):
    heard: list[bytes] = []
    connected, done = asyncio.Event(), asyncio.Event()

    async def run(open_session):
        await open_session.subscribe("a/#")
        connected.set()
        while True:
            for message in await open_session.take(10):
                heard.append(message.payload)
                open_session.ack(message)
            if b"after" in heard:
                done.set()

    task = asyncio.create_task(
        mqtt.keep_connected(Broker(port=mosquitto.port), "keeper", run), name="keeper"
    )
    try:
        async with asyncio.timeout(WAIT_S):
            await connected.wait()
            async with mqtt.connect(Broker(port=mosquitto.port), "writer") as writer:
                await writer.publish("a/b", b"before")
                mosquitto.kill()
                with pytest.raises(Disconnected):
                    await writer.publish("a/b", b"lost")
            connected.clear()
            mosquitto.start()
            await connected.wait()
            async with session(mosquitto, "writer") as writer:
                await writer.publish("a/b", b"after")
            await done.wait()
    finally:
        task.cancel()
        await asyncio.wait((task,))
    assert heard == [b"before", b"after"]


async def test_the_will_is_said_when_a_client_vanishes_and_not_when_it_leaves(mosquitto):
    async with session(mosquitto, "reader") as reader:
        await reader.subscribe("status")
        async with session(mosquitto, "polite", will=Will("status", b"lost")):
            pass
        async with session(mosquitto, "rude", will=Will("status", b"lost")) as rude:
            # The line is cut under the client: no DISCONNECT reaches the broker.
            line = rude._client._client.socket()
            assert line is not None
            line.shutdown(socket.SHUT_RDWR)
        (said,) = await reader.take(10)
    assert said.payload == b"lost"
