"""What a signal shows, from the least to the most restrictive."""

from enum import StrEnum
from typing import Final


class Aspect(StrEnum):
    """What a signal shows."""

    OFF = "off"
    GREEN = "green"
    FLASHING_AMBER = "flashing_amber"
    AMBER = "amber"
    RED = "red"

    @property
    def severity(self) -> int:
        """0 (least restrictive) to 4."""
        return _SEVERITY[self]


_SEVERITY: Final = {
    Aspect.OFF: 0,
    Aspect.GREEN: 1,
    Aspect.FLASHING_AMBER: 2,
    Aspect.AMBER: 3,
    Aspect.RED: 4,
}
