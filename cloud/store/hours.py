"""Rollups worked out here: hours from minutes, and minutes from readings where a server cannot.

An hour is kept when it is over, or when something late was added to it. Whoever asks for one that
is due gets it made from its minutes as they are kept by then.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from cloud.state import State
from cloud.store import Bucket, Query, Rollup, Row, marks
from wire.reading import Quality

_HOUR_MS: Final = Bucket.HOUR.value

MOST_DUE: Final = 24
"""So many hours are made for one question; what is due beyond them is answered as it is kept."""

Ask = Callable[[Query, Bucket], Awaitable[list[Rollup]]]
"""Rollups as they are kept."""


def from_readings(rows: Iterable[Row]) -> list[Rollup]:
    """The minutes of these readings, in order."""
    minute = Bucket.MINUTE.value
    together: dict[tuple[object, ...], list[Row]] = {}
    for one in rows:
        together.setdefault((one.at_ms // minute * minute, *one[1:5]), []).append(one)
    return sorted((_minute(some) for some in together.values()), key=lambda one: one[:5])


def _minute(some: list[Row]) -> Rollup:
    first = some[0]
    good = [one.value for one in some if one.value is not None and one.quality != Quality.BAD]
    flags = [one.quality for one in some if one.quality != Quality.MISSING]
    return Rollup(
        first.at_ms // Bucket.MINUTE.value * Bucket.MINUTE.value,
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


def from_minutes(minutes: Iterable[Rollup]) -> list[Rollup]:
    """The hours of these minutes, in order."""
    together: dict[tuple[object, ...], list[Rollup]] = {}
    for one in minutes:
        together.setdefault((one.at_ms // _HOUR_MS * _HOUR_MS, *one[1:5]), []).append(one)
    return sorted((_hour(some) for some in together.values()), key=lambda one: one[:5])


def _hour(some: list[Rollup]) -> Rollup:
    first = some[0]
    counted = sum(one.counted for one in some)
    weighed = (one.mean * (one.counted / counted) for one in some if one.mean is not None)
    return first._replace(
        at_ms=first.at_ms // _HOUR_MS * _HOUR_MS,
        min=min((one.min for one in some if one.min is not None), default=None),
        mean=math.fsum(weighed) if counted else None,
        max=max((one.max for one in some if one.max is not None), default=None),
        counted=counted,
        bad=sum(one.bad for one in some),
        missing=sum(one.missing for one in some),
        worst=max((one.worst for one in some if one.worst is not None), default=None),
    )


async def ask(
    state: State, kept: Ask, query: Query, bucket: Bucket, minutes_since_ms: int = 0
) -> list[Rollup]:
    """The rollups that `query` asks for: as they are kept, and hours that are due from minutes,
    where those are still there (from `minutes_since_ms` on, and from each gateway's horizon)."""
    found = await kept(query, bucket)
    if bucket is not Bucket.HOUR:
        return found
    whole = query.whole(bucket)

    def waiting(connection: Connection) -> set[tuple[str, int]]:
        since_ms = max(minutes_since_ms, whole.since_ms or 0)
        due = marks.due(
            connection, bucket, gateway=query.gateway, since_ms=since_ms, before_ms=whole.until_ms
        )
        horizons = {
            gateway: marks.horizon(connection, gateway, Bucket.MINUTE.level)
            for gateway in {one.gateway for one in due}
        }
        return {(one.gateway, one.at_ms) for one in due if one.at_ms >= horizons[one.gateway]}

    places = await state.run(waiting)
    made = {one[:5]: one for one in found}
    for at_ms in sorted({at_ms for _, at_ms in places}, reverse=True)[:MOST_DUE]:
        range_ = replace(query, since_ms=at_ms, until_ms=at_ms + _HOUR_MS, limit=None)
        minutes = await kept(range_, Bucket.MINUTE)
        due = [one for one in minutes if (one.gateway, at_ms) in places]
        made |= {one[:5]: one for one in from_minutes(due)}
    return query.cut(list(made.values()))
