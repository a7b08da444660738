"""Which of many points does a store refuse? It refuses a write for one of them, and says of one at
most which it was; but writing is idempotent, so parts can be tried until the bad ones are alone.

Refusals come in clumps: a conflict of types is about a measurement, retention about all that is
older than something, a limit on series about some of them. So points are parted by measurement
first, then by time as long as that leaves one of the halves clean, then by series.

A store, or a proxy before it, may also fail at some points as if it were away: for ever, while it
takes all others. Those are found in the same way; see `doubted`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from cloud.errors import Rejected, Unavailable
from cloud.store import Points
from wire.reading import Reading

MOST_TRIES: Final = 200
"""Writes in one search."""

DOUBT_TRIES: Final = 40
"""Writes in a search for points at which a store fails as if it were away: each may take long."""

_ROUND_S: Final = 0.5
"""Between rounds in which points that are doubted are tried once more."""

Place = tuple[int, int]
"""Where the caller has a reading: in which batch, and where in it."""


class TooMany(Exception):
    """There are more clumps than a search can tell apart: try it with less."""


class Point(NamedTuple):
    """A reading, its gateway, and where the caller has it."""

    gateway: str
    reading: Reading
    place: Place

    @property
    def kind(self) -> tuple[str, bool]:
        """Its measurement, and the fields that it has."""
        return self.reading.quantity, self.reading.value is None


class _Clump(NamedTuple):
    """Points of which one at least is refused, for these reasons; `by_series`: how to part them."""

    points: Sequence[Point]
    error: Rejected
    by_series: bool = False


Write = Callable[[Sequence[Points]], Awaitable[None]]
"""Raises Rejected, or Unavailable."""


async def find(
    write: Write,
    points: Sequence[Point],
    error: Rejected,
    *,
    at_last: bool,
    tries: int = MOST_TRIES,
) -> dict[Place, str]:
    """The points that `write` refuses, by place, each with the store's words; `error` is what it
    said of all of them together, and of what else was to be committed with them. Points that are
    not refused have been written. Empty if it is not the points.

    k clumps among n points take about 2 k log2(n) writes; all points of a measurement take one, if
    the store says how many it refused. After so many `tries` raises TooMany; or, `at_last`, gives
    up with the clumps that are not told apart: a retry searches on in them.
    """
    refused: dict[Place, str] = {}
    if error.dropped is None:  # it may have been said of what was to be committed with the points
        try:
            await write(grouped(points))
        except Rejected as again:
            error = again
        else:
            return {}
    clumps = [_Clump(points, error)]
    while clumps:  # the largest first, in turn: where it must end early, the rest is small
        clumps.sort(key=lambda one: len(one.points))
        points, error, by_series = clumps.pop()
        if (parts := _parts(points, error, by_series)) is None:
            refused |= dict.fromkeys((one.place for one in points), str(error))
            continue
        if tries < len(parts):
            if not at_last:
                raise TooMany
            words = f"{error} (one of {len(points)} that were refused together)"
            refused |= dict.fromkeys((one.place for one in points), words)
            continue
        tries -= len(parts)
        found = []
        for part in parts:
            try:
                await write(grouped(part))
            except Rejected as one:
                found.append(_Clump(part, one, by_series))
        unclear = [one for one in found if _parts(*one) is not None]
        if len(parts) == len(unclear) == 2:  # no half is clean, or foul: it is not about time
            found = [one._replace(by_series=True) for one in found]
        clumps += found
    return refused


async def doubted(
    write: Write,
    points: Sequence[Point],
    error: Unavailable,
    control: Sequence[Points],
    *,
    rounds: int,
) -> dict[Place, str]:
    """The points at which `write` fails with Unavailable however often it is asked, while it takes
    others: then it is not the store that is away. `error` is what it said of all of them together.

    `control` is something that the store has taken before; without it, one of `points` must serve.
    The points that are found fail as one in each of so many `rounds`, and the control is taken
    before and after each. Empty if nothing is found. Raises Unavailable where the store is away for
    all that anybody can tell.
    """

    async def judged(some: Sequence[Points]) -> None:
        try:
            await write(some)
        except Unavailable as one:
            if one.of_the_request is not error.of_the_request:
                raise  # it has another reason to say no by now
            raise Rejected(str(one)) from one

    if control:
        await write(control)
    whole = Rejected(str(error), 0)  # it has said nothing of how many
    refused = await find(judged, points, whole, at_last=True, tries=DOUBT_TRIES)
    bad = [one for one in points if one.place in refused]
    good = [one for one in points if one.place not in refused]
    check = control or grouped(good[:1])
    if not bad or not check:
        return {}
    for n in range(rounds):
        await asyncio.sleep(_ROUND_S if n else 0)
        await write(check)
        try:
            await judged(grouped(bad))
        except Rejected:
            continue
        return {}
    await write(check)
    return refused


def grouped(points: Sequence[Point]) -> list[Points]:
    """As a store takes them."""
    return [
        Points(gateway, tuple(one.reading for one in some))
        for gateway, some in groupby(points, key=lambda one: one.gateway)
    ]


def _parts(
    points: Sequence[Point], error: Rejected, by_series: bool
) -> list[Sequence[Point]] | None:
    """Smaller parts to try; None where there is nothing more to be told apart."""
    kinds = sorted({one.kind for one in points})
    if len(kinds) > 1:
        return [[one for one in points if one.kind == kind] for kind in kinds]
    if len(points) == 1 or error.dropped == len(points):
        return None
    for key in (_series, _time) if by_series else (_time, _series):
        if len(cuts := sorted({key(one) for one in points})) > 1:
            middle = cuts[len(cuts) // 2]
            return [
                [one for one in points if key(one) < middle],
                [one for one in points if key(one) >= middle],
            ]
    return None  # the same point several times


def _series(point: Point) -> tuple[str, ...]:
    return point.gateway, point.reading.site, point.reading.sensor


def _time(point: Point) -> tuple[str, ...]:
    return (f"{point.reading.at_ms:020d}",)  # in the type of the other, and in its own order
