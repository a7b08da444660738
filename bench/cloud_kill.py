"""Worker, broker and store are killed (SIGKILL) again and again while gateways send: what was
sealed and is not in the store, or is counted twice, when all have been left in peace at last.

The worker keeps its state in SQLite and its readings in InfluxDB 1.x, so that ledger and points are
two things that a kill can part. Half of the worker's kills come at a random moment of a life that
begins, stores and acknowledges; the others within the half millisecond after its database was asked
to commit. The broker keeps nothing over its death: what it had acknowledged is gone.
"""

import asyncio
import logging
import os
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import tomlkit

from bench.figure import Figure, Goal, Progress, Result
from bench.mortal import Mortal
from bench.programs import Influxd, Mosquitto, Server, free_port
from cloud import account as accounts
from cloud import config, service
from cloud.account import Account
from cloud.store import Query
from configs.loader import UserError
from wire import codec, topics
from wire.messages import Ack, Batch
from wire.mqtt import Broker, Disconnected, Session, Unreachable, connect
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

KILLS: Final = int(os.environ.get("KILLS", "200"))
VICTIMS: Final = ("worker", "worker", "worker", "worker", "broker", "store")
"""So many of six."""

GATEWAYS: Final = 4
READINGS: Final = 20
EVERY_S: Final = 0.04
"""A gateway seals a batch."""

RESEND_AFTER_S: Final = 0.5
LONGEST_LIFE_S: Final = 0.4
MOST_COMMITS: Final = 12
LEASE_S: Final = 2.0
PEACE_S: Final = 60.0
_BEGIN_MS: Final = time.time_ns() // 1_000_000 - 86_400_000

FIGURE: Final = Figure(
    f"readings lost or counted twice, over {KILLS} kill -9 of worker, broker and store",
    "readings",
    Goal("<=", 0),
)


class Outcome(NamedTuple):
    """`lost` were sealed and are not in the store; `doubled` are counted more than once, there or
    in the ledger; `strange` are there and nobody has sealed them. `again` came more than once and
    were dropped. All readings but `again` and `batches`, which are batches."""

    kills: dict[str, int]
    in_commit: int
    took_s: float
    batches: int
    sealed: int
    lost: int
    doubled: int
    strange: int
    again: int
    missing: int


class Gateway:
    """Seals for ever, and sends until it hears our ack, over every loss of the connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sealed = 0
        self.waiting: dict[int, bytes] = {}
        self._sent: dict[int, float] = {}

    async def seal(self) -> None:
        while True:
            self.sealed += 1
            batch = Batch(self.name, "5f0c9a1be2d34477", self.sealed, readings(self.sealed))
            self.waiting[self.sealed] = codec.encode_batch(batch)
            await asyncio.sleep(EVERY_S)

    async def run(self, broker: Broker) -> None:
        """Connection after connection; without the pauses that spare a broker in earnest."""
        while True:
            try:
                async with connect(broker, self.name) as session:
                    await session.subscribe(self._topic(What.ACK))
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._listen(session), name=f"{self.name} acks")
                        group.create_task(self._send(session), name=f"{self.name} sends")
            except* (Unreachable, Disconnected):
                pass
            self._sent.clear()
            await asyncio.sleep(0.05)

    async def _send(self, session: Session) -> None:
        while True:
            now = time.monotonic()
            for number, payload in list(self.waiting.items()):
                if now - self._sent.get(number, 0) >= RESEND_AFTER_S:
                    session.send(self._topic(What.DATA), payload)
                    self._sent[number] = now
            await asyncio.sleep(EVERY_S)

    async def _listen(self, session: Session) -> None:
        while True:
            for message in await session.take(100):
                for first, last in codec.decode(message.payload, Ack).batches:
                    for number in range(first, last + 1):
                        self.waiting.pop(number, None)
                session.ack(message)

    def _topic(self, what: What) -> str:
        return topics.topic("0", self.name, what)


def readings(number: int) -> tuple[Reading, ...]:
    """Those of a batch: at times that no other batch of the gateway has."""
    begin_ms = _BEGIN_MS + number * READINGS
    return tuple(
        Reading("site", "ruler", Quantity.DEPTH, 0.05, begin_ms + n, Quality.GOOD)
        for n in range(READINGS)
    )


async def run(folder: Path, kills: int, progress: Progress = lambda *_: None) -> Outcome:
    """Kill so often, then let the worker take in what is left, and compare."""
    broker_port, store_port = free_port(), free_port()
    file = folder / "cloud.toml"
    file.write_text(tomlkit.dumps(_config(broker_port, store_port)), encoding="utf-8")
    gateways = [Gateway(f"gw-{n}") for n in range(GATEWAYS)]
    broker, store = Mosquitto(folder, broker_port), Influxd(folder, store_port)
    victims = [VICTIMS[i % len(VICTIMS)] for i in range(kills)]
    random.shuffle(victims)
    with broker, store:
        for server in (broker, store):
            server.wait_until(server.accepts)
        async with (
            _at_work(gateways, Broker(port=broker_port)) as sealing,
            Mortal("worker", folder, "bench.dying_worker", str(file)) as worker,
        ):
            begin = time.monotonic()
            in_commit = await _kill(victims, worker, {"broker": broker, "store": store}, progress)
            took_s = time.monotonic() - begin
            for task in sealing:
                task.cancel()
            await _peace(worker, gateways, progress)
        return await _compare(file, gateways, victims, in_commit, took_s)


@asynccontextmanager
async def _at_work(
    gateways: Iterable[Gateway], broker: Broker
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Gateways that send; and the tasks that seal, which may be ended before."""
    loop = asyncio.get_running_loop()
    sending = [loop.create_task(one.run(broker), name=one.name) for one in gateways]
    sealing = [loop.create_task(one.seal(), name=f"{one.name} seals") for one in gateways]
    try:
        yield sealing
    finally:
        for task in (*sealing, *sending):
            task.cancel()
        await asyncio.wait((*sealing, *sending))


async def _kill(
    victims: list[str], worker: Mortal, servers: dict[str, Server], progress: Progress
) -> int:
    """Kill one after the other, and begin each anew. How many workers died in a commit."""
    dice, in_commit = random.Random(), 0
    for i, victim in enumerate(victims):
        progress(i / len(victims), f"{i} of {len(victims)} killed")
        if victim == "worker":
            if dice.random() < 0.5:
                pid = await worker.live()
                await asyncio.sleep(dice.uniform(0, LONGEST_LIFE_S))
                os.kill(pid, signal.SIGKILL)
            else:
                await worker.live(f"until-commit {dice.randint(1, MOST_COMMITS)}")
                in_commit += 1
            await worker.hear("ended")
        else:  # while a worker is at work, which sees it come again
            pid = await worker.live()
            await asyncio.sleep(dice.uniform(0, LONGEST_LIFE_S))
            await asyncio.to_thread(_restart, servers[victim])
            await asyncio.sleep(dice.uniform(0, 2 * LONGEST_LIFE_S))
            os.kill(pid, signal.SIGKILL)
            await worker.hear("ended")
    return in_commit


def _restart(server: Server) -> None:
    server.kill()
    server.start()
    server.wait_until(server.accepts)


async def _peace(worker: Mortal, gateways: list[Gateway], progress: Progress) -> None:
    pid = await worker.live()
    deadline = time.monotonic() + PEACE_S
    while left := sum(len(one.waiting) for one in gateways):
        progress(1, f"{left} batches are not acknowledged yet")
        if time.monotonic() > deadline:
            raise UserError(f"{left} batches were not acknowledged within {PEACE_S:g} s of peace")
        await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGTERM)
    await worker.hear("ended")


async def _compare(
    file: Path, gateways: list[Gateway], victims: list[str], in_commit: int, took_s: float
) -> Outcome:
    lost = doubled = strange = 0
    async with service.opened(config.read(file), read_only=True) as (state, store):
        account: Account = await accounts.take(state, store)
        for gateway in gateways:
            numbers = range(1, gateway.sealed + 1)
            wanted = {one.at_ms for number in numbers for one in readings(number)}
            rows = [row.at_ms for row in await store.read(Query(gateway=gateway.name))]
            lost += len(wanted - set(rows))
            strange += len(set(rows) - wanted)
            doubled += len(rows) - len(set(rows))
    batches = sum(one.sealed for one in gateways)
    return Outcome(
        kills={name: victims.count(name) for name in sorted(set(victims))},
        in_commit=in_commit,
        took_s=took_s,
        batches=batches,
        sealed=batches * READINGS,
        lost=lost,
        doubled=doubled + abs(account.readings_ledgered - batches * READINGS),
        strange=strange,
        again=account.redelivered_batches,
        missing=account.missing_batches,
    )


def _config(broker_port: int, store_port: int) -> dict[str, object]:
    return {
        "broker": {"port": broker_port},
        "ingest": {"lease_s": LEASE_S},
        "store": {
            "kind": "influx",
            "url": f"http://127.0.0.1:{store_port}",
            "api": "v1",
            "database": "shuichi",
        },
    }


async def measure(progress: Progress) -> Result:
    """About three minutes; `KILLS=1000` in the environment for more. Raises UserError if a program
    fails."""
    logging.getLogger("mqtt").disabled = True  # the gateways lose their broker often
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        outcome = await run(Path(name), KILLS, progress)
    if not outcome.again:
        raise UserError(f"the kills hit nothing: {outcome}")
    value = outcome.lost + outcome.doubled + outcome.strange + outcome.missing
    told = {name: found for name, found in outcome._asdict().items() if name != "kills"}
    killed = {f"kills of the {name}": times for name, times in outcome.kills.items()}
    return Result(value, killed | told)
