"""What the dispatch asks of its tables. Built once: that costs as much as to run it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    select,
    update,
)

from cloud import tables


def _by(table: Table, *names: str) -> Select[Any]:
    """The rows of `table` with what is given by those names."""
    return select(table).where(*(table.c[name] == bindparam(name) for name in names))


INCIDENT: Final = _by(tables.incident, "id")
SOME: Final[BindParameter[Any]] = bindparam("some", expanding=True)
ALARMS: Final = select(tables.alarm).where(tables.alarm.c.site.in_(SOME))
CASES: Final = select(
    tables.escalation.c.alert, tables.escalation.c.incident, tables.escalation.c.state
).where(tables.escalation.c.alert.in_(SOME))
OPEN_INCIDENTS: Final = select(tables.incident.c.exercise, tables.incident.c.state).where(
    tables.incident.c.site.in_(SOME), tables.incident.c.closed_ms.is_(None)
)
BOXES: Final = select(tables.mailbox.c.contact, tables.mailbox.c.state).where(
    tables.mailbox.c.contact.in_(SOME), tables.mailbox.c.exercise == bindparam("exercise")
)
HELD: Final = (
    select(tables.held.c.contact, tables.held.c.sends)
    .where(tables.held.c.contact.in_(SOME), tables.held.c.exercise == bindparam("exercise"))
    .order_by(tables.held.c.contact, tables.held.c.number)
)
EMPTY: Final = delete(tables.held).where(
    tables.held.c.contact.in_(SOME), tables.held.c.exercise == bindparam("exercise")
)
AT_ONCE: Final = 500
OPEN_CODES: Final = select(tables.call.c.contact, tables.call.c.code).where(
    tables.call.c.contact.in_(SOME),
    tables.call.c.answered_ms.is_(None),
    tables.call.c.made_ms > bindparam("since_ms"),
)

TIMED: Final = (
    tables.alarm,
    tables.escalation,
    tables.incident,
    tables.mailbox,
    tables.cap_document,
    tables.drill,
)
DUE: Final = {
    table: select(table)
    .where(table.c.due_ms <= bindparam("now_ms"))
    .order_by(table.c.due_ms)
    .limit(bindparam("limit"))
    for table in TIMED
}
NEXT_DUE: Final = [select(func.min(table.c.due_ms)) for table in TIMED]

TAKE: Final = (
    update(tables.alert_change)
    .where(
        tables.alert_change.c.alert == bindparam("of"),
        tables.alert_change.c.number == bindparam("nth"),
    )
    .values(taken_at_ms=bindparam("now_ms"))
)


def portions(names: Sequence[str], **given: object) -> Iterator[dict[str, object]]:
    """What to give to a statement that asks for `SOME`, as often as it must be asked."""
    for begin in range(0, len(names), AT_ONCE):
        yield {"some": names[begin : begin + AT_ONCE], **given}


def some(
    connection: Connection, wanted: Select[Any], names: Sequence[str], **given: object
) -> Iterator[Any]:
    """The rows of all that are named."""
    for portion in portions(names, **given):
        yield from connection.execute(wanted, portion).all()
