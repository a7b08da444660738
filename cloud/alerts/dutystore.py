"""Changes of duty in the state. Rows are never deleted: what is over, or was removed, is the
record."""

import logging
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from cloud import tables
from cloud.alerts.dutychanges import AS_PLANNED, Change, Duty

log: Final = logging.getLogger("shuichi.dispatch")

MOST_AT_ONCE: Final = 5000
"""Changes that are not over: more are not made, and not read."""

_TABLE: Final = tables.duty_change

_LATEST_MS: Final = 7_258_118_400_000
"""2200. A later time, or one before 1970, is no time of a duty, and could not be shown."""


def read(connection: Connection, since_ms: int) -> list[Change]:
    """Those that are not over at `since_ms` and were not removed. One that cannot be read is left
    out and logged: it must not keep anybody from being called."""
    rows = connection.execute(
        select(_TABLE)
        .where(_TABLE.c.ends_ms > since_ms, _TABLE.c.removed_ms.is_(None))
        .order_by(_TABLE.c.number)
        .limit(MOST_AT_ONCE)
    )
    return [one for row in rows if (one := _change(row)) is not None]


def as_of(connection: Connection, at_ms: int, now_ms: int) -> list[Change]:
    """Those by which duty at `at_ms` is worked out: of a moment that has passed, what was known
    then, though it has been removed since."""
    if at_ms >= now_ms:
        return read(connection, at_ms)
    rows = connection.execute(
        select(_TABLE)
        .where(_TABLE.c.ends_ms > at_ms, _TABLE.c.from_ms <= at_ms)
        .order_by(_TABLE.c.number.desc())
        .limit(MOST_AT_ONCE)
    )
    return [
        msgspec.structs.replace(one, removed_ms=None)
        for row in rows
        if (one := _change(row)) is not None
        and one.made_ms <= at_ms
        and (one.removed_ms is None or one.removed_ms > at_ms)
    ]


def recorded(connection: Connection, most: int) -> list[Change]:
    """All of them, the newest first."""
    rows = connection.execute(select(_TABLE).order_by(_TABLE.c.number.desc()).limit(most))
    return [one for row in rows if (one := _change(row)) is not None]


def of(connection: Connection, number: int) -> Change | None:
    """One of them, None if there is none that can be read."""
    row = connection.execute(select(_TABLE).filter_by(number=number)).one_or_none()
    return None if row is None else _change(row)


def count(connection: Connection, since_ms: int) -> int:
    """How many are not over and were not removed."""
    found: int = connection.execute(
        select(func.count()).where(_TABLE.c.ends_ms > since_ms, _TABLE.c.removed_ms.is_(None))
    ).scalar_one()
    return found


def next_number(connection: Connection) -> int:
    """That of the next change; rows are never deleted. Asked while nobody else dispatches."""
    highest: int | None = connection.execute(select(func.max(_TABLE.c.number))).scalar_one()
    return 1 + (highest or 0)


def add(connection: Connection, changes: list[Change]) -> None:
    """Keep new ones."""
    if changes:
        connection.execute(insert(_TABLE), [_row(one) for one in changes])


def remove(connection: Connection, change: Change, by: str, now_ms: int) -> None:
    """It counts no more. Duties of a roster that were still to come are not kept: one that is
    imported each day would fill the disk."""
    gone = msgspec.structs.replace(
        change,
        removed_ms=now_ms,
        removed_by=by,
        uids=(),
        spans=tuple(one for one in change.spans if one[0] < now_ms),
    )
    row = _row(gone)
    connection.execute(update(_TABLE).where(_TABLE.c.number == row.pop("number")).values(row))


class Reader:
    """Reads duty for the dispatch: once a transaction, and what has not changed is decoded once."""

    def __init__(self) -> None:
        self._for: tuple[object, int] | None = None
        self._rows: list[Any] = []
        self._duty = AS_PLANNED

    def at(self, connection: Connection, turn: object, now_ms: int) -> Duty:
        """Duty as it is in this transaction; `turn` is the transaction's own."""
        if self._for is None or self._for[0] is not turn or self._for[1] != now_ms:
            self._duty = self._read(connection, now_ms)
            self._for = (turn, now_ms)
        return self._duty

    def _read(self, connection: Connection, now_ms: int) -> Duty:
        in_force = (_TABLE.c.ends_ms > now_ms, _TABLE.c.removed_ms.is_(None))
        counting = (*in_force, _TABLE.c.from_ms <= now_ms)
        marks = select(_TABLE.c.number)  # a row changes only by being removed
        found = [
            tuple(row)
            for row in connection.execute(
                marks.where(*counting).order_by(_TABLE.c.number).limit(MOST_AT_ONCE)
            )
        ]
        if found == self._rows:
            return self._duty
        duty = Duty(read(connection, now_ms)) if found else AS_PLANNED
        self._rows = found
        return duty


def _row(change: Change) -> dict[str, Any]:
    return {
        "number": change.number,
        "kind": str(change.kind),
        "contact": change.contact,
        "from_ms": change.from_ms,
        "until_ms": change.until_ms,
        # What was removed is not looked at again for what is in force.
        "ends_ms": min(change.ends_ms, change.removed_ms or change.ends_ms),
        "removed_ms": change.removed_ms,
        "calendar": change.calendar,
        "change": msgspec.json.encode(change).decode(),
    }


_unreadable: set[int] = set()


def _change(row: Row[Any]) -> Change | None:
    try:
        change = msgspec.json.decode(row.change, type=Change)
        if not 0 <= change.from_ms <= change.until_ms <= _LATEST_MS:
            raise ValueError("its times are none")
    except (ValueError, TypeError) as error:
        if row.number not in _unreadable:
            _unreadable.add(row.number)
            log.error("duty change %s cannot be read and is left out: %s", row.number, error)
        return None
    return change
