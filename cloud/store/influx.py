"""InfluxDB 1.x (`api = "v1"`), 2.x and 3.x (`api = "v2"`), and VictoriaMetrics, which takes both
and is read with `dialect = "metricsql"`.

A write has been answered before anything is acknowledged. influxdb-client is used in its
synchronous mode only: its batching mode loses what it holds when the server is away.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, Self

import httpx
from pydantic import Field, model_validator

from cloud.errors import Rejected, Unavailable
from cloud.http import Url, ask, secret
from cloud.state import State
from cloud.store import Also, Points, Query, Row, Store, StoreConfig
from cloud.store.influxql import InfluxQL
from cloud.store.lineprotocol import encode
from cloud.store.metricsql import MetricsQL

_CONNECTIONS: Final = httpx.Limits(max_connections=4)


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


_Write = Callable[[bytes], Awaitable[None]]


class _Server(Protocol):
    """What the two dialects have in common."""

    async def check(self) -> None: ...
    async def settle(self) -> None: ...
    async def read(self, query: Query) -> list[Row]: ...
    async def count(self, query: Query) -> int: ...


@asynccontextmanager
async def open(config: Config, folder: Path, state: State) -> AsyncIterator[Store]:
    """The store at `config.url`; nothing is asked of it yet. Raises Unavailable for a secret
    that cannot be read."""
    token = secret(folder, config.token_file)
    password = secret(folder, config.password_file)
    async with httpx.AsyncClient(
        base_url=config.url,
        headers={} if token is None else {"Authorization": f"Token {token}"},
        auth=None if config.username is None else (config.username, password or ""),
        timeout=config.timeout_s,
        limits=_CONNECTIONS,
    ) as http:
        influxql = InfluxQL(
            http, config.database or config.bucket or "", creates=config.api == "v1"
        )
        metricsql = MetricsQL(http, config.database if config.api == "v1" else None)
        server: _Server = influxql if config.dialect == "influxql" else metricsql
        if config.api == "v1":
            yield _Influx(_v1(http, influxql, config.database or ""), server, state)
        else:
            async with _v2(config, token) as write:
                yield _Influx(write, server, state)


class _Influx:
    def __init__(self, write: _Write, server: _Server, state: State) -> None:
        self._write = write
        self._state = state
        self.check = server.check
        self.read = server.read
        self.count = server.count
        self._settle = server.settle

    async def write(self, points: Sequence[Points], also: Also) -> None:
        if lines := encode(points):
            await self._write(lines)
            await self._settle()
        await self._state.run(also)


def _v1(http: httpx.AsyncClient, influxql: InfluxQL, database: str) -> _Write:
    """`/write` of InfluxDB 1.x; a database that is not there is made."""
    where = {"db": database, "precision": "ms"}

    async def write(lines: bytes) -> None:
        answer = await ask(http, "POST", "/write", params=where, content=lines, accept=(404,))
        if answer.status_code == 404:
            await influxql.create()
            await ask(http, "POST", "/write", params=where, content=lines)

    return write


@asynccontextmanager
async def _v2(config: Config, token: str | None) -> AsyncIterator[_Write]:
    """`/api/v2/write` through influxdb-client, which blocks and so gets a thread."""
    # Here, because it takes half a second which nobody else should pay.
    from influxdb_client.client.influxdb_client import InfluxDBClient
    from influxdb_client.client.write_api import SYNCHRONOUS
    from influxdb_client.domain.write_precision import WritePrecision
    from influxdb_client.rest import ApiException
    from urllib3.exceptions import HTTPError

    with (
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="cloud-influx") as thread,
        InfluxDBClient(
            config.url.rstrip("/"), token or "", org=config.org, timeout=int(config.timeout_s * 1e3)
        ) as client,
        client.write_api(SYNCHRONOUS) as api,
    ):

        def send(lines: bytes) -> None:
            try:
                api.write(config.bucket, config.org, lines, WritePrecision.MS)
            except ApiException as error:
                words = " ".join(str(error.message or error.reason).split())
                text = f"{config.url} says {error.status}: {words}"
                refused = error.status in (400, 413, 422)
                raise (Rejected if refused else Unavailable)(text) from error
            except HTTPError as error:
                raise Unavailable(f"{config.url} cannot be reached: {error}") from error

        async def write(lines: bytes) -> None:
            await asyncio.get_running_loop().run_in_executor(thread, send, lines)

        yield write
