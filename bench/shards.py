"""Two shards, each with a worker of its own, against one shard with one worker: readings per
second, from the broker to durable in InfluxDB 1.x, in the ledger on PostgreSQL, and acknowledged.

The same readings of the same gateways wait at the broker, so that nobody publishes meanwhile; the
time goes from the moment at which the first worker listens to the last ack. Broker, store, state
and workers share the cores of this machine, so it is told how busy those were: a figure near 1 on
busy cores says that the machine was full, not that shards do not add up.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple

import tomlkit

from bench import aggregator
from bench.aggregator import GATEWAYS, Backlog
from bench.figure import Detail, Figure, Progress, Result, spread
from bench.programs import Postgres, Program, cpu_s, free_port
from configs.loader import UserError
from wire.mqtt import Broker

RUNS: Final = 5
BATCHES: Final = 25
"""Of each gateway."""

_WITHIN_S: Final = 90.0

FIGURE: Final = Figure("two shards with a worker each against one shard", "ratio", None)


class Run(NamedTuple):
    """Readings per s; CPU of all workers per reading, µs; cores of the machine that were busy."""

    per_s: float
    worker_us: float
    busy: float


async def measure(progress: Progress) -> Result:
    """About two minutes. Raises UserError if a server is not installed or fails."""
    one = {"0": aggregator.backlog(BATCHES)}
    halves = (range(GATEWAYS // 2), range(GATEWAYS // 2, GATEWAYS))
    two = {str(n): aggregator.backlog(BATCHES, str(n), half) for n, half in enumerate(halves)}
    found: dict[int, list[Run]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        with aggregator.servers(folder) as (broker_port, influx_port):
            for i in range(RUNS):
                for waiting in (one, two):
                    progress((2 * i + len(waiting) - 1) / (2 * RUNS), f"{len(waiting)} shards")
                    database = f"run{i}of{len(waiting)}"
                    await aggregator.create(influx_port, database)
                    store = aggregator.influx(influx_port, database)
                    here = folder / database
                    found[len(waiting)].append(
                        await _drain(here, Broker(port=broker_port), store, waiting)
                    )
    ratio = spread([b.per_s / a.per_s for a, b in zip(found[1], found[2], strict=True)])
    details: dict[str, Detail] = {"two / one": ratio, "readings in a run": one["0"].readings}
    for shards, runs in found.items():
        of = "one shard" if shards == 1 else "two shards"
        details[f"{of}, readings/s"] = spread([run.per_s for run in runs])
        details[f"{of}, workers' CPU per reading, µs"] = spread([run.worker_us for run in runs])
        details[f"{of}, cores busy"] = spread([run.busy for run in runs])
    return Result(ratio.median, details)


async def _drain(
    folder: Path, broker: Broker, store: dict[str, object], waiting: dict[str, Backlog]
) -> Run:
    """Have all of it wait, start a worker a shard, and wait until all is acknowledged."""
    for shard, backlog in waiting.items():
        await aggregator.queue(broker, f"shuichi-cloud-{shard}", backlog, shard)
    port = free_port()
    async with AsyncExitStack() as stack:
        state = stack.enter_context(Postgres(folder / "state", port))
        state.wait_until(state.accepts)
        done = [
            await stack.enter_async_context(aggregator.acknowledged(broker, one.last, shard))
            for shard, one in waiting.items()
        ]
        workers = [
            stack.enter_context(_worker(folder, shard, broker, store, state.state))
            for shard in waiting
        ]
        while not any("listening at" in one.log.read_text("utf-8") for one in workers):
            _look(workers)
            await asyncio.sleep(0.002)
        begin, busy, cpu = time.monotonic(), _busy_s(), sum(cpu_s(one.pid) for one in workers)
        while not all(one.done() for one in done):
            _look(workers)
            if time.monotonic() - begin > _WITHIN_S:
                raise UserError(f"not all was acknowledged within {_WITHIN_S:g} s")
            await asyncio.wait(done, timeout=0.5)
        took = time.monotonic() - begin
        busy, cpu = _busy_s() - busy, sum(cpu_s(one.pid) for one in workers) - cpu
    readings = sum(one.readings for one in waiting.values())
    return Run(readings / took, cpu / readings * 1e6, busy / took)


def _worker(
    folder: Path, shard: str, broker: Broker, store: dict[str, object], state: dict[str, str]
) -> Program:
    here = folder / shard
    here.mkdir(parents=True)
    config = {"broker": {"port": broker.port}, "state": state, "store": store}
    (here / "cloud.toml").write_text(tomlkit.dumps(config), encoding="utf-8")
    words = ("cloud", "run", "--unattended", "--shard", shard, "--config", "cloud.toml")
    return Program("cloud", here, *words)


def _look(workers: Sequence[Program]) -> None:
    for one in workers:
        one.look()


def _busy_s() -> float:
    """Time that this machine's cores were not idle, s, with all its programs (proc(5))."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    ticks = [int(one) for one in fields[:8]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")
