"""Quality of a reading, by the flags of QARTOD: missing, and gross range."""

from drivers.device import Value
from wire.reading import Quality

Range = tuple[float, float]


def judge(value: Value, valid: Range) -> tuple[Quality, str]:
    """Flag and reason for one value. `valid` is the lowest and highest true value, SI.

    Source: U.S. IOOS, Manual for Real-Time Quality Control of Water Level Data, test 4 (gross
    range).
    """
    if value.value is None:
        return Quality.MISSING, value.reason
    low, high = valid
    if not low <= value.value <= high:
        return Quality.BAD, f"{value.value:g} is outside {low:g} to {high:g}"
    return Quality.GOOD, ""
