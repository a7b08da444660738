"""A city in which everything happens at once: a plan of any size, for the figures of the alerts."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, insert

from cloud import database, migrations, tables
from cloud.alerts import plan
from cloud.alerts.dispatch import Dispatch, Settings
from cloud.alerts.hazard import Hazard
from cloud.alerts.plan import Plan
from cloud.alerts.tokens import Tokens
from configs import loader
from wire.messages import Level

START_MS: Final = 1_782_000_000_000
MINUTE_MS: Final = 60_000
_SITES_A_VILLAGE: Final = 10
VILLAGES_A_TOWNSHIP: Final = 10


def city(sites: int) -> Plan:
    """The plan of `tables`."""
    return loader.parse(tables_of(sites), Plan, "city", plan.faults)


def tables_of(sites: int) -> dict[str, Any]:
    """`s0`, `s1` ... in villages of 10, townships of 10 villages, one district, one city; two
    contacts each, by day and by night, with two channels."""
    areas: dict[str, dict[str, Any]] = {
        "city": {"name": "city", "kind": "city"},
        "district": {"name": "district", "kind": "district", "parent": "city"},
    }
    of_site = {}
    for number in range(sites):
        village = number // _SITES_A_VILLAGE
        township = village // VILLAGES_A_TOWNSHIP
        areas[f"t{township}"] = {"name": "t", "kind": "township", "parent": "district"}
        areas[f"v{village}"] = {"name": "v", "kind": "village", "parent": f"t{township}"}
        of_site[f"s{number}"] = {
            "name": f"site {number}",
            "area": f"v{village}",
            "hazards": ["river"],
        }
    contacts = {
        f"{area}-{shift}": {
            "name": f"{area} {shift}",
            "area": area,
            "channels": ["sms", "voice"],
            "address": {"phone": "+8612300000001"},
            "duty": [shift],
        }
        for area in areas
        for shift in ("day", "night")
    }
    return {
        "title": "a city",
        "area": areas,
        "site": of_site,
        "contact": contacts,
        "duty": {
            "day": {"windows": ["daily 08:00-20:00"]},
            "night": {"windows": ["daily 20:00-08:00"]},
        },
        "channel": {"sms": {"address": "phone"}, "voice": {"address": "phone", "after_s": 30}},
        "instruction": [{"hazard": "river", "zh": "{site}", "en": "{site}"}],
    }


def reachable(sites: int) -> dict[str, Any]:
    """The same with one contact an area, who is always on duty and told by the channel `hook`."""
    tables = tables_of(sites)
    contacts = {
        f"{area}-duty": {"name": area, "area": area, "channels": ["hook"]}
        for area in tables["area"]
    }
    return tables | {"duty": {}, "channel": {"hook": {}}, "contact": contacts}


def moments(count: int, within_ms: int, seed: int) -> list[int]:
    """Random moments, in order."""
    chance = random.Random(seed)
    return sorted(START_MS + chance.randrange(within_ms) for _ in range(count))


@contextmanager
def opened(folder: Path) -> Iterator[Connection]:
    """A connection to a new state of the cloud in `folder`, as the cloud itself has one."""
    engine = database.engine(folder / "cloud.db", read_only=False)
    try:
        with engine.connect() as connection:
            with connection.begin():
                migrations.upgrade(connection)
            yield connection
    finally:
        engine.dispose()


def dispatch(plan: Plan) -> Dispatch:
    """One that works by `plan`; its messages have links."""
    settings = Settings(answer_url="https://flood.example")
    return Dispatch(plan, plan.channel, Tokens(b"a secret"), settings)


class Findings:
    """Writes what a rule has found, in a transaction, as the rules' watch does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, site: str, at_ms: int, level: Level) -> None:
        """A gauge of `site` has reached a level."""
        episode = {
            "rule": "gauge",
            "part": "",
            "hazard": Hazard.RIVER,
            "gateway": f"gw-{site}",
            "site": site,
            "sensor": "gauge",
            "quantity": "level",
            "unit": "m",
            "level": level.name.lower(),
            "raised_at_ms": at_ms,
            "raised_value": 183.6,
            "received_at_ms": at_ms,
        }
        made = insert(tables.alert).values(**episode).returning(tables.alert.c.id)
        change = {
            "alert": self._connection.execute(made).scalar_one(),
            "number": 1,
            "at_ms": at_ms,
            "received_at_ms": at_ms,
            "level": level.name.lower(),
            "value": 183.6,
            "threshold": 183.5,
            "text": "stage 183.6 m, at or over 183.5 m",
            "text_zh": "水位 183.6 m，达到或超过 183.5 m",
            "parts": "{}",
        }
        self._connection.execute(insert(tables.alert_change).values(**change))
