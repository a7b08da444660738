"""Which rollups are due, and what retention took: kept in the state database, in the transaction of
the ledger, so that neither can be forgotten or counted twice.

A mark is a level, a gateway, and the beginning of a minute, hour or day in which readings were
written or finer rollups were made. A late or replaced reading leaves one like any other.

Several workers may keep the rollups of one store. Who has left a mark makes the rollup, others only
`OTHERS_MS` later; and who comes to an end with one that another has made meanwhile leaves a new
mark, for the other may have known more.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from secrets import randbits, token_hex
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, delete, func, inspect, or_, select, text, update

from cloud import database, state, tables
from cloud.store import MINUTE_MS, Bucket, Days, Points
from wire.reading import Columns, columns

GRACE_MS: Final = 5_000
"""A rollup is made so long after its time is over. Until then readings come all the time, and it
would be made again and again."""

OTHERS_MS: Final = 90_000

_FARTHEST_MS: Final = 7_200_000
"""A time that lies further ahead was noted by a clock that was wrong."""

OWNER: Final = token_hex(8)
"""This process."""

_ONE_PASS: Final = 20_000

_AT_ONCE: Final = 100
"""Marks in one statement: each statement costs a fight for the GIL."""

_RETIRE: Final = text(
    "INSERT INTO retired (gateway, readings) VALUES (:gateway, :readings)"
    " ON CONFLICT (gateway) DO UPDATE SET readings = retired.readings + excluded.readings"
)


class Mark(NamedTuple):
    """The rollup of this level that begins at `at_ms` is due for all sensors of the gateway;
    `times` tells one such state from the next."""

    level: str
    gateway: str
    at_ms: int
    times: int


def create(connection: Connection) -> None:
    """The tables of this module, in a database that is not the state. Marks of an earlier release
    become such as they are now."""
    ours = [tables.rollup_due, tables.rollup_grid, tables.retired, tables.horizon]
    due_, spans = tables.rollup_due, list[tuple[str, int, int]]()
    if inspect(connection).has_table(due_.name):
        has = {column["name"] for column in inspect(connection).get_columns(due_.name)}
        if has != set(due_.columns.keys()):
            first, last = ("first_ms", "last_ms") if "first_ms" in has else ("at_ms", "at_ms")
            found = connection.exec_driver_sql(f"SELECT gateway, {first}, {last} FROM rollup_due")
            spans = [(gateway, first_ms, last_ms) for gateway, first_ms, last_ms in found]
            due_.drop(connection)
    tables.metadata.create_all(connection, tables=ours)
    for gateway, first_ms, last_ms in spans:
        span = range(first_ms // MINUTE_MS * MINUTE_MS, last_ms + 1, MINUTE_MS)
        touch(connection, Bucket.MINUTE, [(gateway, at_ms) for at_ms in span])


class Touched(NamedTuple):
    """What a touch did: a gateway, a time, and `times` of its mark from then on. A mark that was
    not there begins with `start`, which no two calls have alike."""

    start: int
    marks: list[tuple[str, int, int]]


class OurMark:
    """`times` of a mark after our last touch; None before the first."""

    __slots__ = ("times",)

    def __init__(self) -> None:
        self.times: int | None = None

    def touched(self, times: int, start: int) -> bool:
        """We have touched the mark, which now has `times`; `start` where it was not there. Returns
        whether nobody else has touched it since we began, or made the rollup."""
        begins = times == start and self.times is None
        goes_on = self.times is not None and times == self.times + 1
        self.times = times
        return begins or goes_on


def mark(connection: Connection, points: Iterable[Points]) -> Touched:
    """Note that the minutes of `points` are due."""
    found = {
        (gateway, minute) for gateway, readings in points for minute in minutes(columns(readings))
    }
    return touch(connection, Bucket.MINUTE, sorted(found))


def touch(connection: Connection, bucket: Bucket, places: Sequence[tuple[str, int]]) -> Touched:
    """Note that the rollups of these gateways and times are due."""
    sign = "?" if database.is_sqlite(connection) else "%s"
    touched = Touched(randbits(62), [])
    own = (touched.start, time.time_ns() // 1_000_000, OWNER)
    for some in _chunks(places):
        values = tuple(value for place in some for value in (bucket.level, *place, *own))
        found = connection.exec_driver_sql(_statement(sign, len(some)), values)
        touched.marks.extend((gateway, at_ms, times) for gateway, at_ms, times in found)
    return touched


@lru_cache(maxsize=2 * _AT_ONCE)
def _statement(sign: str, rows: int) -> str:
    """As text: one of the expression language would cost more than the insert."""
    return (
        "INSERT INTO rollup_due (level, gateway, at_ms, times, not_before_ms, owner) VALUES "
        + ", ".join([f"({', '.join([sign] * 6)})"] * rows)
        + " ON CONFLICT (level, gateway, at_ms) DO UPDATE SET times = rollup_due.times + 1,"
        " not_before_ms = excluded.not_before_ms, owner = excluded.owner, fault = ''"
        " RETURNING gateway, at_ms, times"
    )


_Some = TypeVar("_Some")


def _chunks(all_of_it: Sequence[_Some]) -> Iterator[Sequence[_Some]]:
    for begin in range(0, len(all_of_it), _AT_ONCE):
        yield all_of_it[begin : begin + _AT_ONCE]


def minutes(readings: Columns) -> Iterable[int]:
    """The minutes that `readings` fall into; of a batch that is dense, all that it spans."""
    first, last = readings.first_ms, readings.last_ms
    if first is None or last is None:
        return ()
    begin, end = first // MINUTE_MS, last // MINUTE_MS
    if end - begin < len(readings):
        return range(begin * MINUTE_MS, (end + 1) * MINUTE_MS, MINUTE_MS)
    return {at_ms // MINUTE_MS * MINUTE_MS for at_ms in readings.at_ms}


def due(
    connection: Connection,
    bucket: Bucket,
    *,
    now_ms: int | None = None,
    gateway: str | None = None,
    since_ms: int | None = None,
    before_ms: int | None = None,
) -> list[Mark]:
    """Marks of a level, the newest first (what is live is looked at), and no more than one pass of
    upkeep should take on. With `now_ms` only those whose time is over, and that are not set aside
    until later."""
    table = tables.rollup_due
    columns_ = (table.c.level, table.c.gateway, table.c.at_ms, table.c.times)
    wanted = select(*columns_).where(table.c.level == bucket.level)
    if now_ms is not None:
        wanted = wanted.where(
            table.c.at_ms <= now_ms - bucket.width_ms - GRACE_MS,
            or_(
                (table.c.owner == OWNER) & (table.c.fault == ""),
                (table.c.owner == OWNER) & (table.c.not_before_ms <= now_ms),
                table.c.not_before_ms <= now_ms - OTHERS_MS,
                table.c.not_before_ms > now_ms + _FARTHEST_MS,
            ),
        )
    if gateway is not None:
        wanted = wanted.where(table.c.gateway == gateway)
    if since_ms is not None:
        wanted = wanted.where(table.c.at_ms >= since_ms)
    if before_ms is not None:
        wanted = wanted.where(table.c.at_ms < before_ms)
    wanted = wanted.order_by(table.c.at_ms.desc(), table.c.gateway).limit(_ONE_PASS)
    return [Mark(*row) for row in connection.execute(wanted)]


def done(connection: Connection, marks: Sequence[Mark]) -> None:
    """Drop marks, but those to which something was added since they were read. Where another has
    dropped one, it is left anew."""
    sign = "?" if database.is_sqlite(connection) else "%s"
    for some in _chunks(marks):
        level = some[0].level
        dropped = connection.exec_driver_sql(
            _drop(sign, len(some)), (level, *(value for one in some for value in one[1:]))
        )
        left = {one[1:3] for one in some} - {(gateway, at_ms) for gateway, at_ms in dropped}
        table = tables.rollup_due
        for gateway, at_ms in sorted(left):
            is_there = select(table.c.times).filter_by(level=level, gateway=gateway, at_ms=at_ms)
            if connection.execute(is_there).first() is None:
                touch(connection, Bucket(level), [(gateway, at_ms)])


@lru_cache(maxsize=2 * _AT_ONCE)
def _drop(sign: str, rows: int) -> str:
    return (
        f"DELETE FROM rollup_due WHERE level = {sign} AND (gateway, at_ms, times) IN (VALUES "
        + ", ".join([f"({sign}, {sign}, {sign})"] * rows)
        + ") RETURNING gateway, at_ms"
    )


def settled(
    connection: Connection,
    bucket: Bucket,
    some: Sequence[Mark],
    days: Days,
    also: Iterable[tuple[str, int]] = (),
) -> list[Touched]:
    """Rollups of a level were made, and `also` those of these gateways and times: what is made of
    them is due. Returns what that did to each coarser level."""
    touched = []
    places = {(one.gateway, one.at_ms) for one in some} | set(also)
    for coarser in days.buckets:
        if coarser.finer is bucket:
            grid = days.grid(coarser)
            begun = {(gateway, grid.begin(at_ms)) for gateway, at_ms in places}
            touched.append(touch(connection, coarser, sorted(begun)))
    done(connection, some)
    return touched


def moved(connection: Connection, bucket: Bucket, days: Days) -> bool:
    """Whether these rollups have begun at other times until now, or were not made at all."""
    table = tables.rollup_grid
    wanted = select(table.c.offset_ms).where(table.c.level == bucket.level)
    found: Any = connection.execute(wanted).scalar()
    return found is None or int(found) != days.grid(bucket).offset_ms


def settle_grid(
    connection: Connection, bucket: Bucket, days: Days, places: Sequence[tuple[str, int]]
) -> None:
    """Rollups begin as `days` says from now on: those of these gateways and times are due."""
    grid = days.grid(bucket)
    connection.execute(delete(tables.rollup_due).where(tables.rollup_due.c.level == bucket.level))
    touch(connection, bucket, places)
    state.upsert(
        connection,
        tables.rollup_grid,
        [{"level": bucket.level, "offset_ms": grid.offset_ms}],
    )


def set_aside(connection: Connection, marks: Iterable[Mark], fault: str, until_ms: int) -> None:
    """Try these no more before `until_ms`, and remember why."""
    table = tables.rollup_due
    for one in marks:
        connection.execute(
            update(table)
            .filter_by(level=one.level, gateway=one.gateway, at_ms=one.at_ms)
            .values(not_before_ms=until_ms, fault=fault[:500])
        )


def aside(connection: Connection) -> tuple[int, str]:
    """How many marks were set aside, and why the newest of them was."""
    table = tables.rollup_due
    many = select(func.count()).select_from(table).where(table.c.fault != "")
    newest = (
        select(table.c.fault)
        .where(table.c.fault != "")
        .order_by(table.c.not_before_ms.desc())
        .limit(1)
    )
    found: Any = connection.execute(newest).scalar()
    return int(connection.execute(many).scalar_one()), str(found or "")


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
