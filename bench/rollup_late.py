"""Ten days of a gateway with 50 sensors, read every 10 s, arrive as a backlog: how long upkeep
takes until no rollup is due any more, divided by the time to store the readings.

They are stored by `Store.write`, oldest first, in writes as large as the worker's, without decoding
and ledger: the time that a worker takes is longer. At the end all minutes and hours are read back
and compared with what is worked out here from the same readings.
"""

import math
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from bench import aggregator
from bench._network import Network, write
from bench.figure import MARGIN, Figure, Goal, Part, Progress, Result, spread, worst
from cloud import service
from cloud.config import Config, Setup
from cloud.state import State
from cloud.store import Bucket, Query, Store, marks
from configs import loader
from configs.loader import UserError

DAY_S: Final = 86_400
WRITE_S: Final = 5000
"""25,000 readings: as many as a take of the worker has with batches of 100."""

_PIECE_S: Final = 21_600
_MOST_TURNS: Final = 1000
_EXACT: Final = 1e-12
"""How far a mean may be off, of its value: sums are rounded in another order."""

LATE: Final = Goal("<=", 1)

FIGURE: Final = Figure(
    "time until the rollups of a backlog of 10 days are right / time to store it",
    "margin",
    MARGIN,
)


class Scale(NamedTuple):
    """`runs` of each store, over so many seconds of readings."""

    network: Network = Network(gateways=1, sensors=50, every_ms=10_000)
    lasts_s: int = 10 * DAY_S
    runs: int = 5


FULL: Final = Scale()

_Made: TypeAlias = tuple[float, float, float, int]
_Key: TypeAlias = tuple[int, str, str]
"""When a rollup begins, and its gateway and sensor."""


class _Took(NamedTuple):
    """Seconds."""

    storing: float
    upkeep: float


async def measure(progress: Progress) -> Result:
    """About ten minutes. Raises UserError if InfluxDB is not installed, or a rollup is wrong."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        return await both(Path(name), progress, FULL)


async def both(folder: Path, progress: Progress, scale: Scale) -> Result:
    """The figure, with all files in `folder`."""
    influx: list[_Took] = []
    with aggregator.influxdb(folder) as server:
        for run in range(scale.runs):
            store = aggregator.influx(server.port, f"late{run}")
            await aggregator.create(server.port, f"late{run}")
            told = partial(progress, 0.5 * run / scale.runs)
            (own := folder / f"influx{run}").mkdir()
            influx.append(await backlog(own, store, told, scale))
    embedded: list[_Took] = []
    for run in range(scale.runs):
        told = partial(progress, 0.5 + 0.5 * run / scale.runs)
        (own := folder / f"embedded{run}").mkdir()
        embedded.append(await backlog(own, {"kind": "sqlite"}, told, scale))
    ratios = {
        "InfluxDB": spread([one.upkeep / one.storing for one in influx]),
        "embedded": spread([one.upkeep / one.storing for one in embedded]),
    }
    return worst(
        {name: Part(one.median, LATE) for name, one in ratios.items()},
        {
            **{f"{name}, upkeep / storing": one for name, one in ratios.items()},
            "InfluxDB, storing, s": spread([one.storing for one in influx]),
            "InfluxDB, upkeep, s": spread([one.upkeep for one in influx]),
            "embedded, storing, s": spread([one.storing for one in embedded]),
            "embedded, upkeep, s": spread([one.upkeep for one in embedded]),
            "readings in a run": scale.network.sensors
            * len(range(0, scale.lasts_s * 1000, scale.network.every_ms)),
        },
    )


async def backlog(folder: Path, store: dict[str, Any], progress: Any, scale: Scale) -> _Took:
    """Store a backlog in an empty `folder`, settle it, and compare. Raises UserError for a rollup
    that is wrong or not there."""
    setup = Setup(loader.parse({"store": store}, Config, "bench"), folder)
    kind = "InfluxDB" if store["kind"] == "influx" else "the embedded store"
    hour_ms = 3_600_000
    end_ms = time.time_ns() // 1_000_000 // hour_ms * hour_ms
    begin_ms = end_ms - scale.lasts_s * 1000
    storing = 0.0
    async with service.opened(setup) as (state, opened):
        for since_ms, seconds in _pieces(begin_ms, scale.lasts_s, WRITE_S):
            progress(f"{kind}: a backlog is stored")
            points = scale.network.points(since_ms, seconds)
            before = time.monotonic()
            await write(opened, points)
            storing += time.monotonic() - before
        progress(f"{kind}: upkeep")
        before = time.monotonic()
        await settle(state, opened)
        upkeep = time.monotonic() - before
        progress(f"{kind}: rollups are compared")
        await _compare(opened, scale, begin_ms)
    return _Took(storing, upkeep)


async def settle(state: State, store: Store) -> None:
    """Do upkeep as often as it takes until no rollup is due that is over. Raises UserError if that
    never comes."""
    for _ in range(_MOST_TURNS):
        now_ms = time.time_ns() // 1_000_000
        await store.upkeep(now_ms)
        left = [
            one
            for bucket in Bucket
            for one in await state.run(partial(marks.due, bucket=bucket, now_ms=now_ms))
        ]
        if not left:
            return
    raise UserError(f"after {_MOST_TURNS} turns of upkeep rollups are still due: {left[0]}")


def _pieces(begin_ms: int, lasts_s: int, piece_s: int) -> Iterator[tuple[int, int]]:
    for second in range(0, lasts_s, piece_s):
        yield begin_ms + second * 1000, min(piece_s, lasts_s - second)


async def _compare(store: Store, scale: Scale, begin_ms: int) -> None:
    for bucket, width_ms in ((Bucket.MINUTE, 60_000), (Bucket.HOUR, 3_600_000)):
        for since_ms, seconds in _pieces(begin_ms, scale.lasts_s, _PIECE_S):
            query = Query(since_ms=since_ms, until_ms=since_ms + seconds * 1000)
            found: dict[_Key, _Made] = {}
            for one in await store.rollups(query, bucket):
                low, mean, high = one.min, one.mean, one.max
                if low is None or mean is None or high is None or one.bad or one.missing:
                    raise UserError(f"the {bucket.level} is not of good readings: {one}")
                found[one.at_ms, one.gateway, one.sensor] = (low, mean, high, one.counted)
            due = _made(scale.network, (begin_ms, scale.lasts_s), query, width_ms)
            _demand_same(bucket.level, found, due)


def _made(
    network: Network, backlog: tuple[int, int], query: Query, width_ms: int
) -> dict[_Key, _Made]:
    """The rollups of the range of `query`, worked out from the readings of the backlog."""
    values: dict[_Key, list[float]] = {}
    for begin_ms, seconds in _pieces(*backlog, WRITE_S):
        assert query.since_ms is not None
        assert query.until_ms is not None
        if begin_ms >= query.until_ms or begin_ms + seconds * 1000 <= query.since_ms:
            continue
        for gateway in range(network.gateways):
            columns = network.readings(gateway, begin_ms, seconds)
            for series, begin, end in columns.parts():
                name = network.name(gateway), series.sensor
                some = zip(columns.at_ms[begin:end], columns.values[begin:end], strict=True)
                for number, run in groupby(some, lambda one: one[0] // width_ms):
                    if query.since_ms <= number * width_ms < query.until_ms:
                        own = values.setdefault((number * width_ms, *name), [])
                        own += [value for _, value in run if value is not None]
    return {
        key: (min(some), math.fsum(some) / len(some), max(some), len(some))
        for key, some in values.items()
    }


def _demand_same(level: str, found: dict[_Key, _Made], due: dict[_Key, _Made]) -> None:
    if found.keys() != due.keys():
        odd = sorted(found.keys() ^ due.keys())
        raise UserError(f"{len(odd)} rollups of a {level} are missing or too many: {odd[0]}")
    for key, (low, mean, high, counted) in due.items():
        low_, mean_, high_, counted_ = found[key]
        if (low, high, counted) != (low_, high_, counted_) or not math.isclose(
            mean, mean_, rel_tol=_EXACT
        ):
            raise UserError(f"the {level} {key} is {found[key]}, and should be {due[key]}")
