"""From "I cannot act" to the next tier's call: the decline comes over MQTT, as from a button, and
the call by a webhook. The same programs as `alert_latency`; each alert is in a township of its own,
so that no digest holds a call back.
"""

import asyncio
import time
from typing import Final

import msgspec

from bench._storm import VILLAGES_A_TOWNSHIP
from bench.alert_latency import ALERTS, LOST_AFTER_S, cloud_telling, storm_over
from bench.figure import Figure, Goal, Progress, Result, percentile, spread
from bench.sink import Sink
from cloud.channels import Message
from configs.loader import UserError
from wire import topics
from wire.mqtt import Broker, connect

NUMBERS: Final = range(0, ALERTS, VILLAGES_A_TOWNSHIP)

FIGURE: Final = Figure(
    "decline given to the broker to the next tier's call received by webhook, p99",
    "s",
    Goal("<=", 1),
)


async def measure(progress: Progress) -> Result:
    """Half a minute. Raises UserError if a program fails, or if nobody is called then."""
    sink = Sink()
    async with cloud_telling(sink) as broker:
        await storm_over(broker, sink, lambda share, said: progress(share / 2, said), NUMBERS)
        took = await _decline(broker, sink, progress)
    return Result(percentile(took, 99), {"s": spread(took), "declines": len(took)})


async def _decline(broker: Broker, sink: Sink, progress: Progress) -> list[float]:
    """How long each took, s."""
    first = {one.site: one for one in sink.messages.values() if one.kind == "raise"}
    took = []
    async with connect(broker, "bench-board") as session:
        for done, (site, call) in enumerate(first.items()):
            progress(0.5 + done / len(first) / 2, f"{done} of {len(first)} declines")
            said = msgspec.json.encode({"token": call.token, "answer": "no"})
            began_s = time.monotonic()
            await session.publish(topics.ANSWER, said)
            took.append(await _climbed_s(sink, site) - began_s)
    return took


async def _climbed_s(sink: Sink, site: str) -> float:
    """When the next tier's call for a site came."""
    until_s = time.monotonic() + LOST_AFTER_S
    while time.monotonic() < until_s:
        for key, one in sink.messages.items():
            if _is_climb(one, site):
                return sink.came_s[key]
        await asyncio.sleep(0.005)
    raise UserError(f"nobody was called after the decline at {site}")


def _is_climb(message: Message, site: str) -> bool:
    return message.site == site and message.kind == "climb"
