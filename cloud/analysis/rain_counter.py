"""What a counter of rain says between its readings, and what a fall of it means. Pure.

A tipping bucket's counter only rises. When it falls, one of these has happened:

- noise: it falls by no more than `NOISE_M`; nothing fell;
- a glitch: a few readings are wrong, and then it returns in one step to where it was; nothing fell;
- a reset: it falls to near zero and stays there; what it shows is what fell since;
- a roll-over: it was near the end of its range (16 or 32 bits of its tips) and goes on from zero;
- anything else cannot be told apart, and what it may stand for is doubtful: it is counted beside
  the rain, never as rain. What rises after it is doubtful up to where the counter stood before,
  until it has not fallen for `SETTLED_MS`.

The newest reading has no successor that could confirm it: a fall counts nothing until then, and a
rise that is hardly possible is doubtful until then.

Cases are those of public reports: weewx issue 525, EPA SWMM issue 74, Home Assistant issue 149570.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

Point = tuple[int, float]
"""Time in ms, and what the counter showed, m."""

NOISE_M: Final = 0.001
"""A fall by so much is noise: five tips of 0.2 mm."""

NEAR_ZERO_M: Final = 0.002
FARTHEST_FROM_ZERO_M: Final = 0.010
_MODERATE_M_MS: Final = 0.0002 / 60_000
"""After a reset the counter shows no more than what moderate rain (12 mm/h) brings since the last
reading, and no more than `FARTHEST_FROM_ZERO_M`, but `NEAR_ZERO_M` always."""

JUMP_M: Final = 0.010
_JUMP_M_MS: Final = 0.003 / 60_000
"""A single step that is larger than both (3 mm/min) is hardly rain."""

_HEAVY_M_MS: Final = 0.001 / 60_000
"""After a glitch the counter shows no more than heavy rain (60 mm/h) has added meanwhile."""

GLITCH_MS: Final = 6 * 3_600_000
_GLITCH_POINTS: Final = 24
"""How long a glitch of more than one reading may last, and of how many it may consist."""

SETTLED_MS: Final = 1_800_000
"""A counter that has not fallen for so long stands where it stands: what rises from there is rain,
though it was higher before. So a gauge that was exchanged is not doubted for longer."""

SHORTEST_MS: Final = 60_000
"""A gauge may tell of its tips in lumps: a rate is judged over no less than this."""

ROLL_OVER_REST_M: Final = 0.010
"""So near to the end of its range a counter must be for a roll-over that nobody has announced."""

_TIPS_MM: Final = (0.01, 0.1, 0.2, 0.25, 0.254, 0.2794, 0.28, 0.5, 1.0)
_RANGES_M: Final = tuple(2**bits * tip / 1000 for bits in (16, 32) for tip in _TIPS_MM)


class Span(NamedTuple):
    """What a gauge says of the time between two of its readings: `depth` m fell in it, and
    `doubtful` m more may have."""

    from_ms: int
    to_ms: int
    depth: float
    doubtful: float


def spans(points: Sequence[Point], most: float, rolls_over_at: float | None) -> Iterator[Span]:
    """The rain between neighbouring readings in `points`, which ascend by time. `most` m/s is the
    fastest rain that is believed; `rolls_over_at` m the end of the counter's range, if known.

    A step that would be faster than `most` is no rain, but another counter.
    """
    if not points:
        return
    base_ms, base = points[0]
    high = base  # the highest value since the last reset: below it nothing is counted twice
    fell_ms = base_ms  # when it fell last
    i = 1
    while i < len(points):
        at_ms, value = points[i]
        possible = most * max(at_ms - base_ms, SHORTEST_MS) / 1000
        back = _return(points, i, (base_ms, base))
        if back is not None:
            i = back
            continue
        is_newest = i + 1 == len(points)
        depth = doubtful = 0.0
        if base_ms - fell_ms >= SETTLED_MS:
            high = base
        if value < base:
            fell_ms = at_ms
        if value >= base:
            if value - base > possible:
                high = value  # another counter
            else:
                depth = max(0.0, value - high)
                below = value - base - depth
                returns = high - value <= NOISE_M and below > (high - base) / 2
                if below and high - base > NOISE_M and not returns:
                    doubtful = below
                if depth > max(JUMP_M, _JUMP_M_MS * (at_ms - base_ms)) and is_newest:
                    depth, doubtful = 0.0, doubtful + depth
                high = max(high, value)
        elif base - value > NOISE_M and not is_newest:
            if (rest := _rest_of_range(base, value, possible, rolls_over_at)) is not None:
                depth, high = rest + value, value
            elif value <= min(base / 2, _near_zero(at_ms - base_ms)):
                depth, high = min(value, possible), value
            elif value <= min(base / 2, possible):
                doubtful = value
        yield Span(base_ms, at_ms, depth, doubtful)
        base_ms, base = at_ms, value
        i += 1


def _return(points: Sequence[Point], i: int, base: Point) -> int | None:
    """Where the counter is back, if point `i` begins a glitch: within some readings it returns, in
    one step, to where it was at `base`, as if nothing had been."""
    base_ms, level = base
    off = points[i][1] - level
    if -NOISE_M <= off <= max(JUMP_M, _JUMP_M_MS * (points[i][0] - base_ms)):
        return None
    for j in range(i + 1, min(i + 1 + _GLITCH_POINTS, len(points))):
        at_ms, value = points[j]
        if j > i + 1 and at_ms - points[i][0] > GLITCH_MS:
            return None
        rained = _HEAVY_M_MS * (at_ms - base_ms)
        is_back = level - NOISE_M <= value <= level + NOISE_M + rained
        if is_back and abs(value - points[j - 1][1]) > abs(off) / 2:
            return j
    return None


def _near_zero(passed_ms: int) -> float:
    return min(max(NEAR_ZERO_M, _MODERATE_M_MS * passed_ms), FARTHEST_FROM_ZERO_M)


def _rest_of_range(
    before: float, after: float, possible: float, rolls_over_at: float | None
) -> float | None:
    """What was left of the counter's range, m, if it has rolled over; None if it has not."""
    if rolls_over_at is not None:
        rest = rolls_over_at - before
        return rest if rest >= 0 and rest + after <= possible else None
    for end in _RANGES_M:
        rest = end - before
        if 0 <= rest <= ROLL_OVER_REST_M and rest + after <= min(possible, 2 * ROLL_OVER_REST_M):
            return rest
    return None
