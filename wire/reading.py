"""What a sensor says: a quantity in its SI unit, with a time and a quality."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum, StrEnum
from operator import eq
from typing import Final, NamedTuple, overload

import msgspec


class Quality(IntEnum):
    """Data quality flags of QARTOD (U.S. IOOS, Manual for Real-Time Data Quality Flags, 2020)."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    BAD = 4
    MISSING = 9


class Quantity(StrEnum):
    """What is measured. The unit is fixed by the quantity: see `UNITS`."""

    DEPTH = "depth"
    """Water above the road or the sump floor."""
    LEVEL = "level"
    """Water surface above the gauge's zero."""
    RAIN_TOTAL = "rain_total"
    """Rain since the gauge last began to count; it falls back to 0 at a reset."""
    RAIN_RATE = "rain_rate"
    DISPLACEMENT = "displacement"
    """Opening of a crack, or travel of a draw-wire."""
    FREQUENCY = "frequency"
    TEMPERATURE = "temperature"
    VOLTAGE = "voltage"


UNITS: Final[dict[Quantity, str]] = {
    Quantity.DEPTH: "m",
    Quantity.LEVEL: "m",
    Quantity.RAIN_TOTAL: "m",
    Quantity.RAIN_RATE: "m/s",
    Quantity.DISPLACEMENT: "m",
    Quantity.FREQUENCY: "Hz",
    Quantity.TEMPERATURE: "Cel",
    Quantity.VOLTAGE: "V",
}
"""Unit of each quantity, as SenML spells it (RFC 8428, section 12.1)."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One value of one sensor.

    `value` is in the unit of `UNITS[quantity]`, finite, or None when nothing was read; then
    `quality` is MISSING and `reason` says why ("no answer", "bad reply", "no sensor").
    `at_ms` is UTC in milliseconds since 1970 of the moment at which the answer arrived.
    """

    site: str
    sensor: str
    quantity: Quantity
    value: float | None
    at_ms: int
    quality: Quality = Quality.NOT_EVALUATED
    reason: str = ""


class Series(NamedTuple):
    """What a reading is one of: the name of its sensor at its site, and what that measures."""

    site: str
    sensor: str
    quantity: Quantity


class Columns(Sequence[Reading]):
    """Readings by column, series by series: what an aggregator does to all of them, it does in a
    few steps a column. A reading becomes an object when it is asked for.

    `series` and `begins` tell whose readings begin at which place. `at_ms`, `values` and
    `qualities` have one element a reading; `reasons` has those that are not "", by place.
    `first_ms` and `last_ms` are the earliest and the latest time, None without readings. Nothing
    of it may be changed.
    """

    __slots__ = (
        *("series", "begins", "at_ms", "values", "qualities", "reasons"),
        *("first_ms", "last_ms"),
    )

    def __init__(
        self,
        series: Sequence[Series],
        begins: Sequence[int],
        at_ms: Sequence[int],
        values: Sequence[float | None],
        qualities: Sequence[Quality],
        reasons: Mapping[int, str],
    ) -> None:
        self.series = series
        self.begins = begins
        self.at_ms = at_ms
        self.values = values
        self.qualities = qualities
        self.reasons = reasons
        self.first_ms = min(at_ms, default=None)
        self.last_ms = max(at_ms, default=None)

    def parts(self) -> Iterator[tuple[Series, int, int]]:
        """Each series, and the places of its readings: from, and up to without."""
        return zip(self.series, self.begins, [*self.begins[1:], len(self)], strict=False)

    def of(self, series: Series, begin: int, end: int) -> list[Reading]:
        """The readings in these places, which are of `series`."""
        site, sensor, quantity = series
        at_ms, values, qualities, reason = self.at_ms, self.values, self.qualities, self.reasons.get
        return [
            Reading(site, sensor, quantity, values[n], at_ms[n], qualities[n], reason(n, ""))
            for n in range(begin, end)
        ]

    def __len__(self) -> int:
        return len(self.at_ms)

    def __iter__(self) -> Iterator[Reading]:
        for part in self.parts():
            yield from self.of(*part)

    @overload
    def __getitem__(self, place: int) -> Reading: ...
    @overload
    def __getitem__(self, place: slice) -> list[Reading]: ...
    def __getitem__(self, place: int | slice) -> Reading | list[Reading]:
        if isinstance(place, slice):
            return list(self)[place]
        place = range(len(self))[place]
        series = self.series[bisect_right(self.begins, place) - 1]
        return self.of(series, place, place + 1)[0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Columns | tuple | list):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list has none; this is how Python spells it

    def __repr__(self) -> str:
        return f"Columns({list(self)})"


def columns(readings: Sequence[Reading]) -> Columns:
    """`readings` by column, as they are if they are so already."""
    if isinstance(readings, Columns):
        return readings
    names = [Series(one.site, one.sensor, one.quantity) for one in readings]
    begins = [n for n, name in enumerate(names) if not n or name != names[n - 1]]
    return Columns(
        [names[n] for n in begins],
        begins,
        [one.at_ms for one in readings],
        [one.value for one in readings],
        [one.quality for one in readings],
        {n: one.reason for n, one in enumerate(readings) if one.reason},
    )
