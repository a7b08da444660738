"""Minutes that are worked out while their readings are stored, so that no server is asked for them.

That is so for what comes in order, in its time, and whole: each series of a gateway was heard
before and goes on, before anybody may have made the rollup of that minute, and every mark of the
minute was left by us. Everything else (the first minute after a start, what is late, replaced or of
another worker, wild values) is left to whoever asks the store, which has all of it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import lt
from typing import Final

from cloud.store import MINUTE_MS, Points, Rollup
from cloud.store.marks import GRACE_MS, OurMark, Touched
from wire.reading import Columns, Quality, Series, columns

MOST_MINUTES: Final = 100_000
"""Minutes of series that are worked on at once, about 30 MB; beyond them the store is asked."""

MOST_SERIES: Final = 500_000


class _Minute:
    """One minute of one series."""

    __slots__ = ("bad", "counted", "high", "low", "missing", "total", "worst")

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.total = 0.0
        self.counted = self.bad = self.missing = self.worst = 0

    def add(self, values: Sequence[float | None], qualities: Sequence[Quality]) -> None:
        good: Sequence[float | None]
        # Nearly always all are the one object: `count` looks at that first.
        if qualities.count(Quality.GOOD) == len(qualities) and None not in values:
            good = values
            if self.worst < Quality.GOOD:
                self.worst = Quality.GOOD
        else:
            good = []
            for value, quality in zip(values, qualities, strict=True):
                if value is None:
                    self.missing += 1
                    continue
                self.worst = max(self.worst, quality)
                if quality == Quality.BAD:
                    self.bad += 1
                else:
                    good.append(value)
            if not good:
                return
        numbers: Sequence[float] = good  # type: ignore[assignment]  # None was left out above
        if (low := min(numbers)) < self.low:
            self.low = low
        if (high := max(numbers)) > self.high:
            self.high = high
        self.total += sum(numbers)
        self.counted += len(numbers)

    def rollup(self, at_ms: int, gateway: str, series: Series) -> Rollup:
        some = self.counted > 0
        return Rollup(
            at_ms,
            gateway,
            *series,
            self.low if some else None,
            self.total / self.counted if some else None,
            self.high if some else None,
            counted=self.counted,
            bad=self.bad,
            missing=self.missing,
            worst=self.worst or None,
        )


class _Open(OurMark):
    """One minute of one gateway, and its series; None where the store has to be asked."""

    __slots__ = ("many", "series")

    def __init__(self) -> None:
        super().__init__()
        self.series: dict[Series, _Minute] | None = {}
        self.many = 1  # series that were begun, and what the place itself takes


class Live:
    """The minutes that are not over, of the readings that this process stores."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, Series], int] = {}
        self._open: dict[tuple[str, int], _Open] = {}
        self._minutes = 0  # of series, in `_open`
        self._taken: dict[str, int] = {}  # the newest minute of each gateway that was asked for

    def add(self, points: Iterable[Points], touched: Touched, now_ms: int) -> None:
        """Take in what was committed together with these marks."""
        for gateway, readings in points:
            some = columns(readings)
            for part in some.parts():
                self._add(gateway, some, part, now_ms)
        for gateway, at_ms, times in touched.marks:
            opened = self._of(gateway, at_ms)
            if not opened.touched(times, touched.start):
                opened.series = None
        while self._minutes > MOST_MINUTES:
            self._forget(next(iter(self._open)))
        if len(self._last) > MOST_SERIES:
            self._last.clear()  # each series begins anew: the store is asked for one minute

    def _add(self, gateway: str, some: Columns, part: tuple[Series, int, int], now_ms: int) -> None:
        series, begin, end = part
        times = some.at_ms[begin:end]
        key = (gateway, series)
        before = self._last.get(key)
        rises = all(map(lt, times, times[1:]))
        goes_on = rises and before is not None and before < times[0]
        newest = times[-1] if rises else max(times)
        self._last[key] = newest if before is None or newest > before else before
        whole = rises and times[0] // MINUTE_MS == times[-1] // MINUTE_MS
        runs = ((times[0] // MINUTE_MS, 0, len(times)),) if whole else _by_minute(times)
        for minute, first, last in runs:
            opened = self._of(gateway, minute * MINUTE_MS)
            made_before = minute * MINUTE_MS <= self._taken.get(gateway, -1)  # by a wrong clock
            if not goes_on or made_before or now_ms >= (minute + 1) * MINUTE_MS + GRACE_MS:
                opened.series = None  # it is not whole, or somebody may have made it already
            elif opened.series is not None:
                if (own := opened.series.get(series)) is None:
                    own = opened.series[series] = _Minute()
                    self._minutes += 1
                    opened.many += 1
                one = slice(begin + first, begin + last)
                own.add(some.values[one], some.qualities[one])

    def _of(self, gateway: str, at_ms: int) -> _Open:
        place = (gateway, at_ms)
        if (found := self._open.get(place)) is None:
            found = self._open[place] = _Open()
            self._minutes += found.many
        return found

    def take(self, gateway: str, at_ms: int, times: int) -> list[Rollup] | None:
        """The rollups of a minute whose mark has `times`, and forget it; None where the store has
        to be asked."""
        opened = self._forget((gateway, at_ms))
        self._taken[gateway] = max(at_ms, self._taken.get(gateway, -1))
        if opened is None or opened.series is None or opened.times != times:
            return None
        made = [one.rollup(at_ms, gateway, series) for series, one in opened.series.items()]
        if not all(one.mean is None or math.isfinite(one.mean) for one in made):
            return None
        return made

    def _forget(self, place: tuple[str, int]) -> _Open | None:
        opened = self._open.pop(place, None)
        if opened is not None:
            self._minutes -= opened.many
        return opened


def _by_minute(times: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Each run of times in one minute: its number since 1970, its first place and that behind its
    last. Nearly always there is one."""
    if (minute := min(times) // MINUTE_MS) == max(times) // MINUTE_MS:
        yield minute, 0, len(times)
        return
    place = 0
    for minute, run in groupby(times, lambda at_ms: at_ms // MINUTE_MS):
        first, place = place, place + sum(1 for _ in run)
        yield minute, first, place
