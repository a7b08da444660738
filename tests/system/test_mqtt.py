"""The contract of `wire.mqtt` against a real broker, as a gateway and as the cloud connect: what
is not acknowledged comes again, memory is bounded, a no is an error, nothing stays open."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

import pytest

from tests import services
from tests.faultproxy import FaultProxy, Way
from tests.waiting import PATIENCE_S, until
from wire import mqtt
from wire.mqtt import Broker, Disconnected, PublishRefused, Refused, Unreachable, Will

WAIT_S = PATIENCE_S
LEFT_WITHIN_S = 15
"""What is left within a second or two on a machine that has nothing else to do; a connection that
waited for its broker would wait for its keepalive, a minute."""
ROOMS = {"gateway": mqtt.TO_GATEWAY, "cloud": mqtt.TO_CLOUD}


@pytest.fixture(params=ROOMS.values(), ids=list(ROOMS))
def connect(request):
    return partial(mqtt.connect, room=request.param)


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request):
    return request.param


@pytest.fixture
def session(connect: Callable[..., contextlib.AbstractAsyncContextManager[mqtt.Session]]):
    @contextlib.asynccontextmanager
    async def opened(broker, name="probe", protocol="5", **settings):
        async with (
            asyncio.timeout(WAIT_S),
            connect(Broker(port=broker.port, protocol=protocol), name, **settings) as one,
        ):
            yield one

    return opened


async def take(reader, count):
    """`count` messages, none of them acknowledged."""
    messages: list[mqtt.Message] = []
    while len(messages) < count:
        messages += await reader.take(count - len(messages))
    return messages


async def test_what_is_not_acknowledged_comes_again(shared_mosquitto, session, protocol):
    kept = {"name": "again", "protocol": protocol, "keep_session_s": 60}
    with FaultProxy(shared_mosquitto.port) as way:
        async with session(way, **kept) as reader:
            assert not reader.kept
            await reader.subscribe("again/#")
            async with session(shared_mosquitto, "writer") as writer:
                for i in range(3):
                    await writer.publish("again/b", b"%d" % i)
            first = await reader.take(1)
            reader.ack(first[0])
            await reader.publish("elsewhere", b"")  # the broker has the ack too
            way.make(Way.SHUT)  # no word of goodbye reaches it
    async with session(shared_mosquitto, **kept) as reader:
        assert reader.kept
        again = await take(reader, 2)
        assert again[0].mid != again[1].mid
    async with session(shared_mosquitto, "again", protocol):
        pass  # the session ends
    assert first[0].payload == b"0"
    assert [m.payload for m in again] == [b"1", b"2"]


async def test_the_broker_sends_no_more_than_the_receive_maximum(shared_mosquitto, session):
    async with session(shared_mosquitto, "reader", receive_maximum=5) as reader:
        await reader.subscribe("most/#")
        async with session(shared_mosquitto, "writer") as writer:
            for i in range(20):
                await writer.publish("most/b", b"%d" % i)
        held = await take(reader, 5)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                held += await reader.take(100)
        assert len(held) == 5
        while len(held) < 20:
            for message in held:
                reader.ack(message)
            held += await reader.take(100)
    assert [int(m.payload) for m in held] == list(range(20))


async def test_no_more_wait_for_a_take_than_the_receive_maximum(
    shared_mosquitto, session, protocol
):
    """MQTT 5 does not bound messages of QoS 0, and 3.1.1 none at all: then we stop to read."""
    async with session(shared_mosquitto, "reader", protocol, receive_maximum=5) as reader:
        await reader.subscribe("room/#")
        flood = b"".join(b"\x30\x0d\x00\x06room/a" + b"%05d" % i for i in range(500))
        _, line = await asyncio.open_connection("127.0.0.1", shared_mosquitto.port)
        line.write(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05flood" + flood)
        inbox = reader._client._inbox
        await until(lambda: len(inbox) == 5)
        await asyncio.sleep(0.3)
        assert len(inbox) == 5
        taken: list[mqtt.Message] = []
        while len(taken) < 500:
            taken += await reader.take(3)
            assert len(inbox) <= 5
        assert await reader.publish("elsewhere", b"") is (protocol == "3.1.1")
        line.close()
        await line.wait_closed()
    assert [int(m.payload) for m in taken] == list(range(500))
    assert {m.qos for m in taken} == {0}


async def test_a_subscription_is_granted_behind_a_backlog_for_which_there_is_no_room(
    tmp_path, session
):
    broker = services.mosquitto(tmp_path / "broker")
    with (tmp_path / "broker" / "mosquitto.conf").open("a") as config:
        config.write("max_inflight_messages 0\n")  # all of it at once
    kept = {"name": "behind", "protocol": "3.1.1", "keep_session_s": 60, "receive_maximum": 5}
    with broker:
        async with session(broker, **kept) as reader:
            await reader.subscribe("behind/#")
        async with session(broker, "writer") as writer:
            await asyncio.gather(*(writer.send("behind/a", b"%d" % i) for i in range(100)))
        async with session(broker, **kept) as reader:
            await until(lambda: len(reader._client._inbox) == 5)
            await reader.subscribe("behind/#", "beside")
            assert [int(m.payload) for m in await take(reader, 100)] == list(range(100))


async def test_a_publish_that_nobody_hears_says_so(shared_mosquitto, session, protocol):
    async with session(shared_mosquitto, "teller", protocol) as teller:
        # MQTT 3.1.1 cannot tell.
        assert await teller.publish("nobody/here", b"1") is (protocol == "3.1.1")
        await teller.subscribe("nobody/here")
        assert await teller.publish("nobody/here", b"2")
        (heard,) = await teller.take(1)
        assert heard.payload == b"2"
        teller.ack(heard)


async def test_many_publishes_at_once_keep_to_what_the_broker_takes(shared_mosquitto, session):
    """mosquitto asks for 20 at a time."""
    async with session(shared_mosquitto, "reader") as reader:
        await reader.subscribe("many")
        async with session(shared_mosquitto, "writer") as writer:
            sent = [writer.send("many", b"%d" % i) for i in range(500)]
            assert await asyncio.gather(*sent) == [True] * 500
        assert [int(m.payload) for m in await take(reader, 500)] == list(range(500))


async def test_a_refused_publish_is_an_error(tmp_path, session):
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


async def test_a_wrong_password_is_refused_and_an_absent_broker_is_not_reached(
    tmp_path, connect, protocol
):
    with services.mosquitto(tmp_path / "broker", users={"gw": "right"}) as broker:
        (tmp_path / "password").write_text("wrong\n")
        settings = Broker(
            port=broker.port,
            protocol=protocol,
            username="gw",
            password_file=str(tmp_path / "password"),
        )
        with pytest.raises(Refused, match=r"refuses us as 'probe': (not authorized|bad user)"):
            async with connect(settings, "probe"):
                pass
        (tmp_path / "password").write_text("right\n")
        async with connect(settings, "probe") as probe:
            await probe.publish("a", b"")
        absent = settings.model_copy(update={"password_file": str(tmp_path / "none")})
        with pytest.raises(Refused, match="No such file"):
            async with connect(absent, "probe"):
                pass
    with pytest.raises(Unreachable, match="connection refused"):
        async with connect(settings, "probe"):
            pass


async def test_a_killed_broker_ends_the_session_and_keep_connected_comes_back(
    mosquitto, connect, session
):
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
        mqtt.keep_connected(Broker(port=mosquitto.port), "keeper", run, **connect.keywords),
        name="keeper",
    )
    try:
        async with asyncio.timeout(WAIT_S):
            await connected.wait()
            async with connect(Broker(port=mosquitto.port), "writer") as writer:
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


async def test_the_will_is_said_when_a_client_vanishes_and_not_when_it_leaves(
    mosquitto, session, protocol
):
    will = Will("will/status", b"lost")
    async with session(mosquitto, "reader") as reader:
        await reader.subscribe("will/status")
        async with session(mosquitto, "polite", protocol, will=will):
            pass
        with FaultProxy(mosquitto.port) as way:
            async with session(way, "rude", protocol, will=will):
                way.make(Way.SHUT)
        (said,) = await reader.take(10)
    assert said.payload == b"lost"


async def test_a_broker_that_never_answers_is_given_up_and_nothing_stays_open(connect):
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
            async with connect(broker, "probe"):
                pass
        async with asyncio.timeout(WAIT_S):
            await hung_up.wait()


async def test_a_connection_can_be_given_up_while_it_is_made(connect):
    async def never_answer(reader, writer):
        asked.set()
        await reader.read()
        writer.close()
        hung_up.set()

    asked, hung_up = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server, asyncio.timeout(WAIT_S):
        broker = Broker(port=server.sockets[0].getsockname()[1])
        task = asyncio.create_task(
            mqtt.keep_connected(broker, "probe", never_run, **connect.keywords), name="probe"
        )
        await asked.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        await hung_up.wait()


async def test_a_broker_that_hangs_up_before_it_answers_is_not_waited_for(connect):
    async def hang_up(reader, writer):
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        broker = Broker(port=server.sockets[0].getsockname()[1], connect_timeout_s=WAIT_S)
        with pytest.raises(Unreachable, match="it hung up without a word"):
            async with connect(broker, "probe"):
                pass


async def never_run(open_session):
    raise AssertionError("there was no connection")


async def test_a_half_open_connection_is_left_within_a_second_or_two(shared_mosquitto, connect):
    with FaultProxy(shared_mosquitto.port) as way:
        async with connect(Broker(port=way.port), "probe") as probe:
            await probe.publish("a", b"1")
            way.make(Way.SILENT)
            lost = probe.send("a", b"2")
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < LEFT_WITHIN_S
        with pytest.raises(Disconnected):
            await lost


async def test_a_broker_that_reads_slowly_is_left_within_a_second_or_two(shared_mosquitto, connect):
    with FaultProxy(shared_mosquitto.port) as way:
        async with connect(Broker(port=way.port), "probe") as probe:
            await probe.publish("a", b"1")
            way.make(Way.SLOW)
            lost = [probe.send("a", bytes(1_000_000)) for _ in range(20)]
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < LEFT_WITHIN_S
        with pytest.raises(Disconnected):
            await lost[-1]


async def test_a_silent_broker_is_given_up_after_a_keepalive_or_two(shared_mosquitto, connect):
    with FaultProxy(shared_mosquitto.port) as way:
        hasty = Broker.model_construct(port=way.port, keepalive_s=2)  # less than a config may ask
        async with asyncio.timeout(WAIT_S), connect(hasty, "probe") as probe:
            await probe.publish("a", b"1")
            await asyncio.sleep(3.2)  # quiet, but not dead
            await probe.publish("a", b"2")
            way.make(Way.SILENT)
            with pytest.raises(Disconnected):
                await probe.take(1)


CONNACK = b"\x20\x03\x00\x00\x00"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        CONNACK + b"\x00\x00",
        CONNACK + b"\x32\xff\xff\xff\xff\x7f",
        CONNACK + b"\x30\x05\x00\x02\xff\xfe\x00",
        CONNACK + b"\xe0\x01\x8b",
        CONNACK + b"\x30\x09\x00\x01a\x00half",
    ],
    ids=["http", "reserved", "endless", "utf-8", "disconnect", "cut"],
)
async def test_whatever_a_broker_says_ends_the_connection_at_worst(said, connect):
    async def talk(reader, writer):
        await reader.read(100)
        writer.write(said)
        await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, asyncio.timeout(WAIT_S):
        with pytest.raises((Disconnected, Unreachable)):
            async with connect(Broker(port=server.sockets[0].getsockname()[1]), "probe") as probe:
                await probe.take(1)
