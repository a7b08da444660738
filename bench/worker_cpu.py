"""CPU time of the worker for each reading, batches of 100: MQTT, decoding, checks, rules, line
protocol, HTTP, ledger and acks, in all of its threads.

The readings wait at the broker before the worker starts. Its CPU is read from when it listens to
the ack of the last batch. With SQLite as the store, the worker's CPU has SQLite's own in it: that
is told beside.
"""

import tempfile
from pathlib import Path
from typing import Final

from bench import aggregator
from bench.aggregator import Drained, Worker
from bench.figure import Figure, Goal, Progress, Result, spread
from wire.mqtt import Broker

RUNS: Final = 5
BATCHES: Final = 30
"""Of each gateway."""

FIGURE: Final = Figure(
    "CPU of the worker per reading, into InfluxDB 1.x, batches of 100", "us", Goal("<=", 2.5)
)


async def measure(progress: Progress) -> Result:
    """About a minute. Raises UserError if a server is not installed or fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        progress(0, "the backlog is made")
        waiting = aggregator.backlog(BATCHES)
        influx: list[Drained] = []
        sqlite: list[Drained] = []
        with aggregator.servers(folder) as (broker_port, influx_port):
            broker = Broker(port=broker_port)
            for run in range(RUNS):
                progress((run + 0.1) / RUNS, "into InfluxDB")
                store = aggregator.influx(influx_port, f"run{run}")
                influx.append(await Worker(folder / f"influx{run}", broker, store).drain(waiting))
                progress((run + 0.6) / RUNS, "into SQLite")
                worker = Worker(folder / f"sqlite{run}", broker, {"kind": "sqlite"})
                sqlite.append(await worker.drain(waiting))
    found = spread([one.cpu_us for one in influx])
    return Result(
        found.median,
        {
            "CPU per reading into InfluxDB, µs": found,
            "readings/s into InfluxDB": spread([one.per_s for one in influx]),
            "CPU per reading into SQLite, µs": spread([one.cpu_us for one in sqlite]),
            "readings/s into SQLite": spread([one.per_s for one in sqlite]),
            "readings in a run": waiting.readings,
        },
    )
