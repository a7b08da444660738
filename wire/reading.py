"""What a sensor says: a quantity in its SI unit, with a time and a quality."""

from collections.abc import Iterator, Sequence
from enum import IntEnum, StrEnum
from typing import Final

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


def runs(readings: Sequence[Reading]) -> Iterator[Sequence[Reading]]:
    """`readings` in their order, cut wherever another series begins.

    A batch has those of one series side by side, and its names from the decoder's cache: to compare
    the objects is a quick look, and names that are only equal make a run shorter, not wrong.
    """
    begin = 0
    site = sensor = quantity = None
    for n, one in enumerate(readings):
        if one.sensor is not sensor or one.quantity is not quantity or one.site is not site:
            if n:
                yield readings[begin:n]
            begin, site, sensor, quantity = n, one.site, one.sensor, one.quantity
    if readings:
        yield readings[begin:]
