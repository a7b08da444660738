"""The words of an alert: what threatens, and how near it is."""

from enum import StrEnum
from typing import Final


class Hazard(StrEnum):
    """What threatens a site. A site has at most one alert of each at a time."""

    UNDERPASS = "underpass"
    RIVER = "river"
    RAINSTORM = "rainstorm"
    LANDSLIDE = "landslide"
    EQUIPMENT = "equipment"


class Stage(StrEnum):
    """How near it is, farthest first: a trend of 24 h, expected within 6 h, within 2 h (临灾预警),
    or happening now."""

    TREND = "24h"
    SOON = "6h"
    IMMINENT = "2h"
    NOW = "now"

    @property
    def rank(self) -> int:
        """0 (farthest) to 3."""
        return _RANK[self]


_RANK: Final = {stage: rank for rank, stage in enumerate(Stage)}
