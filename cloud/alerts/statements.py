"""What the dispatch asks of its tables. Built once: that costs as much as to run it."""

from typing import Any, Final

from sqlalchemy import BindParameter, Select, Table, bindparam, func, select, update

from cloud import tables


def _by(table: Table, *names: str) -> Select[Any]:
    """The rows of `table` with what is given by those names."""
    return select(table).where(*(table.c[name] == bindparam(name) for name in names))


ALARM: Final = _by(tables.alarm, "site", "hazard", "exercise")
CASE: Final = _by(tables.escalation, "alert")
INCIDENT: Final = _by(tables.incident, "id")
OPEN_INCIDENT: Final = _by(tables.incident, "site", "exercise").where(
    tables.incident.c.closed_ms.is_(None)
)
BOX: Final = _by(tables.mailbox, "contact", "exercise")
SOME: Final[BindParameter[Any]] = bindparam("some", expanding=True)
BOXES: Final = select(tables.mailbox).where(tables.mailbox.c.contact.in_(SOME))
CASES: Final = select(tables.escalation).where(tables.escalation.c.alert.in_(SOME))
AT_ONCE: Final = 500
OPEN_CODES: Final = select(tables.call.c.contact, tables.call.c.code).where(
    tables.call.c.contact.in_(SOME),
    tables.call.c.answered_ms.is_(None),
    tables.call.c.made_ms > bindparam("since_ms"),
)

TIMED: Final = (tables.alarm, tables.escalation, tables.incident, tables.mailbox)
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
