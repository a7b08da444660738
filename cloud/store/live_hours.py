"""Hours that are worked out while their minutes are made, so that no server is asked for sixty
minutes of each sensor.

That is so for an hour whose minutes were all made here, each once, from before it was over; any
other is made from the minutes that are kept.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from cloud.store import HOUR_MS, Rollup
from cloud.store.marks import GRACE_MS, OurMark, Touched

MOST_HOURS: Final = 100_000
"""Hours of series that are worked on at once, about 30 MB; beyond them the store is asked."""

_Name = tuple[str, str, str, str]


class _Hour:
    """One hour of one series."""

    __slots__ = ("bad", "counted", "high", "low", "missing", "total", "worst")

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.total = 0.0
        self.counted = self.bad = self.missing = self.worst = 0

    def add(self, minute: Rollup) -> None:
        if minute.min is not None and minute.mean is not None and minute.max is not None:
            if minute.min < self.low:
                self.low = minute.min
            if minute.max > self.high:
                self.high = minute.max
            self.total += minute.mean * minute.counted
            self.counted += minute.counted
        self.bad += minute.bad
        self.missing += minute.missing
        if minute.worst is not None and minute.worst > self.worst:
            self.worst = minute.worst

    def rollup(self, at_ms: int, one: Rollup) -> Rollup:
        """The hour of the series that `one` is of."""
        some = self.counted > 0
        return one._replace(
            at_ms=at_ms,
            min=self.low if some else None,
            mean=self.total / self.counted if some else None,
            max=self.high if some else None,
            counted=self.counted,
            bad=self.bad,
            missing=self.missing,
            worst=self.worst or None,
        )


class _Open(OurMark):
    """One hour of one gateway: the minutes that it has, and its series, each with one of its
    minutes; None where the store has to be asked."""

    __slots__ = ("many", "minutes", "series")

    def __init__(self, *, is_whole: bool) -> None:
        super().__init__()
        self.many = 1  # series that were begun, and what the place itself takes
        self.minutes: set[int] = set()
        self.series: dict[_Name, tuple[_Hour, Rollup]] | None = {} if is_whole else None


class LiveHours:
    """The hours that are not over, of the minutes that this process makes."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], _Open] = {}
        self._taken: dict[str, int] = {}  # the newest hour of each gateway that was asked for
        self._many = 0  # hours of series, in `_open`

    def add(
        self,
        places: Iterable[tuple[str, int]],
        made: Sequence[Rollup],
        touched: Touched,
        now_ms: int,
    ) -> None:
        """Take in the minutes of these gateways and times, which were kept and whose hours were
        touched."""
        for gateway, minute_ms in places:
            opened = self._of(gateway, minute_ms // HOUR_MS * HOUR_MS, now_ms)
            if minute_ms in opened.minutes:
                opened.series = None  # it was made anew: what it had cannot be taken out
            opened.minutes.add(minute_ms)
        for one in made:
            opened = self._open[one.gateway, one.at_ms // HOUR_MS * HOUR_MS]
            if opened.series is None:
                continue
            name = one[1:5]
            if (found := opened.series.get(name)) is None:
                found = opened.series[name] = (_Hour(), one)
                self._many += 1
                opened.many += 1
            found[0].add(one)
        for gateway, at_ms, times in touched.marks:
            opened = self._of(gateway, at_ms, now_ms)
            if not opened.touched(times, touched.start):
                opened.series = None
        while self._many > MOST_HOURS:
            self._forget(next(iter(self._open)))

    def _of(self, gateway: str, hour_ms: int, now_ms: int) -> _Open:
        place = (gateway, hour_ms)
        if (found := self._open.get(place)) is None:
            # One that was over, or that a wrong clock has taken for over, may have been made
            # already, and has more minutes than we know.
            is_over = now_ms >= hour_ms + HOUR_MS + GRACE_MS
            found = _Open(is_whole=not is_over and hour_ms > self._taken.get(gateway, -1))
            self._open[place] = found
            self._many += found.many
        return found

    def take(self, gateway: str, at_ms: int, times: int) -> list[Rollup] | None:
        """The rollups of an hour whose mark has `times`, and forget it; None where the store has to
        be asked."""
        self._taken[gateway] = max(at_ms, self._taken.get(gateway, at_ms))
        opened = self._forget((gateway, at_ms))
        if opened is None or opened.series is None or opened.times != times:
            return None
        made = [hour.rollup(at_ms, one) for hour, one in opened.series.values()]
        if not all(one.mean is None or math.isfinite(one.mean) for one in made):
            return None
        return made

    def _forget(self, place: tuple[str, int]) -> _Open | None:
        opened = self._open.pop(place, None)
        if opened is not None:
            self._many -= opened.many
        return opened
