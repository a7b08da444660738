"""What the pages and hooks need to know of calls; in the database's thread. Nothing is written."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, or_, select

from cloud import tables
from cloud.alerts import compose, facts, wording
from cloud.alerts.actions import Part, Send
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.escalation import Escalation, Phase
from cloud.alerts.records import CODE_LASTS_MS, read_parts
from cloud.channels import Language, Message, marked
from cloud.web.pages import Answered, CallPage, Item
from cloud.web.replies import OpenCall, is_same_number
from wire.messages import Level

LINK_LASTS_MS: Final = 7 * 86_400_000
"""For how long a link asks about a danger that has gone."""

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
    newer: str | None = None
    """The token of the call that takes the place of one that is LATE."""
    worse: bool = True
    """Of one that is LATE: whether it has risen since, not only begun again."""


def find(connection: Connection, dispatch: Dispatch, call: str, now_ms: int) -> Found | None:
    """The call, None if there is none."""
    row = connection.execute(select(tables.call).filter_by(id=call)).one_or_none()
    if row is None:
        return None
    out = tables.outgoing
    sent = connection.execute(
        select(out.c.message, out.c.sends)
        .where(out.c.call == call, out.c.message != "")
        .order_by(out.c.not_before_ms)
        .limit(1)
    ).one_or_none()
    if sent is None:
        return None  # nobody has been handed its link
    message = msgspec.json.decode(sent.message, type=Message)
    parts = [part for part in read_parts(row.parts) if part.asks]
    cases = _cases(connection, {part.alert for part in parts})
    returned = _returned(connection, cases)
    standing = _of(parts, cases, returned)
    if row.answered_ms is not None and standing is not Standing.LATE:
        standing = Standing.ANSWERED
    elif now_ms - row.made_ms > LINK_LASTS_MS and standing is Standing.RETURNED:
        standing = Standing.OVER
    tongue = message.language
    told = dict.fromkeys(name for case in cases.values() for name in case.told)
    sends = [] if sent.sends is None else msgspec.json.decode(sent.sends, type=list[Send])
    items = _items(connection, dispatch, row.contact, sends, parts, cases, now_ms)
    head = items[0] if len(items) == 1 else None
    is_late = standing is Standing.LATE
    stands = any(case.level is not None for case in cases.values())
    was = message.text_without_link if stands or standing is Standing.RETURNED else ""
    page = CallPage(
        tongue,
        message.title if head is None else head.title,
        was if head is None else head.text,
        (message.level if stands else None) if head is None else head.level,
        _local(dispatch, row.made_ms),
        [_name(dispatch, one, tongue) for one in told],
        _answered_by(dispatch, None if is_late else row, cases, tongue),
        is_over=standing is Standing.RETURNED,
        items=items if len(items) > 1 else (),
        wants_result=_wants_result(row.contact, row.answered_by, parts, cases),
        phone=dispatch.duty_phone,
        reported="" if head is None else head.reported,
        exercise=row.exercise,
    )
    newer = _newer(connection, dispatch, row, parts) if is_late else None
    worse = not sends or any(
        _is_worse(cases[one.alert], one) for one in sends if one.alert in cases
    )
    return Found(page, row.contact, standing, page.answered, newer, worse)


def _is_worse(case: Escalation, send: Send) -> bool:
    """Whether an alert has risen since it was sent."""
    return (case.level or 0) > send.level or case.stage.rank > send.stage.rank


def _answered_by(
    dispatch: Dispatch, row: Any, cases: Mapping[str, Escalation], tongue: Language
) -> Answered | None:
    """Of the call `row`, or else of all its alerts as they stand."""
    answers = [case.answer for case in cases.values() if case.answer is not None]
    if row is not None and row.answered_ms is not None:
        name, at_ms = row.answered_by, row.answered_ms
        return Answered(_name(dispatch, name, tongue), _local(dispatch, at_ms))
    if answers and len(answers) == len(cases):
        last = max(answers, key=lambda one: one.at_ms)
        return Answered(_name(dispatch, last.by, tongue), _local(dispatch, last.at_ms))
    return None


def _items(
    connection: Connection,
    dispatch: Dispatch,
    contact: str,
    sends: Sequence[Send],
    parts: Sequence[Part],
    cases: Mapping[str, Escalation],
    now_ms: int,
) -> tuple[Item, ...]:
    """Each alert of a call as it stands now, the worst first; none that is over."""
    asked = {part.alert: part.round for part in parts}
    found: dict[str, Item] = {}
    records = dispatch.view(connection)
    for send in sends:
        case = cases.get(send.alert)
        if send.alert not in asked or case is None or case.level is None:
            continue
        plan = dispatch.plan_of(records, case.plan)
        fact = facts.stand(records, plan, send)
        words = compose.standing(plan, fact, now_ms)
        if send.exercise:
            tongue = wording.language(plan, contact)
            words = words._replace(title=marked(words.title, tongue))
        answered = case.phase is Phase.ANSWERED
        found[send.alert] = Item(
            send.alert,
            words.title,
            words.text,
            fact.send.level.name.lower(),
            wording.contact_name(plan, case.answer.by, wording.language(plan, contact))
            if answered and case.answer is not None
            else "",
            compose.reported(plan, fact, now_ms),
            asked[send.alert] < case.round,
        )
    return tuple(sorted(found.values(), key=lambda one: -Level[one.level.upper()]))


def _wants_result(
    contact: str, answered_by: str | None, parts: Sequence[Part], cases: Mapping[str, Escalation]
) -> bool:
    """Whether it is this contact who has answered all that stands, and who is to say what was
    done."""
    stands = [case for case in (cases[part.alert] for part in parts) if case.level is not None]
    if any(part.round < cases[part.alert].round for part in parts):
        return False
    return bool(stands) and all(
        case.phase is Phase.ANSWERED
        and case.answer is not None
        and case.answer.by in (contact, answered_by)
        for case in stands
    )


def _newer(
    connection: Connection, dispatch: Dispatch, row: Any, parts: Sequence[Part]
) -> str | None:
    """The token of the contact's newest call about the same alerts; whoever has answered that finds
    there how to report."""
    call, out = tables.call, tables.outgoing
    alerts = {part.alert for part in parts}
    rows = connection.execute(
        select(call.c.id, call.c.parts)
        .join(out, out.c.call == call.c.id)
        .where(
            call.c.contact == row.contact,
            call.c.made_ms > row.made_ms,
            out.c.message != "",
        )
        .order_by(call.c.made_ms.desc())
    )
    for one in rows:
        if alerts & {part.alert for part in read_parts(one.parts) if part.asks}:
            return dispatch.token_of(one.id)
    return None


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
