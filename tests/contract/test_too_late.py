"""Readings that come when the store keeps their time no more: counted as retired, not quarantined
and not tried for ever, by every kind of server alike; what is young is never taken for old."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.errors import Rejected, Unavailable
from cloud.store import DAY_MS, Points, Query
from tests.contract.test_retention import Ingest, opened
from tests.contract.test_stores import influx_v1, reading
from tests.httpserver import Answer
from tests.influxplayed import Played
from tests.services import Service

NOW_MS = time.time_ns() // 1_000_000
OLD = [reading(at_ms=NOW_MS - 30 * DAY_MS + n, sensor=f"r{n % 2}") for n in range(40)]
LATER = [reading(at_ms=NOW_MS - 29 * DAY_MS + n) for n in range(9)]
NEW = [reading(at_ms=NOW_MS - n, sensor=f"r{n % 2}") for n in range(50)]


def mixed() -> list[Any]:
    """Old and new ones, series by series."""
    return [*NEW[:20], *OLD, *NEW[20:]]


class Keeping(Played):
    """A server of 2.x or 3.x that keeps ten days. 2.x says so to what is older, after having taken
    the rest; 3.x takes it and lets it go."""

    counts = True

    def _write(self, bucket: str, precision: str, body: bytes) -> Answer:
        bound = NOW_MS - 10 * DAY_MS
        lines = body.split(b"\n")
        young = [one for one in lines if int(one.rsplit(b" ", 1)[1]) >= bound]
        if young:
            assert super()._write(bucket, precision, b"\n".join(young)).status == 204
        many = len(lines) - len(young)
        if self.major == 3 or not many:
            return Answer(204)
        number = f" dropped={many} for database: d for retention policy: autogen"
        words = f"dropped {many} points outside retention policy of duration 240h0m0s - oldest"
        text = f"failure writing points to database: partial write: {words}"
        text += number if self.counts else ""
        return Answer(422, f'{{"code": "unprocessable entity", "message": "{text}"}}'.encode())


@pytest.fixture(params=["embedded", "1.x", "2.x", "2.x that does not count", "3.x"])
def store(
    request: pytest.FixtureRequest, shared_influxd: Service, tmp_path: Path
) -> Iterator[dict[str, Any]]:
    if request.param == "embedded":
        yield {"kind": "sqlite"}
    elif request.param == "1.x":
        config = influx_v1(shared_influxd)
        made = f'CREATE DATABASE "{config["database"]}" WITH DURATION 10d'
        ask = f"{shared_influxd.url}/query"
        httpx.post(ask, params={"q": made}, verify=False).raise_for_status()
        yield config
    else:
        with Keeping(shared_influxd.url, int(request.param[0])) as server:
            server.counts = request.param in ("2.x", "3.x")
            name = f"b{abs(hash(tmp_path))}"
            where = {"bucket": name, "org": "city", "url": server.url}
            yield {"kind": "influx", "api": "v2", **where}


async def test_what_is_too_late_counts_as_retired(store: dict[str, Any], tmp_path: Path) -> None:
    days = {"raw_days": 8} if store["kind"] == "sqlite" else {}
    async with opened(tmp_path, store, **days) as (database, opened_store):
        ingest = Ingest(database, opened_store)
        await ingest.put(*mixed())
        await ingest.put(*LATER[:7])  # all old
        await opened_store.upkeep(NOW_MS)
        kept = await opened_store.read(Query())
        assert len([one for one in kept if one.at_ms > NOW_MS - DAY_MS]) == len(NEW)
        if "bucket" not in store or await _drops(opened_store):
            retired = await opened_store.retired("g1")
            assert retired.readings == len(OLD) + 7
            assert await opened_store.count(Query()) == len(NEW)


async def _drops(store: Any) -> bool:
    return bool((await store.retired("g1")).readings)


async def test_with_our_own_retention_it_is_counted_once(
    store: dict[str, Any], tmp_path: Path
) -> None:
    async with opened(tmp_path, store, raw_days=8) as (database, opened_store):
        ingest = Ingest(database, opened_store)
        await opened_store.upkeep(NOW_MS)
        await ingest.put(*mixed())
        await opened_store.upkeep(NOW_MS)
        await ingest.put(*LATER[:9], reading(at_ms=NOW_MS - 60_000))
        await opened_store.upkeep(NOW_MS)
        retired = await opened_store.retired("g1")
        assert retired.readings == len(OLD) + 9
        left = await opened_store.count(Query(since_ms=retired.since_ms))
        assert left == len(NEW) + 1


@pytest.mark.parametrize(("raw_days", "age_days"), [(None, 0), (60, 30)])
async def test_a_server_that_drops_what_it_is_to_keep_is_at_fault(
    raw_days: int | None, age_days: int, shared_influxd: Service, tmp_path: Path
) -> None:
    """Its clock is years ahead, or its retention is not ours: all is kept, nothing is retired."""
    days = {} if raw_days is None else {"raw_days": raw_days}
    words = b'{"error": "partial write: points beyond retention policy dropped=%d"}'
    with Played(shared_influxd.url, 2) as server:
        name = f"b{abs(hash(tmp_path))}"
        config = {"kind": "influx", "api": "v2", "bucket": name, "org": "o", "url": server.url}
        one = reading(at_ms=NOW_MS - age_days * DAY_MS)
        async with opened(tmp_path, config, **days) as (_, opened_store):
            for number in (0, 1, 2):
                server.refuses[name] = Answer(400, words % number)
                with pytest.raises(Unavailable, match="it drops what is of") as raised:
                    await opened_store.write([Points("g", (one,))], lambda _: None)
                assert raised.value.of_the_request
                assert not isinstance(raised.value, Rejected)
            assert (await opened_store.retired(None)).readings == 0
