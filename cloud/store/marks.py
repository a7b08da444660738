"""Which rollups are due, and what retention took: kept in the state database, in the transaction of
the ledger, so that neither can be forgotten or counted twice.

A mark is a gateway, an hour, and from when to when readings were written in it. A late or replaced
reading leaves one like any other; the bookkeeping is per batch, because ingest pays for it.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, select, text, update

from cloud import database, state, tables
from cloud.store import Bucket, Points
from wire.reading import Columns, columns

_HOUR_MS: Final = Bucket.HOUR.value
_ONE_PASS: Final = 20_000

_AT_ONCE: Final = 100
"""Marks in one statement: each statement costs a fight for the GIL."""

_RETIRE: Final = text(
    "INSERT INTO retired (gateway, readings) VALUES (:gateway, :readings)"
    " ON CONFLICT (gateway) DO UPDATE SET readings = retired.readings + excluded.readings"
)


class Mark(NamedTuple):
    """Readings between `first_ms` and `last_ms`, both included, of this gateway and hour were
    written since the rollups were made; `times` tells one such state from the next."""

    gateway: str
    hour_ms: int
    first_ms: int
    last_ms: int
    times: int


def create(connection: Connection) -> None:
    """The tables of this module, in a database that is not the state."""
    ours = [tables.rollup_due, tables.retired, tables.horizon]
    tables.metadata.create_all(connection, tables=ours)


def mark(connection: Connection, points: Iterable[Points]) -> None:
    """Note that the rollups of `points` are due."""
    spans = dict[tuple[str, int], tuple[int, int]]()
    for gateway, readings in points:
        for hour, first, last in _hours(columns(readings)):
            place = gateway, hour
            if (before := spans.get(place)) is not None:
                first, last = min(before[0], first), max(before[1], last)
            spans[place] = first, last
    if spans:
        sign = "?" if database.is_sqlite(connection) else "%s"
        rows = [(*place, *span) for place, span in sorted(spans.items())]
        for begin in range(0, len(rows), _AT_ONCE):
            some = rows[begin : begin + _AT_ONCE]
            values = tuple(value for row in some for value in row)
            connection.exec_driver_sql(_statement(sign, len(some)), values)


@lru_cache(maxsize=2 * _AT_ONCE)
def _statement(sign: str, rows: int) -> str:
    """As text, for SQLite and PostgreSQL alike: neither min() nor least() is in both."""
    return (
        "INSERT INTO rollup_due (gateway, hour_ms, first_ms, last_ms, times) VALUES "
        + ", ".join([f"({', '.join([sign] * 4)}, 1)"] * rows)
        + " ON CONFLICT (gateway, hour_ms) DO UPDATE SET times = rollup_due.times + 1,"
        " first_ms = CASE WHEN excluded.first_ms < rollup_due.first_ms"
        " THEN excluded.first_ms ELSE rollup_due.first_ms END,"
        " last_ms = CASE WHEN excluded.last_ms > rollup_due.last_ms"
        " THEN excluded.last_ms ELSE rollup_due.last_ms END"
    )


def _hours(readings: Columns) -> Sequence[tuple[int, int, int]]:
    """The hours that `readings` fall into, each with the first and the last time in it."""
    first, last = readings.first_ms, readings.last_ms
    if first is None or last is None:
        return ()
    if (hour := first // _HOUR_MS * _HOUR_MS) == last // _HOUR_MS * _HOUR_MS:
        return ((hour, first, last),)
    apart: dict[int, list[int]] = {}
    for at_ms in readings.at_ms:
        apart.setdefault(at_ms // _HOUR_MS * _HOUR_MS, []).append(at_ms)
    return [(hour, min(some), max(some)) for hour, some in apart.items()]


def due(
    connection: Connection, gateway: str | None = None, before_ms: int | None = None
) -> list[Mark]:
    """Marks, the newest hours first (what is live is looked at), and no more than one pass of
    upkeep should take on."""
    table = tables.rollup_due
    wanted = select(table).order_by(table.c.hour_ms.desc()).limit(_ONE_PASS)
    if gateway is not None:
        wanted = wanted.where(table.c.gateway == gateway)
    if before_ms is not None:
        wanted = wanted.where(table.c.hour_ms < before_ms)
    return [Mark(*row) for row in connection.execute(wanted)]


def done(connection: Connection, marks: Iterable[Mark]) -> None:
    """Drop marks, but those to which something was added since they were read."""
    table = tables.rollup_due
    for one in marks:
        connection.execute(
            delete(table).where(
                table.c.gateway == one.gateway,
                table.c.hour_ms == one.hour_ms,
                table.c.times == one.times,
            )
        )


def retire(connection: Connection, gateways: dict[str, int]) -> None:
    """Note how many readings of each gateway left the count of the store."""
    rows = [{"gateway": name, "readings": number} for name, number in gateways.items() if number]
    if rows:
        connection.execute(_RETIRE, rows)


def retired(connection: Connection, gateway: str | None) -> int:
    """How many readings of one gateway, or of all, retention took."""
    table = tables.retired
    wanted = select(func.coalesce(func.sum(table.c.readings), 0))
    if gateway is not None:
        wanted = wanted.where(table.c.gateway == gateway)
    return int(connection.execute(wanted).scalar_one())


def horizon(connection: Connection, gateway: str, level: str) -> int:
    """From when on `level` is whole; 0 if nothing was ever taken from it."""
    table = tables.horizon
    wanted = select(table.c.at_ms).where(table.c.gateway == gateway, table.c.level == level)
    found: Any = connection.execute(wanted).scalar()
    return int(found or 0)


def advance(connection: Connection, gateway: str, level: str, at_ms: int) -> None:
    """Move a horizon on; it never comes back."""
    table = tables.horizon
    key = {"gateway": gateway, "level": level}
    if not connection.execute(select(table.c.at_ms).filter_by(**key)).first():
        state.upsert(connection, table, [key | {"at_ms": at_ms}])
    connection.execute(
        update(table).filter_by(**key).where(table.c.at_ms < at_ms).values(at_ms=at_ms)
    )
