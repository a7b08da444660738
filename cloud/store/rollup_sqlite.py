"""Rollups and retention of the embedded store, in SQL of its own.

Minutes are made of readings, hours of minutes, days of hours; a minute that comes in order is
worked out while it is stored (`live`), and only kept here. While an hour is whole, what is due
in it is made anew, so that late and replaced readings come out exactly. Where retention has taken
the finer level away, late readings are folded into what is kept, and go in the same transaction:
each is counted once, whenever it comes. Their rain is not: it is in the step over the gap that they
left.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    SmallInteger,
    Table,
)

from cloud.state import State
from cloud.store import DAY_MS, HOUR_MS, Bucket, Days, Query, Retention, Rollup, marks, rain
from cloud.store.marks import Mark
from wire.reading import Quantity

metadata: Final = MetaData()

_T = TypeVar("_T")

MinuteRow = tuple[int | float | None, ...]
"""Number of the series, time, and the columns of `_NAMES`."""

Take = Callable[[Mark], list[MinuteRow] | None]
"""The rows of a minute that was worked out already; None where it has to be made."""

_ROWS_AT_ONCE: Final = 1000
"""In one statement, which has room for 32,766 values, and in a transaction of a few ms."""


def _table(bucket: Bucket) -> Table:
    return Table(
        f"rollup_{bucket.level}",
        metadata,
        Column("series", Integer, primary_key=True),
        Column("at_ms", BigInteger, primary_key=True),
        Column("low", Float),
        Column("high", Float),
        Column("total", Float),
        Column("count", Integer, nullable=False),
        Column("bad", Integer, nullable=False),
        Column("missing", Integer, nullable=False),
        Column("worst", SmallInteger),
        Column("rain", Float),
        sqlite_with_rowid=False,
    )


tables: Final = {bucket: _table(bucket) for bucket in Bucket}

_ONE_GO_S: Final = 0.02
"""A transaction takes on nothing further after so long: ingest waits for its turn meanwhile."""

_OF_GATEWAY: Final = (
    " WHERE series IN (SELECT id FROM series WHERE gateway = :gateway)"
    " AND at_ms >= :since_ms AND at_ms < :until_ms"
)
_GOOD: Final = "CASE WHEN quality <> 4 THEN value END"
_MADE: Final = {
    Bucket.MINUTE: (
        f"min({_GOOD}), max({_GOOD}), sum({_GOOD}), count({_GOOD}),"
        " count(value) - count(CASE WHEN quality <> 4 THEN value END), count(*) - count(value),"
        " max(CASE WHEN value IS NOT NULL THEN quality END) FROM reading"
    ),
}
_COMBINED: Final = "min(low), max(high), sum(total), sum(count), sum(bad), sum(missing), max(worst)"
_NAMES: Final = ("low", "high", "total", "count", "bad", "missing", "worst")
_FOLDED: Final = (
    "low = min(ifnull(low, excluded.low), ifnull(excluded.low, low)),"
    " high = max(ifnull(high, excluded.high), ifnull(excluded.high, high)),"
    " total = ifnull(total + excluded.total, ifnull(total, excluded.total)),"
    " count = count + excluded.count, bad = bad + excluded.bad,"
    " missing = missing + excluded.missing,"
    " worst = max(ifnull(worst, excluded.worst), ifnull(excluded.worst, worst))"
)
_RAIN_FOLDED: Final = ", rain = ifnull(rain + excluded.rain, ifnull(rain, excluded.rain))"


def _is_day(bucket: Bucket) -> bool:
    return bucket.finer is Bucket.HOUR


def _make(bucket: Bucket, *, folded: bool) -> str:
    """The rain of hours is not made in SQL, that of days is the sum of theirs."""
    names = (*_NAMES, "rain") if _is_day(bucket) else _NAMES
    made = _MADE.get(bucket)
    if made is None:
        rain = ", round(sum(rain), 9)" if _is_day(bucket) else ""
        made = f"{_COMBINED}{rain} FROM {_KEPT[_SOURCE[bucket]]}"
    how = ", ".join(f"{name} = excluded.{name}" for name in names)
    if folded:
        how = _FOLDED + (_RAIN_FOLDED if _is_day(bucket) else "")
    width = bucket.width_ms
    return (
        f"INSERT INTO rollup_{bucket.level} (series, at_ms, {', '.join(names)})"
        f" SELECT series, (at_ms - :offset_ms) / {width} * {width} + :offset_ms AS begun, {made}"
        f"{_OF_GATEWAY} GROUP BY series, begun ON CONFLICT (series, at_ms) DO UPDATE SET {how}"
    )


_SOURCE: Final = {one: "raw" if one.finer is None else one.finer.level for one in Bucket}
_KEPT: Final = {"raw": "reading"} | {one.level: f"rollup_{one.level}" for one in Bucket}
"""Table of each level, the finest first."""

_REMAKE: Final = {bucket: _make(bucket, folded=False) for bucket in Bucket}
_FOLD: Final = {bucket: _make(bucket, folded=True) for bucket in Bucket}

_TAKE_OUT: Final = (
    "UPDATE rollup_{level} AS day SET count = day.count - hour.count, bad = day.bad - hour.bad,"
    " missing = day.missing - hour.missing, total = ifnull(day.total - hour.total, day.total),"
    " rain = ifnull(day.rain - hour.rain, day.rain) FROM rollup_hour AS hour"
    " WHERE hour.series = day.series AND hour.at_ms = :hour_ms AND day.at_ms = :at_ms"
    " AND day.series IN (SELECT id FROM series WHERE gateway = :gateway)"
)

_RAIN: Final = (
    "UPDATE rollup_hour SET rain = :rain WHERE at_ms = :at_ms AND series = (SELECT id FROM series"
    " WHERE gateway = :gateway AND site = :site AND sensor = :sensor AND quantity = 'rain_total')"
)
_OF_GAUGES: Final = (
    "SELECT at_ms, gateway, site, sensor, low, total / count, high, count, bad, missing, worst,"
    " rain FROM rollup_{level} JOIN series ON series = +series.id"
    " WHERE quantity = 'rain_total' AND gateway = :gateway"
    " AND (:site IS NULL OR site = :site) AND (:sensor IS NULL OR sensor = :sensor)"
    " AND at_ms >= :since_ms AND at_ms < :until_ms ORDER BY at_ms {order} LIMIT :most"
)

_STEPS_MS: Final = {"raw": HOUR_MS, "minute": DAY_MS, "hour": 30 * DAY_MS}
"""So much of a level goes at least in one transaction, of one gateway: whole hours, always."""

_NEVER_MS: Final = 1 << 62

_STEP_MS: Final = 360 * DAY_MS
"""The same of days."""


def create(connection: Connection) -> None:
    """The tables of rollups. Releases up to 0.1 knew no rain."""
    metadata.create_all(connection)
    has = {row[1] for row in connection.exec_driver_sql("PRAGMA table_info(rollup_hour)")}
    if "rain" not in has:
        for level in ("minute", "hour"):
            connection.exec_driver_sql(f"ALTER TABLE rollup_{level} ADD COLUMN rain FLOAT")


async def settle(state: State, days: Days, now_ms: int, take: Take) -> None:
    """Bring the rollups whose time is over up to what was written before the call; `take` has
    minutes that were worked out already."""
    for bucket in days.buckets:
        if _is_day(bucket) and await state.run(partial(marks.moved, bucket=bucket, days=days)):
            await state.run(partial(_move, bucket=bucket, days=days, now_ms=now_ms))
    for bucket in days.buckets:
        waiting = await state.run(partial(marks.due, bucket=bucket, now_ms=now_ms))
        if bucket is Bucket.MINUTE:
            waiting = await _settle_live(state, days, waiting, take)
        waiting.sort(key=lambda one: (-(one.at_ms // HOUR_MS), one.gateway, one.at_ms))
        while waiting:
            work = partial(_settle_some, bucket=bucket, waiting=waiting, days=days)
            settled = await _gently(state, work)
            waiting = waiting[settled:]


async def _settle_live(state: State, days: Days, waiting: Sequence[Mark], take: Take) -> list[Mark]:
    """Keep the minutes that were worked out already. Returns the marks of the others."""
    others, ready, rows = list[Mark](), list[Mark](), list[MinuteRow]()
    for one in waiting:
        some = take(one)
        if some is None:
            others.append(one)
            continue
        ready.append(one)
        rows += some
        if len(rows) >= _ROWS_AT_ONCE:
            await _gently(state, partial(_keep_live, ready=ready, rows=rows, days=days))
            ready, rows = [], []
    if ready:
        await _gently(state, partial(_keep_live, ready=ready, rows=rows, days=days))
    return others


def _keep_live(
    connection: Connection, ready: list[Mark], rows: list[MinuteRow], days: Days
) -> None:
    horizons = {
        gateway: marks.horizon(connection, gateway, "raw")
        for gateway in {one.gateway for one in ready}
    }
    if any(one.at_ms < horizons[one.gateway] for one in ready):
        return  # they are late after all, and stay due
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[begin : begin + _ROWS_AT_ONCE]
        values = tuple(value for row in some for value in row)
        connection.exec_driver_sql(_insert_minutes(len(some)), values)
    marks.settled(connection, Bucket.MINUTE, ready, days)


@lru_cache(maxsize=8)
def _insert_minutes(rows: int) -> str:
    names = ("series", "at_ms", *_NAMES)
    return (
        f"INSERT INTO rollup_minute ({', '.join(names)}) VALUES "
        + ", ".join([f"({', '.join('?' * len(names))})"] * rows)
        + " ON CONFLICT (series, at_ms) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in _NAMES)
    )


def _move(connection: Connection, bucket: Bucket, days: Days, now_ms: int) -> None:
    """Days begin at another time, or were not kept: those that are there go, all are due anew."""
    grid = days.grid(bucket)
    connection.exec_driver_sql(
        f"DELETE FROM rollup_{bucket.level} WHERE (at_ms - ?) % ? <> 0",
        (grid.offset_ms, grid.width_ms),
    )
    places = [
        (gateway, at_ms)
        for gateway, oldest_ms in _oldest(connection, Bucket.HOUR.level)
        for at_ms in range(grid.begin(oldest_ms), now_ms, grid.width_ms)
    ]
    marks.settle_grid(connection, bucket, days, places)


async def expire(state: State, retention: Retention, days: Days, now_ms: int) -> None:
    """Let go what is older than `retention` says."""
    for level, cutoff_ms in retention.cutoffs(now_ms).items():
        for gateway, oldest_ms in await state.run(partial(_oldest, level=level)):
            left: int | None = oldest_ms
            while left is not None and left < cutoff_ms:
                going = _Going(gateway, level, cutoff_ms, days)
                left = await _gently(state, partial(_expire_some, going=going))


async def _gently(state: State, work: Callable[[Connection], _T]) -> _T:
    """Do a piece of work, then leave the database to the others for as long as it took."""
    begun = time.monotonic()
    done = await state.run(work)
    await asyncio.sleep(time.monotonic() - begun)
    return done


def _settle_some(
    connection: Connection, bucket: Bucket, waiting: Sequence[Mark], days: Days
) -> int:
    """Settle as many as fit into one go, the marks of one gateway and hour together, those of one
    at least. Returns how many."""
    begun = time.monotonic()
    settled = 0
    for _, group in groupby(waiting, _place):
        some = list(group)
        _settle(connection, bucket, some, days)
        settled += len(some)
        if time.monotonic() - begun > _ONE_GO_S:
            break
    return settled


def _place(mark: Mark) -> tuple[str, int]:
    return mark.gateway, mark.at_ms // HOUR_MS


def _settle(connection: Connection, bucket: Bucket, some: Sequence[Mark], days: Days) -> None:
    """Settle marks of one level, gateway and hour."""
    gateway = some[0].gateway
    since_ms = min(one.at_ms for one in some)
    until_ms = max(one.at_ms for one in some) + bucket.width_ms
    broken = _Broken(connection, gateway, since_ms, days) if bucket is Bucket.HOUR else None
    if broken is not None:
        broken.take_out()
    is_whole = _roll_up(connection, gateway, bucket, (since_ms, until_ms), days)
    changed: set[int] = set()
    if bucket is Bucket.HOUR and is_whole:
        changed = _rain(connection, gateway, since_ms)
    if broken is not None:
        broken.put_in()
    marks.settled(connection, bucket, some, days, ((gateway, at_ms) for at_ms in changed))


class _Broken:
    """The days of an hour that have lost hours to retention: they cannot be made anew, so what the
    hour had is taken out of them, and what it has now is put in. An hour that has gone had nothing,
    and goes again. Least, greatest and worst only grow."""

    def __init__(self, connection: Connection, gateway: str, hour_ms: int, days: Days) -> None:
        self._connection = connection
        self._gateway = gateway
        self._hour_ms = hour_ms
        gone_ms = marks.horizon(connection, gateway, Bucket.HOUR.level)
        self._has_gone = hour_ms < gone_ms
        grids = {bucket: days.grid(bucket) for bucket in days.buckets if _is_day(bucket)}
        self._grids = {
            bucket: grid for bucket, grid in grids.items() if grid.begin(hour_ms) < gone_ms
        }

    def take_out(self) -> None:
        for bucket, grid in self._grids.items():
            asked = {
                "gateway": self._gateway,
                "hour_ms": self._hour_ms,
                "at_ms": grid.begin(self._hour_ms),
            }
            self._connection.exec_driver_sql(_TAKE_OUT.format(level=bucket.level), asked)

    def put_in(self) -> None:
        until_ms = self._hour_ms + HOUR_MS
        asked = {"gateway": self._gateway, "since_ms": self._hour_ms, "until_ms": until_ms}
        for bucket, grid in self._grids.items():
            with_offset = asked | {"offset_ms": grid.offset_ms}
            self._connection.exec_driver_sql(_FOLD[bucket], with_offset)
        if self._has_gone:
            _drop(self._connection, self._gateway, Bucket.HOUR.level, self._hour_ms, until_ms)


def _rain(connection: Connection, gateway: str, hour_ms: int) -> set[int]:
    """Note the rain of an hour that was made. Returns the hours whose rain was changed."""
    query = Query(gateway=gateway, since_ms=hour_ms, until_ms=hour_ms + HOUR_MS)
    made = _of_gauges(connection, rain.Question(query, Bucket.HOUR))
    found = rain.judged_by(lambda question: _of_gauges(connection, question), made)
    for one in found:
        asked = {"gateway": one.gateway, "site": one.site, "sensor": one.sensor}
        connection.exec_driver_sql(_RAIN, asked | {"at_ms": one.at_ms, "rain": one.rain})
    return {one.at_ms for one in found}


def _of_gauges(connection: Connection, question: rain.Question) -> list[Rollup]:
    """The rollups of counters of rain of one gateway."""
    query, bucket = question
    statement = _OF_GAUGES.format(level=bucket.level, order="DESC" if query.newest_first else "ASC")
    asked = {
        "gateway": query.gateway,
        "site": query.site,
        "sensor": query.sensor,
        "since_ms": query.since_ms or 0,
        "until_ms": _NEVER_MS if query.until_ms is None else query.until_ms,
        "most": -1 if query.limit is None else query.limit,
    }
    rows = connection.exec_driver_sql(statement, asked)
    return [Rollup._make((*row[:4], Quantity.RAIN_TOTAL, *row[4:])) for row in rows]


def _roll_up(
    connection: Connection, gateway: str, bucket: Bucket, range_: tuple[int, int], days: Days
) -> bool:
    """Make the rollups of a range, within an hour or a day, from the level below. Returns whether
    all of that is still there."""
    since_ms, until_ms = range_
    source = _SOURCE[bucket]
    offset_ms = days.grid(bucket).offset_ms
    asked = {"gateway": gateway, "since_ms": since_ms, "until_ms": until_ms}
    if since_ms >= marks.horizon(connection, gateway, source):
        connection.exec_driver_sql(_REMAKE[bucket], asked | {"offset_ms": offset_ms})
        return True
    if not _is_day(bucket):  # a day that has lost hours stays as it was made of all of them
        connection.exec_driver_sql(_FOLD[bucket], asked | {"offset_ms": offset_ms})
        _drop(connection, gateway, source, since_ms, until_ms)
    return False


def _drop(connection: Connection, gateway: str, level: str, since_ms: int, until_ms: int) -> None:
    asked = {"gateway": gateway, "since_ms": since_ms, "until_ms": until_ms}
    dropped = connection.exec_driver_sql(f"DELETE FROM {_KEPT[level]}{_OF_GATEWAY}", asked).rowcount
    if level == "raw":
        marks.retire(connection, {gateway: dropped})


def _oldest(
    connection: Connection, level: str, gateway: str | None = None
) -> list[tuple[str, int]]:
    """The gateways that have something in a level, or the one, each with the oldest time of it."""
    found = connection.exec_driver_sql(
        "SELECT gateway, min(oldest) FROM (SELECT gateway, (SELECT min(at_ms) FROM"
        f" {_KEPT[level]} WHERE series = series.id) AS oldest FROM series"
        " WHERE :gateway IS NULL OR gateway = :gateway) WHERE oldest IS NOT NULL GROUP BY gateway",
        {"gateway": gateway},
    )
    return [(name, at_ms) for name, at_ms in found]


class _Going(NamedTuple):
    """What retention takes: of a gateway all of a level up to `cutoff_ms`."""

    gateway: str
    level: str
    cutoff_ms: int
    days: Days


def _expire_some(connection: Connection, going: _Going) -> int | None:
    """Take away the oldest hours of a level, as many as fit into one go. Returns the oldest time
    that is left."""
    begun = time.monotonic()
    while True:
        found = _oldest(connection, going.level, going.gateway)
        left = next((at_ms for _, at_ms in found), None)
        if left is None or left >= going.cutoff_ms or time.monotonic() - begun > _ONE_GO_S:
            return left
        step_ms = _STEPS_MS.get(going.level, _STEP_MS)
        until_ms = min(left // HOUR_MS * HOUR_MS + step_ms, going.cutoff_ms)
        _expire(connection, going._replace(cutoff_ms=until_ms))


def _expire(connection: Connection, going: _Going) -> None:
    """Take a level away up to there, and what is finer with it: it came late, and is in the
    rollups once they are settled."""
    gateway, _, until_ms, days = going
    for bucket in days.buckets:
        while waiting := marks.due(connection, bucket, gateway=gateway, before_ms=until_ms):
            _settle_some(connection, bucket, waiting, days)
    for one in _KEPT:
        _drop(connection, gateway, one, 0, until_ms)
        marks.advance(connection, gateway, one, until_ms)
        if one == going.level:
            break
