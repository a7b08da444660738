"""Holds on disk, and what else decides whether an alarm is held back: which alerts stand, and which
of them somebody knows of. As one transaction sees it."""

import logging
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select, update

from cloud import tables
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.hazard import Hazard
from cloud.alerts.holds import Hold, Scope
from wire.messages import Level

log: Final = logging.getLogger("shuichi.dispatch")

SEEN_EVERY_MS: Final = 30_000
"""How often it is written down that a hold is in force: a clock that was set back while nothing ran
is known by it, to this measure."""

_HOLD: Final = tables.hold
_NOT_ENDED: Final = select(_HOLD).where(_HOLD.c.ended_ms.is_(None)).order_by(_HOLD.c.id)
_NEWEST: Final = select(func.max(_HOLD.c.id))
_OPEN: Final = select(tables.incident.c.site).where(tables.incident.c.closed_ms.is_(None))


class HoldRecords:
    """One transaction's view."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._holds: list[Hold] | None = None
        self._known: dict[str, bool] = {}
        self._stirred: set[Hazard] = set()

    def not_ended(self) -> list[Hold]:
        """Those that are in force or ahead."""
        if self._holds is None:
            self._holds = []
            for row in self._connection.execute(_NOT_ENDED).all():
                try:
                    self._holds.append(read(row))
                except (ValueError, KeyError):  # what cannot be read holds nothing back
                    log.exception("hold %s cannot be read", row.id)
        return self._holds

    def newest(self) -> int:
        """The number of the newest hold, 0 if there never was one."""
        return self._connection.execute(_NEWEST).scalar_one() or 0

    def is_known(self, alert: str) -> bool:
        """Whether somebody has been told of an alert: a channel has taken a message."""
        if alert not in self._known:
            table = tables.knowledge
            wanted = select(table.c.alert).where(table.c.alert == alert, table.c.delivered).limit(1)
            self._known[alert] = self._connection.execute(wanted).first() is not None
        return self._known[alert]

    def standing(self, hazards: Iterable[Hazard]) -> list[Alarm]:
        """The alarms of these hazards at sites where something stands, as they are on disk."""
        table = tables.alarm
        wanted = select(table.c.state).where(table.c.hazard.in_(hazards), table.c.site.in_(_OPEN))
        found = []
        for state in self._connection.execute(wanted).scalars():
            try:
                found.append(msgspec.json.decode(state, type=Alarm))
            except (msgspec.MsgspecError, ValueError):
                continue  # a round sets it aside; nothing is held back for it
        return found

    def stir(self, hazards: Iterable[Hazard]) -> None:
        """What holds back the alarms of these hazards may have changed: they are looked at in the
        next round."""
        self._stirred.update(hazards)

    def save(self) -> None:
        """After the alarms have been written."""
        if self._stirred:
            stir(self._connection, self._stirred)


def stir(connection: Connection, hazards: Iterable[Hazard] | None = None) -> None:
    """Have all alarms that stand looked at in the next round; of these hazards, or of all."""
    table = tables.alarm
    change = update(table).where(table.c.site.in_(_OPEN)).values(due_ms=0)
    if hazards is not None:
        change = change.where(table.c.hazard.in_([*hazards]))
    connection.execute(change)


def pass_time(connection: Connection, now_ms: int) -> None:
    """Write down which holds are in force, and which are over: those stay over, whatever the clock
    shows later."""
    for row in connection.execute(_NOT_ENDED).all():
        change: dict[str, object] = {}
        if row.end_ms <= now_ms:
            change["ended_ms"] = row.end_ms
        elif row.begin_ms <= now_ms and (row.seen_ms or 0) <= now_ms - SEEN_EVERY_MS:
            change["seen_ms"] = now_ms
        if change:
            connection.execute(update(_HOLD).where(_HOLD.c.id == row.id).values(change))


def seen_ms(connection: Connection) -> int:
    """When a hold was last seen in force, 0 if none is."""
    wanted = select(func.max(_HOLD.c.seen_ms)).where(_HOLD.c.ended_ms.is_(None))
    return connection.execute(wanted).scalar_one() or 0


def set_back(connection: Connection, by_ms: int, now_ms: int) -> None:
    """The clock was set back: no hold lasts longer than it says. What holds for so many minutes
    keeps its length; what was planned by the clock is in force when that shows its begin, and ends
    earlier by what it has held back already."""
    before_ms = now_ms + by_ms
    for row in connection.execute(_NOT_ENDED).all():
        if row.begin_ms > before_ms and row.seen_ms is None:
            continue  # it is ahead
        change: dict[str, object]
        if row.end_ms <= before_ms:
            change = {"ended_ms": row.end_ms}
        elif row.planned:
            left_ms = row.end_ms - before_ms
            has_begun = row.begin_ms <= now_ms
            change = {
                "end_ms": max(now_ms, row.begin_ms) + left_ms,
                "seen_ms": now_ms if has_begun else None,
            }
        else:
            change = {
                "begin_ms": row.begin_ms - by_ms,
                "end_ms": row.end_ms - by_ms,
                "seen_ms": now_ms,
            }
        connection.execute(update(_HOLD).where(_HOLD.c.id == row.id).values(change))


def read(row: Any) -> Hold:
    """A hold from its row."""
    scope = Scope(
        *(row.site, row.area, row.gateway),
        *(Hazard(row.hazard) if row.hazard else None, bool(row.exercise)),
    )
    return Hold(
        *(row.id, Status(row.kind), scope, row.begin_ms, row.end_ms),
        *(Level[row.up_to.upper()], row.who, row.reason, row.seen_ms is not None),
    )
