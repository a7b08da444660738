"""What is on record of the alerts of an exercise: calls, answers, results, how far it climbed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud import tables
from cloud.alerts import keptplans, views
from cloud.alerts.drills import Drill
from cloud.alerts.drillscript import Step
from cloud.alerts.escalation import Escalation
from cloud.alerts.hazard import Stage
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier
from cloud.alerts.records import read_parts
from cloud.alerts.views import Line
from wire.messages import Level

_NO_RESULT: Final = frozenset({"cannot act", "cannot-act"})


class Span(msgspec.Struct, frozen=True):
    """People are called from `begin_ms` on (UTC) until somebody answers, or not."""

    begin_ms: int
    answered_ms: int | None = None
    by: str = ""


class Event(msgspec.Struct, frozen=True):
    """Something that was sent or said."""

    at_ms: int
    site: str
    what: str
    who: str
    text: str = ""


class CallFacts(NamedTuple):
    """A message to a contact that asked for an answer."""

    contact: str
    area: str
    made_ms: int
    delivered_ms: int | None


class AlertFacts(NamedTuple):
    """What is on record of an alert; it was over, or it is, at `end_ms`. `case` has the worst level
    and the nearest stage of its steps."""

    case: Escalation
    incident: str
    lines: Sequence[Line]
    calls: Sequence[CallFacts]
    end_ms: int
    is_over: bool
    left: str
    plan: Plan


def alerts_of(
    connection: Connection, drill: Drill, plan: Plan, now_ms: int
) -> Iterator[AlertFacts]:
    script = drill.read_script()
    names = dict.fromkeys(wave.alert for wave in drill.waves if wave.alert)
    for name in names:
        table = tables.escalation
        row = connection.execute(select(table).filter_by(alert=name)).one_or_none()
        if row is None:
            continue
        case = msgspec.json.decode(row.state, type=Escalation)
        lines = views.timeline(connection, alert=name)
        cleared = [line.at_ms for line in lines if line.kind == "cleared"]
        end_ms = cleared[-1] if cleared else (drill.ended_ms or now_ms)
        own = [script.step[one.step] for one in drill.waves if one.alert == name]
        used = keptplans.of_version(connection, case.plan) if case.plan != plan.version else plan
        yield AlertFacts(
            msgspec.structs.replace(case, level=_worst(own), stage=_nearest(own)),
            row.incident,
            lines,
            [*_calls(connection, row.incident, name)],
            end_ms,
            bool(cleared) or drill.ended_ms is not None,
            drill.left.get(case.site, ""),
            used,
        )


def _worst(steps: Sequence[Step]) -> Level | None:
    """Of what the steps of an alert say."""
    return max((one.level for one in steps if one.level is not None), default=None)


def _nearest(steps: Sequence[Step]) -> Stage:
    stages = [one.stage for one in steps if one.level is not None]
    return max(stages, key=lambda one: one.rank, default=Stage.NOW)


def _calls(connection: Connection, incident: str, alert: str) -> Iterator[CallFacts]:
    out = tables.outgoing
    rows = connection.execute(
        select(out.c.contact, out.c.parts, out.c.made_ms, out.c.done_ms, out.c.outcome)
        .where(out.c.incident == incident)
        .order_by(out.c.made_ms, out.c.not_before_ms)
    )
    for row in rows:
        for part in read_parts(row.parts):
            if part.alert == alert and part.asks:
                taken = row.done_ms if row.outcome == "delivered" else None
                yield CallFacts(row.contact, part.area, row.made_ms, taken)


def events(connection: Connection, alerts: Iterable[AlertFacts]) -> Iterator[Event]:
    out = tables.outgoing
    for one in alerts:
        site, alert = one.case.site, one.case.alert
        for line in one.lines:
            who = one.plan.area[line.area].name if line.area in one.plan.area else ""
            who = who or name(one.plan, str(line.detail.get("contact") or line.who))
            yield Event(line.at_ms, site, line.kind, who, line.text)
        rows = connection.execute(
            select(out.c.contact, out.c.channel, out.c.parts, out.c.done_ms, out.c.outcome).where(
                out.c.incident == one.incident, out.c.done_ms.is_not(None)
            )
        )
        for row in rows:
            if row.outcome in ("delivered", "refused") and any(
                part.alert == alert for part in read_parts(row.parts)
            ):
                what = "sent" if row.outcome == "delivered" else "refused"
                yield Event(row.done_ms, site, what, name(one.plan, row.contact), row.channel)


def spans(one: AlertFacts) -> list[Span]:
    """Whenever people are called anew, until an answer that counts."""
    spans: list[Span] = []
    for line in one.lines:
        is_open = bool(spans) and spans[-1].answered_ms is None
        if line.kind == "opened" and not is_open:
            spans.append(Span(line.at_ms))
        elif line.kind == "answer" and is_open and not line.detail.get("refused"):
            who = str(line.detail.get("contact") or line.who)
            spans[-1] = Span(spans[-1].begin_ms, line.at_ms, who)
    return spans


def result(one: AlertFacts, since_ms: int) -> Line | None:
    """The first result that was reported since then."""
    return next(
        (
            line
            for line in one.lines
            if line.kind == "result" and line.at_ms >= since_ms and not is_no_result(line)
        ),
        None,
    )


def is_no_result(line: Line) -> bool:
    """Whether it says that nothing can be done."""
    return line.detail.get("result") in _NO_RESULT


def highest(one: AlertFacts) -> Tier | None:
    """Of the areas that were called."""
    called = [line.area for line in one.lines if line.kind in ("opened", "climbed")]
    kinds = [one.plan.area[area].kind for area in called if area in one.plan.area]
    return max(kinds, key=lambda kind: kind.rank, default=None)


def name(plan: Plan, contact: str) -> str:
    found = plan.contact.get(contact)
    return contact if found is None else found.name
