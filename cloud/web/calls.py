"""What the pages and hooks need to know of calls; in the database's thread."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, or_, select

from cloud import tables
from cloud.alerts import wording
from cloud.alerts.actions import Part
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.escalation import Escalation, Phase
from cloud.alerts.records import CODE_LASTS_MS, read_parts
from cloud.channels import Language, Message
from cloud.web.pages import Answered, CallPage
from cloud.web.replies import OpenCall, is_same_number

ANSWERED_LASTS_MS: Final = 12 * 3_600_000
"""For how long after an answer a reply without a code still tells of that call."""


class Standing(StrEnum):
    """Whether a call can still be answered: RETURNED, the danger has gone and nobody has answered
    yet; OVER, its alerts are; LATE, they have risen since."""

    OPEN = "open"
    RETURNED = "returned"
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
        select(out.c.message)
        .where(out.c.call == call, out.c.message != "")
        .order_by(out.c.not_before_ms)
        .limit(1)
    ).scalar_one_or_none()
    if sent is None:
        return None  # nobody has been handed its link
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
        message.text_without_link,
        message.level,
        _local(dispatch, row.made_ms),
        [_name(dispatch, one, tongue) for one in told],
        answered,
    )
    standing = _of(parts, cases, _returned(connection, cases))
    if row.answered_ms is not None:
        standing = Standing.ANSWERED
    page = page._replace(is_over=standing is Standing.RETURNED)
    return Found(page, row.contact, standing, answered)


def open_calls(connection: Connection, now_ms: int) -> list[OpenCall]:
    """The calls that wait for an answer, once for each message that carried them."""
    return [
        one for one in _made(connection, now_ms, tables.call.c.answered_ms.is_(None)) if one.waits
    ]


def earlier_calls(
    connection: Connection, now_ms: int, contacts: Iterable[str], codes: Iterable[str]
) -> list[OpenCall]:
    """Of these contacts, those calls that have been answered, and those with these codes."""
    call = tables.call
    meant = or_(call.c.answered_ms > now_ms - ANSWERED_LASTS_MS, call.c.code.in_([*codes]))
    return _made(connection, now_ms, call.c.contact.in_([*contacts]), meant)


def contacts_of(dispatch: Dispatch, number: str) -> list[str]:
    """The contacts of the plan who have this number."""
    people = dispatch.plan.contact.items()
    return [
        name
        for name, one in people
        if any(is_same_number(address, number) for address in one.address.values())
    ]


def _made(connection: Connection, now_ms: int, *where: ColumnElement[bool]) -> list[OpenCall]:
    call, out = tables.call, tables.outgoing
    rows = connection.execute(
        select(call, out.c.message, out.c.channel, out.c.outcome)
        .join(out, out.c.call == call.c.id)
        .where(call.c.made_ms > now_ms - CODE_LASTS_MS, out.c.message != "", *where)
    ).all()
    asked = {row.id: [part for part in read_parts(row.parts) if part.asks] for row in rows}
    cases = _cases(connection, {part.alert for parts in asked.values() for part in parts})
    returned = _returned(connection, cases)
    found = []
    for row in rows:
        message = msgspec.json.decode(row.message, type=Message)
        parts = asked[row.id]
        standing = _of(parts, cases, returned)
        ringing = {part.alert for part in parts if cases[part.alert].phase is Phase.RINGING}
        stands = {part.alert for part in parts if cases[part.alert].level is not None}
        answers = [cases[part.alert].answer for part in parts]
        by = row.answered_by or next((one.by for one in answers if one is not None), "")
        sent = (message.to, message.key, row.made_ms)
        made = OpenCall(row.id, row.code, row.contact, *sent, frozenset(ringing))
        found.append(
            made._replace(
                channel="" if row.outcome == "refused" else row.channel,
                message=message,
                parts=tuple(parts),
                stands=frozenset(stands),
                waits=row.answered_ms is None and standing is not Standing.OVER,
                answered_by=by,
            )
        )
    return found


def _of(parts: list[Part], cases: dict[str, Escalation], returned: set[str]) -> Standing:
    """Of a call that nobody has answered; `returned` are alerts that are over and wait for one."""
    if all(part.round < cases[part.alert].round for part in parts):
        over = all(cases[part.alert].level is None for part in parts)
        return Standing.OVER if over else Standing.LATE
    if any(cases[part.alert].level is not None for part in parts):
        return Standing.OPEN
    waits = any(part.alert in returned for part in parts)
    return Standing.RETURNED if waits else Standing.OVER


def _returned(connection: Connection, cases: dict[str, Escalation]) -> set[str]:
    """Those of the alerts that are over, and that nobody has answered."""
    over = {name: case for name, case in cases.items() if case.level is None}
    table = tables.alarm
    wanted = select(table.c.state).where(table.c.site.in_({case.site for case in over.values()}))
    alarms = (msgspec.json.decode(row, type=Alarm) for row in connection.execute(wanted).scalars())
    return {one.alert for one in alarms if one.process is Status.RETURNED} & over.keys()


def _cases(connection: Connection, alerts: set[str]) -> dict[str, Escalation]:
    table = tables.escalation
    rows = connection.execute(select(table).where(table.c.alert.in_(alerts)))
    return {row.alert: msgspec.json.decode(row.state, type=Escalation) for row in rows}


def _name(dispatch: Dispatch, contact: str, tongue: Language) -> str:
    return wording.contact_name(dispatch.plan, contact, tongue)


def _local(dispatch: Dispatch, at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(dispatch.plan.zone)
    return f"{moment:%Y-%m-%d %H:%M}"
