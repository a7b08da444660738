"""CPU of taking a message from the broker and acknowledging it, with nothing done in between.

What our own receiver needs, beside what a bare paho loop needs for the same messages: batches of
100 readings that wait in a kept session at mosquitto before the measurement begins.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.aggregator import GATEWAYS, KEEP_S, backlog, queue
from bench.figure import Figure, Goal, Progress, Result, spread
from bench.programs import Mosquitto, free_port
from cloud.ingest.worker import TAKE, UNACKED
from wire.mqtt import Broker, connect

RUNS: Final = 5
BATCHES: Final = 25
"""Of each gateway, in one run."""

_SESSION: Final = "bench-mqtt"

FIGURE: Final = Figure(
    "CPU of our MQTT receiver per message taken and acknowledged, batches of 100 readings",
    "us",
    Goal("<=", 30),
)


async def measure(progress: Progress) -> Result:
    """About 30 s."""
    waiting = backlog(BATCHES)
    count = len(waiting.messages)
    drains: dict[str, Callable[[Broker, int], Awaitable[None]]] = {
        "receiver": _drain,
        "bare paho": _paho,
    }
    used: dict[str, list[float]] = {name: [] for name in drains}
    took: dict[str, list[float]] = {name: [] for name in drains}
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        broker = Broker(port=free_port())
        with Mosquitto(Path(name), broker.port, "max_queued_messages 0") as server:
            server.wait_until(server.accepts)
            for run in range(RUNS):
                for step, (name, drain) in enumerate(drains.items()):
                    progress((run * len(drains) + step) / (RUNS * len(drains)), name)
                    await queue(broker, _SESSION, waiting)
                    began, cpu = time.perf_counter(), time.process_time()
                    await drain(broker, count)
                    used[name].append((time.process_time() - cpu) / count * 1e6)
                    took[name].append(count / (time.perf_counter() - began))
    details = {f"{name}, us": spread(values) for name, values in used.items()}
    details |= {f"{name}, messages/s": spread(values) for name, values in took.items()}
    return Result(spread(used["receiver"]).median, {"gateways": GATEWAYS, **details})


async def _drain(broker: Broker, count: int) -> None:
    async with connect(broker, _SESSION, keep_session_s=KEEP_S, receive_maximum=UNACKED) as session:
        while count > 0:
            messages = await session.take(TAKE)
            count -= len(messages)
            for message in messages:
                session.ack(message)


async def _paho(broker: Broker, count: int) -> None:
    await asyncio.to_thread(_loop, broker, count)


def _loop(broker: Broker, count: int) -> None:
    """What a program does that knows nothing but paho."""
    left = count

    def acknowledge(client: Client, userdata: object, message: MQTTMessage) -> None:
        nonlocal left
        client.ack(message.mid, message.qos)
        left -= 1

    client = Client(
        CallbackAPIVersion.VERSION2, _SESSION, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
    )
    client.on_message = acknowledge
    asked = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    asked.SessionExpiryInterval, asked.ReceiveMaximum = KEEP_S, UNACKED
    client.connect(broker.host, broker.port, clean_start=False, properties=asked)
    while left > 0:
        client.loop()
    client.disconnect()
    while client.loop() == MQTTErrorCode.MQTT_ERR_SUCCESS:
        pass  # the last acks go out
