"""Times of readings: no two of a series are the same, whatever the clock does.

The store names a reading by its series and its time in milliseconds, so a second reading at a time
that is taken would write over the first. The last digit of a time is therefore its lane. Readings
are given times of lane 0, digits 0 to 5, ever later ones. A clock that was set back shows times
that may be taken: then the next lane is used, digit 6, 7, 8 or 9, until the clock has passed what
is taken. A time moves by less than 10 ms for it.

A series that is read again at once, as after a stall, gets the next free time. If all lanes are
taken (a clock that was set back to before the same moment five times) time does not go back any
more, and the reading is suspect.
"""

import threading
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from edge.dating import doubtful
from wire.reading import Reading

LANES: Final = 5
LAST_OF_FIRST: Final = 5
"""The highest last digit of lane 0."""

NEAR_MS: Final = 250
"""A time that is taken by so little is moved forward in its lane. It is no clock that was set."""


class Placed(NamedTuple):
    """A time that is free. Not `true`: it is far from the one that was asked for."""

    at_ms: int
    true: bool


class Lanes:
    """Gives each reading its time. May be used by several threads."""

    def __init__(self, taken: Sequence[int] = ()) -> None:
        self._floor = _whole(taken)
        self._series: dict[Hashable, list[int]] = {}
        self._lock = threading.Lock()

    def recall(self, taken: Sequence[int]) -> None:
        """What an earlier process has given, as `note` has kept it. Before the first `place`."""
        self._floor = _whole(taken)

    def place(self, series: Hashable, at_ms: int) -> Placed:
        """The free time for a reading of `series` that was taken at `at_ms`."""
        with self._lock:
            if (newest := self._series.get(series)) is None:
                newest = self._series[series] = list(self._floor)
            for lane in range(LANES):
                wanted = _in(lane, at_ms)
                if wanted <= newest[lane]:
                    if newest[lane] - wanted >= NEAR_MS:
                        continue
                    wanted = _after(newest[lane], lane)
                newest[lane] = wanted
                return Placed(wanted, true=True)
            lane = min(range(LANES), key=newest.__getitem__)
            newest[lane] = _after(newest[lane], lane)
            return Placed(newest[lane], true=False)


def series(reading: Reading) -> Hashable:
    """What the store files a reading under, beside the gateway."""
    return reading.site, reading.sensor, reading.quantity


def placed(reading: Reading, lanes: Lanes) -> Reading:
    """`reading` at a free time."""
    at_ms, true = lanes.place(series(reading), reading.at_ms)
    if at_ms != reading.at_ms:
        reading = replace(reading, at_ms=at_ms)
    return reading if true else doubtful(reading)


def note(taken: Sequence[int], readings: Iterable[Reading]) -> list[int]:
    """The newest time in each lane, with these readings."""
    newest = _whole(taken)
    for reading in readings:
        lane = max(0, reading.at_ms % 10 - LAST_OF_FIRST)
        newest[lane] = max(newest[lane], reading.at_ms)
    return newest


def _whole(taken: Sequence[int]) -> list[int]:
    return [*taken, *[-1] * (LANES - len(taken))][:LANES]


def _in(lane: int, at_ms: int) -> int:
    """The time in `lane` that is nearest to `at_ms` within its 10 ms."""
    digit = at_ms % 10
    if lane == 0:
        return at_ms if digit <= LAST_OF_FIRST else at_ms - digit + LAST_OF_FIRST
    return at_ms - digit + LAST_OF_FIRST + lane


def _after(at_ms: int, lane: int) -> int:
    """The next time in `lane`."""
    if lane > 0:
        return at_ms + 10
    return at_ms + 1 if at_ms % 10 < LAST_OF_FIRST else at_ms - at_ms % 10 + 10
