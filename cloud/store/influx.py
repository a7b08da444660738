"""InfluxDB 1.x (`api = "v1"`), 2.x and 3.x (`api = "v2"`), and VictoriaMetrics, which takes both
and is read with `dialect = "metricsql"`.

A write has been answered before anything is acknowledged.
"""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self

import httpx
from pydantic import Field, model_validator
from sqlalchemy import Connection

from cloud.errors import Rejected, Unavailable
from cloud.http import Url, client, put, secret
from cloud.state import State
from cloud.store import (
    Also,
    Bucket,
    Counted,
    Points,
    Query,
    Rollup,
    Row,
    Store,
    StoreConfig,
    marks,
)
from cloud.store.influx2 import Setup
from cloud.store.influxql import InfluxQL
from cloud.store.lineprotocol import encode
from cloud.store.metricsql import MetricsQL
from cloud.store.rollup_influx import Retirement, Rollups, server_days

_DROPPED: Final = re.compile(r"\bdropped=(\d+)")
_CONNECTIONS: Final = httpx.Limits(max_connections=4)
MOST_BYTES: Final = 8_000_000
"""In one body. A line is far shorter."""


class Config(StoreConfig):
    """`[store]` with `kind = "influx"`. Files are relative to the config's folder."""

    kind: Literal["influx"]
    url: Url
    api: Literal["v1", "v2"]
    dialect: Literal["influxql", "metricsql"] = "influxql"
    database: Annotated[str, Field(min_length=1)] | None = None
    username: str | None = None
    password_file: str | None = None
    bucket: Annotated[str, Field(min_length=1)] | None = None
    org: str = ""
    token_file: str | None = None
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 20

    @model_validator(mode="after")
    def _names_its_place(self) -> Self:
        if self.api == "v1" and self.database is None:
            raise ValueError('api = "v1" needs a database')
        if self.api == "v2" and self.bucket is None:
            raise ValueError('api = "v2" needs a bucket')
        return self


_Init = Callable[[], Coroutine[Any, Any, list[str]]]
_Write = Callable[[bytes], Awaitable[None]]


class _Server(Protocol):
    """What the two dialects have in common."""

    async def check(self) -> None: ...
    async def faults(self) -> list[str]: ...
    async def settle(self) -> None: ...
    async def read(self, query: Query) -> list[Row]: ...
    async def counts(self, query: Query) -> dict[str, int]: ...
    async def counted(self, query: Query) -> dict[str, Counted]: ...
    async def aggregated(self, query: Query, bucket: Bucket) -> list[Rollup]: ...


@asynccontextmanager
async def open(config: Config, folder: Path, state: State) -> AsyncIterator[Store]:
    """The store at `config.url`; nothing is asked of it yet. Raises Unavailable for a secret
    that cannot be read."""
    token = secret(folder, config.token_file)
    password = secret(folder, config.password_file)
    async with client(
        config.timeout_s,
        {} if token is None else {"Authorization": f"Token {token}"},
        base_url=config.url,
        auth=(config.username, password or "") if config.username and config.api == "v1" else None,
        limits=_CONNECTIONS,
    ) as http:
        influxql = InfluxQL(
            http, config.database or config.bucket or "", creates=config.api == "v1"
        )
        metricsql = MetricsQL(http, config.database if config.api == "v1" else None)
        server: _Server = influxql if config.dialect == "influxql" else metricsql
        kept = None
        if config.api == "v1" and config.dialect == "influxql":
            kept = Rollups(state, influxql, http, config.database or "", config.retention)

        retirement = Retirement(state, config.retention, server.counts)

        async def init() -> list[str]:
            now_ms = time.time_ns() // 1_000_000
            if config.dialect == "metricsql":
                return [_victoria_says(config)]
            if kept is not None:
                await retirement.expire(now_ms)  # before the server drops what is not counted off
                return await kept.make()
            setup = Setup(http, config.bucket or "", config.org, config.retention)
            first = await setup.first(config.username, password, token)
            await retirement.expire(now_ms)
            return [first, *await setup.rest()]

        def made(write: _Write) -> Store:
            return _Influx(write, server, kept, init, state, retirement)

        yield made(
            _v1(http, server, config.database or "")
            if config.api == "v1"
            else _v2(http, config.bucket or "", config.org)
        )


def _victoria_says(config: Config) -> str:
    """What `init` leaves to whoever starts the server."""
    days = server_days(config.retention)["raw"]
    kept = "as long as you like" if days is None else f"at least {days}d"
    return f"VictoriaMetrics makes nothing ahead; start it with -retentionPeriod, {kept}"


class _Influx:
    def __init__(
        self,
        write: _Write,
        server: _Server,
        kept: Rollups | None,
        init: _Init,
        state: State,
        retirement: Retirement,
    ) -> None:
        self._write = write
        self._server = server
        self._kept = kept
        self._state = state
        self._retirement = retirement
        self.init = init
        self.check = server.check
        self.faults = server.faults
        self.read = server.read
        self.counted = server.counted
        self.retired = retirement.retired
        self._settle = server.settle

    async def write(self, points: Sequence[Points], also: Also) -> None:
        await self.send(points)
        await self.commit(points, also)

    async def send(self, points: Sequence[Points]) -> None:
        if lines := encode(points):
            try:
                for body in _bodies(lines):
                    await self._write(body)
            except Rejected as error:
                raise Rejected(str(error), _dropped(error)) from error
            await self._settle()

    async def commit(self, points: Sequence[Points], also: Also) -> None:
        def work(connection: Connection) -> None:
            if self._kept is not None:
                marks.mark(connection, points)
            self._retirement.written(connection, points)
            also(connection)

        await self._state.run(work)

    async def rollups(self, query: Query, bucket: Bucket) -> list[Rollup]:
        ask = self._server.aggregated if self._kept is None else self._kept.read
        return await ask(query, bucket)

    async def count(self, query: Query) -> int:
        return sum((await self._server.counts(query)).values())

    async def upkeep(self, now_ms: int) -> None:
        await self._retirement.expire(now_ms)
        if self._kept is not None:
            await self._kept.settle()


def _bodies(lines: bytes) -> Iterator[bytes]:
    """Servers refuse what is too large (InfluxDB over 25 MB), however they say so."""
    begin = 0
    while len(lines) - begin > MOST_BYTES:
        end = lines.rindex(b"\n", begin, begin + MOST_BYTES)
        yield lines[begin:end]
        begin = end + 1
    yield lines[begin:]


def _dropped(error: Rejected) -> int | None:
    """How many points the server says that it did not take ("partial write: ... dropped=3"): of
    one reason; there may be more for another."""
    found = _DROPPED.search(str(error))
    return None if found is None else int(found[1])


def _v1(http: httpx.AsyncClient, server: _Server, database: str) -> _Write:
    """`/write` of InfluxDB 1.x; a database that is not there is made first. Asked to write to none,
    the server answers before it has read a large body and hangs up: its answer may be lost."""
    where = {"db": database, "precision": "ms"}
    is_there = False

    async def write(lines: bytes) -> None:
        nonlocal is_there
        if not is_there:
            await server.check()
            is_there = True
        try:
            await put(http, "/write", where, lines)
        except Unavailable:
            is_there = False  # perhaps: somebody may have dropped it
            raise

    return write


def _v2(http: httpx.AsyncClient, bucket: str, org: str) -> _Write:
    """`/api/v2/write` of InfluxDB 2.x and 3.x."""
    where = {"bucket": bucket, "org": org, "precision": "ms"}

    async def write(lines: bytes) -> None:
        await put(http, "/api/v2/write", where, lines)

    return write
