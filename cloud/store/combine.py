"""Rollups worked out here: minutes from readings where a server cannot, coarser ones from finer.

A rollup is kept when its time is over, or when something late was added to it. Whoever asks for an
hour or a day that is due gets it made from what is kept by then.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy import Connection

from cloud.state import State
from cloud.store import MINUTE_MS, Bucket, Days, Grid, Query, Rollup, Row, marks, rain
from wire.reading import Quality

MOST_DUE: Final = 24
"""So many hours, or days, are made for one question; what is due beyond them is answered as it is
kept."""

Kept = Callable[[Query, Bucket], Awaitable[list[Rollup]]]
"""Rollups as they are kept."""


def from_readings(rows: Iterable[Row]) -> list[Rollup]:
    """The minutes of these readings, in order."""
    together: dict[tuple[object, ...], list[Row]] = {}
    for one in rows:
        together.setdefault((one.at_ms // MINUTE_MS * MINUTE_MS, *one[1:5]), []).append(one)
    return sorted((_minute(some) for some in together.values()), key=lambda one: one[:5])


def _minute(some: list[Row]) -> Rollup:
    first = some[0]
    good = [one.value for one in some if one.value is not None and one.quality != Quality.BAD]
    flags = [one.quality for one in some if one.quality != Quality.MISSING]
    return Rollup(
        first.at_ms // MINUTE_MS * MINUTE_MS,
        *first[1:5],
        min(good, default=None),
        mean(good) if good else None,
        max(good, default=None),
        counted=len(good),
        bad=flags.count(Quality.BAD),
        missing=len(some) - len(flags),
        worst=max(flags, default=None),
    )


def mean(values: Sequence[float]) -> float:
    """Of values whose sum may be beyond what a float can hold."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(one / len(values) for one in values)


def from_finer(finer: Iterable[Rollup], grid: Grid) -> list[Rollup]:
    """The rollups of `grid` over these finer ones, in order. `rain` is the sum of theirs."""
    together: dict[tuple[object, ...], list[Rollup]] = {}
    for one in finer:
        together.setdefault((grid.begin(one.at_ms), *one[1:5]), []).append(one)
    made = (_combined(some, grid.begin(some[0].at_ms)) for some in together.values())
    return sorted(made, key=lambda one: one[:5])


def _combined(some: list[Rollup], at_ms: int) -> Rollup:
    counted = sum(one.counted for one in some)
    weighed = (one.mean * (one.counted / counted) for one in some if one.mean is not None)
    rained = [one.rain for one in some if one.rain is not None]
    return some[0]._replace(
        at_ms=at_ms,
        min=min((one.min for one in some if one.min is not None), default=None),
        mean=math.fsum(weighed) if counted else None,
        max=max((one.max for one in some if one.max is not None), default=None),
        counted=counted,
        bad=sum(one.bad for one in some),
        missing=sum(one.missing for one in some),
        worst=max((one.worst for one in some if one.worst is not None), default=None),
        rain=round(math.fsum(rained), 9) if rained else None,
    )


class Reader:
    """Answers for rollups: as they are kept, and what is due from what is finer, where that is
    still there (from `since_ms` of its level on, and from each gateway's horizon)."""

    def __init__(self, state: State, kept: Kept, days: Days) -> None:
        self._state = state
        self._kept = kept
        self._days = days

    async def ask(self, query: Query, bucket: Bucket, since_ms: dict[str, int]) -> list[Rollup]:
        """The rollups that `query` asks for."""
        found = await self._kept(query, bucket)
        if bucket.finer is None or bucket not in self._days.buckets:
            return found
        grid = self._days.grid(bucket)
        whole = query.whole(grid)
        begin_ms = max(since_ms.get(bucket.finer.level, 0), whole.since_ms or 0)
        look = partial(_waiting, bucket=bucket, grid=grid, query=replace(whole, since_ms=begin_ms))
        places = await self._state.run(look)
        made = {one[:5]: one for one in found}
        for at_ms in sorted({at_ms for _, at_ms in places}, reverse=True)[:MOST_DUE]:
            range_ = replace(query, since_ms=at_ms, until_ms=at_ms + grid.width_ms, limit=None)
            finer = await self.ask(range_, bucket.finer, since_ms)
            due = from_finer([one for one in finer if (one.gateway, at_ms) in places], grid)
            if bucket is Bucket.HOUR:
                due = await rain.asked(self._kept, due)
            made |= {one[:5]: one for one in due if one.at_ms == at_ms}
        return query.cut(list(made.values()))


def _waiting(
    connection: Connection, bucket: Bucket, grid: Grid, query: Query
) -> set[tuple[str, int]]:
    """The gateways and times of what is due, as far as all that is finer is still there. A day is
    due as well where one of its hours is."""
    assert bucket.finer is not None
    places = set()
    for level in (bucket, bucket.finer) if bucket.finer is Bucket.HOUR else (bucket,):
        due = marks.due(
            connection,
            level,
            gateway=query.gateway,
            since_ms=query.since_ms,
            before_ms=query.until_ms,
        )
        places |= {(one.gateway, grid.begin(one.at_ms)) for one in due}
    horizons = {
        gateway: marks.horizon(connection, gateway, bucket.finer.level)
        for gateway in {gateway for gateway, _ in places}
    }
    return {
        (gateway, at_ms)
        for gateway, at_ms in places
        if at_ms >= max(horizons[gateway], query.since_ms or 0)
    }
