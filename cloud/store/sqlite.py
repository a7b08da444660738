"""The embedded store: two tables in the cloud's own database, so that points and ledger are
committed in one transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Column,
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
    select,
)
from sqlalchemy.dialects.sqlite import insert

from cloud.state import State
from cloud.store import Also, Points, Query, Row, Store, StoreConfig
from wire.reading import Quantity

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

# By hand: a statement of the expression language would cost more than the insert itself.
_WRITE: Final = (
    "INSERT INTO reading (series, at_ms, value, quality) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET value = excluded.value, quality = excluded.quality"
)

_Name = tuple[str, str, str, str]


class Config(StoreConfig):
    """`[store]` with `kind = "sqlite"`: nothing to say, `[state]` names the file."""

    kind: Literal["sqlite"]


@asynccontextmanager
async def open(config: Config, folder: Path, state: State) -> AsyncIterator[Store]:
    """The store in the state database itself."""
    if not state.read_only:
        await state.run(metadata.create_all)
    yield _Sqlite(state)


class _Sqlite:
    def __init__(self, state: State) -> None:
        self._state = state
        self._ids: dict[_Name, int] = {}

    async def check(self) -> None:
        await self._state.run(lambda connection: connection.execute(select(1)))

    async def write(self, points: Sequence[Points], also: Also) -> None:
        # What is learned of ids inside is kept only after the commit: undone, they mean nothing.
        def work(connection: Connection) -> dict[_Name, int]:
            ids = dict[_Name, int]()
            rows = []
            for gateway, readings in points:
                for r in readings:
                    name = (gateway, r.site, r.sensor, r.quantity)
                    number = self._ids.get(name) or ids.get(name)
                    if number is None:
                        number = ids[name] = _series(connection, name)
                    rows.append((number, r.at_ms, r.value, r.quality))
            if rows:
                connection.exec_driver_sql(_WRITE, rows)
            also(connection)
            return ids

        self._ids |= await self._state.run(work)

    async def read(self, query: Query) -> list[Row]:
        wanted = _where(
            query,
            select(
                reading.c.at_ms,
                series.c.gateway,
                series.c.site,
                series.c.sensor,
                series.c.quantity,
                reading.c.value,
                reading.c.quality,
            ),
        )
        at = reading.c.at_ms.desc() if query.newest_first else reading.c.at_ms
        wanted = wanted.order_by(at).limit(query.limit)
        found = await self._state.run(lambda connection: connection.execute(wanted).all())
        return query.cut(
            [Row(at_ms, g, s, n, Quantity(q), v, f) for at_ms, g, s, n, q, v, f in found]
        )

    async def count(self, query: Query) -> int:
        wanted = _where(query, select(func.count()))
        return await self._state.run(lambda connection: connection.execute(wanted).scalar_one())


def _series(connection: Connection, name: _Name) -> int:
    names = dict(zip(("gateway", "site", "sensor", "quantity"), name, strict=True))
    connection.execute(insert(series).on_conflict_do_nothing(), names)
    wanted = select(series.c.id).filter_by(**names)
    number: int = connection.execute(wanted).scalar_one()
    return number


def _where(query: Query, wanted: Select[Any]) -> Select[Any]:
    wanted = wanted.select_from(reading.join(series)).filter(
        *(series.c[name] == value for name, value in query.tags.items())
    )
    if query.quantity is not None:
        wanted = wanted.where(series.c.quantity == query.quantity)
    if query.since_ms is not None:
        wanted = wanted.where(reading.c.at_ms >= query.since_ms)
    if query.until_ms is not None:
        wanted = wanted.where(reading.c.at_ms < query.until_ms)
    return wanted
