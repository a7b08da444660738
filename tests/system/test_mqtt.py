"""`wire.mqtt` against a real broker: what is not acknowledged comes again, a no is an error."""

import asyncio
import contextlib
import socket
import ssl
from datetime import timedelta

import pytest

from tests import services
from tests.certificates import Authority
from tests.faultproxy import FaultProxy, Way
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


async def test_a_broker_that_never_answers_is_given_up_and_nothing_stays_open():
    async def never_answer(reader, writer):
        await reader.read()  # until the client hangs up
        writer.close()
        hung_up.set()

    hung_up = asyncio.Event()
    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        broker = Broker(port=port, connect_timeout_s=0.3)
        with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
            async with mqtt.connect(broker, "probe"):
                pass
        async with asyncio.timeout(WAIT_S):
            await hung_up.wait()


async def test_a_connection_can_be_given_up_while_it_is_made():
    async def never_answer(reader, writer):
        asked.set()
        await reader.read()
        writer.close()
        hung_up.set()

    asked, hung_up = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server, asyncio.timeout(WAIT_S):
        broker = Broker(port=server.sockets[0].getsockname()[1])
        task = asyncio.create_task(mqtt.keep_connected(broker, "probe", never_run), name="probe")
        await asked.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        await hung_up.wait()


async def test_a_broker_that_hangs_up_before_it_answers_is_not_waited_for():
    async def hang_up(reader, writer):
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        broker = Broker(port=server.sockets[0].getsockname()[1], connect_timeout_s=WAIT_S)
        with pytest.raises(Unreachable, match="it hung up without a word"):
            async with mqtt.connect(broker, "probe"):
                pass


async def never_run(open_session):
    raise AssertionError("there was no connection")


async def test_a_half_open_connection_is_left_within_a_second_or_two(mosquitto):
    with FaultProxy(mosquitto.port) as way:
        async with mqtt.connect(Broker(port=way.port), "probe") as probe:
            await probe.publish("a", b"1")
            way.make(Way.SILENT)
            lost = probe.send("a", b"2")
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 3
        with pytest.raises(Disconnected):
            await lost


async def test_a_broker_that_reads_slowly_is_left_within_a_second_or_two(mosquitto):
    with FaultProxy(mosquitto.port) as way:
        async with mqtt.connect(Broker(port=way.port), "probe") as probe:
            await probe.publish("a", b"1")
            way.make(Way.SLOW)
            lost = [probe.send("a", bytes(1_000_000)) for _ in range(20)]
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 3
        with pytest.raises(Disconnected):
            await lost[-1]


async def test_tls_is_believed_only_with_the_right_authority(tmp_path):
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    good = ours.sign("good")
    broker = services.mosquitto(tmp_path / "broker")
    with (tmp_path / "broker" / "mosquitto.conf").open("a") as config:
        config.write(f"certfile {good.certificate}\nkeyfile {good.key}\n")
    with broker:
        trusting = Broker(port=broker.port, tls=True, ca_file=str(ours.file))
        async with mqtt.connect(trusting, "probe") as probe:
            await probe.subscribe("a")
            await probe.publish("a", bytes(100_000))
            (echo,) = await probe.take(1)
            assert echo.payload == bytes(100_000)
        doubting = Broker(port=broker.port, tls=True, ca_file=str(theirs.file))
        with pytest.raises(Unreachable, match=r"not to be trusted: .*(issuer|self-signed)"):
            async with mqtt.connect(doubting, "probe"):
                pass
        elsewhere = trusting.model_copy(update={"host": "localhost"})
        with pytest.raises(Unreachable, match="not to be trusted: Hostname mismatch"):
            async with mqtt.connect(elsewhere, "probe"):
                pass
        absent = trusting.model_copy(update={"ca_file": str(tmp_path / "none")})
        with pytest.raises(Refused, match="No such file or directory"):
            async with mqtt.connect(absent, "probe"):
                pass
        no_pem = trusting.model_copy(update={"ca_file": str(good.key)})
        with pytest.raises(Refused, match="certificate files cannot be used"):
            async with mqtt.connect(no_pem, "probe"):
                pass


async def test_an_expired_certificate_is_told(tmp_path):
    ours = Authority(tmp_path, "ours")
    old = ours.sign("old", ended_ago=timedelta(hours=1))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*old)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="not to be trusted: certificate has expired"):
            async with mqtt.connect(Broker(port=port, tls=True, ca_file=str(ours.file)), "probe"):
                pass
