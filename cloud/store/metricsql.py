"""Reading from VictoriaMetrics by its own interface.

It answers InfluxQL too, with results that are made up; so it is asked for raw samples instead
(`/api/v1/export`). It splits a point into the metrics `depth_value` and `depth_quality`, keeps
about 12 significant digits, and stores a point that is written twice two times: they are put
together again here. (For people who ask it themselves, `-dedup.minScrapeInterval=1ms` hides the
second.) Set `-retentionPeriod`: by default it drops, without a word, what is older than a month.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import httpx
import msgspec

from cloud.errors import Unavailable
from cloud.http import FAILURES, ask, origin, unavailable
from cloud.store import (
    Bucket,
    Counted,
    Days,
    Query,
    Rollup,
    Row,
    Server,
    combine,
    influxserver,
    rain,
)
from wire.reading import Quantity

_LAST_MS: Final = 4_102_444_800_000  # 2100: an export without an end stops at the server's now


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[float | None]
    timestamps: list[int]


class _Snapshot(msgspec.Struct):
    status: str
    snapshot: str = ""
    msg: str = ""


MOST_LINE: Final = 1 << 28
"""Bytes of one series in an answer."""

_decode: Final = msgspec.json.Decoder(_Series).decode


class MetricsQL:
    """All series of a server, or those that were written through v1 with `database`."""

    def __init__(self, http: httpx.AsyncClient, database: str | None, days: Days) -> None:
        self._http = http
        self._days = days
        self._database = database

    async def check(self) -> None:
        """Raise Unavailable unless the server is of this kind, as far as it says, and lets us
        settle."""
        influxserver.demand_victoria(self._http, await self.identify())
        await self.settle()

    async def identify(self) -> Server:
        """What the server says it is."""
        return await influxserver.recognized(self._http)

    async def faults(self) -> list[str]:
        """What keeps the server from being used."""
        await self.check()
        return []

    async def settle(self) -> None:
        """Have the server put on disk, and make visible, what it has answered.

        VictoriaMetrics keeps what is written in memory for seconds: measured here (1.79), a
        kill -9 right after the answer lost every point, and up to 10 s passed before a point
        could be read. Only a snapshot makes it flush, so one is made and dropped again.
        """
        response = await ask(self._http, "GET", "/snapshot/create")
        try:
            made = msgspec.json.decode(response.content, type=_Snapshot)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"{origin(self._http.base_url)} made no snapshot: {error}") from error
        if made.status != "ok":
            raise Unavailable(f"{origin(self._http.base_url)} made no snapshot: {made.msg}")
        await ask(self._http, "GET", "/snapshot/delete", params={"snapshot": made.snapshot})

    async def read(self, query: Query) -> list[Row]:
        qualities: dict[tuple[str, str, str, Quantity], dict[int, int]] = {}
        values: dict[tuple[str, str, str, Quantity], dict[int, float | None]] = {}
        async for quantity, field, series in self._export(query, "value|quality"):
            labels = series.metric
            name = (labels["gateway"], labels["site"], labels["sensor"], quantity)
            if field == "value":
                values.setdefault(name, {}).update(
                    zip(series.timestamps, series.values, strict=True)
                )
            else:
                qualities.setdefault(name, {}).update(
                    (at_ms, int(quality or 0))
                    for at_ms, quality in zip(series.timestamps, series.values, strict=True)
                )
        return query.cut(
            [
                Row(at_ms, *name, values.get(name, {}).get(at_ms), quality)
                for name, points in qualities.items()
                for at_ms, quality in points.items()
            ]
        )

    async def aggregated(self, query: Query, bucket: Bucket) -> list[Rollup]:
        """Rollups worked out here, when they are asked for: the server has no single function that
        looks at value and quality together."""
        grid = self._days.grid(bucket)
        whole = replace(query.whole(grid), limit=None, newest_first=False)
        if bucket.finer is None:
            return query.cut(combine.from_readings(await self.read(whole)))
        minutes = combine.from_readings(await self.read(rain.around(whole)))
        hours = combine.from_finer(minutes, self._days.grid(Bucket.HOUR))
        made = combine.from_finer(rain.of_minutes(hours, minutes), grid)
        since_ms, until_ms = whole.since_ms or 0, whole.until_ms or _LAST_MS
        return query.cut([one for one in made if since_ms <= one.at_ms < until_ms])

    async def counts(self, query: Query) -> dict[str, int]:
        """How many points of each gateway; the limit does not count."""
        return {name: one.readings for name, one in (await self.counted(query)).items()}

    async def counted(self, query: Query) -> dict[str, Counted]:
        """The same, with the sum of their times."""
        # Not count_over_time(): it would count a point twice that was written twice.
        found: dict[str, Counted] = {}
        begin = query.since_ms
        async for *_, series in self._export(query, "quality"):
            gateway, times = series.metric["gateway"], set(series.timestamps)
            before = found.get(gateway, Counted(0, 0))
            offsets = None
            if begin is not None and before.offsets_ms is not None:
                offsets = before.offsets_ms + sum(times) - len(times) * begin
            found[gateway] = Counted(before.readings + len(times), offsets)
        return found

    async def _export(
        self, query: Query, fields: str
    ) -> AsyncIterator[tuple[Quantity, str, _Series]]:
        """The raw series of what `query` asks, each with its quantity and field."""
        labels = query.tags if self._database is None else query.tags | {"db": self._database}
        names = "|".join(query.quantities)
        matchers = [f'__name__=~"({names})_({fields})"']
        matchers += [f"{label}={_text(value)}" for label, value in labels.items()]
        until_ms = _LAST_MS if query.until_ms is None else query.until_ms
        asked = {
            "match[]": "{" + ",".join(matchers) + "}",
            "start": _seconds(query.since_ms or 0),
            "end": _seconds(until_ms - 1),
        }
        try:
            async with self._http.stream("GET", "/api/v1/export", params=asked) as response:
                if not response.is_success:
                    words = (await response.aread())[:300].decode("utf-8", "replace")
                    raise Unavailable(f"{origin(self._http.base_url)} says: {words}")
                async for line in _lines(response):
                    series = _decode(line)
                    quantity, _, field = series.metric["__name__"].rpartition("_")
                    yield Quantity(quantity), field, series
        except FAILURES as error:
            raise unavailable(self._http.base_url, error) from error
        except msgspec.MsgspecError as error:
            raise Unavailable(
                f"{origin(self._http.base_url)} exports no series: {error}"
            ) from error


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """The lines of an answer. Raises Unavailable for one that is too long to be a series."""
    rest = b""
    async for piece in response.aiter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > MOST_LINE:
            raise Unavailable(f"{response.url.host} exports a line of more than {MOST_LINE} bytes")
    if rest.strip():
        yield rest


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def _text(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
