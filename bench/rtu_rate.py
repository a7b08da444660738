"""RTU reads per second of our master against libmodbus's, on the same pty that takes the time of a
serial line, one register a request.

libmodbus does not keep the silence of 3.5 characters that the standard demands between two frames,
so for the comparison ours does not keep it either (`gap_ms = 0` of the port). What it costs to keep
it, as ours does unless told otherwise, is told beside.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import tomlkit

from bench import libmodbus
from bench.figure import MARGIN, Detail, Figure, Goal, Part, Progress, Result, spread, worst
from bench.programs import Program
from drivers.ports import Baud, serial
from drivers.protocols.modbus import Master

GOALS: Final[dict[Baud, Goal]] = {9600: Goal(">=", 0.97), 115200: Goal(">=", 0.92)}
RUNS: Final = 7
RUN_S: Final = 1.5
UNIT: Final = 7
WITHIN_S: Final = 0.5

FIGURE: Final = Figure(
    "RTU reads/s / libmodbus's on the same paced pty, 9600 and 115200 baud: the worse margin",
    "margin",
    MARGIN,
)


async def measure(progress: Progress) -> Result:
    """About 80 s. Raises UserError if libmodbus is not installed."""
    parts: dict[str, Part] = {}
    details: dict[str, Detail] = {}
    for place, (baud, goal) in enumerate(GOALS.items()):
        ours, theirs, by_standard = [], [], []
        with simulated(baud) as device:
            for run in range(RUNS):
                progress((place + run / RUNS) / len(GOALS), f"{baud} baud, run {run + 1} of {RUNS}")
                ours.append(await _ours(device, baud, gap_ms=0))
                theirs.append(_libmodbus(device, baud))
                by_standard.append(await _ours(device, baud, gap_ms=None))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        silent = [a / b for a, b in zip(by_standard, theirs, strict=True)]
        parts[f"{baud} baud, ratio"] = Part(median(ratios), goal)
        details |= {
            f"{baud} baud, ratios": spread(ratios),
            f"{baud} baud, ours, reads/s": spread(ours),
            f"{baud} baud, libmodbus, reads/s": spread(theirs),
            f"{baud} baud, ours with the standard's silence, ratios": spread(silent),
        }
    return worst(parts, details)


async def _ours(device: str, baud: Baud, gap_ms: float | None) -> float:
    config = serial.Config(kind="serial", device=device, baud=baud, gap_ms=gap_ms)
    async with serial.open("bus", config) as port:
        master = Master(port)
        await master.read_registers(UNIT, 3, 0, 1, within_s=WITHIN_S)
        reads, begin = 0, time.monotonic()
        while (spent_s := time.monotonic() - begin) < RUN_S:
            await master.read_registers(UNIT, 3, 0, 1, within_s=WITHIN_S)
            reads += 1
        return reads / spent_s


def _libmodbus(device: str, baud: Baud) -> float:
    with libmodbus.rtu(device, baud, WITHIN_S) as context:
        context.read_registers(UNIT, 0, 1)
        reads, begin = 0, time.monotonic()
        while (spent_s := time.monotonic() - begin) < RUN_S:
            context.read_registers(UNIT, 0, 1)
            reads += 1
        return reads / spent_s


@contextmanager
def simulated(baud: Baud) -> Iterator[str]:
    """The path of a line with one device, in a process of its own."""
    measure = {"quantity": "depth", "address": 0, "unit": "cm"}
    profile = {
        "title": "one register",
        "source": "this figure",
        "line": {"unit_id": UNIT, "baud": baud},
        "measure": [measure],
    }
    sim = {
        "line": {"bus": {"kind": "pty", "link": "ttyBus", "baud": baud}},
        "device": {"one": {"line": "bus", "profile": "one"}},
    }
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder, facts = Path(name), Path(name) / "truth.jsonl"
        (folder / "profiles").mkdir()
        (folder / "profiles" / "one.toml").write_text(tomlkit.dumps(profile), encoding="utf-8")
        (folder / "sim.toml").write_text(tomlkit.dumps(sim), encoding="utf-8")
        with Program("sim", folder, "sim", "run", "sim.toml", "--truth", facts.name) as program:
            program.wait_until(lambda: facts.exists() and '"ready"' in facts.read_text("utf-8"))
            yield str(folder / "ttyBus")
