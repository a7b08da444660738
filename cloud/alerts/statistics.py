"""How the alerts of a month were answered: by tier, by person, and in all; exercises apart."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, select

from cloud import tables
from cloud.alerts.escalation import Escalation
from cloud.alerts.plan import Plan
from cloud.alerts.records import read_parts

_LINES = ("opened", "answer", "result", "declined")


class Figures(NamedTuple):
    """Of a person, a tier, or all: how often they were called for an alert (`called`), answered
    first (`answered`) and declined; how often nobody of them answered an alert for which they were
    called (`silent`); medians of the time from their first call to the answer, and from the answer
    to the result, s; and messages. None: there is none to judge by."""

    name: str
    called: int
    answered: int
    declined: int
    silent: int
    to_answer_s: float | None
    to_result_s: float | None
    messages: int

    @property
    def silent_share(self) -> float | None:
        """Of the alerts for which they were called."""
        return self.silent / self.called if self.called else None


class Month(NamedTuple):
    """`alerts` began in it; `unanswered` of them nobody ever answered; `false_alarms` were reported
    as such; `messages` are those that channels took, of all kinds."""

    month: str
    alerts: int
    unanswered: int
    false_alarms: int
    messages: int
    total: Figures
    tiers: list[Figures]
    people: list[Figures]


class _Alert(NamedTuple):
    """One alert: when each contact was first called, who answered first, the result."""

    called_ms: dict[str, int]
    answered_by: str | None
    answered_ms: int | None
    result_ms: int | None
    is_false: bool
    declined: frozenset[str]
    messages: Mapping[str, int]


def bounds(month: str, zone: ZoneInfo) -> tuple[int, int]:
    """The month `2026-11` as UTC ms, its end excluded. Raises ValueError."""
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=zone)
    except ValueError:
        raise ValueError(f"{month!r} is not a month such as 2026-11") from None
    year, number = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
    after = first.replace(year=year, month=number)
    return round(first.timestamp() * 1000), round(after.timestamp() * 1000)


def of_month(connection: Connection, plan: Plan, month: str, *, exercises: bool = False) -> Month:
    """What is on record of a month, by the plan's time zone: of real alerts, or of `exercises`.
    Raises ValueError for no month."""
    begin_ms, end_ms = bounds(month, plan.zone)
    alerts = [*_alerts(connection, begin_ms, end_ms, exercises)]
    people = sorted({one for alert in alerts for one in alert.called_ms})
    tiers: dict[str, list[str]] = {}
    for name in people:
        contact = plan.contact.get(name)
        area = None if contact is None else plan.area.get(contact.area)
        tiers.setdefault("none of the plan" if area is None else area.kind.value, []).append(name)
    return Month(
        month,
        len(alerts),
        sum(one.answered_ms is None for one in alerts),
        sum(one.is_false for one in alerts),
        sum(sum(one.messages.values()) for one in alerts),
        _figures("all", alerts, people),
        [_figures(tier, alerts, names) for tier, names in tiers.items()],
        [_figures(_name(plan, one), alerts, [one]) for one in people],
    )


def _figures(name: str, alerts: Sequence[_Alert], people: Sequence[str]) -> Figures:
    ours = frozenset(people)
    called = [one for one in alerts if ours & one.called_ms.keys()]
    answered = [one for one in called if one.answered_by in ours]
    to_answer = [
        (one.answered_ms - min(at for who, at in one.called_ms.items() if who in ours)) / 1000
        for one in answered
        if one.answered_ms is not None
    ]
    to_result = [
        (one.result_ms - one.answered_ms) / 1000
        for one in answered
        if one.result_ms is not None and one.answered_ms is not None
    ]
    return Figures(
        name,
        len(called),
        len(answered),
        sum(len(one.declined & ours) for one in alerts),
        sum(one.answered_by not in ours and not one.declined & ours for one in called),
        _median(to_answer),
        _median(to_result),
        sum(number for one in alerts for who, number in one.messages.items() if who in ours),
    )


def _alerts(
    connection: Connection, begin_ms: int, end_ms: int, exercises: bool
) -> Iterable[_Alert]:
    line, out = tables.timeline, tables.outgoing
    opened = connection.execute(
        select(line.c.alert, line.c.incident)
        .where(line.c.kind == "opened", line.c.at_ms >= begin_ms, line.c.at_ms < end_ms)
        .distinct()
    ).all()
    for alert, incident in opened:
        state = connection.execute(
            select(tables.escalation.c.state).filter_by(alert=alert)
        ).scalar_one_or_none()
        if state is None:
            continue
        if msgspec.json.decode(state, type=Escalation).exercise is not exercises:
            continue
        rows = connection.execute(
            select(line).where(line.c.alert == alert, line.c.kind.in_(_LINES)).order_by(line.c.id)
        ).all()
        first = next(
            (row for row in rows if row.kind == "answer" and not _detail(row, "refused")), None
        )
        results = [row for row in rows if row.kind == "result"]
        called: dict[str, int] = {}
        messages: dict[str, int] = {}
        for row in connection.execute(select(out).where(out.c.incident == incident)):
            parts = [part for part in read_parts(row.parts) if part.alert == alert]
            if not parts or row.outcome != "delivered":
                continue
            messages[row.contact] = messages.get(row.contact, 0) + 1
            if any(part.asks for part in parts):
                called[row.contact] = min(row.done_ms, called.get(row.contact, row.done_ms))
        yield _Alert(
            called,
            None if first is None else (_detail(first, "contact") or first.who),
            None if first is None else first.at_ms,
            results[0].at_ms if results else None,
            any(_detail(row, "result") in ("false alarm", "false-alarm") for row in results),
            frozenset(row.who for row in rows if row.kind == "declined"),
            messages,
        )


def _detail(row: Any, key: str) -> Any:
    return msgspec.json.decode(row.detail).get(key)


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _name(plan: Plan, contact: str) -> str:
    one = plan.contact.get(contact)
    return contact if one is None else one.name


def this_month(now_ms: int, zone: ZoneInfo) -> str:
    """The month in which `now_ms` lies."""
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone):%Y-%m}"
