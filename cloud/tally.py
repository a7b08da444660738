"""How many readings of each gateway and day (UTC) were stored, beside the ledger and in its
transactions: what is counted in the store is compared with that, day by day.

The sum of their times is kept too: a reading too few and one too many are as many, but hardly at
the same time.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from cloud import database, tables
from cloud.store import DAY_MS
from wire.messages import Batch
from wire.reading import Columns, columns


class Tally(NamedTuple):
    """So many readings, and the sum of their times since the day began, ms."""

    readings: int = 0
    offsets_ms: int = 0


Day = tuple[str, int]
"""A gateway, and the beginning of a day, ms since 1970."""

_AT_ONCE: Final = 100
"""Rows in one statement: each statement costs a fight for the GIL."""


def add(connection: Connection, batches: Iterable[Batch]) -> None:
    """The readings of these batches are stored."""
    sums: dict[Day, tuple[int, int]] = {}
    for batch in batches:
        for day_ms, (readings, offsets_ms) in _days(columns(batch.readings)):
            day = batch.gateway, day_ms
            before = sums.get(day, (0, 0))
            sums[day] = before[0] + readings, before[1] + offsets_ms
    sign = "?" if database.is_sqlite(connection) else "%s"
    rows = [(*day, *tally) for day, tally in sorted(sums.items())]
    for begin in range(0, len(rows), _AT_ONCE):
        some = rows[begin : begin + _AT_ONCE]
        values = tuple(value for row in some for value in row)
        connection.exec_driver_sql(_statement(sign, len(some)), values)


@lru_cache(maxsize=2 * _AT_ONCE)
def _statement(sign: str, rows: int) -> str:
    """As text, for SQLite and PostgreSQL alike."""
    return (
        "INSERT INTO tally (gateway, day_ms, readings, offsets_ms) VALUES "
        + ", ".join([f"({', '.join([sign] * 4)})"] * rows)
        + " ON CONFLICT (gateway, day_ms) DO UPDATE SET"
        " readings = tally.readings + excluded.readings,"
        " offsets_ms = tally.offsets_ms + excluded.offsets_ms"
    )


def load(connection: Connection, gateway: str | None = None) -> dict[Day, Tally]:
    """All there are, of one gateway or of all."""
    wanted = select(tables.tally)
    if gateway is not None:
        wanted = wanted.where(tables.tally.c.gateway == gateway)
    return {
        (row.gateway, row.day_ms): Tally(row.readings, row.offsets_ms)
        for row in connection.execute(wanted)
    }


def _days(readings: Columns) -> Sequence[tuple[int, tuple[int, int]]]:
    """Each day, with its readings and the sum of their times since it began, as of `Tally`."""
    first, last = readings.first_ms, readings.last_ms
    if first is None or last is None:
        return ()
    day = first // DAY_MS * DAY_MS
    if last < day + DAY_MS:  # nearly always
        many = len(readings.at_ms)
        return ((day, (many, sum(readings.at_ms) - many * day)),)
    by_day: dict[int, list[int]] = {}
    for at_ms in readings.at_ms:
        by_day.setdefault(at_ms // DAY_MS * DAY_MS, []).append(at_ms)
    return [(day, (len(some), sum(some) - len(some) * day)) for day, some in by_day.items()]
