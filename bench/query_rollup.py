"""How long `shuichi query` takes, from its start to its end, for 24 hours by minutes and a year by
hours of 20 sensors, from kept rollups, as CSV in a file.

The year has a reading of each sensor every half hour, its last day one every 10 s; all rollups are
made before. Nothing else runs but the store.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import tomlkit

from bench import aggregator
from bench._network import Network, write
from bench.figure import MARGIN, Figure, Goal, Part, Progress, Result, spread, worst
from bench.rollup_late import settle
from cloud import config, service
from configs.loader import UserError

HOUR_MS: Final = 3_600_000
AT_ONCE_S: Final = 43_200
"""So much of the last day is stored in one write, and sixty times as much of the year."""

WITHIN: Final = Goal("<=", 1)

FIGURE: Final = Figure(
    "wall time of `shuichi query`: 24 h by minutes and a year by hours of 20 sensors",
    "margin",
    MARGIN,
)


class Scale(NamedTuple):
    """What is asked for, and how often."""

    sensors: int = 20
    hours_by_minutes: int = 24
    days_by_hours: int = 365
    runs: int = 5


FULL: Final = Scale()


class _Ask(NamedTuple):
    """A question: its name, the rollup, the range, and how many rows its answer has."""

    name: str
    rollup: str
    since_ms: int
    until_ms: int
    rows: int


async def measure(progress: Progress) -> Result:
    """About three minutes. Raises UserError if InfluxDB is not installed, or an answer is short."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        return await both(Path(name), progress, FULL)


async def both(folder: Path, progress: Progress, scale: Scale) -> Result:
    """The figure, with all files in `folder`."""
    with aggregator.influxdb(folder) as server:
        await aggregator.create(server.port, "asked")
        store = aggregator.influx(server.port, "asked")
        (own := folder / "influx").mkdir()
        influx = await asked(own, store, partial(progress, 0.1), scale)
    (own := folder / "embedded").mkdir()
    embedded = await asked(own, {"kind": "sqlite"}, partial(progress, 0.6), scale)
    took = {f"InfluxDB, {name}": one for name, one in influx.items()}
    took |= {f"embedded, {name}": one for name, one in embedded.items()}
    found = {name: spread(one) for name, one in took.items()}
    return worst(
        {name: Part(one.median, WITHIN) for name, one in found.items()},
        {f"{name}, s": one for name, one in found.items()},
    )


async def asked(
    folder: Path, store: dict[str, Any], progress: Any, scale: Scale
) -> dict[str, list[float]]:
    """Seconds of each run, by question, of a cloud in an empty `folder`."""
    file = folder / "cloud.toml"
    file.write_text(tomlkit.dumps({"store": store}), encoding="utf-8")
    kind = "InfluxDB" if store["kind"] == "influx" else "the embedded store"
    progress(f"{kind}: a year is stored")
    end_ms = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
    asks = await _fill(file, end_ms, scale)
    took: dict[str, list[float]] = {one.name: [] for one in asks}
    for run in range(scale.runs):
        for one in asks:
            progress(f"{kind}: {one.name}, {run + 1} of {scale.runs}")
            took[one.name].append(_query(folder, one))
    return took


async def _fill(file: Path, end_ms: int, scale: Scale) -> Sequence[_Ask]:
    """Store what is asked for, make the rollups, and say what to ask."""
    day_ms, year_ms = scale.hours_by_minutes * HOUR_MS, scale.days_by_hours * 24 * HOUR_MS
    dense = Network(gateways=1, sensors=scale.sensors, every_ms=10_000)
    sparse = dense._replace(every_ms=HOUR_MS // 2)
    async with service.opened(config.read(file)) as (state, store):
        for network, since_ms, until_ms, step_s in (
            (sparse, end_ms - year_ms, end_ms - day_ms, 60 * AT_ONCE_S),
            (dense, end_ms - day_ms, end_ms, AT_ONCE_S),
        ):
            for begin_ms in range(since_ms, until_ms, step_s * 1000):
                seconds = min(step_s, (until_ms - begin_ms) // 1000)
                await write(store, network.points(begin_ms, seconds))
        await settle(state, store)
    minutes = scale.hours_by_minutes * 60 * scale.sensors
    hours = scale.days_by_hours * 24 * scale.sensors
    return (
        _Ask(f"{scale.hours_by_minutes} h by minutes", "1m", end_ms - day_ms, end_ms, minutes),
        _Ask(f"{scale.days_by_hours} days by hours", "1h", end_ms - year_ms, end_ms, hours),
    )


def _query(folder: Path, ask: _Ask) -> float:
    """Seconds of one command. Raises UserError if it fails or its answer has not all rows."""
    output = folder / "answer.csv"
    words = ["query", "--config", "cloud.toml", "--rollup", ask.rollup, "--all"]
    words += ["--since", _iso(ask.since_ms), "--until", _iso(ask.until_ms)]
    words += ["--format", "csv", "--output", output.name]
    output.unlink(missing_ok=True)
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "shuichi", *words],
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
    )
    took = time.monotonic() - begin
    if done.returncode:
        raise UserError(f"shuichi query ended with code {done.returncode}: {done.stderr.strip()}")
    with output.open(encoding="utf-8") as lines:
        rows = sum(1 for _ in lines) - 1
    if rows != ask.rows:
        raise UserError(f"{ask.name}: {rows} rows of {ask.rows}")
    return took


def _iso(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms // 1000))
