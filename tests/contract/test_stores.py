"""One contract for every store: what is written comes back, once, and is there when it says so."""

import statistics
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, func, select

from cloud import service, state, tables
from cloud.config import Config, Setup
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from cloud.store import Bucket, Counted, Days, Points, Query, Rollup, Row, Store, stream
from configs import loader
from tests import influxservers, services
from tests.influxservers import InfluxServer
from tests.services import Service
from wire.reading import Quality, Quantity, Reading

NOW = time.time_ns() // 1_000_000
T0 = NOW - 3_600_000
HOUR0 = T0 // 3_600_000 * 3_600_000 - 3_600_000
GRIDS = Days()


class Server(NamedTuple):
    """A server that a store needs: how to start one, and what to write under [store] to use it."""

    kind: str
    start: Callable[[Path], Service]
    config: Callable[[Service], dict[str, Any]]


def influx_v1(server: Service) -> dict[str, Any]:
    return {"kind": "influx", "url": server.url, "api": "v1", "database": f"d{uuid.uuid4().hex}"}


def victoria_v1(server: Service) -> dict[str, Any]:
    return influx_v1(server) | {"dialect": "metricsql"}


def victoria_v2(server: Service) -> dict[str, Any]:
    where = {"api": "v2", "bucket": "shuichi", "org": "flood", "dialect": "metricsql"}
    return {"kind": "influx", "url": server.url} | where


SERVERS = {
    "influxdb-v1": Server("influx", services.influxd, influx_v1),
    "victoria-v1": Server("influx", services.victoria_metrics, victoria_v1),
    "victoria-v2": Server("influx", services.victoria_metrics, victoria_v2),
}
EMBEDDED = sorted(loader.plugins("cloud.store").keys() - {one.kind for one in SERVERS.values()})
"""Every other file in cloud/store: a new one is under contract without a word here."""


@dataclass(frozen=True)
class Kept:
    """A store, the database beside it, and a gateway that no other test has."""

    database: State
    store: Store
    gateway: str
    replaces: bool = True  # VictoriaMetrics keeps both, and gives either

    async def write(self, *readings: Reading, gateway: str | None = None) -> None:
        await self.store.write([Points(gateway or self.gateway, readings)], lambda _: None)

    async def read(self, **asked: Any) -> list[Row]:
        return await self.store.read(replace(Query(gateway=self.gateway), **asked))

    async def count(self, **asked: Any) -> int:
        return await self.store.count(replace(Query(gateway=self.gateway), **asked))

    async def counted(self, **asked: Any) -> dict[str, Counted]:
        return await self.store.counted(replace(Query(gateway=self.gateway), **asked))

    async def rollups(self, bucket: Bucket, **asked: Any) -> list[Rollup]:
        """As they are after an upkeep."""
        await self.store.upkeep(NOW)
        return await self.store.rollups(replace(Query(gateway=self.gateway), **asked), bucket)


def opened(
    config: dict[str, Any], folder: Path
) -> AbstractAsyncContextManager[tuple[State, Store]]:
    return service.opened(Setup(loader.parse({"store": config}, Config, "test"), folder))


OWN_FILE = {"kind": "sqlite", "path": "points.db"}


@pytest.fixture(params=[*EMBEDDED, "sqlite-own-file", *SERVERS, *influxservers.GIVEN])
async def kept(
    request: pytest.FixtureRequest,
    shared_influxd: Service,
    shared_victoria_metrics: Service,
    given_influx: dict[int, InfluxServer],
    tmp_path: Path,
) -> AsyncIterator[Kept]:
    if server_given := given_influx.get(request.param):
        with server_given.place() as place:
            async with opened(place.config, tmp_path) as (database, store):
                await store.init()
                yield Kept(database, store, "g")
        return
    running = {"influxd": shared_influxd, "victoria_metrics": shared_victoria_metrics}
    config: dict[str, Any] = {"kind": request.param}
    if server := SERVERS.get(request.param):
        config = server.config(running[server.start.__name__])
    elif request.param == "sqlite-own-file":
        config = OWN_FILE
    async with opened(config, tmp_path) as (database, store):
        yield Kept(database, store, f"g{uuid.uuid4().hex}", config.get("dialect") != "metricsql")


def reading(n: int = 0, value: float | None = 0.153, **changes: Any) -> Reading:
    quality = Quality.MISSING if value is None else Quality.GOOD
    whole = {
        "site": "underpass",
        "sensor": "ruler",
        "quantity": Quantity.DEPTH,
        "value": value,
        "at_ms": T0 + n,
        "quality": quality,
    }
    return Reading(**(whole | changes))


def row(gateway: str, one: Reading) -> Row:
    """`one` as it must come back."""
    return Row(one.at_ms, gateway, one.site, one.sensor, one.quantity, one.value, int(one.quality))


async def test_what_is_written_comes_back(kept: Kept) -> None:
    written = [
        reading(0),
        reading(1, 0.0),
        reading(2, -1.25),
        reading(3, None),
        reading(4, 0.3, quality=Quality.SUSPECT),
        reading(5, 9.9, quality=Quality.BAD),
        reading(6, quality=Quality.NOT_EVALUATED),
        reading(7, 2.5e-6, quantity=Quantity.RAIN_RATE, sensor="gauge"),
        reading(8, 1234.567, quantity=Quantity.LEVEL, site="river"),
    ]
    await kept.store.check()
    await kept.write(*written)
    assert await kept.read() == [row(kept.gateway, one) for one in written]
    assert await kept.count() == len(written)
    await kept.store.rollups(Query(gateway=kept.gateway), Bucket.MINUTE)  # not made yet, no fault


async def test_values_keep_eleven_digits(kept: Kept) -> None:
    values = [n / 7 for n in range(1, 500)]
    await kept.write(*(reading(n, value) for n, value in enumerate(values)))
    assert [one.value for one in await kept.read()] == pytest.approx(values, rel=1e-11)


async def test_values_keep_every_bit(kept: Kept) -> None:
    values = [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1e-7, 1e23, 123456789.1]
    values += [0.1 + 0.2, 1 / 3, -0.1, 1e16, 7.0, 0.0]
    if not kept.replaces:
        values = [0.3, -0.1, 1e16, 7.0, 0.0, 123456789.1]  # VictoriaMetrics: 12 digits
    await kept.write(*(reading(n, value) for n, value in enumerate(values)))
    found = [one.value for one in await kept.read()]
    assert found == values
    assert all(type(value) is float for value in found)


async def test_nothing_is_there_before_it_is_written(kept: Kept) -> None:
    assert await kept.read() == []
    assert await kept.count() == 0
    for bucket in Bucket:
        assert await kept.store.rollups(Query(gateway=kept.gateway), bucket) == []
    await kept.store.upkeep(NOW)
    assert (await kept.store.retired(None)).readings == 0


async def test_what_is_written_twice_is_there_once(kept: Kept) -> None:
    written = [reading(n, n / 100) for n in range(50)] + [reading(50, None)]
    for _ in range(2):
        await kept.write(*written)
    assert await kept.read() == [row(kept.gateway, one) for one in written]
    assert await kept.count() == len(written)


async def test_a_query_takes_what_it_names(kept: Kept) -> None:
    a = reading(0)
    b = reading(1, sensor="other")
    c = reading(2, site="elsewhere")
    d = reading(3, quantity=Quantity.TEMPERATURE)
    await kept.write(a, b, c, d)
    await kept.write(a, gateway=kept.gateway + "x")

    async def found(**asked: Any) -> list[Row]:
        rows = await kept.read(**asked)
        assert await kept.count(**asked) == len(rows)
        return rows

    rows = [row(kept.gateway, one) for one in (a, b, c, d)]
    assert await found() == rows
    assert await found(sensor="ruler") == [rows[0], rows[2], rows[3]]
    assert await found(site="underpass") == [rows[0], rows[1], rows[3]]
    assert await found(quantity=Quantity.TEMPERATURE) == [rows[3]]
    assert await found(site="underpass", sensor="other") == [rows[1]]
    assert await found(site="nowhere") == []


async def test_a_time_range_has_its_beginning_and_not_its_end(kept: Kept) -> None:
    await kept.write(*(reading(n) for n in range(10)))

    async def times(**asked: int) -> list[int]:
        rows = await kept.read(**asked)
        assert await kept.count(**asked) == len(rows)
        counted = await kept.counted(**asked)
        ((gateway, one),) = counted.items()
        assert (gateway, one.readings) == (kept.gateway, len(rows))
        begin = asked.get("since_ms")
        offsets = None if begin is None else sum(row.at_ms - begin for row in rows)
        assert one.offsets_ms == offsets
        return [one.at_ms - T0 for one in rows]

    assert await times(since_ms=T0 + 3, until_ms=T0 + 6) == [3, 4, 5]
    assert await times(since_ms=T0 + 8) == [8, 9]
    assert await times(until_ms=T0 + 2) == [0, 1]
    assert await kept.counted(since_ms=T0 + 100) == {}


async def test_a_limit_takes_the_oldest_or_the_newest(kept: Kept) -> None:
    await kept.write(*(reading(n, quantity=quantity) for n, quantity in enumerate([*Quantity] * 2)))
    assert [one.at_ms - T0 for one in await kept.read(limit=3)] == [0, 1, 2]
    newest = await kept.read(limit=3, newest_first=True)
    assert [one.at_ms - T0 for one in newest] == [15, 14, 13]


async def test_a_point_of_a_clock_that_is_ahead_is_kept_and_found(kept: Kept) -> None:
    ahead = reading(4_000_000)  # a good six minutes from now
    await kept.write(ahead)
    assert await kept.read() == [row(kept.gateway, ahead)]


async def test_names_may_hold_what_the_store_uses_for_itself(kept: Kept) -> None:
    names = ["a b", "a,b", "a=b", 'a"b', "a'b", "a\\b", "水尺", "{a}|b", "%_", " a ", "a, b=c"]
    names += ["#a", "--a", "a;b", "\u00a0", "🌊", "a" * 300, "value=1i", "NULL", "true", "0"]
    written = [reading(n, site=name, sensor=name) for n, name in enumerate(names)]
    await kept.write(*written)
    assert await kept.read() == [row(kept.gateway, one) for one in written]
    for one in written:
        assert await kept.read(site=one.site, sensor=one.sensor) == [row(kept.gateway, one)]


UNREADABLE = [
    "",
    "\t",
    "a\nb",
    "a\0",
    "\x1b[2J",
    "a\x85b",
    "a\u2028b",
    "a\u2029",
    "\u202ea",
    "\u2066a",
]
UNREADABLE += ["a\u200bb", "\ufeffa", "\u3164", "a\U000e0041", "\ue000", "a\u0301\u0301\u0301"]


async def test_names_that_nobody_can_read_never_reach_a_store(kept: Kept) -> None:
    """Neither as a gateway, nor as a site or a sensor; and they are the reading's own fault."""
    for name in UNREADABLE:
        for one, gateway in (
            (reading(site=name), None),
            (reading(sensor=name), None),
            (reading(), name),
        ):
            with pytest.raises(Rejected):
                await kept.store.write(
                    [Points(kept.gateway if gateway is None else gateway, [one])], lambda _: None
                )
    assert await kept.count() == 0


async def test_the_ledger_is_committed_with_the_points(kept: Kept) -> None:
    """Played by another table of the same database."""
    table = tables.copy_position

    def also(connection: Connection) -> None:
        state.upsert(connection, table, [{"source": kept.gateway, "next_ms": 1}])

    def committed(connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()

    await kept.store.write([Points(kept.gateway, [reading()])], also)
    assert await kept.database.run(committed) == 1
    await kept.store.write([], also)
    assert await kept.database.run(committed) == 1
    assert await kept.count() == 1


async def test_when_the_ledger_cannot_be_committed_the_write_says_so(kept: Kept) -> None:
    def also(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(Unavailable):
        await kept.store.write([Points(kept.gateway, [reading()])], also)
    await kept.write(reading())  # as the ingest does it: again, until it goes through
    assert await kept.count() == 1


async def test_rollups_leave_out_what_is_bad_and_count_it(kept: Kept) -> None:
    def at(second: int, value: float | None, **changes: Any) -> Reading:
        return reading(value=value, **changes | {"at_ms": HOUR0 + second * 1000})

    await kept.write(
        at(0, 0.25),
        at(10, 0.75, quality=Quality.SUSPECT),
        at(20, 9.9, quality=Quality.BAD),
        at(30, None),
        at(61, None),
        at(125, 7.5, quality=Quality.BAD),
        at(180, -1.0, quality=Quality.NOT_EVALUATED),
        at(10, 2.5, quantity=Quantity.LEVEL),
    )
    name = (kept.gateway, "underpass", "ruler", Quantity.DEPTH)
    minutes = [
        Rollup(HOUR0, *name, 0.25, 0.5, 0.75, counted=2, bad=1, missing=1, worst=4),
        Rollup(HOUR0 + 60_000, *name, None, None, None, counted=0, bad=0, missing=1, worst=None),
        Rollup(HOUR0 + 120_000, *name, None, None, None, counted=0, bad=1, missing=0, worst=4),
        Rollup(HOUR0 + 180_000, *name, -1.0, -1.0, -1.0, counted=1, bad=0, missing=0, worst=2),
    ]
    hour = Rollup(HOUR0, *name, -1.0, 0.0, 0.75, counted=3, bad=2, missing=2, worst=4)
    assert await kept.rollups(Bucket.MINUTE, quantity=Quantity.DEPTH) == minutes
    assert await kept.rollups(Bucket.HOUR, quantity=Quantity.DEPTH) == [hour]
    assert len(await kept.rollups(Bucket.HOUR)) == 2
    newest = {"limit": 2, "newest_first": True, "quantity": Quantity.DEPTH}
    assert await kept.rollups(Bucket.MINUTE, **newest) == minutes[:1:-1]
    # Buckets come whole, though the range begins and ends within them.
    touched = {"since_ms": HOUR0 + 59_000, "until_ms": HOUR0 + 120_001, "sensor": "ruler"}
    found = await kept.rollups(Bucket.MINUTE, quantity=Quantity.DEPTH, **touched)
    assert found == minutes[:3]


async def test_rollups_are_as_if_all_had_come_at_once(kept: Kept) -> None:
    written = [
        reading(
            value=None if n % 17 == 0 else (n % 29) / 8,  # so that it is the same in 12 digits
            quality=Quality.MISSING if n % 17 == 0 else Quality(n % 4 + 1),
            at_ms=HOUR0 - 3 * 86_400_000 + n * 61_000,
            sensor=f"r{n % 2}",
        )
        for n in range(200)
    ]
    early, late = written[::2] + written[1::4], written[3::4]
    await kept.write(*early)
    await kept.rollups(Bucket.HOUR)
    await kept.write(*late)  # a backlog
    if kept.replaces:
        await kept.write(replaced(written[5]))
        await kept.rollups(Bucket.HOUR)
        await kept.write(written[5])
    rows = [row(kept.gateway, one) for one in written]
    for bucket in Bucket:
        found = await kept.rollups(bucket)
        wanted = by_hand(rows, bucket)
        assert [one[:6] + one[7:] for one in found] == [one[:6] + one[7:] for one in wanted]
        assert all(one.rain is None for one in found)
        means = [one.mean for one in wanted if one.mean is not None]
        assert [one.mean for one in found if one.mean is not None] == pytest.approx(means)


async def test_a_wild_value_spoils_no_rollup_but_its_own(kept: Kept) -> None:
    if not kept.replaces:
        pytest.skip("VictoriaMetrics works rollups out when asked")
    wild = [(10, 1.7e308, Quality.GOOD), (20, 1.7e308, Quality.BAD), (30, 1.6e308, Quality.GOOD)]
    for n, value, quality in wild:
        await kept.write(reading(value=value, quality=quality, at_ms=HOUR0 + n * 1000))
    await kept.write(
        *(reading(value=1.0, at_ms=HOUR0 + n * 1000, sensor="other") for n in range(0, 180, 20))
    )
    found = {(one.sensor, one.at_ms - HOUR0): one for one in await kept.rollups(Bucket.MINUTE)}
    assert len(found) == 4
    assert {one.mean for (name, _), one in found.items() if name == "other"} == {1.0}
    own = found["ruler", 0]
    assert (own.min, own.max, own.counted, own.bad) == (1.6e308, 1.7e308, 2, 1)
    hours = {one.sensor: one for one in await kept.rollups(Bucket.HOUR)}
    assert hours["other"].counted == 9
    assert hours["ruler"].max == 1.7e308


async def test_a_stream_has_everything_in_order_whatever_the_page(kept: Kept) -> None:
    moments = [0, 0, 0, 0, 0, 1, 2, 2, 2, 700_000, 700_001, 90_000_000, 90_000_001, 90_000_001]
    await kept.write(
        *(reading(moment - 100_000_000, sensor=f"r{n}") for n, moment in enumerate(moments))
    )
    wanted = await kept.read()
    assert len(wanted) == len(moments)
    for page in (1, 2, 3, 5, 20_000):
        pages = [one async for one in stream.rows(kept.store, Query(gateway=kept.gateway), page)]
        assert all(pages)
        assert [one for some in pages for one in some] == wanted
        assert max(map(len, pages)) <= max(page, 5)  # five are of one moment
    wanted_hours = await kept.rollups(Bucket.HOUR)
    found = stream.rollups(kept.store, Query(gateway=kept.gateway), Bucket.HOUR, 3)
    assert [one async for some in found for one in some] == wanted_hours
    nothing = stream.rows(kept.store, Query(gateway="nobody"))
    assert [one async for one in nothing] == []


def replaced(one: Reading) -> Reading:
    return Reading(one.site, one.sensor, one.quantity, 99.0, one.at_ms, Quality.GOOD)


def by_hand(rows: list[Row], bucket: Bucket, days: Days = GRIDS) -> list[Rollup]:
    """The rollups of `rows`, from the definition."""
    buckets: dict[tuple[int, tuple[str, str, str, Quantity]], list[Row]] = {}
    for one in rows:
        begun = days.grid(bucket).begin(one.at_ms)
        buckets.setdefault((begun, one[1:5]), []).append(one)
    made = []
    for (begun, names), some in buckets.items():
        good = [one.value for one in some if one.value is not None and one.quality != 4]
        flags = [one.quality for one in some if one.quality != 9]
        made.append(
            Rollup(
                begun,
                *names,
                min(good, default=None),
                statistics.fmean(good) if good else None,
                max(good, default=None),
                counted=len(good),
                bad=flags.count(4),
                missing=len(some) - len(flags),
                worst=max(flags, default=None),
            )
        )
    return sorted(made, key=lambda one: one[:5])


async def test_init_may_come_again(kept: Kept) -> None:
    await kept.store.init()
    await kept.write(reading())
    first = await kept.store.init()
    assert first
    assert await kept.store.init() == first
    assert await kept.count() == 1
