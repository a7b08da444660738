"""Minutes that are worked out while their readings are stored, so that no server is asked for them.

That is so for what comes in order, in its time, and whole: each series of a gateway was heard
before and goes on, before anybody may have made the rollup of that minute, and every mark of the
minute was left by us. Everything else (the first minute after a start, what is late, replaced or of
another worker, wild values) is left to whoever asks the store, which has all of it.
"""

import math
from collections.abc import Iterable, Sequence
from operator import lt
from typing import Final

from cloud.store import Points, Rollup
from cloud.store.marks import GRACE_MS, MINUTE_MS, Touched
from wire.reading import Columns, Quality, Series, columns

MOST_MINUTES: Final = 20_000
"""Minutes of gateways that are worked on at once; beyond them the store is asked."""

_GOOD: Final = frozenset((Quality.GOOD,))


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
        if set(qualities) == _GOOD and None not in values:
            good = values
            self.worst = max(self.worst, Quality.GOOD)
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
        self.low = min(self.low, *numbers)
        self.high = max(self.high, *numbers)
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


class _Open:
    """One minute of one gateway: `times` of its mark after our last touch, and its series; None
    where the store has to be asked."""

    __slots__ = ("series", "times")

    def __init__(self) -> None:
        self.times: int | None = None
        self.series: dict[Series, _Minute] | None = {}

    def marked(self, times: int, start: int) -> None:
        """We have touched the mark, which now has `times`; `start` where it was not there."""
        begins = times == start and self.times is None
        goes_on = self.times is not None and times == self.times + 1
        if not (begins or goes_on):  # somebody else has touched it, or made the rollup
            self.series = None
        self.times = times


class Live:
    """The minutes that are not over, of the readings that this process stores."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, Series], int] = {}
        self._open: dict[tuple[str, int], _Open] = {}

    def add(self, points: Iterable[Points], touched: Touched, now_ms: int) -> None:
        """Take in what was committed together with these marks."""
        for gateway, readings in points:
            some = columns(readings)
            for part in some.parts():
                self._add(gateway, some, part, now_ms)
        for gateway, at_ms, times in touched.marks:
            self._of(gateway, at_ms).marked(times, touched.start)
        while len(self._open) > MOST_MINUTES:
            del self._open[next(iter(self._open))]

    def _add(self, gateway: str, some: Columns, part: tuple[Series, int, int], now_ms: int) -> None:
        series, begin, end = part
        times = some.at_ms[begin:end]
        key = (gateway, series)
        before = self._last.get(key)
        first, last = times[0], times[-1]
        goes_on = before is not None and before < first and all(map(lt, times, times[1:]))
        minute = first // MINUTE_MS
        if goes_on and last // MINUTE_MS == minute and now_ms < (minute + 1) * MINUTE_MS + GRACE_MS:
            opened = self._of(gateway, minute * MINUTE_MS)
            if opened.series is not None:
                if (own := opened.series.get(series)) is None:
                    own = opened.series[series] = _Minute()
                own.add(some.values[begin:end], some.qualities[begin:end])
        elif goes_on:
            self._apart(gateway, some, part, now_ms)
        else:
            for at_ms in {one // MINUTE_MS * MINUTE_MS for one in times}:
                self._of(gateway, at_ms).series = None
        self._last[key] = max(before or first, max(times))

    def _apart(
        self, gateway: str, some: Columns, part: tuple[Series, int, int], now_ms: int
    ) -> None:
        """Readings in order that lie in several minutes, or come late."""
        series, begin, end = part
        while begin < end:
            minute = some.at_ms[begin] // MINUTE_MS
            until = begin
            while until < end and some.at_ms[until] // MINUTE_MS == minute:
                until += 1
            opened = self._of(gateway, minute * MINUTE_MS)
            if now_ms >= (minute + 1) * MINUTE_MS + GRACE_MS:
                opened.series = None  # somebody may have made it already
            elif opened.series is not None:
                if (own := opened.series.get(series)) is None:
                    own = opened.series[series] = _Minute()
                own.add(some.values[begin:until], some.qualities[begin:until])
            begin = until

    def _of(self, gateway: str, at_ms: int) -> _Open:
        place = (gateway, at_ms)
        if (found := self._open.get(place)) is None:
            found = self._open[place] = _Open()
        return found

    def take(self, gateway: str, at_ms: int, times: int) -> list[Rollup] | None:
        """The rollups of a minute whose mark has `times`, and forget it; None where the store has
        to be asked."""
        opened = self._open.pop((gateway, at_ms), None)
        if opened is None or opened.series is None or opened.times != times:
            return None
        made = [one.rollup(at_ms, gateway, series) for series, one in opened.series.items()]
        if not all(one.mean is None or math.isfinite(one.mean) for one in made):
            return None
        return made
