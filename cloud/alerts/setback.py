"""When the wall clock is set back: what waits for a moment waits for as long as it had to.

Moments in the state are UTC. A clock that goes back by an hour would put every deadline an hour
off; so all that is still to come is moved back by the same step, in one transaction.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Table, select, update

from cloud import tables
from cloud.alerts import alarm as alarms
from cloud.alerts import digest, drills, escalation, holdrecords, incident
from cloud.alerts.actions import Send
from cloud.alerts.alarm import Alarm
from cloud.alerts.digest import Mailbox
from cloud.alerts.drills import Drill
from cloud.alerts.escalation import NEVER, Escalation
from cloud.alerts.incident import Incident
from cloud.alerts.records import Known
from cloud.alerts.rule import Finding

log: Final = logging.getLogger("shuichi.dispatch")

NOTICED_MS: Final = 250
"""A smaller step is left alone: a clock that is being adjusted goes back by milliseconds."""

_T = TypeVar("_T")


def newest_ms(connection: Connection) -> int:
    """The last moment that was recorded, 0 if none was: now cannot be before it."""
    line = tables.timeline
    wanted = select(line.c.at_ms).order_by(line.c.id.desc()).limit(1)
    last_ms = connection.execute(wanted).scalar_one_or_none() or 0
    return max(last_ms, holdrecords.seen_ms(connection))


def shift(connection: Connection, by_ms: int, now_ms: int, window_ms: int, off_ms: int) -> None:
    """Move all that is still to come back by `by_ms`; it is `now_ms` by the clock as it is."""
    log.warning("the clock was set back by %.1f s; deadlines are moved with it", by_ms / 1000)

    def of_alarm(one: Alarm) -> tuple[Alarm, int | None]:
        sources = {
            name: msgspec.structs.replace(said, at_ms=min(said.at_ms, now_ms))
            for name, said in one.sources.items()
        }
        since = one.lower_since_ms
        after = msgspec.structs.replace(
            one,
            sources=sources,
            lower_since_ms=None if since is None else since - by_ms,
            look_ms=None if one.look_ms is None else now_ms,  # holds have moved too
        )
        return after, alarms.next_due_ms(after, alarms.Rule(off_delay_ms=off_ms))

    def of_escalation(one: Escalation) -> tuple[Escalation, int | None]:
        after = msgspec.structs.replace(
            one,
            rungs=tuple(
                msgspec.structs.replace(
                    rung,
                    called_ms=rung.called_ms - by_ms,
                    deadline_ms=rung.deadline_ms - by_ms,
                    next_ms=rung.next_ms if rung.next_ms == NEVER else rung.next_ms - by_ms,
                )
                for rung in one.rungs
            ),
            follow_ms=None if one.follow_ms is None else one.follow_ms - by_ms,
        )
        return after, escalation.next_due_ms(after)

    def of_incident(one: Incident) -> tuple[Incident, int | None]:
        quiet = one.quiet_since_ms
        after = msgspec.structs.replace(
            one, quiet_since_ms=None if quiet is None else quiet - by_ms
        )
        return after, incident.next_due_ms(after, window_ms)

    def of_box(one: Mailbox) -> tuple[Mailbox, int | None]:
        settles_ms = None if one.settles_ms is None else one.settles_ms - by_ms
        after = msgspec.structs.replace(one, closes_ms=one.closes_ms - by_ms, settles_ms=settles_ms)
        return after, digest.next_due_ms(after)

    def of_drill(one: Drill) -> tuple[Drill, int | None]:
        after = msgspec.structs.replace(one, base_ms=one.base_ms - by_ms)
        return after, drills.next_due_ms(after)

    holdrecords.set_back(connection, by_ms, now_ms)
    _each(connection, tables.alarm, Alarm, of_alarm)
    _each(connection, tables.escalation, Escalation, of_escalation)
    _each(connection, tables.incident, Incident, of_incident)
    _each(connection, tables.mailbox, Mailbox, of_box)
    _each(connection, tables.drill, Drill, of_drill)
    _kept(connection, by_ms)
    _measured(connection, now_ms)
    # Until when it holds, a document has told everybody, by the clock as it was.
    document = tables.cap_document
    connection.execute(
        update(document)
        .where(document.c.due_ms.is_not(None))
        .values(due_ms=document.c.due_ms - by_ms)
    )
    out = tables.outgoing
    connection.execute(
        update(out).where(out.c.done_ms.is_(None)).values(not_before_ms=out.c.not_before_ms - by_ms)
    )


def _measured(connection: Connection, now_ms: int) -> None:
    """Nothing was measured later than now: else what is measured from now on would be older."""
    alarm, present = tables.alarm, tables.finding_now
    for row in connection.execute(select(alarm)).all():
        with suppress(msgspec.MsgspecError, ValueError):  # a round sets it aside and says so
            known = msgspec.json.decode(row.known, type=dict[str, Known])
            after = {name: _until(one, now_ms) for name, one in known.items()}
            if after != known:
                _put(connection, row, alarm, known=msgspec.json.encode(after).decode())
    for row in connection.execute(select(present)).all():
        with suppress(msgspec.MsgspecError, ValueError):
            found = msgspec.json.decode(row.finding, type=Finding)
            if found.at_ms > now_ms:
                found = msgspec.structs.replace(found, at_ms=now_ms)
                _put(connection, row, present, finding=msgspec.json.encode(found).decode())


def _until(one: Known, now_ms: int) -> Known:
    """The same, measured now at the latest."""
    if one.measured is None or one.measured.at_ms <= now_ms:
        return one
    measured = msgspec.structs.replace(one.measured, at_ms=now_ms)
    return msgspec.structs.replace(one, measured=measured)


def _put(connection: Connection, row: Any, table: Table, **values: str) -> None:
    key = [column == getattr(row, column.name) for column in table.primary_key]
    connection.execute(update(table).where(*key).values(**values))


def _each(
    connection: Connection,
    table: Table,
    kind: type[_T],
    change: Callable[[_T], tuple[_T, int | None]],
) -> None:
    """Change the state of all rows that wait for something, and of alarms that may."""
    wanted = select(table)
    if table is not tables.alarm:
        wanted = wanted.where(_waits(table))
    for row in connection.execute(wanted).all():
        try:
            after, due_ms = change(msgspec.json.decode(row.state, type=kind))
        except (msgspec.MsgspecError, ValueError):
            continue  # a round sets it aside and says so
        key = [column == getattr(row, column.name) for column in table.primary_key]
        content = msgspec.json.encode(after).decode()
        connection.execute(update(table).where(*key).values(state=content, due_ms=due_ms))


def _waits(table: Table) -> Any:
    if table is tables.mailbox:
        return table.c.contact.is_not(None)  # an open window is not due while it is empty
    return table.c.due_ms.is_not(None)


def _kept(connection: Connection, by_ms: int) -> None:
    """What mailboxes keep for a digest."""
    held = tables.held
    for row in connection.execute(select(held)).all():
        try:
            sends = msgspec.json.decode(row.sends, type=list[Send])
        except (msgspec.MsgspecError, ValueError):
            continue
        sends = [
            msgspec.structs.replace(
                send,
                at_ms=send.at_ms - by_ms,
                answer_by_ms=None if send.answer_by_ms is None else send.answer_by_ms - by_ms,
            )
            for send in sends
        ]
        key = [column == getattr(row, column.name) for column in held.primary_key]
        content = msgspec.json.encode(sends).decode()
        connection.execute(update(held).where(*key).values(sends=content))
