"""What the cloud keeps for an InfluxDB: its rollups, and the account of what retention takes. Tasks
and continuous queries of the server look at the present alone, see docs/decisions.

A minute that comes in order is worked out while it is stored (`live`); any other the server works
out from its readings, once it is over and for what was touched only. An hour is worked out while
its minutes are made (`live_hours`), any other from the minutes that are kept, and days from hours.
Where they lie: see `influxql`; their fields are min, mean, max, count, bad, missing, worst, and
rain.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import Connection

from cloud.errors import Rejected, Unavailable
from cloud.state import State
from cloud.store import (
    DAY_MS,
    HOUR_MS,
    Bucket,
    Points,
    Query,
    Retention,
    Retired,
    Rollup,
    StoreConfig,
    combine,
    marks,
    rain,
    refusal,
)
from cloud.store.influxql import InfluxQL, NoJson
from cloud.store.lineprotocol import can_be_written, series_key
from cloud.store.live import Live
from cloud.store.live_hours import LiveHours
from cloud.store.marks import Mark
from wire.reading import columns

log: Final = logging.getLogger("shuichi.store")

_GATEWAYS_AT_ONCE: Final = 50
_AT_ONCE: Final = {Bucket.MINUTE: 60, Bucket.HOUR: 1, Bucket.DAY: 10, Bucket.HYDRO_DAY: 10}
"""Minutes (hours, days) of gateways in one question, beyond one for each gateway: for a minute the
server reads all of its readings, and answers with a row for each sensor; for an hour it answers
with 60, for a day with 24."""

_LINES_AT_ONCE: Final = 20_000

SLACK_DAYS: Final = 2
"""Readings stay on the server for so long after the cloud has counted them off."""

_NO_PLACE: Final = "not found"
"""What 1.x, 2.x and 3.x say of a retention policy, bucket or database that is not there."""

_SHORTEST_MS: Final = HOUR_MS
"""Of retention that InfluxDB knows."""

SET_ASIDE_MS: Final = 3_600_000
"""A rollup that the server refuses is tried again so much later."""

Write = Callable[[bytes, Bucket | None], Awaitable[None]]
"""Write lines to the readings (None) or the rollups of a bucket. Raises Unavailable, Rejected."""


class _Part(NamedTuple):
    """Marks of one level that are settled together: of these gateways, from `since_ms` on."""

    gateways: tuple[str, ...]
    since_ms: int
    until_ms: int
    marks: list[Mark]


class Rollups:
    """Makes due rollups anew. One that the server refuses is set aside, and holds no other."""

    def __init__(
        self,
        state: State,
        influxql: InfluxQL,
        write: Write,
        config: StoreConfig,
        prepare: Callable[[Mapping[str, int | None]], Awaitable[object]] | None,
    ) -> None:
        self._state = state
        self._influxql = influxql
        self._write = write
        self._retention = config.retention
        self._config = config
        self._days = config.days
        self._reader = combine.Reader(state, influxql.kept, config.days)
        self._prepare = prepare
        self.live = Live()
        self._live_hours = LiveHours()
        self._refused: list[tuple[Mark, str]] = []
        self._cutoffs: dict[str, int] = {}  # of the retention, at this turn

    @property
    def buckets(self) -> list[Bucket]:
        """The widths that are kept."""
        return self._days.buckets

    async def read(self, query: Query, bucket: Bucket) -> list[Rollup]:
        """As `Store.rollups`."""
        return await self._reader.ask(query, bucket, self._retention.cutoffs(_now_ms()))

    async def right_missing(
        self, write_own: Callable[[Bucket | None, int], Awaitable[None]], bucket: Bucket | None
    ) -> str:
        """Write a point of our own series where readings (None) or rollups lie, and read it back.
        Returns what keeps it from there, "" for nothing."""
        at_ms = _now_ms()
        place = await self._influxql.place(bucket)
        try:
            await write_own(bucket, at_ms)
        except Unavailable as error:
            if bucket is not None and _NO_PLACE in str(error):
                if self._prepare is not None:
                    return ""  # they are made with the first rollup
                return f"{error}: `shuichi cloud init` makes {place}"
            return f"{error}: [store] needs the right to write to {place}"
        try:
            if not await self._influxql.has_own(at_ms, bucket):
                return f"what is written to {place} cannot be read: [store] needs that right too"
        except (Unavailable, Rejected) as error:
            return f"{error}: [store] needs the right to read {place}"
        return ""

    async def settle(self, now_ms: int, earliest_ms: int | None = None) -> None:
        """Bring the rollups whose time is over up to what was written before the call. What the
        retention has taken is judged by `earliest_ms`; None for `now_ms`."""
        by_ms = now_ms if earliest_ms is None else earliest_ms
        self._cutoffs = self._retention.cutoffs(by_ms)
        try:
            for bucket in self._days.buckets:
                await self._move(bucket, now_ms)
            for bucket in self._days.buckets:
                look = partial(marks.due, bucket=bucket, now_ms=now_ms)
                waiting = await self._state.run(look)
                if waiting and self._prepare is not None:
                    await self._prepare(server_days(self._config))
                    self._prepare = None
                if bucket in (Bucket.MINUTE, Bucket.HOUR):
                    waiting = await self._settle_live(waiting, bucket)
                for part in _parts(waiting, bucket):
                    await self._settle(part, bucket, now_ms)
        finally:
            self._tell()

    async def _move(self, bucket: Bucket, now_ms: int) -> None:
        """Where days begin at another time than before, or were not kept, all are due."""
        moved = partial(marks.moved, bucket=bucket, days=self._days)
        if bucket.finer is not Bucket.HOUR or not await self._state.run(moved):
            return
        since_ms = self._cutoffs.get(bucket.level, 0)
        places = await self._influxql.days(self._days.grid(bucket), since_ms, now_ms)
        await self._state.run(
            partial(marks.settle_grid, bucket=bucket, days=self._days, places=sorted(places))
        )

    async def _settle_live(self, waiting: Sequence[Mark], bucket: Bucket) -> list[Mark]:
        """Keep the rollups that were worked out here already. Returns the marks of the others."""
        take = self.live.take if bucket is Bucket.MINUTE else self._live_hours.take
        others, ready, made = list[Mark](), list[Mark](), list[Rollup]()
        for one in waiting:
            some = take(one.gateway, one.at_ms, one.times)
            if some is None:
                others.append(one)
                continue
            ready.append(one)
            made += some
            if len(made) >= _LINES_AT_ONCE:
                others += await self._keep_live(ready, made, bucket)
                ready, made = [], []
        return others + await self._keep_live(ready, made, bucket)

    async def _keep_live(self, ready: list[Mark], made: list[Rollup], bucket: Bucket) -> list[Mark]:
        """Returns those that are to be asked for: all, where the server refuses some of them."""
        if not ready:
            return []
        try:
            if bucket is Bucket.HOUR:
                made = await rain.asked(self._influxql.kept, made)
            await self._keep(made, bucket)
        except (Rejected, NoJson):
            return ready
        await self._settled(ready, bucket, made)
        return []

    async def _settle(self, part: _Part, bucket: Bucket, now_ms: int) -> None:
        try:
            made = await self._made(part, bucket)
            await self._keep(made, bucket)
        except (Rejected, NoJson) as error:
            if len(part.marks) == 1:
                if isinstance(error, NoJson):  # not even readings come from there
                    raise
                await self._set_aside(part.marks[0], str(error), now_ms)
                return
            for one in part.marks:  # one of them is to blame, the others are not
                alone = _Part((one.gateway,), one.at_ms, one.at_ms + bucket.width_ms, [one])
                await self._settle(alone, bucket, now_ms)
            return
        await self._settled(part.marks, bucket, made)

    async def _made(self, part: _Part, bucket: Bucket) -> list[Rollup]:
        """The rollups of marks; with hours also those beside them whose rain is another now."""
        query = Query(since_ms=part.since_ms, until_ms=part.until_ms)
        if bucket.finer is None:
            return await self._minutes(query, part)
        if part.since_ms < self._cutoffs.get(bucket.finer.level, 0):
            return []  # what is finer has gone in part: it stays as it was made of all
        kept = partial(self._influxql.kept, gateways=part.gateways)
        finer = await kept(query, bucket.finer)
        made = combine.from_finer(finer, self._days.grid(bucket))
        return await rain.asked(kept, made) if bucket is Bucket.HOUR else made

    async def _keep(self, made: Sequence[Rollup], bucket: Bucket) -> None:
        # What the server would let go at once it need not be asked to keep.
        since_ms = self._cutoffs.get(bucket.level, 0)
        lines = [_line(one) for one in made if one.at_ms >= since_ms and _is_ours(one)]
        for begin in range(0, len(lines), _LINES_AT_ONCE):
            body = "\n".join(lines[begin : begin + _LINES_AT_ONCE]).encode()
            await self._write(body, bucket)

    async def _settled(self, some: Sequence[Mark], bucket: Bucket, made: Sequence[Rollup]) -> None:
        """`made` are kept: `some` is settled, and what is made of them is due."""
        own = {(one.gateway, one.at_ms) for one in some}
        also = {(one.gateway, one.at_ms) for one in made} - own
        work = partial(marks.settled, bucket=bucket, some=some, days=self._days, also=also)
        for touched in await self._state.run(work):
            if bucket is Bucket.MINUTE:
                self._live_hours.add(own, made, touched, _now_ms())

    async def _minutes(self, query: Query, part: _Part) -> list[Rollup]:
        try:
            return await self._influxql.aggregated(query, Bucket.MINUTE, part.gateways)
        except NoJson:
            if len(part.marks) > 1:
                raise
            return combine.from_readings(await self._influxql.read(query, part.gateways))

    async def _set_aside(self, one: Mark, fault: str, now_ms: int) -> None:
        self._refused.append((one, fault))
        await self._state.run(
            partial(marks.set_aside, marks=[one], fault=fault, until_ms=now_ms + SET_ASIDE_MS)
        )

    def _tell(self) -> None:
        """One line, however many were refused."""
        if self._refused:
            (one, fault), many = self._refused[0], len(self._refused)
            log.error(
                "rollups refused, and tried again in an hour: %d; the %s of %s at %s: %s",
                *(many, one.level, one.gateway, datetime.fromtimestamp(one.at_ms / 1000, UTC)),
                fault,
            )
            self._refused.clear()

    async def put_off(self) -> list[str]:
        """That rollups were refused and wait to be tried again."""
        many, fault = await self._state.run(marks.aside)
        if not many:
            return []
        return [f"rollups that were refused, and are tried again each hour: {many}; {fault}"]


def _parts(waiting: Sequence[Mark], bucket: Bucket) -> Iterator[_Part]:
    """Marks that can be settled by one question, the newest first: neighbouring times at which the
    same gateways are due."""
    by_time: dict[int, list[Mark]] = {}
    for one in waiting:
        by_time.setdefault(one.at_ms, []).append(one)
    run: list[Mark] = []
    before: tuple[str, ...] = ()
    since_ms = until_ms = 0
    for at_ms, some in sorted(by_time.items(), reverse=True):
        gateways = tuple(sorted(one.gateway for one in some))
        together = gateways == before and at_ms + bucket.width_ms == since_ms
        fits = len(run) + len(some) <= _AT_ONCE[bucket]
        if run and not (together and fits):
            yield from _by_gateways(run, before, since_ms, until_ms)
            run = []
        if not run:
            until_ms = at_ms + bucket.width_ms
        run += some
        before, since_ms = gateways, at_ms
    if run:
        yield from _by_gateways(run, before, since_ms, until_ms)


def _by_gateways(
    run: Sequence[Mark], gateways: Sequence[str], since_ms: int, until_ms: int
) -> Iterator[_Part]:
    for begin in range(0, len(gateways), _GATEWAYS_AT_ONCE):
        some = tuple(gateways[begin : begin + _GATEWAYS_AT_ONCE])
        own = set(some)
        yield _Part(some, since_ms, until_ms, [one for one in run if one.gateway in own])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _is_ours(one: Rollup) -> bool:
    """Whether we could have written its readings: what another program has put beside them, under a
    name that cannot be written, must not keep a gateway's minute from its rollups."""
    return all(map(can_be_written, one[1:4]))


def _line(one: Rollup) -> str:
    fields = {"min": one.min, "mean": one.mean, "max": one.max, "rain": one.rain}
    whole = {
        "count": one.counted,
        "bad": one.bad,
        "missing": one.missing,
        "worst": one.worst,
    }
    written = [f"{name}={value!r}" for name, value in fields.items() if value is not None]
    written += [f"{name}={value}i" for name, value in whole.items() if value is not None]
    key = series_key(one.quantity, one.gateway, one.sensor, one.site)
    return f"{key} {','.join(written)} {one.at_ms}"


class Retirement:
    """Counts off what a server's own retention is about to take.

    Each day the cloud counts what is older than `raw_days`, once, and from then on counts only
    what is younger; the server keeps it for `SLACK_DAYS` more. What comes so late that it lies
    before that line, or that the server drops it, is counted off when it is written.
    """

    _WHERE: Final = ("", "raw")  # one horizon for all gateways

    def __init__(
        self,
        state: State,
        retention: Retention,
        counts: Callable[[Query], Awaitable[dict[str, int]]],
    ) -> None:
        self._state = state
        self._retention = retention
        self._counts = counts
        self._dropped_ms = 0

    def dropped(self, until_ms: int, error: Exception) -> None:
        """Of what was sent the server has dropped all up to that time, as too old. Raises
        Unavailable where it is to keep that: nobody would have it."""
        days = self._retention.raw_days
        keeps_ms = _SHORTEST_MS if days is None else days * DAY_MS
        when = datetime.fromtimestamp(until_ms / 1000, UTC)
        if until_ms > _now_ms() - keeps_ms:
            mend = f"it drops what is of {when}; `shuichi cloud init` sets its retention"
            raise refusal.of_the_request(str(error), mend)
        if not self._dropped_ms:
            log.warning("readings up to %s are too old for the server: they count as retired", when)
        self._dropped_ms = max(self._dropped_ms, until_ms + 1)

    def taken(self, points: Sequence[Points]) -> None:
        """The server has taken all of these, so it keeps what is as old (its clock was wrong)."""
        if self._dropped_ms:
            firsts = (columns(some).first_ms for _, some in points)
            self._dropped_ms = min([self._dropped_ms, *(at_ms for at_ms in firsts if at_ms)])

    async def expire(self, now_ms: int) -> None:
        """Count off what has become older than the retention."""
        cutoff_ms = self._retention.cutoffs(now_ms).get("raw", 0)
        since_ms = await self._state.run(self._horizon)
        if cutoff_ms <= since_ms:
            return
        found = await self._counts(Query(since_ms=since_ms, until_ms=cutoff_ms))

        def count_off(connection: Connection) -> None:
            if self._horizon(connection) == since_ms:  # nobody else did it meanwhile
                marks.retire(connection, found)
                marks.advance(connection, *self._WHERE, cutoff_ms)

        await self._state.run(count_off)

    def written(self, connection: Connection, points: Sequence[Points]) -> None:
        """Count off what of these points is too late to be counted in the store."""
        since_ms = 0 if self._retention.raw_days is None else self._horizon(connection)
        since_ms = max(since_ms, self._dropped_ms)
        if not since_ms:
            return
        late: dict[str, int] = {}
        for gateway, readings in points:
            if (first_ms := columns(readings).first_ms) is not None and first_ms < since_ms:
                number = sum(at_ms < since_ms for at_ms in columns(readings).at_ms)
                late[gateway] = late.get(gateway, 0) + number
        marks.retire(connection, late)

    async def retired(self, gateway: str | None) -> Retired:
        """What was counted off, and from when on to count."""

        def look(connection: Connection) -> Retired:
            since_ms = self._horizon(connection)
            return Retired(marks.retired(connection, gateway), since_ms or None)

        return await self._state.run(look)

    def _horizon(self, connection: Connection) -> int:
        return marks.horizon(connection, *self._WHERE)


def server_days(config: StoreConfig) -> dict[str, int | None]:
    """How many days a server is to keep the readings ("raw") and each level of rollups that is
    kept, None for ever."""
    days = config.retention.days
    raw = days["raw"]
    levels = {bucket.level: days[bucket.level] for bucket in config.days.buckets}
    return {"raw": None if raw is None else raw + SLACK_DAYS} | levels
