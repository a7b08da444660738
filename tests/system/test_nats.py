"""A clustered broker: NATS with JetStream, whose MQTT is 3.1.1; one server of it, killed (-9)."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from tests import services
from tests.faultproxy import FaultProxy, Way
from tests.system.line import Line, change
from tests.system.test_line import AMBER_M, RED_M, check_lamp, check_store, flood, water_over
from tests.waiting import PATIENCE_S
from wire import mqtt
from wire.aspect import Aspect
from wire.mqtt import Broker, Refused, Will

OLD: Final = {"protocol": "3.1.1"}


def test_the_line_over_nats_loses_nothing_when_nats_and_the_cloud_die(tmp_path: Path) -> None:
    with services.nats(tmp_path / "nats") as broker:
        line = Line(tmp_path / "line", broker.port, **flood(tmp_path))
        change(line.folder / "gateway.toml", {("uplink", "broker", "protocol"): "3.1.1"})
        change(line.folder / "cloud.toml", {("broker", "protocol"): "3.1.1"})
        with line:
            # The cloud may start more slowly than the water rises.
            line.until(lambda: water_over(line, AMBER_M) and line.acked())
            broker.kill()
            line.until(lambda: water_over(line, RED_M) and line.lamp(Aspect.RED))
            line.until(lambda: line.outbox().pending > 0)
            broker.start()
            line.until(lambda: "connected again" in line.log("cloud"))
            line.kill("cloud")
            line.until(lambda: line.outbox().pending > 0)
            line.start("cloud")
            account = line.hand_over()
            check_lamp(line)
            check_store(line, account)


async def test_what_we_need_of_mqtt_nats_has(tmp_path: Path) -> None:
    """Kept sessions, retained messages and wills, over a kill -9; and a no to a subscription."""
    with services.nats(tmp_path / "nats") as broker, FaultProxy(broker.port) as way:
        direct = Broker(port=broker.port, protocol="3.1.1")
        cloud: dict[str, Any] = {"keep_session_s": 60}
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(Refused, match=r'protocol version: try protocol = "3\.1\.1"'):
                async with mqtt.connect(Broker(port=broker.port), "cloud"):
                    pass
            async with mqtt.connect(direct, "cloud", **cloud) as reader:
                assert not reader.kept
                await reader.subscribe("a/data", "a/status")
                with pytest.raises(Refused, match="does not let us subscribe to a b"):
                    await reader.subscribe("a b")
            gateway = Broker(port=way.port, protocol="3.1.1")
            async with mqtt.connect(gateway, "gw", will=Will("a/status", b"lost")) as gw:
                assert await gw.publish("a/status", b"online", retain=True)
                assert await gw.publish("a/data", b"1")
                way.make(Way.SHUT)
            # Until the broker has said the will: a retained message is for whoever comes new.
            said = b"online"
            while said != b"lost":
                async with mqtt.connect(direct, "new") as new:
                    await new.subscribe("a/status")
                    (status,) = await new.take(1)
                assert status.retained
                said = status.payload
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)
            async with mqtt.connect(direct, "cloud", **cloud) as reader:
                assert reader.kept
                messages: list[mqtt.Message] = []
                while len(messages) < 3:
                    messages += await reader.take(10)
                for message in messages:
                    reader.ack(message)
                # In this order on one topic; topics may overtake one another.
                assert [m.payload for m in messages if m.topic == "a/status"] == [
                    b"online",
                    b"lost",
                ]
                assert [m.payload for m in messages if m.topic == "a/data"] == [b"1"]
                assert await reader.publish("elsewhere", b"")
            async with mqtt.connect(direct, "cloud", **cloud) as reader:
                await reader.publish("a/data", b"2")
                (last,) = await reader.take(10)
                assert last.payload == b"2"
