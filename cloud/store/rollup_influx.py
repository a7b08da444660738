"""What the cloud keeps for a server: the rollups of InfluxDB 1.x, and the account of what retention
takes. The server's own continuous queries look at the present alone, see docs/decisions.

Rollups lie in the retention policies `minute` and `hour`, in measurements of the same names and
tags, with the fields min, mean, max, count, bad, missing, worst.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Final

import httpx
from sqlalchemy import Connection

from cloud.errors import Rejected
from cloud.http import put
from cloud.state import State
from cloud.store import Bucket, Points, Query, Retention, Retired, Rollup, marks
from cloud.store.influxql import InfluxQL
from cloud.store.lineprotocol import series_key
from wire.reading import columns

_GATEWAYS_AT_ONCE: Final = 50
_TOO_OLD: Final = "beyond retention policy"

SLACK_DAYS: Final = 2
"""Readings stay on the server for so long after the cloud has counted them off."""


class Rollups:
    """Makes due rollups anew: the server works them out, in the ranges that the marks name."""

    def __init__(
        self,
        state: State,
        influxql: InfluxQL,
        http: httpx.AsyncClient,
        database: str,
        retention: Retention,
    ) -> None:
        self._state = state
        self._influxql = influxql
        self._http = http
        self._database = database
        self._retention = retention
        self._made = False
        self.read = influxql.kept

    async def make(self) -> list[str]:
        """Make the database and its retention policies, or bring them up to the config."""
        lines = await self._influxql.policies(server_days(self._retention))
        self._made = True
        return lines

    async def settle(self) -> None:
        """Bring the rollups up to what was written before the call."""
        if (waiting := await self._state.run(marks.due)) and not self._made:
            await self.make()
        for hour_ms, of_hour in groupby(waiting, key=lambda mark: mark.hour_ms):
            together = list(of_hour)
            for begin in range(0, len(together), _GATEWAYS_AT_ONCE):
                some = together[begin : begin + _GATEWAYS_AT_ONCE]
                gateways = [mark.gateway for mark in some]
                first = min(mark.first_ms for mark in some)
                last = max(mark.last_ms for mark in some)
                await self._remake(gateways, first, last + 1, Bucket.MINUTE)
                await self._remake(gateways, hour_ms, hour_ms + 1, Bucket.HOUR)
                await self._state.run(partial(marks.done, marks=some))

    async def _remake(
        self, gateways: Sequence[str], since_ms: int, until_ms: int, bucket: Bucket
    ) -> None:
        found = await self._influxql.aggregated(
            Query(since_ms=since_ms, until_ms=until_ms), bucket, gateways
        )
        if found:
            where = {"db": self._database, "rp": bucket.level, "precision": "ms"}
            lines = "\n".join(map(_line, found)).encode()
            try:
                await put(self._http, "/write", where, lines)
            except Rejected as error:
                # Readings stay for two days more than these may; those that fit are written.
                if _TOO_OLD not in str(error):
                    raise


def _line(one: Rollup) -> str:
    fields = {"min": one.min, "mean": one.mean, "max": one.max}
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
    before that line is counted off when it is written.
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
        if self._retention.raw_days is None or not (since_ms := self._horizon(connection)):
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


def server_days(retention: Retention) -> dict[str, int | None]:
    """How many days a server is to keep each level, None for ever."""
    days = dict(retention.days)
    if days["raw"] is not None:
        days["raw"] += SLACK_DAYS
    return days
