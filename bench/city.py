"""A city in real time: 11,304 sensors of 100 gateways, each read every second and sealed every 2 s,
for 5 minutes; what worker and store spend of a core, how soon batches are acknowledged, and how
soon a flood is told.

The 50 minutes before lie in the store, with their rollups. A threshold watches each sensor;
rollups are kept meanwhile. In the middle one gauge of one site goes over its red line and stays
there: the clock starts when its batch is given to the broker and ends when the first message about
the site is at a webhook. The run begins at any minute from which it ends within the hour, so that
no hour is made in it; with CITY_AT_50=1 it waits for minute 50, so that what is stored is the first
part of one hour. Everything shares the cores of this machine, gateways included.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import aggregator, alert_latency
from bench._network import Network, write
from bench.figure import MARGIN, Figure, Goal, Part, Progress, Result, percentile, spread, worst
from bench.programs import Mosquitto, Program, cpu_s, free_port
from bench.sink import Sink
from cloud import config, service
from configs.loader import UserError
from wire import codec, topics
from wire.messages import Ack, Batch
from wire.mqtt import Broker, Session, connect
from wire.topics import What

AT_50: Final = os.environ.get("CITY_AT_50", "") not in ("", "0")
SEAL_S: Final = 2
STREAM: Final = "5f0c9a1be2d34477"
FLOOD_M: Final = 2.0
"""Over the red line of the rule; the network's own levels are under it."""

HOUR_S: Final = 3600
_FILLED_AT_ONCE_S: Final = 10
_SETTLED_EVERY_S: Final = 600
_ACKED_WITHIN_S: Final = 30.0
_TOLD_WITHIN_S: Final = 20.0
_SPARE_S: Final = 60
"""Between the moment at which filling ends and the first reading, at most."""

FIGURE: Final = Figure(
    "11,304 sensors at 1/s in real time, rules, rollups and alerts on: CPU, acks, a flood",
    "margin",
    MARGIN,
)


class Scale(NamedTuple):
    """Seconds that are stored before, that pass before the first look, and that are measured."""

    network: Network = Network(gateways=100, sensors=11_304, every_ms=1000)
    stored_s: int = 3000
    warm_up_s: int = 10
    lasts_s: int = 300


FULL: Final = Scale()


class City(NamedTuple):
    """Of the time measured: what worker and store (0 where it is embedded) used, of one core; s
    from each batch to its ack, and from the flood's batch to the first message about it."""

    worker: float
    store: float
    acks_s: Sequence[float]
    flood_s: float


async def measure(progress: Progress) -> Result:
    """About 20 minutes. Raises UserError if a program fails, or if a batch is never acknowledged or
    the flood told to nobody."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        with aggregator.influxdb(folder) as server:
            await aggregator.create(server.port, "city")
            store = aggregator.influx(server.port, "city")
            of_server = partial(cpu_s, server.pid)
            told = partial(_told, progress, 0.0, "InfluxDB")
            (own := folder / "influx").mkdir()
            influx = await live(own, store, of_server, told, FULL)
        told = partial(_told, progress, 0.5, "the embedded store")
        (own := folder / "embedded").mkdir()
        embedded = await live(own, {"kind": "sqlite"}, lambda: 0.0, told, FULL)
    return worst(
        {
            "InfluxDB: worker, of a core": Part(influx.worker, Goal("<=", 0.20)),
            "InfluxDB: store, of a core": Part(influx.store, Goal("<=", 0.35)),
            "InfluxDB: ack p99, s": Part(percentile(influx.acks_s, 99), Goal("<=", 0.25)),
            "InfluxDB: flood to notification, s": Part(influx.flood_s, Goal("<=", 0.2)),
            "embedded: all, of a core": Part(embedded.worker, Goal("<=", 0.35)),
        },
        {
            "InfluxDB: batch to ack, s": spread(influx.acks_s),
            "embedded: batch to ack, s": spread(embedded.acks_s),
            "embedded: ack p99, s": percentile(embedded.acks_s, 99),
            "embedded: flood to notification, s": embedded.flood_s,
            "readings/s": FULL.network.sensors,
        },
    )


def _told(progress: Progress, begin: float, kind: str, share: float, doing: str) -> None:
    progress(begin + share / 2, f"{kind}: {doing}")


async def live(
    folder: Path,
    store: dict[str, Any],
    store_s: Callable[[], float],
    progress: Progress,
    scale: Scale,
) -> City:
    """One city in an empty `folder`; `store` stands under [store], `store_s` is the CPU of its
    server so far."""
    sink = Sink()
    broker_port = free_port()
    async with sink.serving() as port:
        alert_latency.write(folder, broker_port, port, store)
        await _fill(folder, progress, scale)
        cloud = Program("cloud", folder, "cloud", "run", "--unattended")
        with Mosquitto(folder, broker_port) as broker:
            broker.wait_until(broker.accepts)
            with cloud:
                cloud.wait_until(lambda: "listening at" in cloud.log.read_text("utf-8"))
                gateways = _Gateways(Broker(port=broker_port), scale.network)
                async with gateways.sending():
                    await _pass(scale.warm_up_s, cloud, gateways, lambda _: None)
                    begin_s, before = time.monotonic(), (cpu_s(cloud.pid), store_s())
                    half = scale.lasts_s / 2
                    told = partial(_share, progress, 0.6, scale.lasts_s)
                    await _pass(half, cloud, gateways, told)
                    gateways.floods = True
                    told = partial(_share, progress, 0.8, scale.lasts_s)
                    await _pass(half, cloud, gateways, told)
                    took_s = time.monotonic() - begin_s
                    used = cpu_s(cloud.pid) - before[0], store_s() - before[1]
                    await gateways.flooded()
                acks_s = gateways.acks_s(begin_s, begin_s + took_s)
                site, sent_s = scale.network.site(0), gateways.flood_s
                if sent_s is None or not acks_s:
                    raise UserError("no batch was sent: the time measured is too short")
                told_s = await _told_of(sink, site)
    return City(used[0] / took_s, used[1] / took_s, acks_s, told_s - sent_s)


def _share(progress: Progress, begin: float, lasts_s: float, passed_s: float) -> None:
    progress(begin + 0.4 * passed_s / lasts_s, "in real time")


async def _fill(folder: Path, progress: Progress, scale: Scale) -> None:
    """Store what was read before, with its rollups, up to the moment at which the run begins."""
    setup = config.read(folder / "cloud.toml")
    async with service.opened(setup) as (_, store):
        begun_s = int(time.time()) - scale.stored_s
        if AT_50:
            now = time.time()
            begun_s = int(now // HOUR_S) * HOUR_S
            if now > begun_s + scale.stored_s:
                begun_s += HOUR_S
        at_s, settled_s = begun_s, begun_s

        async def up_to(end_s: int) -> None:
            nonlocal at_s, settled_s
            while at_s < end_s:
                progress(0.5 * (at_s - begun_s) / scale.stored_s, "what was read before is stored")
                seconds = min(_FILLED_AT_ONCE_S, end_s - at_s)
                await write(store, scale.network.points(at_s * 1000, seconds))
                at_s += seconds
                if at_s - settled_s >= _SETTLED_EVERY_S:
                    await store.upkeep(at_s * 1000)
                    settled_s = at_s

        await up_to(begun_s + scale.stored_s)
        await store.upkeep(at_s * 1000)
        if AT_50:
            await _wait(begun_s + scale.stored_s, progress, "waits for minute 50")
        else:  # what has become past meanwhile
            due_s = scale.warm_up_s + scale.lasts_s + _ACKED_WITHIN_S + _SPARE_S
            if (now := time.time()) // HOUR_S != (now + due_s) // HOUR_S and due_s < HOUR_S / 2:
                await _wait((now // HOUR_S + 1) * HOUR_S + 10, progress, "waits for the next hour")
            while int(time.time()) - at_s > _FILLED_AT_ONCE_S:
                await up_to(int(time.time()))
        await store.upkeep(time.time_ns() // 1_000_000)


async def _wait(until_s: float, progress: Progress, doing: str) -> None:
    while (left := until_s - time.time()) > 0:
        progress(0.55, f"{doing}: {left:.0f} s")
        await asyncio.sleep(min(1.0, left))


async def _pass(
    seconds: float, cloud: Program, gateways: "_Gateways", tell: Callable[[float], None]
) -> None:
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < seconds:
        cloud.look()
        gateways.look()
        tell(passed)
        await asyncio.sleep(min(1.0, seconds - passed))


async def _told_of(sink: Sink, site: str) -> float:
    """When the first message about a site came."""
    deadline = time.monotonic() + _TOLD_WITHIN_S
    while True:
        came = [sink.came_s[key] for key, one in sink.messages.items() if one.site == site]
        if came:
            return min(came)
        if time.monotonic() > deadline:
            raise UserError("the flood was told to nobody")
        await asyncio.sleep(0.1)


class _Gateways:
    """Each with a connection of its own, and at a moment of its own within the two seconds between
    its batches. From `floods` on the first sensor of the first gateway reads `FLOOD_M`; `flood_s`
    is when that was first sent."""

    def __init__(self, broker: Broker, network: Network) -> None:
        self.floods = False
        self.flood_s: float | None = None
        self._broker = broker
        self._network = network
        self._sent_s: dict[tuple[str, int], float] = {}
        self._acked_s: dict[tuple[str, int], float] = {}
        self._ends = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """They send until the block ends, and until all is acknowledged then. Raises UserError if
        that never comes."""
        begin = time.monotonic() + 0.5
        self._tasks = [
            asyncio.create_task(self._gateway(number, begin), name=self._network.name(number))
            for number in range(self._network.gateways)
        ]
        try:
            yield
            self._ends.set()
            deadline = time.monotonic() + _ACKED_WITHIN_S
            while left := self._sent_s.keys() - self._acked_s.keys():
                self.look()
                if time.monotonic() > deadline:
                    raise UserError(f"{len(left)} batches were never acknowledged")
                await asyncio.sleep(0.1)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def flooded(self) -> None:
        """Wait until the flood was sent; it is, with the next batch of its gateway."""
        deadline = time.monotonic() + _TOLD_WITHIN_S
        while self.flood_s is None and time.monotonic() < deadline:
            self.look()
            await asyncio.sleep(0.05)

    def look(self) -> None:
        """Raises UserError if a gateway has lost its connection."""
        for task in self._tasks:
            if task.done() and (error := task.exception()) is not None:
                raise UserError(f"{task.get_name()}: {error}")

    def acks_s(self, since_s: float, until_s: float) -> list[float]:
        """Seconds from each batch that was sent in a time (monotonic) to its ack."""
        return [
            self._acked_s[key] - at_s
            for key, at_s in self._sent_s.items()
            if since_s <= at_s < until_s
        ]

    async def _gateway(self, number: int, begin: float) -> None:
        name = self._network.name(number)
        async with connect(self._broker, f"bench-{name}") as session:
            await session.subscribe(topics.topic("0", name, What.ACK))
            listening = asyncio.create_task(self._listen(session, name), name=f"acks of {name}")
            try:
                await self._send(session, number, begin)
                await listening
            finally:
                listening.cancel()
                await asyncio.wait((listening,))

    async def _send(self, session: Session, gateway: int, begin: float) -> None:
        """A batch each time that it is due; one that is late is sent at once."""
        name = self._network.name(gateway)
        topic = topics.topic("0", name, What.DATA)
        due = begin + SEAL_S * gateway / self._network.gateways
        read_ms = time.time_ns() // 1_000_000 + round((due - time.monotonic() - SEAL_S) * 1000)
        number = 0
        puback: Awaitable[bool] | None = None
        while not self._ends.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            readings = self._network.readings(gateway, read_ms, SEAL_S)
            floods = gateway == 0 and self.floods
            if floods:
                readings.values[SEAL_S - 1] = FLOOD_M  # type: ignore[index]  # it is our own list
            number += 1
            payload = codec.encode_batch(Batch(name, STREAM, number, readings))
            if puback is not None:
                await puback
            self._sent_s[name, number] = time.monotonic()
            if floods and self.flood_s is None:
                self.flood_s = self._sent_s[name, number]
            puback = session.send(topic, payload)
            due += SEAL_S
            read_ms += SEAL_S * 1000

    async def _listen(self, session: Session, name: str) -> None:
        while True:
            for message in await session.take(100):
                now = time.monotonic()
                session.ack(message)
                for first, last in codec.decode(message.payload, Ack).batches:
                    for number in range(first, last + 1):
                        if (name, number) in self._sent_s:
                            self._acked_s.setdefault((name, number), now)
