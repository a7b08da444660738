"""Retention takes what is old, keeps the rollups exact, and is not taken for loss."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from cloud import account, ledger, service
from cloud.config import Config, Setup
from cloud.ledger import Key, Stream
from cloud.state import State
from cloud.store import DAY_MS, Bucket, Points, Query, Store, marks
from configs import loader
from configs.loader import ConfigError
from tests.contract.test_stores import by_hand, row, victoria_v1
from tests.influxservers import Place
from tests.services import Service
from wire.reading import Quality, Quantity, Reading

NOW = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS + DAY_MS // 2
DAYS = {"raw_days": 3, "minute_days": 4, "hour_days": 5, "day_days": 20}


@asynccontextmanager
async def opened(
    folder: Path, store: dict[str, Any], **days: int
) -> AsyncIterator[tuple[State, Store]]:
    tables = {"store": store | {"retention": days}}
    async with service.opened(Setup(loader.parse(tables, Config, "test"), folder)) as both:
        yield both


class Ingest:
    """Stores batches with their ledger, as the service does it."""

    def __init__(self, database: State, store: Store) -> None:
        self.database = database
        self.store = store
        self.number = 0

    async def put(self, *readings: Reading) -> None:
        key = Key("g1", "s1")
        self.number += 1

        def also(connection: Connection) -> None:
            old = ledger.load(connection, [key])
            new: dict[Key, Stream] = {key: old[key].copy()}
            new[key].accept(self.number, len(readings), NOW)
            ledger.save(connection, new, old)

        await self.store.write([Points("g1", readings)], also)

    async def agrees(self) -> account.Account:
        found = await account.take(self.database, self.store)
        assert found.ok, found
        assert found.readings_in_store is not None
        assert found.readings_in_store + found.readings_retired == found.readings_ledgered
        return found


def reading(at_ms: int, value: float | None = 0.5) -> Reading:
    quality = Quality.MISSING if value is None else Quality(at_ms // 1000 % 4 + 1)
    return Reading("underpass", f"r{at_ms % 2}", Quantity.DEPTH, value, at_ms, quality)


async def test_rollups_outlive_readings_and_take_late_ones_in(tmp_path: Path) -> None:
    chance = random.Random(7)
    start = NOW - 9 * DAY_MS
    # Twice a moment is another reading here: a reading that is replaced when what it replaces is
    # gone cannot be told from a new one.
    times = chance.sample(range(start, NOW, 977), 300)
    readings = [
        reading(at_ms, None if n % 9 == 0 else chance.choice([-0.5, 0.25, 1.0, 8.0]))
        for n, at_ms in enumerate(times)
    ]
    async with opened(tmp_path, {"kind": "sqlite"}, **DAYS) as (database, store):
        ingest = Ingest(database, store)
        for n in range(0, len(readings), 50):  # each is late by up to nine days
            await ingest.put(*readings[n : n + 50])
            if chance.random() < 0.7:
                await store.upkeep(start + (n + 50) * (NOW - start) // len(readings))
            await ingest.agrees()
        await store.upkeep(NOW)
        found = await ingest.agrees()
        kept_from = {
            level: (NOW - days * DAY_MS) // DAY_MS * DAY_MS
            for level, days in zip(("raw", "minute", "hour", "day"), DAYS.values(), strict=True)
        }
        assert found.readings_ledgered == len(readings)
        assert found.readings_in_store == sum(at >= kept_from["raw"] for at in times)
        rows = sorted(row("g1", one) for one in readings)
        left = await store.read(Query())
        assert left == [one for one in rows if one.at_ms >= kept_from["raw"]]
        for bucket in Bucket:
            kept_from_ms = kept_from["day" if bucket is Bucket.HYDRO_DAY else bucket.level]
            wanted = [one for one in by_hand(rows, bucket) if one.at_ms >= kept_from_ms]
            rollups = await store.rollups(Query(), bucket)
            assert [one[:6] + one[7:] for one in rollups] == [one[:6] + one[7:] for one in wanted]
            assert [one.mean for one in rollups if one.mean is not None] == pytest.approx(
                [one.mean for one in wanted if one.mean is not None]
            )
        await store.upkeep(NOW + 30 * DAY_MS)
        assert (await ingest.agrees()).readings_in_store == 0
        for bucket in Bucket:
            assert await store.rollups(Query(), bucket) == []


async def test_what_an_influxdb_lets_go_is_counted_off_before(
    influx_place: Place, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    async with opened(tmp_path / "made", influx_place.config) as (_, store):
        await store.init()
    await let_go(influx_place.config, tmp_path)


async def test_what_a_victoriametrics_lets_go_is_counted_off_before(
    tmp_path: Path, shared_victoria_metrics: Service
) -> None:
    await let_go(victoria_v1(shared_victoria_metrics), tmp_path)


async def let_go(config: dict[str, Any], tmp_path: Path) -> None:
    async with opened(tmp_path, config, raw_days=3, minute_days=3) as (database, store):
        ingest = Ingest(database, store)
        await ingest.put(*(reading(NOW - n * DAY_MS // 4) for n in range(19)))  # up to 4.5 days
        await store.upkeep(NOW)
        found = await ingest.agrees()
        assert (found.readings_retired, found.readings_in_store) == (4, 15)
        await ingest.put(reading(NOW - 4 * DAY_MS - 1), reading(NOW - 1), reading(NOW - 3))
        found = await ingest.agrees()  # too late to be counted in the store
        assert (found.readings_retired, found.readings_in_store) == (5, 17)
        await store.upkeep(NOW + DAY_MS)
        found = await ingest.agrees()
        assert (found.readings_retired, found.readings_in_store) == (9, 13)
        for bucket in Bucket:
            look = partial(marks.due, bucket=bucket, now_ms=NOW + DAY_MS)
            assert await database.run(look) == []


async def test_without_retention_everything_stays(tmp_path: Path) -> None:
    async with opened(tmp_path, {"kind": "sqlite"}) as (database, store):
        ingest = Ingest(database, store)
        await ingest.put(reading(1), reading(NOW))
        await store.upkeep(NOW + 40_000 * DAY_MS)
        assert (await ingest.agrees()).readings_in_store == 2


@pytest.mark.parametrize(
    "days",
    [
        {"raw_days": 9, "minute_days": 5},
        {"minute_days": 5},
        {"raw_days": 1, "minute_days": 9, "hour_days": 2},
        {"hour_days": 9, "day_days": 2},
    ],
)
def test_what_is_coarser_stays_longer(days: dict[str, int]) -> None:
    tables = {"store": {"kind": "sqlite", "retention": days}}
    with pytest.raises(ConfigError, match="raw_days <= minute_days <= hour_days <= day_days"):
        loader.parse(tables, Config, "test")
