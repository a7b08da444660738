"""What a broker cannot do, or does too much of: messages too large, retained ones, QoS 1."""

import asyncio
import logging

import pytest

from tests import services
from tests.waiting import PATIENCE_S
from wire import mqtt
from wire.mqtt import Broker, PublishRefused, Refused, Will


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("room", [mqtt.TO_GATEWAY, mqtt.TO_CLOUD], ids=["gateway", "cloud"])
async def test_a_message_that_is_too_large_passes_once_and_blocks_nothing(
    shared_mosquitto, protocol, room, caplog
):
    """Over 3.1.1 it came again and again, each time the end of the connection."""
    caplog.set_level(logging.WARNING, "shuichi.mqtt")
    broker = Broker(port=shared_mosquitto.port, protocol=protocol)
    name, topic = f"large-{protocol}-{room.packet_bytes}", f"large/{room.packet_bytes}"
    kept = {"keep_session_s": 60, "room": room}
    async with asyncio.timeout(PATIENCE_S):
        async with mqtt.connect(broker, name, **kept) as reader:
            await reader.subscribe(topic)
            async with mqtt.connect(broker, "writer") as writer:
                sent = [b"before", bytes(room.packet_bytes), b"after"]
                await asyncio.gather(*(writer.send(topic, one) for one in sent))
            heard: list[mqtt.Message] = []
            while len(heard) < 2:
                heard += await reader.take(10)
            for message in heard:
                reader.ack(message)
            await reader.publish("elsewhere", b"")  # the broker has the acks too
            assert [m.payload for m in heard] == [b"before", b"after"]
            assert reader.skipped == (protocol == "3.1.1")  # of MQTT 5 the broker has let it go
        async with mqtt.connect(broker, name, **kept) as reader:
            assert reader.kept
            async with mqtt.connect(broker, "writer") as writer:
                await writer.publish(topic, b"later")
            assert [m.payload for m in await reader.take(10)] == [b"later"]
            assert reader.skipped == 0
    assert len(caplog.records) == (protocol == "3.1.1")
    async with mqtt.connect(broker, name):
        pass  # the session ends


async def test_a_broker_without_retained_messages_gets_the_others(tmp_path):
    broker = services.mosquitto(tmp_path / "broker")
    with (tmp_path / "broker" / "mosquitto.conf").open("a") as config:
        config.write("retain_available false\n")
    with broker:
        settings = Broker(port=broker.port)
        async with asyncio.timeout(PATIENCE_S), mqtt.connect(settings, "reader") as reader:
            await reader.subscribe("status")
            async with mqtt.connect(settings, "gw", will=Will("status", b"lost")) as gateway:
                assert not gateway.retains
                await gateway.publish("status", b"online", retain=True)
                (said,) = await reader.take(1)
            assert (said.payload, said.retained) == (b"online", False)


async def test_a_broker_says_how_large_a_message_may_be(tmp_path):
    broker = services.mosquitto(tmp_path / "broker")
    with (tmp_path / "broker" / "mosquitto.conf").open("a") as config:
        config.write("max_packet_size 3000\n")
    with broker:
        async with (
            asyncio.timeout(PATIENCE_S),
            mqtt.connect(Broker(port=broker.port), "probe") as probe,
        ):
            await probe.publish("a", bytes(probe.most_payload))
            with pytest.raises(PublishRefused, match="too large"):
                await probe.publish("a", bytes(3000))
            await probe.publish("a", b"still there")


async def test_a_broker_of_qos_0_only_is_refused():
    async def answer(reader, writer):
        await reader.read(100)
        writer.write(b"\x20\x05\x00\x00\x02\x24\x00")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        broker = Broker(port=server.sockets[0].getsockname()[1])
        with pytest.raises(Refused, match="qos not supported"):
            async with mqtt.connect(broker, "probe"):
                pass
