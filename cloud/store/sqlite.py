"""The embedded store: tables in the cloud's own database, so that points, the ledger and the marks
of what rollups are due are committed in one transaction. Rollups: see `rollup_sqlite`."""

import sqlite3
import time
from collections import ChainMap
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain, repeat
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    func,
    literal_column,
    select,
)

from cloud import state as states
from cloud.errors import Unavailable
from cloud.state import State
from cloud.store import (
    Also,
    Bucket,
    Counted,
    Points,
    Query,
    Retired,
    Rollup,
    Row,
    Server,
    Store,
    StoreConfig,
    combine,
    marks,
    rollup_sqlite,
)
from cloud.store.live import Live
from cloud.store.marks import Mark
from cloud.store.names import demand
from wire.reading import Quantity, columns

metadata: Final = MetaData()

series: Final = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("gateway", String, nullable=False),
    Column("site", String, nullable=False),
    Column("sensor", String, nullable=False),
    Column("quantity", String, nullable=False),
    UniqueConstraint("gateway", "site", "sensor", "quantity"),
)

reading: Final = Table(
    "reading",
    metadata,
    Column("series", ForeignKey(series.c.id), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True),
    Column("value", Float),
    Column("quality", SmallInteger, nullable=False),
    sqlite_with_rowid=False,  # the rows lie in the order in which they are read
)

_COLUMNS: Final = 4
_AT_ONCE: Final = 2000
"""Rows in one statement, which has room for 32766 values (SQLite's limits, 9). The GIL is given up
and fought for once a statement: row by row, a busy event loop leaves 700 rows a second."""

_FIRST_SPAN_MS: Final = 3_600_000
"""What a limit is looked for in first."""

SERVER: Final = Server("SQLite", sqlite3.sqlite_version)

_Name = tuple[str, str, str, str]
Value = int | float | None
"""One of the four of a row: series, UTC in ms, value, quality."""


class Config(StoreConfig):
    """`[store]` with `kind = "sqlite"`: in the file that `[state]` names, or in one of its own at
    `path`, relative to the config's folder, which one process writes. There the ledger is committed
    after the points."""

    kind: Literal["sqlite"]
    path: Annotated[str, Field(min_length=1)] | None = None


@asynccontextmanager
async def open(config: Config, folder: Path, state: State) -> AsyncIterator[Store]:
    """The store in the state database itself, or in its own. Raises Unavailable on entry where
    another process writes that."""
    async with AsyncExitStack() as stack:
        kept = state
        if config.path is not None:
            own = states.connected(folder / config.path, read_only=state.read_only)
            kept = await stack.enter_async_context(own)
        if not state.read_only:
            await kept.run(metadata.create_all)
            await kept.run(rollup_sqlite.create)
            await kept.run(marks.create)
        yield _Sqlite(kept, state, config)


class _Sqlite:
    """`state` has the readings, rollups and marks; `ledger` all that is committed with them."""

    def __init__(self, state: State, ledger: State, config: Config) -> None:
        self._state = state
        self._ledger = ledger
        self._retention = config.retention
        self._days = config.days
        self._reader = combine.Reader(state, self._kept, config.days)
        self._ids: dict[_Name, int] = {}
        self._live = Live()

    async def check(self) -> None:
        await self._state.run(lambda connection: connection.execute(select(1)))

    async def server(self) -> Server:
        return SERVER

    async def faults(self) -> list[str]:
        return []  # it is a part of the state, or a file that is made

    async def init(self) -> list[str]:
        return [f"{self._state.place}: the embedded store needs nothing made"]

    async def send(self, points: Sequence[Points]) -> None:
        """Nothing to do: points and ledger go together."""

    async def commit(self, points: Sequence[Points], also: Also) -> None:
        await self.write(points, also)

    async def write(self, points: Sequence[Points], also: Also) -> None:
        if trouble := self._ledger.trouble:
            raise Unavailable(f"{self._state.place}: {trouble}")

        # What is learned of ids inside is kept only after the commit: undone, they mean nothing.
        def work(connection: Connection) -> tuple[dict[_Name, int], marks.Touched]:
            ids = dict[_Name, int]()
            values = self._values(connection, points, ids)
            for statement, some in inserts(values):
                connection.exec_driver_sql(statement, some)
            touched = marks.mark(connection, points)
            if self._ledger is self._state:
                also(connection)
            return ids, touched

        ids, touched = await self._state.run(work)
        self._ids |= ids
        self._live.add(points, touched, time.time_ns() // 1_000_000)
        if self._ledger is not self._state:
            await self._ledger.run(also)

    def _values(
        self, connection: Connection, points: Sequence[Points], ids: dict[_Name, int]
    ) -> list[Value]:
        """All rows, one after another. New series get an id, which goes to `ids`."""
        parts = [(gateway, columns(readings)) for gateway, readings in points]
        names = [(gateway, *one) for gateway, part in parts for one in part.series]
        if unknown := set(names) - self._ids.keys():
            demand(chain.from_iterable(name[:3] for name in unknown))
            ids |= _numbered(connection, unknown)
        known = ChainMap(ids, self._ids) if ids else self._ids
        rows = sum(len(part) for _, part in parts)
        values: list[Value] = [None] * (_COLUMNS * rows)
        lengths = [end - begin for _, part in parts for _, begin, end in part.parts()]
        numbers = map(repeat, map(known.__getitem__, names), lengths)
        values[0::_COLUMNS] = chain.from_iterable(numbers)
        values[1::_COLUMNS] = chain.from_iterable(part.at_ms for _, part in parts)
        values[2::_COLUMNS] = chain.from_iterable(part.values for _, part in parts)
        values[3::_COLUMNS] = chain.from_iterable(part.qualities for _, part in parts)
        return values

    async def read(self, query: Query) -> list[Row]:
        found = await self._select(query, reading, reading.c.value, reading.c.quality)
        return query.cut(
            [Row(at_ms, g, s, n, Quantity(q), v, f) for at_ms, g, s, n, q, v, f in found]
        )

    async def rollups(self, query: Query, bucket: Bucket) -> list[Rollup]:
        return await self._reader.ask(query, bucket, {})

    async def _kept(self, query: Query, bucket: Bucket) -> list[Rollup]:
        c = rollup_sqlite.tables[bucket].c
        mean = c.total / c["count"]
        columns = (c.low, mean, c.high, c["count"], c.bad, c.missing, c.worst, c.rain)
        found = await self._select(
            query.whole(self._days.grid(bucket)), rollup_sqlite.tables[bucket], *columns
        )
        return query.cut(
            [Rollup(at_ms, g, s, n, Quantity(q), *rest) for at_ms, g, s, n, q, *rest in found]
        )

    async def count(self, query: Query) -> int:
        wanted = _where(query, select(func.count()), reading)
        return await self._state.run(lambda connection: connection.execute(wanted).scalar_one())

    async def counted(self, query: Query) -> dict[str, Counted]:
        begin = query.since_ms
        offsets = literal_column("NULL") if begin is None else func.sum(reading.c.at_ms - begin)
        wanted = _where(query, select(series.c.gateway, func.count(), offsets), reading)
        rows = await self._state.run(
            lambda connection: connection.execute(wanted.group_by(series.c.gateway)).all()
        )
        return {gateway: Counted(int(many), offset) for gateway, many, offset in rows}

    async def upkeep(self, now_ms: int, earliest_ms: int | None = None) -> None:
        by_ms = now_ms if earliest_ms is None else earliest_ms
        await rollup_sqlite.settle(self._state, self._days, now_ms, self._take)
        await rollup_sqlite.expire(self._state, self._retention, self._days, by_ms)

    def _take(self, mark: Mark) -> list[rollup_sqlite.MinuteRow] | None:
        made = self._live.take(mark.gateway, mark.at_ms, mark.times)
        if made is None:
            return None
        return [
            (
                *(self._ids[one[1:5]], one.at_ms, one.min, one.max),
                *(None if one.mean is None else one.mean * one.counted, one.counted),
                *(one.bad, one.missing, one.worst),
            )
            for one in made
        ]

    async def retired(self, gateway: str | None) -> Retired:
        return Retired(await self._state.run(partial(marks.retired, gateway=gateway)), None)

    async def _select(
        self, query: Query, table: Table, *columns: ColumnElement[Any]
    ) -> Sequence[Any]:
        """Time and names of what `query` asks of a table of series, and these columns of it."""
        at = table.c.at_ms
        names = (series.c.gateway, series.c.site, series.c.sensor, series.c.quantity)

        def work(connection: Connection) -> Sequence[Any]:
            narrow = _narrowed(connection, query, table)
            wanted = _where(narrow, select(at, *names, *columns), table)
            wanted = wanted.order_by(at.desc() if query.newest_first else at).limit(query.limit)
            return connection.execute(wanted).all()

        return await self._state.run(work)


def inserts(values: Sequence[Value]) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """The statements that put rows, whose values come one after another, into `reading`."""
    for begin in range(0, len(values), _AT_ONCE * _COLUMNS):
        some = tuple(values[begin : begin + _AT_ONCE * _COLUMNS])
        yield _insert(len(some) // _COLUMNS), some


@lru_cache(maxsize=8)
def _insert(rows: int) -> str:
    """The statement for so many rows. By hand: one of the expression language would cost more than
    the insert itself."""
    return (
        "INSERT INTO reading (series, at_ms, value, quality) VALUES "
        + ", ".join(["(?, ?, ?, ?)"] * rows)
        + " ON CONFLICT DO UPDATE SET value = excluded.value, quality = excluded.quality"
    )


def _numbered(connection: Connection, names: Collection[_Name]) -> dict[_Name, int]:
    """The ids of these series, which are given to those that are new."""
    ordered = sorted(names)
    for begin in range(0, len(ordered), _AT_ONCE):
        some = ordered[begin : begin + _AT_ONCE]
        connection.exec_driver_sql(
            "INSERT INTO series (gateway, site, sensor, quantity) VALUES "
            + ", ".join(["(?, ?, ?, ?)"] * len(some))
            + " ON CONFLICT DO NOTHING",
            tuple(word for name in some for word in name),
        )
    # As one row, for each row that is fetched lets go of the GIL too.
    found = connection.exec_driver_sql(
        "SELECT json_group_array(json_array(gateway, site, sensor, quantity, id)) FROM series"
        " WHERE gateway IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode({name[0] for name in names}).decode(),),
    ).scalar_one()
    numbers = msgspec.json.decode(found, type=list[tuple[str, str, str, str, int]])
    return {one[:4]: one[4] for one in numbers}


def _narrowed(connection: Connection, query: Query, table: Table) -> Query:
    """`query` over a range no longer than its limit needs: rows lie by series and then by time, so
    the newest few of all would else be looked for among all."""
    if query.limit is None:
        return query
    ends = [
        function(
            select(function(table.c.at_ms)).where(table.c.series == series.c.id).scalar_subquery()
        )
        for function in (func.min, func.max)
    ]
    oldest, newest = connection.execute(_named(query, select(*ends).select_from(series))).one()
    if oldest is None:
        return query
    begin = max(oldest, query.since_ms or 0)
    end = newest + 1 if query.until_ms is None else min(newest + 1, query.until_ms)
    span = _FIRST_SPAN_MS
    while span < end - begin:
        if query.newest_first:
            part = replace(query, since_ms=end - span, until_ms=end)
        else:
            part = replace(query, since_ms=begin, until_ms=begin + span)
        number = connection.execute(_where(part, select(func.count()), table)).scalar_one()
        if number >= query.limit:
            return part
        span *= 4
    return query


def _named(query: Query, wanted: Select[Any]) -> Select[Any]:
    wanted = wanted.filter(*(series.c[name] == value for name, value in query.tags.items()))
    return wanted if query.quantity is None else wanted.where(series.c.quantity == query.quantity)


def _where(query: Query, wanted: Select[Any], table: Table) -> Select[Any]:
    # The + keeps SQLite from going through the whole table and looking up each row's series.
    joined = table.join(series, table.c.series == literal_column("+series.id", Integer))
    wanted = _named(query, wanted.select_from(joined))
    if query.since_ms is not None:
        wanted = wanted.where(table.c.at_ms >= query.since_ms)
    if query.until_ms is not None:
        wanted = wanted.where(table.c.at_ms < query.until_ms)
    return wanted
