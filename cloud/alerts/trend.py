"""Whether what is measured rises or falls: from samples of the last minutes. Pure."""

from collections import deque
from collections.abc import Hashable, Sequence
from enum import StrEnum
from typing import Final

from wire.reading import Quantity, Reading

Sample = tuple[int, float]
"""UTC ms, and a value in SI."""

SPACING_MS: Final = 30_000
KEPT_MS: Final = 600_000
"""Samples are half a minute apart and ten minutes old at most."""

MOST_SERIES: Final = 32_768

SHORTEST_MS: Final = 60_000
"""What spans less says nothing of a trend."""

NOISE: Final = {
    Quantity.DEPTH: 0.01,
    Quantity.LEVEL: 0.02,
    Quantity.DISPLACEMENT: 0.0005,
    Quantity.RAIN_TOTAL: 0.0005,
    Quantity.RAIN_RATE: 1e-6,
}
"""Changes over the span of the samples that are no trend, in the SI unit of each. Ours: twice what
gauges of that kind resolve. A quantity that is not here has no trend."""


class Trend(StrEnum):
    RISING = "rising"
    STEADY = "steady"
    FALLING = "falling"


class Samples:
    """The samples of each series: in memory only, they are known again ten minutes after a
    restart."""

    def __init__(self) -> None:
        self._of: dict[Hashable, deque[Sample]] = {}

    def add(self, key: Hashable, reading: Reading) -> None:
        """Keep a reading if it is as much newer than the last one kept; one of before is none."""
        samples = self._of.get(key)
        if samples is None:
            if reading.quantity not in NOISE:
                return
            if len(self._of) >= MOST_SERIES:
                del self._of[next(iter(self._of))]
            samples = self._of[key] = deque(maxlen=KEPT_MS // SPACING_MS)
        elif reading.at_ms < samples[-1][0] + SPACING_MS:
            return
        samples.append((reading.at_ms, reading.value or 0.0))

    def of(self, key: Hashable) -> tuple[Sample, ...]:
        return tuple(self._of.get(key, ()))


def trend(quantity: Quantity, samples: Sequence[Sample], newest: Sample) -> Trend | None:
    """How `newest` compares with the samples of the last ten minutes; None if that is not known."""
    noise = NOISE.get(quantity)
    before = [one for one in samples if SHORTEST_MS <= newest[0] - one[0] <= KEPT_MS]
    if noise is None or not before:
        return None
    by = newest[1] - before[0][1]
    lately = newest[1] - before[-1][1]  # what has turned is not what it was
    if by > noise and lately > -noise:
        return Trend.RISING
    if by < -noise and lately < noise:
        return Trend.FALLING
    return Trend.STEADY
