"""One contract for every store: what is written comes back, once, and is there when it says so."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import Connection

from cloud import quarantine, service
from cloud.config import Config, Setup
from cloud.errors import Rejected, Unavailable
from cloud.quarantine import Case
from cloud.state import State
from cloud.store import Points, Query, Row, Store
from configs import loader
from tests import services
from tests.services import Service
from wire.reading import Quality, Quantity, Reading

T0 = time.time_ns() // 1_000_000 - 3_600_000


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

    async def write(self, *readings: Reading, gateway: str | None = None) -> None:
        await self.store.write([Points(gateway or self.gateway, readings)], lambda _: None)

    async def read(self, **asked: Any) -> list[Row]:
        return await self.store.read(replace(Query(gateway=self.gateway), **asked))

    async def count(self, **asked: Any) -> int:
        return await self.store.count(replace(Query(gateway=self.gateway), **asked))


def opened(
    config: dict[str, Any], folder: Path
) -> AbstractAsyncContextManager[tuple[State, Store]]:
    return service.opened(Setup(loader.parse({"store": config}, Config, "test"), folder))


@pytest.fixture(params=[*EMBEDDED, *SERVERS])
async def kept(
    request: pytest.FixtureRequest,
    shared_influxd: Service,
    shared_victoria_metrics: Service,
    tmp_path: Path,
) -> AsyncIterator[Kept]:
    running = {"influxd": shared_influxd, "victoria_metrics": shared_victoria_metrics}
    config: dict[str, Any] = {"kind": request.param}
    if server := SERVERS.get(request.param):
        config = server.config(running[server.start.__name__])
    async with opened(config, tmp_path) as (database, store):
        yield Kept(database, store, f"g{uuid.uuid4().hex}")


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


async def test_values_keep_eleven_digits(kept: Kept) -> None:
    values = [n / 7 for n in range(1, 500)]
    await kept.write(*(reading(n, value) for n, value in enumerate(values)))
    assert [one.value for one in await kept.read()] == pytest.approx(values, rel=1e-11)


async def test_nothing_is_there_before_it_is_written(kept: Kept) -> None:
    assert await kept.read() == []
    assert await kept.count() == 0


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
        return [one.at_ms - T0 for one in rows]

    assert await times(since_ms=T0 + 3, until_ms=T0 + 6) == [3, 4, 5]
    assert await times(since_ms=T0 + 8) == [8, 9]
    assert await times(until_ms=T0 + 2) == [0, 1]


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
    names = ["a b", "a,b", "a=b", 'a"b', "a'b", "a\\b", "水尺", "{a}|b", "%_"]
    written = [reading(n, site=name, sensor=name) for n, name in enumerate(names)]
    await kept.write(*written)
    assert await kept.read() == [row(kept.gateway, one) for one in written]
    for one in written:
        assert await kept.read(site=one.site, sensor=one.sensor) == [row(kept.gateway, one)]


async def test_the_ledger_is_committed_with_the_points(kept: Kept) -> None:
    case = Case("topic", b"payload", "reason", kept.gateway)

    def also(connection: Connection) -> None:
        quarantine.save(connection, [case], now_ms=1)

    await kept.store.write([Points(kept.gateway, [reading()])], also)
    await kept.store.write([], also)
    assert await kept.database.run(lambda connection: quarantine.count(connection)) == 1
    assert await kept.count() == 1


async def test_when_the_ledger_cannot_be_committed_the_write_says_so(kept: Kept) -> None:
    def also(connection: Connection) -> None:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(Unavailable):
        await kept.store.write([Points(kept.gateway, [reading()])], also)
    await kept.write(reading())  # as the ingest does it: again, until it goes through
    assert await kept.count() == 1


@pytest.mark.parametrize("name", SERVERS)
async def test_what_a_server_has_answered_survives_its_death(name: str, tmp_path: Path) -> None:
    server = SERVERS[name]
    with server.start(tmp_path / "server") as running:
        async with opened(server.config(running), tmp_path) as (database, store):
            kept = Kept(database, store, "g")
            committed: list[int] = []
            for n in range(20):
                await kept.write(reading(n))
            running.kill()
            with pytest.raises(Unavailable, match="cannot be reached"):
                await store.write([Points("g", [reading(20)])], lambda _: committed.append(20))
            with pytest.raises(Unavailable, match="cannot be reached"):
                await store.check()
            with pytest.raises(Unavailable, match="cannot be reached"):
                await kept.read()
            assert committed == []
            running.start()
            await store.check()
            assert [one.at_ms - T0 for one in await kept.read()] == list(range(20))
            await kept.write(reading(20))
            assert await kept.count() == 21


async def test_what_influxdb_refuses_is_rejected_in_its_words(
    shared_influxd: Service, tmp_path: Path
) -> None:
    config = influx_v1(shared_influxd)
    async with opened(config, tmp_path) as (database, store), httpx.AsyncClient() as http:
        await store.check()
        where = {"db": config["database"], "precision": "ms"}
        line = f'depth,gateway=g,sensor=ruler,site=underpass quality="text" {T0}'
        taken = await http.post(f"{shared_influxd.url}/write", params=where, content=line)
        assert taken.status_code == 204
        with pytest.raises(Rejected, match="field type conflict"):
            await Kept(database, store, "g").write(reading())
