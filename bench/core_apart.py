"""The core of a gateway beside parts that fail: the longest time from a depth over red to the
signal that is read back, and the longest gap between two answers of the ruler, while each part of
the gateway fails again and again, by chance, ÷ the same while none does.

A serial line of 9600 baud, most of it taken by polling, carries ruler and relay; one reading
confirms. The stopwatch is the gateway's own, as its log tells it. Two runs with failures stand
between two without.
"""

import asyncio
import json
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from time import time
from typing import Any, Final, NamedTuple

from bench import waves
from bench.figure import Figure, Goal, Progress, Result
from bench.programs import Mosquitto, Process, Program, free_port
from configs.loader import UserError

FAILURES: Final = 200
RUN_S: Final = 30.0
PERIOD_S: Final = 1.07  # no multiple of the polls: the water rises at every phase of them
WAVES: Final = 1000
RULER: Final = "ruler-1"
FEWEST: Final = 15
RUNS: Final = (False, True, True, False)

FIGURE: Final = Figure(
    "longest depth to signal and longest gap of the ruler, 200 failures of parts / none",
    "ratio",
    Goal("<=", 1.2),
)


class Run(NamedTuple):
    """What one run gave: s, ms."""

    gaps_s: list[float]
    latencies_ms: list[float]
    failures: int


async def measure(progress: Progress) -> Result:
    """About 150 s. Raises UserError if a program fails, or too few parts do."""
    runs: list[tuple[bool, Run]] = []
    for i, spoiled in enumerate(RUNS):
        progress(i / len(RUNS), "parts fail" if spoiled else "all is well")
        runs.append((spoiled, await _run(i, spoiled)))
    failures = sum(run.failures for spoiled, run in runs if spoiled)
    if failures < FAILURES:
        raise UserError(f"only {failures} failures, not {FAILURES}")

    def longest(what: str, spoiled: bool) -> float:
        # Of each run its longest; of the two runs the middle: one busy moment is no failure's work.
        found = [max(getattr(run, what)) for was, run in runs if was is spoiled]
        return float(statistics.mean(found))

    ratios = {
        what: longest(what, True) / longest(what, False) for what in ("gaps_s", "latencies_ms")
    }
    return Result(
        max(ratios.values()),
        {
            "longest gap, ratio": ratios["gaps_s"],
            "longest gap, all is well, ms": 1000 * longest("gaps_s", False),
            "longest gap, parts fail, ms": 1000 * longest("gaps_s", True),
            "longest depth to signal, ratio": ratios["latencies_ms"],
            "longest depth to signal, all is well, ms": longest("latencies_ms", False),
            "longest depth to signal, parts fail, ms": longest("latencies_ms", True),
            "failures": failures,
        },
    )


async def _run(seed: int, spoiled: bool) -> Run:
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder, port = Path(name), free_port()
        tables: dict[str, Any] = {
            "uplink": {"broker": {"port": port}, "drain_at_stop_s": 0},
            "outbox": {"path": "outbox.db", "seal_every_s": 1, "reserve_mb": 0},
            "metrics": {"port": free_port()},
        }
        waves.write(folder, PERIOD_S, WAVES, tables)
        every_s = 2 * RUN_S / (1.3 * FAILURES) if spoiled else 0.0
        gateway = ("edge", "run", "--unattended", "--log", "json")
        command = [sys.executable, "-m", "bench.saboteur", str(seed), f"{every_s:g}", *gateway]
        with (
            Mosquitto(folder, port) as broker,
            Program("sim", folder, *waves.SIMULATOR) as sim,
        ):
            broker.wait_until(broker.accepts)
            sim.wait_until(lambda: '"ready"' in _text(folder / "truth.jsonl"))
            with Process("edge", folder, command) as edge:
                edge.wait_until(lambda: "red confirmed by read-back" in _text(edge.log))
                began = time()
                await asyncio.sleep(RUN_S)
                edge.look()
                ended = time()
            return _told(folder, began, ended)


def _told(folder: Path, began: float, ended: float) -> Run:
    latencies = []
    for line in _text(folder / "edge.log").splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        _, mark, figure = said["message"].partition(": red confirmed by read-back after ")
        if mark and began <= datetime.fromisoformat(said["at"]).timestamp() < ended:
            latencies.append(float(figure.removesuffix(" ms")))
    reports = [json.loads(line) for line in _text(folder / "saboteur.jsonl").splitlines()]
    reports = [one for one in reports if began + 1 <= one["at"] < ended]
    gaps = [one["gaps_s"][RULER] for one in reports if RULER in one["gaps_s"]]
    if len(latencies) < FEWEST or not gaps:
        raise UserError(f"the signal turned red {len(latencies)} times, not {FEWEST}")
    return Run(gaps, latencies, reports[-1]["failures"])


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace") if file.exists() else ""
