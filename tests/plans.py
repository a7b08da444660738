"""Small response plans for tests."""

from collections.abc import Mapping
from typing import Any

from cloud.alerts import plan
from cloud.alerts.plan import Plan
from configs import loader

TIERS = ("grid", "village", "township", "district", "city")


def tables(tiers: int = 3, **changes: Any) -> dict[str, Any]:
    """One site, `north`, under as many tiers as asked for, each with one contact, `<tier>-1`."""
    names = TIERS[:tiers]
    areas = {
        name: {"name": name.title(), "kind": name} | ({"parent": above} if above else {})
        for name, above in zip(names, (*names[1:], None), strict=True)
    }
    contacts = {
        f"{name}-1": {
            "name": f"{name} one",
            "area": name,
            "channels": ["sms", "voice"],
            "address": {"phone": "+8612300000001"},
        }
        for name in names
    }
    return {
        "title": "a plan",
        "area": areas,
        "site": {"north": {"name": "North", "area": names[0], "hazards": ["river"]}},
        "channel": {"sms": {"address": "phone"}, "voice": {"address": "phone", "after_s": 30}},
        "contact": contacts,
        "instruction": [{"hazard": "river", "zh": "{site}：{stage_m}", "en": "{site}: {stage_m}"}],
    } | changes


def made(written: Mapping[str, Any]) -> Plan:
    """The plan that these tables are."""
    return loader.parse(dict(written), Plan, "plan.toml", plan.faults)


def small(tiers: int = 3, **changes: Any) -> Plan:
    """The plan of `tables`."""
    return made(tables(tiers, **changes))
