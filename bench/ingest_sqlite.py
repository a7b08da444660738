"""Readings per second of one worker, from the broker to durable in the embedded SQLite store, in
the ledger and acknowledged; beside SQLite alone, which gets the same rows, ready, into the same
table by the same statement, in transactions as large, each with its fsync.

The readings wait at the broker before the worker starts; broker and worker share the cores, SQLite
alone has them for itself. The worker's time goes from the moment at which it listens to the ack of
the last batch.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.schema import CreateTable

from bench import aggregator
from bench.aggregator import READINGS, Backlog, Worker
from bench.figure import Figure, Goal, Progress, Result, spread
from cloud.ingest.worker import TAKE
from cloud.store import sqlite
from wire import codec
from wire.mqtt import Broker

RUNS: Final = 5
BATCHES: Final = 20
"""Of each gateway."""

FIGURE: Final = Figure(
    "readings/s of one worker into SQLite / rows/s of SQLite alone with its table, batches of 100",
    "ratio",
    Goal(">=", 0.5),
)


async def measure(progress: Progress) -> Result:
    """About two minutes. Raises UserError if there is no broker, or if the worker fails."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        progress(0, "the backlog is made")
        waiting = aggregator.backlog(BATCHES)
        takes = _rows(waiting)
        alone: list[float] = []
        ours: list[float] = []
        cpu: list[float] = []
        with aggregator.broker(folder) as port:
            for run in range(RUNS):
                progress((run + 0.1) / RUNS, "SQLite alone")
                took = await asyncio.to_thread(_alone, folder / f"alone{run}.db", takes)
                alone.append(waiting.readings / took)
                progress((run + 0.3) / RUNS, "the worker")
                worker = Worker(folder / f"ours{run}", Broker(port=port), {"kind": "sqlite"})
                drained = await worker.drain(waiting)
                ours.append(drained.per_s)
                cpu.append(drained.cpu_us)
    found = spread([one / other for one, other in zip(ours, alone, strict=True)])
    return Result(
        found.median,
        {
            "worker / SQLite alone": found,
            "worker, readings/s": spread(ours),
            "SQLite alone, rows/s": spread(alone),
            "worker's CPU per reading, SQLite's included, µs": spread(cpu),
            "readings in a run": waiting.readings,
            "rows in a transaction": TAKE * READINGS,
        },
    )


def _rows(waiting: Backlog) -> list[list[sqlite.Value]]:
    """The same readings as values of the table, one list a transaction."""
    numbers: dict[tuple[str, ...], int] = {}
    batches = [codec.decode_batch(payload) for _, payload in waiting.messages]
    takes = []
    for begin in range(0, len(batches), TAKE):
        values: list[sqlite.Value] = []
        for batch in batches[begin : begin + TAKE]:
            for r in batch.readings:
                name = (batch.gateway, r.site, r.sensor, r.quantity)
                number = numbers.setdefault(name, len(numbers) + 1)
                values += (number, r.at_ms, r.value, r.quality)
        takes.append(values)
    return takes


def _alone(file: Path, takes: Sequence[list[sqlite.Value]]) -> float:
    """Seconds that SQLite takes for them."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    for table in (sqlite.series, sqlite.reading):
        connection.execute(str(CreateTable(table).compile(dialect=dialect.dialect())))
    begin = time.monotonic()
    for values in takes:
        connection.execute("BEGIN IMMEDIATE")
        for statement, some in sqlite.inserts(values):
            connection.execute(statement, some)
        connection.execute("COMMIT")
    took = time.monotonic() - begin
    connection.close()
    return took
