"""How alerts stand, for those who look: the command line, the API."""

from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud import tables
from cloud.alerts.alarm import Alarm
from cloud.alerts.escalation import Escalation

TEST: Final = "test message"
"""The kind of a line about a test message."""


class HeldBy(msgspec.Struct, frozen=True):
    """What holds an alert back: a hold, or another alert by the plan, of which the end is not known
    (`until_ms` None)."""

    name: str
    by: str
    reason: str
    until_ms: int | None


class AlertView(msgspec.Struct, frozen=True):
    """An alert and its calls. `called` are the areas that are being called now; `told` the contacts
    who know of it; `held_by` is all that holds it back. Times in UTC, ms. `is_open`: people are
    called, or it is not over."""

    id: str
    incident: str
    site: str
    hazard: str
    level: str | None
    stage: str
    status: str
    is_open: bool
    exercise: bool
    began_ms: int | None
    round: int
    flaps: int
    phase: str
    called: tuple[str, ...]
    told: tuple[str, ...]
    answered_by: str
    held_by: tuple[HeldBy, ...]
    held_until_ms: int | None


class Line(msgspec.Struct, frozen=True):
    """One line of a timeline."""

    at_ms: int
    alert: str
    kind: str
    who: str
    area: str
    text: str
    detail: dict[str, Any]


class IncidentView(msgspec.Struct, frozen=True):
    id: str
    site: str
    exercise: bool
    opened_ms: int
    closed_ms: int | None
    alerts: tuple[str, ...]
    due_ms: int | None = None
    """When it will be closed if nothing happens; None while an alert is not over."""


class _Case(NamedTuple):
    escalation: Escalation
    incident: str


def alerts(connection: Connection, *, all_of_them: bool = False) -> list[AlertView]:
    """Those that are open, or all that ever were; the worst first, then the newest."""
    wanted = select(tables.alarm)
    standing = {}
    for row in connection.execute(wanted):
        alarm = msgspec.json.decode(row.state, type=Alarm)
        standing[alarm.alert] = alarm
    out = tables.escalation
    chosen = select(out)
    if not all_of_them:
        chosen = chosen.where(out.c.alert.in_([a for a in standing if a]))
    views = []
    for row in connection.execute(chosen):
        case = _Case(msgspec.json.decode(row.state, type=Escalation), row.incident)
        view = _view(case, standing.get(row.alert))
        if all_of_them or view.is_open:
            views.append(view)
    return sorted(views, key=lambda one: (-_RANK.get(one.level or "", 0), -(one.began_ms or 0)))


def alert(connection: Connection, name: str) -> AlertView | None:
    """One of them, None if there is none of that name."""
    row = connection.execute(select(tables.escalation).filter_by(alert=name)).one_or_none()
    if row is None:
        return None
    case = _Case(msgspec.json.decode(row.state, type=Escalation), row.incident)
    key = {"site": case.escalation.site, "hazard": case.escalation.hazard}
    standing = connection.execute(
        select(tables.alarm.c.state).filter_by(**key, exercise=case.escalation.exercise)
    ).scalar_one()
    alarm = msgspec.json.decode(standing, type=Alarm)
    return _view(case, alarm if alarm.alert == name else None)


def knows(connection: Connection, site: str) -> bool:
    """Whether there ever was a gateway, an interlock or an alarm of that name."""
    return any(
        connection.execute(select(column).where(column == site).limit(1)).first()
        for column in (tables.gateway.c.gateway, tables.interlock.c.site, tables.alarm.c.site)
    )


def timeline(connection: Connection, *, alert: str = "", incident: str = "") -> list[Line]:
    """What happened in an alert, or in an incident, oldest first."""
    table = tables.timeline
    chosen = table.c.alert == alert if alert else table.c.incident == incident
    return [
        Line(
            row.at_ms,
            row.alert,
            row.kind,
            row.who,
            row.area,
            row.text,
            msgspec.json.decode(row.detail),
        )
        for row in connection.execute(select(table).where(chosen).order_by(table.c.id))
    ]


def tests(connection: Connection) -> list[Line]:
    """The test messages that were sent, oldest first."""
    return [line for line in timeline(connection, incident="") if line.kind == TEST]


def unheard(connection: Connection) -> list[Line]:
    """What belongs to no incident, but tests: replies that answer nothing, what was set aside."""
    return [line for line in timeline(connection, incident="") if line.kind != TEST]


def incidents(connection: Connection) -> list[IncidentView]:
    """All, the newest first."""
    table = tables.incident
    return [
        IncidentView(
            row.id,
            row.site,
            row.exercise,
            row.opened_ms,
            row.closed_ms,
            tuple(msgspec.json.decode(row.state)["alerts"]),
            row.due_ms,
        )
        for row in connection.execute(select(table).order_by(table.c.opened_ms.desc()))
    ]


def _view(case: _Case, alarm: Alarm | None) -> AlertView:
    calls = case.escalation
    is_now = alarm is not None
    level = calls.level if alarm is None else alarm.level
    return AlertView(
        id=calls.alert,
        incident=case.incident,
        site=calls.site,
        hazard=str(calls.hazard),
        level=None if level is None else level.name.lower(),
        stage=str(calls.stage),
        status="normal" if alarm is None else str(alarm.status),
        is_open=is_now and alarm is not None and str(alarm.status) != "normal",
        exercise=calls.exercise,
        began_ms=alarm.began_ms if alarm else None,
        round=calls.round,
        flaps=alarm.flaps if alarm else 0,
        phase=str(calls.phase),
        called=tuple(rung.area for rung in calls.rungs),
        told=calls.told,
        answered_by=calls.answer.by if calls.answer else (alarm.answered_by if alarm else ""),
        held_by=tuple(
            HeldBy(one.name, one.by, one.reason, one.until_ms)
            for one in (alarm.covers if alarm else ())
        ),
        held_until_ms=alarm.held_until_ms if alarm else None,
    )


_RANK = {"blue": 1, "yellow": 2, "orange": 3, "red": 4}
