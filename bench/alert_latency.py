"""From a reading over the threshold to the first message in a receiver's hands: the way over the
broker, the commit in the store, rule, dispatch, and delivery by a webhook.

mosquitto and `shuichi cloud run` with an SQLite store are processes of their own; gateways send
ordinary batches beside. The clock starts when a batch is given to the broker, which is before its
readings are in the store: the figure is what a person waits for, and more than what it must be.
Each alert is at a site of another village, so that no digest holds its message back.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import tomlkit

from bench import _storm
from bench.figure import Figure, Goal, Progress, Result, percentile, spread
from bench.programs import Mosquitto, Program, free_port
from bench.sink import Sink
from configs.loader import UserError
from wire import codec, topics
from wire.messages import Batch
from wire.mqtt import Broker, Session, connect
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

ALERTS: Final = 300
EVERY_S: Final = 0.2
ORDINARY: Final = 20
"""Gateways that send a batch each second, of so many readings."""

SITES_A_VILLAGE: Final = 10
STREAM: Final = "5f0c9a1be2d34477"
LOST_AFTER_S: Final = 20.0

FIGURE: Final = Figure(
    "reading given to the broker to first message received by webhook, p99",
    "s",
    Goal("<=", 1),
)


async def measure(progress: Progress) -> Result:
    """A minute. Raises UserError if a program fails, or if nobody is told of an alert."""
    sink = Sink()
    async with cloud_telling(sink) as broker:
        sent, stored = await storm_over(broker, sink, progress)
    came = {sink.messages[key].site: at_s for key, at_s in reversed(sink.came_s.items())}
    if lost := set(sent) - set(came):
        raise UserError(f"{len(lost)} of {ALERTS} alerts were told to nobody")
    return Result(
        percentile([came[site] - at_s for site, at_s in sent.items()], 99),
        {
            "given to the broker to received, s": spread(
                [came[site] - at_s for site, at_s in sent.items()]
            ),
            "acknowledged as stored to received, s": spread(
                [came[site] - stored[site] for site in sent if site in stored]
            ),
            "alerts": ALERTS,
            "other readings a second": ORDINARY * ORDINARY,
        },
    )


@asynccontextmanager
async def cloud_telling(sink: Sink) -> AsyncIterator[Broker]:
    """A broker, with a cloud that tells `sink` of the alerts of `write`. Raises UserError if a
    program fails."""
    broker_port = free_port()
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        async with sink.serving() as port:
            write(folder, broker_port, port)
            broker = Mosquitto(folder, broker_port)
            cloud = Program("cloud", folder, "cloud", "run", "--unattended")
            with broker:
                broker.wait_until(broker.accepts)
                with cloud:
                    cloud.wait_until(lambda: "listening at" in cloud.log.read_text("utf-8"))
                    yield Broker(port=broker_port)
                    cloud.look()


async def storm_over(
    broker: Broker, sink: Sink, progress: Progress, numbers: range = range(ALERTS)
) -> tuple[dict[str, float], dict[str, float]]:
    """When the batch with each site's reading was sent, and when it was acknowledged (s); each
    number is a village with one alert."""
    sent: dict[str, float] = {}
    stored: dict[str, float] = {}
    async with connect(broker, "bench-gateways") as session:
        await session.subscribe(topics.every_gateway("0", What.ACK))
        listening = asyncio.create_task(_listen(session, stored), name="acks")
        ordinary = asyncio.create_task(_ordinary(session), name="ordinary gateways")
        try:
            for number in numbers:
                done = number - numbers.start
                progress(done / len(numbers), f"{done} of {len(numbers)} alerts")
                site = f"s{number * SITES_A_VILLAGE}"
                sent[site] = time.monotonic()
                await _send(session, site, 1, 2.0, 1)
                await asyncio.sleep(random.uniform(0, 2 * EVERY_S))
            for _ in range(round(LOST_AFTER_S / EVERY_S)):
                if {one.site for one in sink.messages.values()} >= set(sent):
                    break
                await asyncio.sleep(EVERY_S)
        finally:
            for task in (listening, ordinary):
                task.cancel()
            await asyncio.wait((listening, ordinary))
    return sent, stored


async def _listen(session: Session, stored: dict[str, float]) -> None:
    while True:
        for message in await session.take(100):
            session.ack(message)
            if (address := topics.parse(message.topic)) is not None:
                stored.setdefault(address.gateway, time.monotonic())


async def _ordinary(session: Session) -> None:
    """Gateways where nothing happens."""
    number = 0
    while True:
        number += 1
        for gateway in range(ORDINARY):
            await _send(session, f"dry-{gateway}", number, 0.0, ORDINARY)
            await asyncio.sleep(1 / ORDINARY)


async def _send(session: Session, gateway: str, number: int, value: float, readings: int) -> None:
    """A batch of a gateway; its site has its name."""
    now_ms = time.time_ns() // 1_000_000
    batch = Batch(
        gateway,
        STREAM,
        number,
        tuple(
            Reading(gateway, "gauge", Quantity.LEVEL, value, now_ms - n, Quality.GOOD)
            for n in range(readings)
        ),
    )
    await session.send(topics.topic("0", gateway, What.DATA), codec.encode_batch(batch))


def write(
    folder: Path, broker_port: int, port: int, store: dict[str, object] | None = None
) -> None:
    """The config and its plan, for a receiver at `port`; `store` stands under [store]."""
    settings = {
        "broker": {"port": broker_port},
        "ingest": {"unknown_sites": "accept"},  # the ordinary ones are in no plan
        "rule": {
            "gauge": {
                "kind": "threshold",
                "quantity": "level",
                "red": {"over_m": 1.0, "clear_m": 0.9},
            }
        },
        "channel": {"hook": {"kind": "webhook", "url": f"http://127.0.0.1:{port}/"}},
        "alerts": {"plan": "plan.toml"},
    }
    if store is not None:
        settings["store"] = store
    plan = _storm.reachable(ALERTS * SITES_A_VILLAGE)
    for name, content in (("plan", plan), ("cloud", settings)):
        (folder / f"{name}.toml").write_text(tomlkit.dumps(content), encoding="utf-8")
