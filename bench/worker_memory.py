"""Resident memory of the worker while a million readings of backlog arrive from 200 gateways.

They wait at the broker and come as fast as the worker takes them, into InfluxDB 1.x; in the midst
of it InfluxDB stands still for some seconds, so that all that may be in flight is.
"""

import asyncio
import os
import re
import signal
import statistics
import tempfile
from pathlib import Path
from typing import Final

from bench import aggregator
from bench.aggregator import Worker
from bench.figure import MARGIN, Figure, Goal, Part, Progress, Result, spread, worst
from configs.loader import UserError
from wire.mqtt import Broker

BATCHES: Final = 50
"""Of each gateway: a million readings."""

STALL_S: Final = 3.0
EVERY_S: Final = 0.05
_MIB: Final = Goal("<=", 150)
_GROWTH: Final = Goal("<=", 1.1)

FIGURE: Final = Figure(
    "memory of the worker while 1,000,000 readings of backlog arrive from 200 gateways",
    "margin",
    MARGIN,
)


async def measure(progress: Progress) -> Result:
    """Half a minute. Raises UserError if a server is not installed or fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        progress(0, "the backlog is made")
        waiting = aggregator.backlog(BATCHES)
        with aggregator.broker(folder) as port, aggregator.influxdb(folder) as influxd:
            progress(0.4, "it drains")
            store = aggregator.influx(influxd.port, "memory")
            worker = Worker(folder / "worker", Broker(port=port), store)
            drain = asyncio.create_task(worker.drain(waiting), name="drain")
            samples, stalled = await _watch(drain, worker, influxd.pid)
            drained = await drain
    if not stalled:
        raise UserError("the backlog was gone before InfluxDB could stand still")
    half = len(samples) // 2
    growth = statistics.median(samples[half:]) / statistics.median(samples[half // 2 : half])
    return worst(
        {
            "highest, MiB": Part(max(samples), _MIB),
            "second half / the quarter before": Part(growth, _GROWTH),
        },
        {
            "from the first batch on, MiB": spread(samples),
            "while InfluxDB stands still, MiB": max(stalled),
            "readings": waiting.readings,
            "readings/s, the stall included": drained.per_s,
        },
    )


async def _watch(
    drain: "asyncio.Task[aggregator.Drained]", worker: Worker, influxd: int
) -> tuple[list[float], list[float]]:
    """Memory from the first batch to the last, and that of the stall, which comes after 1 s."""
    samples: list[float] = []
    stalled: list[float] = []
    loop = asyncio.get_running_loop()
    while not drain.done():
        await asyncio.wait((drain,), timeout=EVERY_S)
        if drain.done() or not worker.listens:
            continue
        try:
            samples.append(_memory(worker.program.pid))
        except FileNotFoundError:  # all is drained, and it has ended
            break
        if len(samples) == round(1 / EVERY_S):
            os.kill(influxd, signal.SIGSTOP)
            try:
                until = loop.time() + STALL_S
                while loop.time() < until:
                    await asyncio.sleep(EVERY_S)
                    stalled.append(_memory(worker.program.pid))
            finally:
                os.kill(influxd, signal.SIGCONT)
            samples += stalled
    return samples, stalled


def _memory(pid: int) -> float:
    """Resident memory of a process, MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
