"""Rain of an hour, from a counter that falls back to zero and that sometimes reads nonsense.

`cloud.analysis.rain_counter` judges the steps between what the counter showed: here the least and
the most of each minute, and of each hour for what lies further away, which only tells a glitch from
a reset. A step counts in the hour in which it ends, so no rain is lost to a gap, and the hours of a
day add up. What the hour before and the hour after have is judged again with each hour: a fall is
understood only by what comes after it.
"""

import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, NamedTuple

from cloud.analysis import rain_counter
from cloud.store import HOUR_MS, MINUTE_MS, Bucket, Query, Rollup
from wire.reading import Quantity

MOST_M_S: Final = 0.010 / 60
"""The fastest rain that is believed, as in the rule `rain_sum` unless a config says otherwise:
10 mm/min."""

_AROUND_MS: Final = rain_counter.GLITCH_MS
_SAME_M: Final = 1e-9
_DIGITS: Final = 9
"""Of a sum in m: what is behind them comes from subtracting."""

_Series = tuple[str, str, str]
"""Gateway, site, sensor."""


class Question(NamedTuple):
    """What `judged` has to know: rollups as they are kept."""

    query: Query
    bucket: Bucket


Judging = Generator[Question, list[Rollup], list[Rollup]]


def judged(made: Sequence[Rollup]) -> Judging:
    """`made` hours, of one time, with their rain; and the hours beside them, as they are kept,
    whose rain turns out to be another. Asks by Question, and is sent the answers."""
    gauges = {_series(one) for one in made if one.quantity is Quantity.RAIN_TOTAL}
    if not gauges:
        return list(made)
    hour_ms = made[0].at_ms
    kept = yield from _hours(hour_ms, gauges)
    before = [one.at_ms for one in kept if one.at_ms < hour_ms]
    after = [one.at_ms for one in kept if one.at_ms > hour_ms]
    beside = {hour_ms, *sorted(set(before))[-2:], *sorted(set(after))[:1]}
    beside |= set(_nearest(kept, hour_ms))
    minutes: list[Rollup] = []
    for since_ms, until_ms in _ranges(beside):
        minutes += yield Question(_of(gauges, since_ms, until_ms), Bucket.MINUTE)
    return _rained(made, kept, minutes)


def _of(gauges: set[_Series], since_ms: int, until_ms: int) -> Query:
    """The counters in a range; of one gateway, where there is one."""
    gateways = {gateway for gateway, _, _ in gauges}
    gateway = gateways.pop() if len(gateways) == 1 else None
    return Query(
        gateway=gateway, quantity=Quantity.RAIN_TOTAL, since_ms=since_ms, until_ms=until_ms
    )


def _hours(hour_ms: int, gauges: set[_Series]) -> Generator[Question, list[Rollup], list[Rollup]]:
    """The hours around this one, and of each gauge the nearest before and after."""
    since_ms, until_ms = hour_ms - _AROUND_MS, hour_ms + HOUR_MS + _AROUND_MS
    around = yield Question(_of(gauges, since_ms, until_ms), Bucket.HOUR)
    kept = [
        one
        for one in around
        if _series(one) in gauges and one.counted and one.at_ms != hour_ms  # which is made anew
    ]
    for gauge in sorted(gauges - {_series(one) for one in kept if one.at_ms < hour_ms}):
        kept += yield Question(_one(gauge, until_ms=since_ms), Bucket.HOUR)
    if until_ms > time.time_ns() // 1_000_000:  # as nearly always: nothing can be further ahead
        return sorted(kept, key=lambda one: one.at_ms)
    for gauge in sorted(gauges - {_series(one) for one in kept if one.at_ms > hour_ms}):
        kept += yield Question(_one(gauge, since_ms=until_ms), Bucket.HOUR)
    return sorted(kept, key=lambda one: one.at_ms)


def _one(gauge: _Series, since_ms: int | None = None, until_ms: int | None = None) -> Query:
    """The next hour of a gauge, or the last one before."""
    gateway, site, sensor = gauge
    return Query(
        gateway=gateway,
        site=site,
        sensor=sensor,
        quantity=Quantity.RAIN_TOTAL,
        since_ms=since_ms,
        until_ms=until_ms,
        limit=1,
        newest_first=since_ms is None,
    )


def _nearest(kept: Sequence[Rollup], hour_ms: int) -> Iterable[int]:
    """Of each gauge the last hour before this one, and the first after it."""
    before = {_series(one): one.at_ms for one in kept if one.at_ms < hour_ms}
    after = {_series(one): one.at_ms for one in reversed(kept) if one.at_ms > hour_ms}
    return [*before.values(), *after.values()]


def _ranges(hours: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Neighbouring hours together."""
    ordered = sorted(hours)
    begin = ordered[0]
    for one, following in pairwise([*ordered, ordered[-1] + 2 * HOUR_MS]):
        if following != one + HOUR_MS:
            yield begin, one + HOUR_MS
            begin = following


def _rained(
    made: Sequence[Rollup], kept: Iterable[Rollup], minutes: Iterable[Rollup]
) -> list[Rollup]:
    fine: dict[_Series, dict[int, list[Rollup]]] = {}
    for one in sorted(minutes, key=lambda one: one.at_ms):
        if one.counted:
            hours = fine.setdefault(_series(one), {})
            hours.setdefault(one.at_ms // HOUR_MS * HOUR_MS, []).append(one)
    known: dict[_Series, dict[int, Rollup]] = {}
    for one in kept:
        known.setdefault(_series(one), {})[one.at_ms] = one
    sums: dict[_Series, dict[int, float]] = {}
    found = []
    for one in made:
        if one.quantity is not Quantity.RAIN_TOTAL:
            found.append(one)
            continue
        gauge = _series(one)
        own, others = fine.get(gauge, {}), known.get(gauge, {})
        if (rain := sums.get(gauge)) is None:
            rain = sums[gauge] = by_hour(own, others.values())
        found.append(one._replace(rain=rain.get(one.at_ms, 0.0) if one.counted else None))
        for at_ms in _beside(own, others, one.at_ms):
            other, anew = others[at_ms], rain.get(at_ms, 0.0)
            if other.rain is None or abs(other.rain - anew) > _SAME_M:
                found.append(other._replace(rain=anew))
    return found


def _beside(own: dict[int, list[Rollup]], others: dict[int, Rollup], hour_ms: int) -> Iterable[int]:
    """The hours before and after, of which the minutes are known, and those of the hour before."""
    before = sorted(at_ms for at_ms in others if at_ms < hour_ms)[-2:]
    if before and before[-1] in own and (len(before) == 1 or before[0] in own):
        yield before[-1]
    after = min((at_ms for at_ms in others if at_ms > hour_ms), default=None)
    if after is not None and after in own:
        yield after


def by_hour(fine: dict[int, list[Rollup]], coarse: Iterable[Rollup]) -> dict[int, float]:
    """The rain of one gauge, m, by the hour in which it ended. `fine` has the minutes of some
    hours, `coarse` hours, which stand for those that have no minutes there."""
    rollups = [one for some in fine.values() for one in some]
    rollups += [one for one in coarse if one.at_ms not in fine]
    points = _points(sorted(rollups, key=lambda one: one.at_ms))
    rain: dict[int, float] = {}
    for span in rain_counter.spans(points, MOST_M_S, None):
        hour_ms = span.to_ms // HOUR_MS * HOUR_MS
        rain[hour_ms] = rain.get(hour_ms, 0.0) + span.depth
    return {hour_ms: round(depth, _DIGITS) for hour_ms, depth in rain.items()}


def _points(rollups: Sequence[Rollup]) -> list[rain_counter.Point]:
    """What the counter showed: the least and the most of each rollup, in the order in which it
    moves less."""
    ends = [(one.at_ms, one.min, one.max) for one in rollups]
    known = [
        (at_ms, low, high) for at_ms, low, high in ends if low is not None and high is not None
    ]
    points: list[rain_counter.Point] = []
    for number, (at_ms, low, high) in enumerate(known):
        if low == high:
            points.append((at_ms, low))
            continue
        before = points[-1][1] if points else low
        follows = known[number + 1][1:] if number + 1 < len(known) else (high,)
        rises = abs(low - before) + min(abs(one - high) for one in follows)
        falls = abs(high - before) + min(abs(one - low) for one in follows)
        pair = (low, high) if rises <= falls else (high, low)
        points += [(at_ms, pair[0]), (at_ms + MINUTE_MS // 2, pair[1])]
    return points


def _series(one: Rollup) -> _Series:
    return one[1:4]


def around(query: Query) -> Query:
    """The range of `query`, with what must be known beside it."""
    return replace(
        query,
        since_ms=None if query.since_ms is None else query.since_ms - _AROUND_MS,
        until_ms=None if query.until_ms is None else query.until_ms + _AROUND_MS,
    )


def of_minutes(hours: Sequence[Rollup], minutes: Iterable[Rollup]) -> list[Rollup]:
    """`hours` with their rain, where all of their minutes are at hand."""
    return _rained(hours, (), minutes)


def judged_by(kept: Callable[[Question], list[Rollup]], made: Sequence[Rollup]) -> list[Rollup]:
    """As `judged`, with the answers of `kept`."""
    judging = judged(made)
    try:
        question = next(judging)
        while True:
            question = judging.send(kept(question))
    except StopIteration as end:
        found: list[Rollup] = end.value
        return found


async def asked(
    kept: Callable[[Query, Bucket], Awaitable[list[Rollup]]], made: Sequence[Rollup]
) -> list[Rollup]:
    """As `judged`, with the answers of `kept`; `made` may be of several hours."""
    found: list[Rollup] = []
    for hour_ms in sorted({one.at_ms for one in made}):
        judging = judged([one for one in made if one.at_ms == hour_ms])
        try:
            question = next(judging)
            while True:
                question = judging.send(await kept(*question))
        except StopIteration as end:
            found += end.value
    return found
