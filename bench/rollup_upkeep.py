"""What keeping rollups costs beside storing: CPU of this process and the server for upkeep, divided
by their CPU for storing the same readings, over the last ten minutes of an hour that is full.

2,000 readings/s (20 gateways with 100 sensors, once a second) are stored in writes of ten seconds;
upkeep comes every 30 s of the readings' time, and once more when the hour is over, with which the
hour is made. Storing is `Store.write` alone, without decoding and ledger: the worker's share in it
is larger. The server's work is counted where it is done, so what it compacts later counts for
whatever runs then.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import aggregator
from bench._network import Network, write
from bench.figure import MARGIN, Figure, Goal, Part, Progress, Result, spread, worst
from bench.programs import cpu_s
from cloud import service
from cloud.config import Config, Setup
from cloud.store import Store
from configs import loader

RUNS: Final = 5
NETWORK: Final = Network(gateways=20, sensors=2000, every_ms=1000)
WRITE_S: Final = 10
UPKEEP_S: Final = 30
HOUR_S: Final = 3600
FULL_S: Final = 3000
AHEAD_MS: Final = 86_400_000
"""The hours lie a day ahead of now, so that no reading is late."""

TO_INFLUX: Final = Goal("<=", 0.25)
TO_EMBEDDED: Final = Goal("<=", 0.15)

FIGURE: Final = Figure(
    "CPU for keeping rollups / CPU for storing, 2,000 readings/s at the end of a full hour",
    "margin",
    MARGIN,
)


class _Cost(NamedTuple):
    """CPU in s."""

    storing: float
    upkeep: float

    @property
    def ratio(self) -> float:
        return self.upkeep / self.storing


async def measure(progress: Progress) -> Result:
    """About half an hour. Raises UserError if InfluxDB is not installed."""
    influx: list[_Cost] = []
    embedded: list[_Cost] = []
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        with aggregator.influxdb(folder) as server:
            await aggregator.create(server.port, "city")
            store = aggregator.influx(server.port, "city")
            (own := folder / "influx").mkdir()
            await _runs(own, store, influx, lambda: cpu_s(server.pid), progress)
        (own := folder / "embedded").mkdir()
        await _runs(own, {"kind": "sqlite"}, embedded, lambda: 0.0, progress)
    to_influx = spread([one.ratio for one in influx])
    to_embedded = spread([one.ratio for one in embedded])
    readings = NETWORK.sensors * (HOUR_S - FULL_S)
    return worst(
        {
            "InfluxDB": Part(to_influx.median, TO_INFLUX),
            "embedded": Part(to_embedded.median, TO_EMBEDDED),
        },
        {
            "InfluxDB, upkeep / storing": to_influx,
            "embedded, upkeep / storing": to_embedded,
            "InfluxDB, storing, µs a reading": spread([o.storing / readings * 1e6 for o in influx]),
            "embedded, storing, µs a reading": spread(
                [o.storing / readings * 1e6 for o in embedded]
            ),
            "readings in a run": readings,
        },
    )


async def _runs(
    folder: Path,
    store: dict[str, Any],
    costs: list[_Cost],
    server_s: Callable[[], float],
    progress: Progress,
) -> None:
    setup = Setup(loader.parse({"store": store}, Config, "bench"), folder)
    hour0_ms = (time.time_ns() // 1_000_000 + AHEAD_MS) // 3_600_000 * 3_600_000
    kind = "InfluxDB" if store["kind"] == "influx" else "the embedded store"
    async with service.opened(setup) as (_, opened):
        for run in range(RUNS):
            progress(run / RUNS, f"{kind}: the hour is filled")
            begin_ms = hour0_ms + run * HOUR_S * 1000
            for second in range(0, FULL_S, 60):
                await write(opened, NETWORK.points(begin_ms + second * 1000, 60))
            await opened.upkeep(begin_ms + FULL_S * 1000)
            progress((run + 0.6) / RUNS, f"{kind}: its last ten minutes")
            costs.append(await _last_minutes(opened, begin_ms, server_s))


async def _last_minutes(store: Store, begin_ms: int, server_s: Callable[[], float]) -> _Cost:
    def used() -> float:
        return time.process_time() + server_s()

    storing = upkeep = 0.0
    for second in range(FULL_S, HOUR_S, WRITE_S):
        before = used()
        await write(store, NETWORK.points(begin_ms + second * 1000, WRITE_S))
        storing += used() - before
        if (second + WRITE_S) % UPKEEP_S == 0:
            before = used()
            await store.upkeep(begin_ms + (second + WRITE_S) * 1000)
            upkeep += used() - before
    before = used()
    await store.upkeep(begin_ms + (HOUR_S + UPKEEP_S) * 1000)
    upkeep += used() - before
    return _Cost(storing, upkeep)
