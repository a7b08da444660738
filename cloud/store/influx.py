"""InfluxDB 1.x (`api = "v1"`), 2.x and 3.x (`api = "v2"`), and VictoriaMetrics, which takes both
and is read with `dialect = "metricsql"`.

A write has been answered before anything is acknowledged.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, Self

import httpx
from pydantic import Field, field_validator, model_validator
from sqlalchemy import Connection

from cloud.errors import Unavailable
from cloud.http import Credentials, Secret, Url, client, origin, put, reason
from cloud.state import State
from cloud.store import (
    Also,
    Bucket,
    Counted,
    Points,
    Query,
    Rollup,
    Row,
    Server,
    Store,
    StoreConfig,
    influx2,
    influx3,
    marks,
    refusal,
)
from cloud.store.influx2 import bucket_name
from cloud.store.influxql import OWN, InfluxQL
from cloud.store.lineprotocol import encode
from cloud.store.metricsql import MetricsQL
from cloud.store.names import UNSEEN, is_readable, shown
from cloud.store.refusal import Refused, TooLate
from cloud.store.rollup_influx import Retirement, Rollups, server_days
from cloud.tls import Files
from wire.mqtt.address import is_loopback
from wire.reading import columns

_NAME: Final = re.compile(r"[^/\"'\\]+")
"""A slash parts database and retention policy where InfluxQL is asked for a bucket of 2.x."""

_CONNECTIONS: Final = httpx.Limits(max_connections=4)
MOST_BYTES: Final = 8_000_000
"""In one body. A line is far shorter."""

_ANY_REFUSAL: Final = range(400, 600)
_NOT_FOUND: Final = 404


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
    ca_file: Annotated[str, Field(min_length=1)] | None = None
    cert_file: Annotated[str, Field(min_length=1)] | None = None
    key_file: Annotated[str, Field(min_length=1)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 20

    @model_validator(mode="after")
    def _names_its_place(self) -> Self:
        if self.api == "v1" and self.database is None:
            raise ValueError('api = "v1" needs a database')
        if self.api == "v2" and self.bucket is None:
            raise ValueError('api = "v2" needs a bucket')
        return self

    @field_validator("org", "username")
    @classmethod
    def _can_be_read(cls, name: str | None) -> str | None:
        if name and not is_readable(name):
            raise ValueError(f"{shown(name)} {UNSEEN}")
        return name

    @model_validator(mode="after")
    def _has_both_of_a_pair(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is the key of a cert_file, and there is none")
        return self

    def tls(self, folder: Path) -> Files:
        """The files by which we speak TLS; none over plain HTTP."""
        if not self._is_encrypted:
            return Files()
        names = (self.ca_file, self.cert_file, self.key_file)
        return Files(*(None if name is None else folder / name for name in names))

    def file_faults(self, folder: Path) -> list[tuple[str, str]]:
        return [*self.tls(folder).faults()]

    def doubts(self) -> list[str]:
        if self._is_encrypted:
            return []
        found = [
            f"{key} is not used: url does not begin with https://"
            for key in ("ca_file", "cert_file")
            if getattr(self, key) is not None
        ]
        url = httpx.URL(self.url)
        has_secret = self.token_file or self.password_file or url.password
        if has_secret and not is_loopback(url.host):
            found.append(
                f"the password or token goes to {origin(url)} in plain text: let the server speak "
                "https, or reach it through a VPN"
            )
        return found

    @property
    def _is_encrypted(self) -> bool:
        return httpx.URL(self.url).scheme == "https"

    @field_validator("bucket", "database")
    @classmethod
    def _can_be_addressed(cls, name: str | None) -> str | None:
        has_fault = name is not None and (not _NAME.fullmatch(name) or not is_readable(name))
        if name is not None and (has_fault or name.startswith("_")):
            raise ValueError(
                f"{name!r} cannot be asked for by InfluxQL, or is the server's own: a name has no "
                "slash, quote, backslash or control character and does not begin with _"
            )
        return name


_Send = Callable[[bytes, Bucket | None], Awaitable[None]]
"""Lines, and the rollups that they go to; None for readings. Raises Refused, Unavailable."""


class _Server(Protocol):
    """What the two dialects have in common."""

    async def check(self) -> None: ...
    async def identify(self) -> Server: ...
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
    token = Secret(folder, config.token_file)
    password = Secret(folder, config.password_file)
    username = config.username if config.api == "v1" else None
    is_known = token.value is not None or username is not None  # else the URL may name somebody
    async with client(
        config.timeout_s,
        base_url=config.url,
        auth=Credentials(token, username, password) if is_known else None,
        limits=_CONNECTIONS,
        tls=config.tls(folder) if httpx.URL(config.url).scheme == "https" else None,
    ) as http:
        influxql = InfluxQL(http, config.database or config.bucket or "", config.api, config.days)
        metricsql = MetricsQL(http, config.database if config.api == "v1" else None, config.days)
        server: _Server = influxql if config.dialect == "influxql" else metricsql
        retirement = Retirement(state, config.retention, server.counts)
        write = _Writer(
            _v1(http, server, config.database or "")
            if config.api == "v1"
            else _v2(http, config.bucket or "", config.org)
        )
        kept = None
        if server is influxql:
            prepare = influxql.policies if config.api == "v1" else None
            kept = Rollups(state, influxql, write, config, prepare)
        init = _Making(http, config, influxql, retirement, (password, token), config.tls(folder))
        yield _Influx(write, server, kept, init, state, retirement)


class _Writer:
    """Writes lines, and says whose fault it is where they are not taken: see `refusal`."""

    def __init__(self, send: _Send) -> None:
        self._send = send

    async def __call__(self, lines: bytes, bucket: Bucket | None = None) -> None:
        """Raises Unavailable, Rejected where the lines are to blame, and TooLate for readings that
        are older than what the server keeps; a rollup that is so old is not wanted."""
        try:
            await self._send(lines, bucket)
        except Refused as error:
            row = refusal.judged(error.status, error.answer, error.lines)
            if row is None:
                row = refusal.BY_OWN_LINE[await self._takes_ours(bucket)]
            if row.fault is refusal.Fault.LATE and bucket is not None:
                return
            raise error.as_judged(row, time.time()) from error

    async def _takes_ours(self, bucket: Bucket | None) -> bool:
        try:
            await self.own(bucket, time.time_ns() // 1_000_000)
        except Unavailable:
            return False
        return True

    async def own(self, bucket: Bucket | None, at_ms: int) -> None:
        """Write a point of our own series. Raises Unavailable."""
        await self._send(f"{OWN},of=store value=1i {at_ms}".encode(), bucket)


class _Making:
    """`shuichi cloud init`."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        config: Config,
        influxql: InfluxQL,
        retirement: Retirement,
        secrets: tuple[Secret, Secret],
        tls: Files,
    ) -> None:
        self._http = http
        self._config = config
        self._influxql = influxql
        self._retirement = retirement
        self._password, self._token = secrets
        self._tls = tls

    async def __call__(self) -> list[str]:
        config = self._config
        if config.dialect == "metricsql":
            return [_victoria_says(config)]
        server = await self._influxql.server()
        now_ms = time.time_ns() // 1_000_000
        if config.api == "v1":
            # Before the server drops what is not counted off.
            await self._retirement.expire(now_ms)
            return await self._influxql.policies(server_days(config))
        if server.major == 3:
            await self._retirement.expire(now_ms)
            return await influx3.make(self._http, config.bucket or "", config)
        return await self._of_2(now_ms)

    async def _of_2(self, now_ms: int) -> list[str]:
        config = self._config
        administered = influx2.administered(
            config.url, self._token.value, config.org, config.timeout_s, self._tls
        )
        with administered as client:
            place = origin(self._http.base_url)
            setup = influx2.Setup(client, place, config.bucket or "", config.org, self._tls)
            user = influx2.First(config.username, self._password.value)
            first = await asyncio.to_thread(setup.first, user)
            await self._retirement.expire(now_ms)
            return [first, *await asyncio.to_thread(setup.rest, config)]


def _victoria_says(config: Config) -> str:
    """What `init` leaves to whoever starts the server."""
    days = server_days(config)["raw"]
    kept = "as long as you like" if days is None else f"at least {days}d"
    return f"VictoriaMetrics makes nothing ahead; start it with -retentionPeriod, {kept}"


class _Influx:
    def __init__(
        self,
        write: _Writer,
        server: _Server,
        kept: Rollups | None,
        init: _Making,
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
        self.server = server.identify
        self.read = server.read
        self.counted = server.counted
        self.retired = retirement.retired
        self._settle = server.settle

    async def faults(self) -> list[str]:
        found = await self._server.faults()
        if found or self._kept is None:
            return found
        missing = [
            fault
            for bucket in (None, *self._kept.buckets)
            if (fault := await self._kept.right_missing(self._write.own, bucket))
        ]
        return missing + await self._kept.put_off()

    async def write(self, points: Sequence[Points], also: Also) -> None:
        await self.send(points)
        await self.commit(points, also)

    async def send(self, points: Sequence[Points]) -> None:
        if lines := encode(points):
            try:
                await self._write_all(lines)
            except TooLate as error:
                await self._send_younger(points, error)
            else:
                self._retirement.taken(points)
            await self._settle()

    async def _write_all(self, lines: bytes) -> None:
        for body in _bodies(lines):
            await self._write(body)

    async def _send_younger(self, points: Sequence[Points], error: TooLate) -> None:
        """Write what is not older than what the server keeps: from which time on, is found by
        halves, where the number of those that it has dropped does not lead there at once. Raises
        Unavailable where it drops what it is to keep."""
        every = sorted(at_ms for _, some in points for at_ms in columns(some).at_ms)
        if error.dropped == len(every):
            self._retirement.dropped(every[-1], error)
            return
        times = sorted(set(every))
        refused, taken = 0, len(times)  # from the first on they are refused, from the second taken
        middle = times.index(every[error.dropped]) if error.dropped else 0
        while taken - refused > 1:
            middle = middle or (refused + taken) // 2
            try:
                await self._write_all(encode(_since(points, times[middle])))
            except TooLate:
                refused = middle
            else:
                taken = middle
                if error.dropped and times[taken] == every[error.dropped]:
                    break  # all others are stored, so these are those that were dropped
            middle = 0
        self._retirement.dropped(times[taken - 1], error)

    async def commit(self, points: Sequence[Points], also: Also) -> None:
        def work(connection: Connection) -> marks.Touched | None:
            touched = None if self._kept is None else marks.mark(connection, points)
            self._retirement.written(connection, points)
            also(connection)
            return touched

        touched = await self._state.run(work)
        if self._kept is not None and touched is not None:
            self._kept.live.add(points, touched, time.time_ns() // 1_000_000)

    async def rollups(self, query: Query, bucket: Bucket) -> list[Rollup]:
        ask = self._server.aggregated if self._kept is None else self._kept.read
        return await ask(query, bucket)

    async def count(self, query: Query) -> int:
        return sum((await self._server.counts(query)).values())

    async def upkeep(self, now_ms: int, earliest_ms: int | None = None) -> None:
        by_ms = now_ms if earliest_ms is None else earliest_ms
        await self._retirement.expire(by_ms)
        if self._kept is not None:
            await self._kept.settle(now_ms, by_ms)


def _since(points: Sequence[Points], since_ms: int) -> list[Points]:
    """Those of that time and later."""
    return [
        Points(gateway, tuple(one for one in some if one.at_ms >= since_ms))
        for gateway, some in points
    ]


def _bodies(lines: bytes) -> Iterator[bytes]:
    """Servers refuse what is too large (InfluxDB over 25 MB), however they say so."""
    begin = 0
    while len(lines) - begin > MOST_BYTES:
        end = lines.rindex(b"\n", begin, begin + MOST_BYTES)
        yield lines[begin:end]
        begin = end + 1
    yield lines[begin:]


def _v1(http: httpx.AsyncClient, server: _Server, database: str) -> _Send:
    """`/write` of InfluxDB 1.x; a database that is not there is made first. Asked to write to none,
    the server answers before it has read a large body and hangs up: its answer may be lost."""
    is_there = False

    async def send(lines: bytes, bucket: Bucket | None) -> None:
        nonlocal is_there
        if not is_there:
            await server.check()
            is_there = True
        where = {"db": database, "precision": "ms"}
        if bucket is not None:
            where["rp"] = bucket.level
        try:
            _taken(http, await put(http, "/write", where, lines, _ANY_REFUSAL), lines)
        except Unavailable as error:
            if not isinstance(error, Refused) or error.status == _NOT_FOUND:
                is_there = False  # perhaps: somebody may have dropped it
            raise

    return send


def _v2(http: httpx.AsyncClient, bucket: str, org: str) -> _Send:
    """`/api/v2/write` of InfluxDB 2.x and 3.x."""

    async def send(lines: bytes, of: Bucket | None) -> None:
        name = bucket if of is None else bucket_name(bucket, of)
        where = {"bucket": name, "org": org, "precision": "ms"}
        _taken(http, await put(http, "/api/v2/write", where, lines, _ANY_REFUSAL), lines)

    return send


def _taken(http: httpx.AsyncClient, answer: httpx.Response, lines: bytes) -> None:
    """Raise Refused unless what was written was taken."""
    if not answer.is_success:
        many = lines.count(b"\n") + 1
        raise Refused(
            *(origin(http.base_url), answer.status_code, reason(answer)),
            refusal.heard(answer.content, many),
            many,
            answer.headers,
        )
