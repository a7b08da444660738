"""How much rain fell in a window, from what a gauge said: in any order, late, with gaps. Pure.

Both memories are bounded by bins aligned to the clock, and both spread what they do not know
better evenly: rain is never lost to a gap, and how much of a sum rests on a gap is told.

A counter of rain only rises. When it falls, `cloud.analysis.rain_counter` judges what that means.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import floor
from typing import Final, NamedTuple, Self

import msgspec

from cloud.analysis import rain_counter
from cloud.analysis.rain_counter import NOISE_M, Span

_MOST_IN_A_BIN: Final = 16
"""Points that are kept of one bin: a counter that falls with every reading fills no memory."""


class Fallen(NamedTuple):
    """Rain in a window, m: `spread` of it fell at an unknown time in gaps that reach into the
    window. For `unknown_ms` of the window there are no data. `doubtful` is not part of `depth`: it
    may have fallen, or the counter was wrong."""

    depth: float
    spread: float
    unknown_ms: int
    doubtful: float = 0.0


class Totals(msgspec.Struct, frozen=True, tag="totals"):
    """A counter: (at_ms, m since its reset), ascending.

    Of each bin and each step of `NOISE_M` the first and the last reading are kept, and those on
    both sides of a fall, up to `_MOST_IN_A_BIN`: what lies between tells nothing more. One stays
    that is older than the bins of the horizon, as the foot of the longest window. The result does
    not depend on the order in which readings come, unless a late one shows a reset that the counter
    has outgrown in the same bin.
    """

    points: tuple[tuple[int, float], ...] = ()

    def add(self, at_ms: int, total: float, newest_ms: int, bin_ms: int, horizon_ms: int) -> Self:
        points = list(self.points)
        at = bisect_left(points, (at_ms, total))
        points.insert(at, (at_ms, total))
        for i in (at + 1, at, at - 1):
            if 0 < i < len(points) - 1 and _is_between(points, i, bin_ms):
                del points[i]
        _thin(points, at_ms // bin_ms, bin_ms)
        oldest_ms = (newest_ms - horizon_ms) // bin_ms * bin_ms
        foot = bisect_left(points, oldest_ms, key=_time) - 1
        return msgspec.structs.replace(self, points=tuple(points[max(foot, 0) :]))

    def spans(self, method: "Method") -> Iterator[Span]:
        """The rain between neighbouring readings."""
        return rain_counter.spans(self.points, method.most, method.rolls_over_at)


class Rates(msgspec.Struct, frozen=True, tag="rates"):
    """An intensity: (bin, sum of the readings in it in m/s, how many), ascending. A bin has rained
    at the mean of its readings; one without readings is a gap, and counts nothing."""

    bins: tuple[tuple[int, float, int], ...] = ()

    def add(self, at_ms: int, rate: float, newest_ms: int, bin_ms: int, horizon_ms: int) -> Self:
        number, oldest = at_ms // bin_ms, (newest_ms - horizon_ms) // bin_ms
        bins = {one[0]: one for one in self.bins}
        _, total, count = bins.get(number, (number, 0.0, 0))
        bins[number] = (number, total + rate, count + 1)
        kept = sorted(one for one in bins.values() if one[0] >= oldest)
        return msgspec.structs.replace(self, bins=tuple(kept))

    def spans(self, method: "Method") -> Iterator[Span]:
        """The rain of each bin; faster than is believed it is none."""
        bin_ms = method.bin_ms
        for number, total, count in self.bins:
            rate = total / count
            depth = rate * bin_ms / 1000 if rate <= method.most else 0.0
            yield Span(number * bin_ms, (number + 1) * bin_ms, depth, 0.0)


Gauge = Totals | Rates


class Method(NamedTuple):
    """`bin_ms` is the length of a bin, `horizon_ms` that of the longest window, `gap_ms` how far
    apart readings may be before the time between them is a gap; `most` m/s is the fastest rain
    that is believed; at `rolls_over_at` m the counter begins anew, None where nobody said so."""

    bin_ms: int
    horizon_ms: int
    gap_ms: int
    most: float
    rolls_over_at: float | None = None


def add(gauge: Gauge, at_ms: int, value: float, newest_ms: int, method: Method) -> Gauge:
    """The memory with one reading more, and without what is older than any window."""
    return gauge.add(at_ms, value, newest_ms, method.bin_ms, method.horizon_ms)


def fallen(gauge: Gauge, until_ms: int, windows_ms: Sequence[int], method: Method) -> list[Fallen]:
    """The rain in each of `windows_ms` before `until_ms`."""
    newest_first = [*gauge.spans(method)][::-1]
    return [_fallen(newest_first, until_ms, window_ms, method.gap_ms) for window_ms in windows_ms]


def _fallen(newest_first: list[Span], until_ms: int, window_ms: int, gap_ms: int) -> Fallen:
    since_ms = until_ms - window_ms
    depth = spread = doubtful = 0.0
    known_ms = 0
    for from_ms, to_ms, rain, doubt in newest_first:
        if to_ms <= since_ms:
            break
        inside_ms = min(to_ms, until_ms) - max(from_ms, since_ms)
        if inside_ms <= 0:
            continue  # of the future
        length_ms = to_ms - from_ms
        part = rain * inside_ms / length_ms
        depth += part
        doubtful += doubt * inside_ms / length_ms
        if length_ms > gap_ms:
            spread += part
        else:
            known_ms += inside_ms
    return Fallen(depth, spread, max(window_ms - known_ms, 0), doubtful)


def _is_between(points: list[tuple[int, float]], i: int, bin_ms: int) -> bool:
    """Whether point `i` tells nothing that its neighbours do not tell."""
    (first, low), (middle, value), (last, high) = points[i - 1 : i + 2]
    is_inside = first // bin_ms == middle // bin_ms == last // bin_ms
    # By which steps a counter returns tells a glitch from rain: steps over NOISE_M stay.
    is_near = floor(low / NOISE_M) == floor(value / NOISE_M) == floor(high / NOISE_M)
    return is_inside and is_near and low <= value <= high


def _thin(points: list[tuple[int, float]], number: int, bin_ms: int) -> None:
    """Leave at most `_MOST_IN_A_BIN` points in a bin. Its ends stay, and so do the widest falls and
    rises: those that differ least from a neighbour go first."""
    first = bisect_left(points, number * bin_ms, key=_time)
    after = bisect_left(points, (number + 1) * bin_ms, key=_time)
    while after - first > _MOST_IN_A_BIN:
        least = min(range(first + 1, after - 1), key=lambda i: _stands_out(points, i))
        del points[least]
        after -= 1


def _stands_out(points: list[tuple[int, float]], i: int) -> float:
    before, value, after = (point[1] for point in points[i - 1 : i + 2])
    return min(abs(value - before), abs(value - after))


def _time(point: tuple[int, float]) -> int:
    return point[0]
