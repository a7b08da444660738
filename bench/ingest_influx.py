"""Readings per second of one worker, from the broker to durable in InfluxDB 1.x, in the ledger and
acknowledged; beside InfluxDB alone, which gets the same points as ready line protocol on as many
connections, in bodies as large; and beside a bare paho loop: decode, build lines, write, no ledger.

1,600,000 readings in batches of 100 wait at the broker, so that nobody publishes meanwhile; with
less, the first write, for which InfluxDB makes a shard, is a good part of the time. Broker,
InfluxDB and worker share the cores, and the three take turns. The worker's time goes from the
moment at which it listens to the ack of the last batch, the loop's from its connection to the last
answer.

Then as many readings that were taken later wait, and a worker that keeps rollups and has an alert
rule takes them in: meanwhile it makes the minutes of all that the one before has stored. Nothing
goes over the rule's line, for a flood of alerts is measured elsewhere.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, NamedTuple

from bench import aggregator
from bench.aggregator import READINGS, Backlog, Worker
from bench.figure import MARGIN, Figure, Goal, Part, Progress, Result, spread, worst
from bench.programs import Process
from cloud.ingest.worker import TAKE
from cloud.ingest.writing import SENDERS
from cloud.store import Points
from cloud.store.lineprotocol import encode
from configs.loader import UserError
from wire import codec
from wire.mqtt import Broker

RUNS: Final = 5
BATCHES: Final = 80
"""Of each gateway."""

_SESSION: Final = "bench-bare"

RULES: Final = {
    "rule": {
        "gauge": {
            "kind": "threshold",
            "quantity": "level",
            "red": {"over_m": 9.0, "clear_m": 8.9},
        }
    }
}

TO_ALONE: Final = Goal(">=", 0.65)
TO_BARE: Final = Goal(">=", 1)

FIGURE: Final = Figure(
    "one worker into InfluxDB 1.x, of InfluxDB alone and of a bare paho loop, batches of 100",
    "margin",
    MARGIN,
)


async def measure(progress: Progress) -> Result:
    """About six minutes. Raises UserError if a server is not installed or fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        progress(0, "the backlog is made")
        waiting, later = aggregator.backlog(2 * BATCHES).halves()
        bodies = _bodies(waiting)
        alone: list[float] = []
        bare: list[float] = []
        bare_cpu: list[float] = []
        ours: list[float] = []
        cpu: list[float] = []
        busy: list[float] = []
        busy_cpu: list[float] = []
        with aggregator.servers(folder) as (broker_port, influx_port):
            for run in range(RUNS):
                done = (run + 0.1) / RUNS
                progress(done, "InfluxDB alone")
                await aggregator.create(influx_port, f"alone{run}")
                took = await asyncio.to_thread(_alone, influx_port, f"alone{run}", bodies)
                alone.append(waiting.readings / took)
                progress(done + 0.2 / RUNS, "a bare paho loop")
                await aggregator.create(influx_port, f"bare{run}")
                url = f"http://127.0.0.1:{influx_port}{aggregator.write_path(f'bare{run}')}"
                loop = await _bare(folder, broker_port, url, waiting)
                bare.append(waiting.readings / loop.took_s)
                bare_cpu.append(loop.cpu_s / waiting.readings * 1e6)
                progress(done + 0.4 / RUNS, "the worker")
                await aggregator.create(influx_port, f"ours{run}")
                store = aggregator.influx(influx_port, f"ours{run}")
                worker = Worker(folder / f"ours{run}", Broker(port=broker_port), store)
                drained = await worker.drain(waiting)
                ours.append(drained.per_s)
                cpu.append(drained.cpu_us)
                progress(done + 0.7 / RUNS, "the worker, with upkeep and an alert rule")
                worker.configure(RULES)
                drained = await worker.drain(later)
                busy.append(drained.per_s)
                busy_cpu.append(drained.cpu_us)
    to_alone = spread([one / other for one, other in zip(ours, alone, strict=True)])
    to_bare = spread([one / other for one, other in zip(ours, bare, strict=True)])
    busy_to_alone = spread([one / other for one, other in zip(busy, alone, strict=True)])
    busy_to_bare = spread([one / other for one, other in zip(busy, bare, strict=True)])
    return worst(
        {
            "worker / InfluxDB alone": Part(to_alone.median, TO_ALONE),
            "worker / bare paho loop": Part(to_bare.median, TO_BARE),
            "with upkeep and a rule: worker / InfluxDB alone": Part(busy_to_alone.median, TO_ALONE),
            "with upkeep and a rule: worker / bare paho loop": Part(busy_to_bare.median, TO_BARE),
        },
        {
            "worker / InfluxDB alone, runs": to_alone,
            "worker / bare paho loop, runs": to_bare,
            "with upkeep and a rule: worker / InfluxDB alone, runs": busy_to_alone,
            "with upkeep and a rule: worker / bare paho loop, runs": busy_to_bare,
            "worker, readings/s": spread(ours),
            "with upkeep and a rule: worker, readings/s": spread(busy),
            "InfluxDB alone, readings/s": spread(alone),
            "bare paho loop, readings/s": spread(bare),
            "worker's CPU per reading, µs": spread(cpu),
            "with upkeep and a rule: worker's CPU per reading, µs": spread(busy_cpu),
            "bare loop's CPU per reading, µs": spread(bare_cpu),
            "readings in a run": waiting.readings,
            "readings in a body": TAKE * READINGS,
        },
    )


def _bodies(waiting: Backlog) -> list[bytes]:
    """The same points as line protocol."""
    batches = [codec.decode_batch(payload) for _, payload in waiting.messages]
    return [
        encode([Points(one.gateway, one.readings) for one in batches[begin : begin + TAKE]])
        for begin in range(0, len(batches), TAKE)
    ]


def _alone(port: int, database: str, bodies: Sequence[bytes]) -> float:
    """Seconds that InfluxDB takes for them, on two connections."""
    begin = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as threads:
        parts = [bodies[n::SENDERS] for n in range(SENDERS)]
        list(threads.map(partial(_write, port, database), parts))
    return time.monotonic() - begin


def _write(port: int, database: str, bodies: Sequence[bytes]) -> None:
    line = HTTPConnection("127.0.0.1", port)
    for body in bodies:
        line.request("POST", aggregator.write_path(database), body)
        answer = line.getresponse()
        answer.read()
        if answer.status != HTTPStatus.NO_CONTENT:
            raise UserError(f"InfluxDB says {answer.status}")
    line.close()


class _Bare(NamedTuple):
    took_s: float
    cpu_s: float


async def _bare(folder: Path, port: int, url: str, waiting: Backlog) -> _Bare:
    """The loop in a process of its own, with the messages in its session."""
    await aggregator.queue(Broker(port=port), _SESSION, waiting)
    words = ["-m", "bench.bare_paho", _SESSION, str(port), url, str(len(waiting.messages))]
    with Process("bare", folder, [sys.executable, *words]) as loop:
        before = loop.log.read_text("utf-8")
        await asyncio.to_thread(loop.wait_until, lambda: loop.log.read_text("utf-8") != before)
        said = loop.log.read_text("utf-8").removeprefix(before)
    await aggregator.forget(Broker(port=port), _SESSION)
    try:
        return _Bare(**json.loads(said))
    except ValueError:
        raise UserError(f"the bare loop failed: {said.strip().splitlines()[-1]}") from None
