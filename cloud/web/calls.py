"""What the pages and hooks need to know of calls; in the database's thread."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud import tables
from cloud.alerts import wording
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.escalation import Escalation, Phase
from cloud.alerts.records import CODE_LASTS_MS, Part, read_parts
from cloud.channels import Language, Message
from cloud.web.pages import Answered, CallPage
from cloud.web.replies import OpenCall


class Standing(StrEnum):
    """Whether a call can still be answered: OVER, its alerts are; LATE, they have risen since."""

    OPEN = "open"
    ANSWERED = "answered"
    LATE = "late"
    OVER = "over"


class Found(NamedTuple):
    """A call as its page shows it, and who has answered it (or the alert, if that is OPEN)."""

    page: CallPage
    contact: str
    standing: Standing
    answered: Answered | None


def find(connection: Connection, dispatch: Dispatch, call: str) -> Found | None:
    """The call, None if there is none."""
    row = connection.execute(select(tables.call).filter_by(id=call)).one_or_none()
    if row is None:
        return None
    out = tables.outgoing
    sent = connection.execute(
        select(out.c.message).where(out.c.call == call).order_by(out.c.not_before_ms).limit(1)
    ).scalar_one()
    message = msgspec.json.decode(sent, type=Message)
    parts = [part for part in read_parts(row.parts) if part.asks]
    cases = _cases(connection, {part.alert for part in parts})
    tongue = message.language
    told = dict.fromkeys(name for case in cases.values() for name in case.told)
    answers = [case.answer for case in cases.values() if case.answer is not None]
    answered = None
    if row.answered_ms is not None:
        name, at_ms = row.answered_by, row.answered_ms
        answered = Answered(_name(dispatch, name, tongue), _local(dispatch, at_ms))
    elif answers and len(answers) == len(cases):
        last = max(answers, key=lambda one: one.at_ms)
        answered = Answered(_name(dispatch, last.by, tongue), _local(dispatch, last.at_ms))
    page = CallPage(
        tongue,
        message.title,
        message.text.replace(message.link or "\0", "").rstrip(),
        message.level,
        _local(dispatch, row.made_ms),
        [_name(dispatch, one, tongue) for one in told],
        answered,
    )
    is_used = row.answered_ms is not None
    return Found(page, row.contact, Standing.ANSWERED if is_used else _of(parts, cases), answered)


def open_calls(connection: Connection, now_ms: int) -> list[OpenCall]:
    """The calls that wait for an answer, once for each message that carried them."""
    call, out = tables.call, tables.outgoing
    rows = connection.execute(
        select(call, out.c.message)
        .join(out, out.c.call == call.c.id)
        .where(call.c.answered_ms.is_(None), call.c.made_ms > now_ms - CODE_LASTS_MS)
    ).all()
    asked = {row.id: [part for part in read_parts(row.parts) if part.asks] for row in rows}
    cases = _cases(connection, {part.alert for parts in asked.values() for part in parts})
    found = []
    for row in rows:
        message = msgspec.json.decode(row.message, type=Message)
        parts = asked[row.id]
        if _of(parts, cases) is not Standing.OVER:
            alerts = frozenset(
                part.alert for part in parts if cases[part.alert].phase is Phase.RINGING
            )
            sent = (message.to, message.key, row.made_ms)
            found.append(OpenCall(row.id, row.code, row.contact, *sent, alerts))
    return found


def _of(parts: list[Part], cases: dict[str, Escalation]) -> Standing:
    """Of a call that nobody has answered."""
    if all(cases[part.alert].level is None for part in parts):
        return Standing.OVER
    if all(part.round < cases[part.alert].round for part in parts):
        return Standing.LATE
    return Standing.OPEN


def _cases(connection: Connection, alerts: set[str]) -> dict[str, Escalation]:
    table = tables.escalation
    rows = connection.execute(select(table).where(table.c.alert.in_(alerts)))
    return {row.alert: msgspec.json.decode(row.state, type=Escalation) for row in rows}


def _name(dispatch: Dispatch, contact: str, tongue: Language) -> str:
    one = dispatch.plan.contact.get(contact)
    return wording.named(one.name, one.name_en, tongue) if one else contact


def _local(dispatch: Dispatch, at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(dispatch.plan.zone)
    return f"{moment:%Y-%m-%d %H:%M}"
