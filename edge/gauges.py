"""Figures of what is going on, small enough to be kept for every device."""

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from edge import clock

REMEMBERED: Final = 64
WINDOW_S: Final = 60.0


class Times:
    """The last answer times of a device, s."""

    def __init__(self) -> None:
        self._last = array("f")
        self._next = 0

    def add(self, seconds: float) -> None:
        """Remember one; the oldest goes."""
        if len(self._last) < REMEMBERED:
            self._last.append(seconds)
        else:
            self._last[self._next] = seconds
            self._next = (self._next + 1) % REMEMBERED

    def __iter__(self) -> Iterator[float]:
        return iter(self._last)


def quantile(values: Iterable[float], share: float) -> float | None:
    """The least of the values that a `share` of them does not exceed; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Busy:
    """Which share of the time something was busy, over the last minute or two."""

    def __init__(self) -> None:
        self._began = clock.monotonic()
        self._busy_s = 0.0
        self._before: float | None = None

    def add(self, since: float) -> None:
        """It was busy since then (monotonic, s), until now."""
        now = clock.monotonic()
        passed_s = now - self._began
        if passed_s >= WINDOW_S:
            self._before = min(1.0, self._busy_s / passed_s)
            self._began, self._busy_s = now, 0.0
        self._busy_s += now - since

    @property
    def share(self) -> float:
        """0 to 1."""
        passed_s = clock.monotonic() - self._began
        now = min(1.0, self._busy_s / passed_s) if passed_s else 0.0
        if self._before is None:
            return now
        weight = min(1.0, passed_s / WINDOW_S)
        return weight * now + (1 - weight) * self._before
