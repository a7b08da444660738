"""The plan for a config that names none: everybody who has a channel is told, and asked."""

from collections.abc import Iterable
from typing import Final

from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier

EVERYBODY: Final = "everybody"


def plan(channels: Iterable[str]) -> Plan:
    """One area with a contact for each of `channels`, at the address that it names itself: all are
    called, and all hear of the end. There is nobody to climb to; who does not answer is called
    again each day."""
    names = tuple(channels)
    return Plan.model_validate(
        {
            "title": "everybody at once",
            "language": "en",
            "area": {EVERYBODY: {"name": EVERYBODY, "kind": Tier.CITY}},
            "site": {},
            "channel": {name: {} for name in names},
            "contact": {
                name: {"name": name, "area": EVERYBODY, "channels": (name,)} for name in names
            },
            "tier": {Tier.CITY: {"retry_every_min": 1440, "ring_every_min": 1440}},
        }
    )
