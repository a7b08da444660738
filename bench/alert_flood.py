"""What one person hears when 1,000 alerts go off within a minute: messages to the contact who hears
most, until all 1,000 have been told to all who are called first.

All alerts are at sites of one village, so that all of them are for the same two people, of random
levels. It is the dispatch of the cloud with its database, in virtual time: counted is what it has
written down for the channels. A message that goes by two channels is one message. What follows when
nobody answers (the next tries) is told beside.
"""

import tempfile
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from bench._storm import MINUTE_MS, START_MS, Findings, city, dispatch, moments, opened
from bench.figure import Figure, Goal, Progress, Result
from cloud import tables
from cloud.alerts.plan import Plan
from cloud.alerts.records import read_parts
from wire.messages import Level

ALERTS: Final = 1000
FLOODS: Final = 3
LATER_MS: Final = 5 * MINUTE_MS
LEVELS: Final = [Level.BLUE, Level.YELLOW, Level.ORANGE, Level.RED]

FIGURE: Final = Figure(
    "messages to the contact who hears most, 1,000 alerts within a minute",
    "messages",
    Goal("<=", 3),
)


def measure(progress: Progress) -> Result:
    """Half a minute. The worst of some floods; raises ValueError if one of them loses an alert."""
    plan = _one_village(ALERTS)
    worst, parcels_worst, later_worst = 0, 0, 0
    for seed in range(FLOODS):
        progress(seed / FLOODS, f"flood {seed + 1} of {FLOODS}")
        with (
            tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name,
            opened(Path(name)) as connection,
        ):
            first, parcels, later = _flood(connection, plan, seed)
        worst, parcels_worst = max(worst, first), max(parcels_worst, parcels)
        later_worst = max(later_worst, later)
    return Result(
        worst,
        {
            "by channels": parcels_worst,
            "messages within 5 min, tries and climbs included": later_worst,
            "alerts": ALERTS,
        },
    )


def _one_village(sites: int) -> Plan:
    made = city(sites)
    here = {name: site.model_copy(update={"area": "v0"}) for name, site in made.site.items()}
    return made.model_copy(update={"site": here})


def _flood(connection: Connection, plan: Plan, seed: int) -> tuple[int, int, int]:
    """Messages and channel messages of the first calls, and messages within five minutes."""
    office = dispatch(plan)
    found = moments(ALERTS, MINUTE_MS, seed)
    due_ms: int | None = None

    def work(until_ms: int) -> None:
        """Let pass what is due before."""
        nonlocal due_ms
        while due_ms is not None and due_ms <= until_ms:
            with connection.begin():
                due_ms = office.round(connection, due_ms)

    for number, at_ms in enumerate(found):
        work(at_ms)
        with connection.begin():
            Findings(connection).add(f"s{number}", at_ms, LEVELS[(number * 7 + seed) % 4])
            due_ms = office.round(connection, at_ms)
    work(found[0] + round(plan.digest_window_s * 1000))
    first = _counts(connection)
    with connection.begin():
        rows = connection.execute(select(tables.outgoing.c.parts)).scalars()
        told = {part.alert for row in rows for part in read_parts(row)}
    if len(told) != ALERTS:
        raise ValueError(f"{ALERTS - len(told)} alerts were told to nobody")
    work(START_MS + LATER_MS)
    return *first, _counts(connection)[0]


def _counts(connection: Connection) -> tuple[int, int]:
    """The most messages, and messages by channels, that a contact got."""
    out = tables.outgoing
    with connection.begin():
        rows = connection.execute(select(out.c.contact, out.c.channel, out.c.key)).all()
    by_contact: dict[str, list[str]] = {}
    for row in rows:
        message = row.key.removesuffix(f"/{row.channel}")
        by_contact.setdefault(row.contact, []).append(message)
    messages = max(len(set(keys)) for keys in by_contact.values())
    return messages, max(map(len, by_contact.values()))
