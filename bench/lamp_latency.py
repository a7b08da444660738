"""From the first reading over red to the lamp that is read back, beyond what the wire itself takes.

A serial line of 9600 baud carries ruler, relay and four other rulers; polling takes four fifths of
it, and one reading confirms. The gateway is a process of its own, without a broker, which the lamp
does not need; the stopwatch is its own, as its log tells it. The two transactions are the write of
all coils and the read-back: both frames of each, the silences around them, and the time in which
the relay answers.
"""

import json
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import tomlkit

from bench import waves
from bench.figure import Figure, Goal, Progress, Result, percentile, spread
from bench.programs import Program, as_installed, free_port
from configs.loader import UserError
from edge import config, load

RISES: Final = 110
PERIOD_S: Final = 1.07  # no multiple of the polls: the water rises at every phase of them
FEWEST: Final = 100
LOAD: Final = (0.78, 0.85)

FIGURE: Final = Figure(
    "first reading over red to lamp read back, p99, beyond the wire time of the two transactions, "
    "9600 baud at 80 % load",
    "ms",
    Goal("<=", 15),
)


def _latch(file: Path) -> None:
    """One write of all coils and one read-back, whatever is shown: a relay that pulses takes more
    transactions for some aspects than for others, and their wire time could not be taken off."""
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    (interlock,) = tables["interlock"].values()
    interlock["second_path"] = "nothing: this is a measurement, and no road"
    interlock["signal"]["hold"] = "latch"
    interlock["signal"].pop("pulse_ms", None)
    file.write_text(tomlkit.dumps(tables), encoding="utf-8")


def measure(progress: Progress) -> Result:
    """About 125 s. Raises UserError if a program fails, or if the lamp turns too seldom."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        uplink = {"broker": {"port": free_port()}, "drain_at_stop_s": 0}
        waves.write(folder, PERIOD_S, 2 * RISES + 60, {"uplink": uplink})
        _latch(folder / "gateway.toml")
        setup = config.read(folder / "gateway.toml")
        (bus,) = load.of(setup).ports
        (site, interlock), *_ = setup.config.interlock.items()
        wire_s = interlock.signal.show_s(setup.config.port["bus"], setup.profile)
        polling = bus.share - (wire_s or 0) / interlock.refresh_every_s
        if wire_s is None or not LOAD[0] <= polling <= LOAD[1]:
            raise UserError(f"polling takes {polling:.0%} of the bus")
        facts = folder / "truth.jsonl"
        environment = as_installed(folder / "compiled")
        with Program("sim", folder, *waves.SIMULATOR) as sim:
            sim.wait_until(lambda: facts.exists() and '"ready"' in facts.read_text("utf-8"))
            edge_run = ("edge", "run", "--unattended", "--log", "json")
            with Program("edge", folder, *edge_run, more=environment) as edge:
                edge.wait_until(lambda: any(_latencies(edge.log, site)))
                found = _watch(progress, edge, site)
    beyond = [latency_ms - wire_s * 1000 for latency_ms in found]
    return Result(
        percentile(beyond, 99),
        {
            "latency, ms": spread(found),
            "latency, p99, ms": percentile(found, 99),
            "wire time of the two transactions, ms": wire_s * 1000,
            "beyond it, ms": spread(beyond),
            "load by polling, %": 100 * polling,
        },
    )


def _watch(progress: Progress, edge: Program, site: str) -> list[float]:
    before = len(list(_latencies(edge.log, site)))
    for rise in range(RISES):
        progress(rise / RISES, f"{rise} of {RISES} rises")
        time.sleep(PERIOD_S)
        edge.look()
    found = list(_latencies(edge.log, site))[before:]
    if len(found) < FEWEST:
        raise UserError(f"the lamp turned red {len(found)} times, {FEWEST} are needed")
    return found


def _latencies(log: Path, site: str) -> Iterator[float]:
    """What the gateway has told of, ms."""
    for line in log.read_text("utf-8").split("\n")[:-1]:
        mark = f"{site}: red confirmed by read-back after "
        if (message := json.loads(line)["message"]).startswith(mark):
            yield float(message.removeprefix(mark).removesuffix(" ms"))
