"""Reading from InfluxDB by InfluxQL, over `/query` (1.x, 2.x with a mapped bucket, 3.x).

Rollups lie beside the readings, in measurements of the same names: in 1.x in the retention policies
`minute` and `hour`; in 2.x in the buckets `name/minute` and `name/hour`, which it takes for such
policies of the database `name`; in 3.x in databases of these names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import httpx
import msgspec

from cloud.errors import Rejected, Unavailable
from cloud.http import MOST_BYTES, ask, origin
from cloud.store import Bucket, Counted, Days, Grid, Query, Rollup, Row, Server, influxserver
from cloud.store.influxserver import NONSENSE
from wire.reading import Quality, Quantity

_NO_DATABASE: Final = "database not found"
_NO_POLICY: Final = "retention policy not found"

OWN: Final = "shuichi_check"
"""The measurement of the points that are written to see whether we may."""

MOST_ANSWER: Final = 1 << 29
"""Bytes of the rows of one query."""

_MOST_TIMES: Final = 200_000
"""Points of which the times are read to be summed: a second, and 10 MB."""

_MOST_NAMED: Final = 200
"""Gateways that one statement names; beyond them it asks of all."""

_FOREVER: Final = (0, 4_102_444_800_000)
"""To 2100: a range that a statement with buckets needs; it would else end at the server's now."""

_DAYS_AT_ONCE_MS: Final = 90 * 86_400_000
"""Of the kept hours: the server counts those of all sensors."""

_Cell = float | str | bool | None
"""What JSON has in a column. Numbers as floats, so that -0 keeps its sign; each is exact."""


class _Series(msgspec.Struct):
    name: str = ""
    tags: dict[str, str] = {}
    values: list[list[_Cell]] = []


class _Result(msgspec.Struct):
    series: list[_Series] = []
    error: str = ""


class _Policies(NamedTuple):
    """Rows of name, duration, duration of a shard group, replicas, whether it is the default."""

    rows: list[list[_Cell]]
    error: str


class _Answer(msgspec.Struct):
    results: list[_Result] = []
    error: str = ""


class NoJson(Unavailable):
    """An answer that is no JSON. InfluxDB 1.x gives an empty one where a mean is infinite."""


class Place(NamedTuple):
    """A database, and the retention policy in it; None where the server has none."""

    database: str
    policy: str | None

    def __str__(self) -> str:
        return repr(self.database if self.policy is None else f"{self.database}/{self.policy}")


class InfluxQL:
    """One database of a server, which is written to by `api`."""

    def __init__(self, http: httpx.AsyncClient, database: str, api: str, days: Days) -> None:
        self._http = http
        self._database = database
        self._api = api
        self._days = days
        self._creates = api == "v1"
        self._server: Server | None = None

    async def server(self) -> Server:
        """What the server says it is; it is asked once. Raises Unavailable, also where it is of
        another kind than the config says."""
        if self._server is None:
            self._server = await self._recognized()
        return self._server

    async def identify(self) -> Server:
        """What the server says it is, asked anew. One that has become another, as by an upgrade, is
        judged anew by whoever asks it next."""
        found = await influxserver.recognized(self._http)
        if found != self._server:
            self._server = None
        return found

    async def _recognized(self) -> Server:
        server = await influxserver.recognized(self._http)
        influxserver.demand(self._http, server, self._api)
        if server.major in (None, 1):
            await self._demand_influxql()
        return server

    async def check(self) -> None:
        """Raise Unavailable unless the database answers InfluxQL; make it first where we may."""
        self._server = await self._recognized()
        answer = await self._ask(f"SELECT quality FROM {name(Quantity.DEPTH)} LIMIT 1")
        if _NO_DATABASE not in _error(answer):
            return
        if not self._creates:
            raise Unavailable(f"{origin(self._http.base_url)} has no database {self._database!r}")
        await self.create()

    async def faults(self) -> list[str]:
        """What keeps the database from being used. Nothing is made."""
        self._server = await self._recognized()
        try:
            error = _error(await self._ask(f"SELECT quality FROM {name(Quantity.DEPTH)} LIMIT 1"))
        except (Unavailable, Rejected) as fault:  # who may not read it is not told if it is there
            return [f"{fault}; is database {self._database!r} spelt so?"]
        if _NO_DATABASE in error:
            words = (
                f"{origin(self._http.base_url)} has no database {self._database!r}; is it spelt so?"
            )
            may = " `shuichi cloud init` makes it, or else the first write"
            return [words + may * self._creates]
        if error:
            return [f"{origin(self._http.base_url)} says: {error}"]
        if not self._creates:
            return []
        try:  # nothing is in it: the server only looks whether we may
            await ask(self._http, "POST", "/write", params={"db": self._database})
        except (Unavailable, Rejected) as fault:
            return [f"{fault}: [store] username needs WRITE on {self._database!r}"]
        return []

    async def _demand_influxql(self) -> None:
        """Who takes nonsense for a statement answers real ones with made-up results."""
        try:
            refused = _error(await self._ask(NONSENSE))
        except Rejected:
            return
        if not refused:
            raise Unavailable(
                f"{origin(self._http.base_url)} does not speak InfluxQL: a VictoriaMetrics needs"
                ' dialect = "metricsql"'
            )

    async def create(self) -> None:
        """Make the database; nothing happens if it is there."""
        await self._do(f"CREATE DATABASE {name(self._database)}")

    async def policies(self, days: Mapping[str, int | None]) -> list[str]:
        """Make the database and its retention policies: one for each level of `days`, the raw one
        by the name that the database gave its default. One line each."""
        if _NO_DATABASE in (await self._retention()).error:
            await self.create()
            lines = [f"database {self._database}: made"]
        else:
            lines = [f"database {self._database}: is there"]
        has = {str(row[0]): row for row in (await self._retention()).rows}
        raw = next((str(row[0]) for row in has.values() if row[4]), "autogen")
        for level, number in days.items():
            policy = raw if level == "raw" else level
            kept = "for ever" if number is None else f"{number} days"
            if policy in has and _hours(str(has[policy][1])) == (number or 0) * 24:
                lines.append(f"retention policy {policy}: is there, keeps {kept}")
                continue
            verb, done = ("ALTER", "altered") if policy in has else ("CREATE", "created")
            ends = "INF" if number is None else f"{number}d"
            # A group of shards goes as a whole: it must be short beside what is kept.
            shard = "7d" if number is None or number > 180 else "1d"
            await self._do(
                f"{verb} RETENTION POLICY {name(policy)} ON {name(self._database)}"
                f" DURATION {ends} REPLICATION 1 SHARD DURATION {shard}"
            )
            lines.append(f"retention policy {policy}: {done}, keeps {kept}")
        return lines

    async def _retention(self) -> _Policies:
        answer = await self._ask(f"SHOW RETENTION POLICIES ON {name(self._database)}")
        series = [one for result in answer.results for one in result.series]
        return _Policies(series[0].values if series else [], _error(answer))

    async def _do(self, statement: str) -> None:
        if error := _error(await self._ask(statement, method="POST")):
            raise Unavailable(f"{origin(self._http.base_url)} says: {error}")

    async def settle(self) -> None:
        """Nothing to do: InfluxDB has a write in its log on disk before it answers."""

    async def read(self, query: Query, gateways: Sequence[str] = ()) -> list[Row]:
        fields = "value, quality, gateway, site, sensor"
        series = await self._select(
            f"SELECT {fields} FROM {_from(query)}{_where(query, _any_of(gateways))}{_cut(query)}"
        )
        return query.cut([row for one in series for row in _rows(one)])

    async def counts(self, query: Query) -> dict[str, int]:
        """How many points of each gateway; the limit does not count."""
        series = await self._select(
            f"SELECT COUNT(quality) FROM {_from(query)}{_where(query)} GROUP BY gateway"
        )
        found: dict[str, int] = {}
        for one in series:
            for _, number in one.values:
                gateway = one.tags["gateway"]
                found[gateway] = found.get(gateway, 0) + _int(number)
        return found

    async def counted(self, query: Query) -> dict[str, Counted]:
        """The same, with the sum of their times where they are not very many: InfluxQL has none, so
        all times are read."""
        counts = await self.counts(query)
        begin = query.since_ms
        if begin is None or sum(counts.values()) > _MOST_TIMES:
            return {gateway: Counted(many, None) for gateway, many in counts.items()}
        found: dict[str, Counted] = {}
        for one in await self._select(
            f"SELECT quality FROM {_from(query)}{_where(query)} GROUP BY gateway"
        ):
            before = found.get(one.tags["gateway"], Counted(0, 0))
            offsets = sum(_int(at_ms) - begin for at_ms, _ in one.values)
            found[one.tags["gateway"]] = Counted(
                before.readings + len(one.values), (before.offsets_ms or 0) + offsets
            )
        return found

    async def aggregated(
        self, query: Query, bucket: Bucket, gateways: Sequence[str] = ()
    ) -> list[Rollup]:
        """Rollups worked out by the server from the readings as they are now; of these gateways,
        if any are named."""
        since_ms = _FOREVER[0] if query.since_ms is None else query.since_ms
        until_ms = _FOREVER[1] if query.until_ms is None else query.until_ms
        grid = Grid(bucket.width_ms, 0)
        range_ = replace(query, since_ms=since_ms, until_ms=until_ms, limit=None).whole(grid)
        by = f"GROUP BY time({grid.width_ms}ms), gateway, site, sensor fill(none)"

        async def made(fields: str, of: str, whose: Sequence[str]) -> _Buckets:
            where = _where(range_, of, _any_of(whose))
            return _buckets(await self._select(f"SELECT {fields} FROM {_from(query)}{where} {by}"))

        # Most buckets have neither a bad nor a missing reading: one question tells all of them.
        fields = "MIN(value), MEAN(value), MAX(value), COUNT(value), COUNT(quality), MAX(quality)"
        found = {}
        others = set()
        for where, (low, mean, high, counted, all_of_it, worst) in (
            await made(fields, "", gateways)
        ).items():
            if counted == all_of_it and _int(worst) < Quality.BAD:
                number = _int(counted)
                found[where] = Rollup(*where, low, mean, high, number, 0, 0, _int(worst))
            else:
                others.add(where)
        if others:
            whose = sorted({where[1] for where in others})
            some = whose if len(whose) <= _MOST_NAMED else gateways
            good_fields = "MIN(value), MEAN(value), MAX(value), COUNT(value)"
            good = await made(good_fields, f"quality < {Quality.BAD:d}", some)
            present_fields = "COUNT(quality), MAX(quality)"
            present = await made(present_fields, f"quality < {Quality.MISSING:d}", some)
            missing = await made("COUNT(quality)", f"quality = {Quality.MISSING:d}", some)
            for where in others:
                low, mean, high, counted = good.get(where, (None, None, None, 0.0))
                all_present, worst = present.get(where, (0.0, None))
                (absent,) = missing.get(where, (0.0,))
                found[where] = Rollup(
                    *where,
                    low,
                    mean,
                    high,
                    counted=_int(counted),
                    bad=_int(all_present) - _int(counted),
                    missing=_int(absent),
                    worst=None if worst is None else int(worst),
                )
        return query.cut(list(found.values()))

    async def kept(
        self, query: Query, bucket: Bucket, gateways: Sequence[str] = ()
    ) -> list[Rollup]:
        """Rollups as they are kept; of these gateways, if any are named."""
        has_rain = bucket.finer is not None
        fields = '"min", "mean", "max", "count", bad, missing, worst, gateway, site, sensor'
        fields += ", rain" * has_rain
        place = await self.place(bucket)
        grid = self._days.grid(bucket)
        where = _where(query.whole(grid), _any_of(gateways))
        # A config may have moved the days: those that begin at other times are passed over.
        is_day = bucket.finer is Bucket.HOUR
        cut = _cut(replace(query, limit=None) if is_day else query)
        statement = f"SELECT {fields} FROM {_from(query, place.policy)}{where}{cut}"
        series = await self._select(statement, place.database)
        found = [rollup for one in series for rollup in _rollups(one)]
        if is_day:
            found = [one for one in found if grid.begin(one.at_ms) == one.at_ms]
        return query.cut(found)

    async def days(self, grid: Grid, since_ms: int, until_ms: int) -> set[tuple[str, int]]:
        """The gateways and days of `grid` that have kept hours in a range."""
        place = await self.place(Bucket.HOUR)
        names = _from(Query(), place.policy)
        first = await self._select(f'SELECT FIRST("count") FROM {names}', place.database)
        oldest_ms = min((_int(one.values[0][0]) for one in first), default=until_ms)
        found = set()
        for begin_ms in range(grid.begin(max(oldest_ms, since_ms)), until_ms, _DAYS_AT_ONCE_MS):
            end_ms = min(begin_ms + _DAYS_AT_ONCE_MS, until_ms)
            series = await self._select(
                f'SELECT COUNT("count") FROM {names}'
                f"{_where(Query(since_ms=begin_ms, until_ms=end_ms))}"
                f" GROUP BY time({grid.width_ms}ms, {grid.offset_ms}ms), gateway fill(none)",
                place.database,
            )
            for one in series:
                found |= {(one.tags["gateway"], _int(at_ms)) for at_ms, _ in one.values}
        return found

    async def has_own(self, at_ms: int, bucket: Bucket | None) -> bool:
        """Whether a point of our own series is found there."""
        place = await self.place(bucket)
        head = "" if place.policy is None else f"{name(place.policy)}."
        statement = f"SELECT value FROM {head}{name(OWN)} WHERE time = {at_ms}ms"
        return bool(await self._select(statement, place.database))

    async def place(self, bucket: Bucket | None) -> Place:
        """Where readings (None) or the rollups of a bucket lie."""
        if bucket is None:
            return Place(self._database, None)
        if (await self.server()).major == 3:
            return Place(f"{self._database}/{bucket.level}", None)
        return Place(self._database, bucket.level)

    async def _select(self, statement: str, database: str | None = None) -> list[_Series]:
        answer = await self._ask(statement, database=database, most=MOST_ANSWER)
        error = _error(answer)
        if _NO_DATABASE in error or _NO_POLICY in error:
            return []  # nothing has been written yet
        if error:
            raise Unavailable(f"{origin(self._http.base_url)} says: {error}")
        return [one for result in answer.results for one in result.series]

    async def _ask(
        self,
        statement: str,
        method: str = "GET",
        database: str | None = None,
        most: int = MOST_BYTES,
    ) -> _Answer:
        asked = {"db": database or self._database, "epoch": "ms", "q": statement}
        response = await ask(self._http, method, "/query", params=asked, accept=(404,), most=most)
        try:
            return msgspec.json.decode(response.content, type=_Answer)
        except msgspec.MsgspecError as error:
            raise NoJson(
                f"{origin(self._http.base_url)} does not speak InfluxQL: {error}"
            ) from error


def _error(answer: _Answer) -> str:
    return answer.error or next((one.error for one in answer.results if one.error), "")


_Name = tuple[int, str, str, str, Quantity]
"""A bucket of one sensor: what a Rollup begins with."""

_Buckets = dict[_Name, Sequence[float | None]]


def _buckets(series: list[_Series]) -> _Buckets:
    found: _Buckets = {}
    for one in series:
        tags = one.tags
        sensor = (tags["gateway"], tags["site"], tags["sensor"], Quantity(one.name))
        for at_ms, *fields in one.values:
            found[(_int(at_ms), *sensor)] = [_float(field) for field in fields]
    return found


def _rows(series: _Series) -> Iterator[Row]:
    quantity = Quantity(series.name)
    for at_ms, value, quality, gateway, site, sensor in series.values:
        yield Row(
            _int(at_ms),
            str(gateway),
            str(site),
            str(sensor),
            quantity,
            _float(value),
            _int(quality),
        )


def _rollups(series: _Series) -> Iterator[Rollup]:
    quantity = Quantity(series.name)
    for at_ms, low, mean, high, count, bad, missing, worst, *names in series.values:
        gateway, site, sensor = names[:3]
        # A bucket whose last good reading was replaced by a bad one still has the old values: a
        # field that is written once cannot be taken out again.
        some = _int(count) > 0
        present = some or _int(bad) > 0
        yield Rollup(
            _int(at_ms),
            str(gateway),
            str(site),
            str(sensor),
            quantity,
            *((_float(low), _float(mean), _float(high)) if some else (None, None, None)),
            counted=_int(count),
            bad=_int(bad),
            missing=_int(missing),
            worst=_int(worst) if present else None,
            rain=_float(names[3]) if some and len(names) > 3 else None,
        )


def _hours(duration: str) -> int:
    """Of a duration as the server writes it, "768h0m0s"; 0 for one without an end."""
    return int(duration.partition("h")[0]) if "h" in duration else 0


def _float(cell: _Cell) -> float | None:
    return None if cell is None else float(cell)


def _int(cell: _Cell) -> int:
    return int(cell or 0)


def _from(query: Query, policy: str | None = None) -> str:
    head = "" if policy is None else f"{name(policy)}."
    return ", ".join(f"{head}{name(quantity)}" for quantity in query.quantities)


def _cut(query: Query) -> str:
    order = "DESC" if query.newest_first else "ASC"
    return f" ORDER BY time {order}" + ("" if query.limit is None else f" LIMIT {query.limit}")


def _any_of(gateways: Sequence[str]) -> str:
    return " OR ".join(f"gateway = {_text(one)}" for one in gateways)


def _where(query: Query, *also: str) -> str:
    terms = [f"{name(tag)} = {_text(value)}" for tag, value in query.tags.items()]
    terms += [f"({term})" for term in also if term]
    if query.since_ms is not None:
        terms.append(f"time >= {query.since_ms}ms")
    if query.until_ms is not None:
        terms.append(f"time < {query.until_ms}ms")
    return f" WHERE {' AND '.join(terms)}" if terms else ""


def name(word: str) -> str:
    """An identifier, quoted."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'"
