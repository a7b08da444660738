"""Days as people count them, and rain as a sum over a counter, in every store."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloud.store import DAY_MS, HOUR_MS, Bucket, Days, Points, Query, Rollup, marks
from configs.loader import ConfigError
from tests import influxservers
from tests.contract.test_stores import NOW, Kept, by_hand, kept, opened, reading, row
from wire.reading import Quality, Quantity, Reading

__all__ = ["kept"]

DAY0 = (NOW // DAY_MS - 5) * DAY_MS  # 08:00 at UTC+8, some days ago
MIDNIGHT = DAY0 + 16 * HOUR_MS
MM = 0.001

each_store = pytest.mark.parametrize(
    "kept", ["sqlite", "influxdb-v1", "victoria-v1", *influxservers.GIVEN], indirect=True
)
"""Another file or API of the same store adds nothing here."""


def counter(at_ms: int, value: float, **changes: Any) -> Reading:
    return reading(
        value=value, at_ms=at_ms, sensor="gauge", quantity=Quantity.RAIN_TOTAL, **changes
    )


@each_store
async def test_days_begin_at_midnight_and_at_eight_in_china(kept: Kept) -> None:
    moments = [DAY0 - 1, DAY0, MIDNIGHT - 1, MIDNIGHT, DAY0 + DAY_MS - 1, DAY0 + DAY_MS]
    await kept.write(*(reading(value=float(n), at_ms=at_ms) for n, at_ms in enumerate(moments)))
    days = await kept.rollups(Bucket.DAY)
    assert [(one.at_ms, one.min, one.max) for one in days] == [
        (MIDNIGHT - DAY_MS, 0.0, 2.0),
        (MIDNIGHT, 3.0, 5.0),
    ]
    hydrological = await kept.rollups(Bucket.HYDRO_DAY)
    assert [(one.at_ms, one.min, one.max) for one in hydrological] == [
        (DAY0 - DAY_MS, 0.0, 0.0),
        (DAY0, 1.0, 4.0),
        (DAY0 + DAY_MS, 5.0, 5.0),
    ]
    # A range takes in all of each day that it touches.
    touched = {"since_ms": DAY0 + 5 * HOUR_MS, "until_ms": DAY0 + 6 * HOUR_MS}
    assert await kept.rollups(Bucket.HYDRO_DAY, **touched) == hydrological[1:2]


def storm(seed: int, hours: int, step_ms: int) -> Iterator[Reading]:
    """A gauge that tips at random, and is set back to zero by a power cut now and then."""
    chance = random.Random(seed)
    value = 0.4
    for n in range(hours * HOUR_MS // step_ms):
        if value > 0.012 and chance.random() < 0.01:
            value = 0.0
        value += chance.choice([0, 0, 0, 0.2, 0.4]) * MM
        yield counter(DAY0 + n * step_ms, round(value, 6))


def fallen(readings: list[Reading], width_ms: int, offset_ms: int = 0) -> dict[int, float]:
    """The rain of each hour or day, from the definition: what the counter rose by since the reading
    before, and all that it shows after a reset, where the later of the two lies."""
    found: dict[int, float] = {}
    before = None
    for one in readings:
        assert one.value is not None
        begun = (one.at_ms - offset_ms) // width_ms * width_ms + offset_ms
        step = 0.0
        if before is not None:
            step = one.value - before if one.value >= before else one.value
        found[begun] = found.get(begun, 0.0) + step
        before = one.value
    return found


def rains(rollups: list[Rollup]) -> dict[int, float | None]:
    return {one.at_ms: one.rain for one in rollups if one.quantity is Quantity.RAIN_TOTAL}


@each_store
@pytest.mark.parametrize("step_ms", [20_000, HOUR_MS])
async def test_rain_adds_up_whatever_comes_late(kept: Kept, step_ms: int) -> None:
    hours = 40 if step_ms == HOUR_MS else 3
    readings = [*storm(step_ms, hours, step_ms)]
    chance = random.Random(1)
    pieces = [readings[n : n + 30] for n in range(0, len(readings), 30)]
    chance.shuffle(pieces)
    for number, piece in enumerate(pieces):
        await kept.write(*piece, reading(at_ms=piece[0].at_ms))
        if number % 4 == 0:
            await kept.store.upkeep(NOW)
    found = await kept.rollups(Bucket.HOUR)
    assert rains(found) == pytest.approx(fallen(readings, HOUR_MS), abs=1e-7)
    assert {one.rain for one in found if one.quantity is Quantity.DEPTH} == {None}
    days = rains(await kept.rollups(Bucket.HYDRO_DAY))
    assert days == pytest.approx(fallen(readings, DAY_MS), abs=1e-7)
    assert rains(await kept.rollups(Bucket.DAY)) == pytest.approx(
        fallen(readings, DAY_MS, 16 * HOUR_MS), abs=1e-7
    )


@each_store
async def test_a_glitch_and_a_bad_reading_are_no_rain(kept: Kept) -> None:
    await kept.write(
        *(counter(DAY0 + n * 60_000, 0.4) for n in range(120)),
        counter(DAY0 + 59 * 60_000 + 1, 0.0),  # one nonsense at the end of an hour
        counter(DAY0 + 70 * 60_000, 90.0, quality=Quality.BAD),
        counter(DAY0 + 80 * 60_000 + 1, 60.0),
    )
    assert set(rains(await kept.rollups(Bucket.HOUR)).values()) == {0.0}


@each_store
async def test_a_reset_is_understood_when_the_next_hour_comes(kept: Kept) -> None:
    await kept.write(counter(DAY0, 0.4), counter(DAY0 + HOUR_MS - 1000, 0.0006))
    await kept.rollups(Bucket.HOUR)
    await kept.write(counter(DAY0 + HOUR_MS + 1000, 0.0010))
    assert rains(await kept.rollups(Bucket.HOUR)) == pytest.approx(
        {DAY0: 0.0006, DAY0 + HOUR_MS: 0.0004}, abs=1e-9
    )
    assert rains(await kept.rollups(Bucket.HYDRO_DAY)) == pytest.approx({DAY0: 0.0010}, abs=1e-9)


@each_store
async def test_what_fell_in_a_gap_moves_to_where_it_fell_when_the_gap_is_filled(
    kept: Kept,
) -> None:
    await kept.write(counter(DAY0, 0.100), counter(DAY0 + 30 * HOUR_MS, 0.110))
    later = DAY0 + 30 * HOUR_MS
    assert rains(await kept.rollups(Bucket.HOUR)) == pytest.approx({DAY0: 0.0, later: 0.010})
    assert rains(await kept.rollups(Bucket.HYDRO_DAY)) == pytest.approx(
        {DAY0: 0.0, DAY0 + DAY_MS: 0.010}
    )
    await kept.write(counter(DAY0 + 12 * HOUR_MS, 0.107))
    assert rains(await kept.rollups(Bucket.HOUR)) == pytest.approx(
        {DAY0: 0.0, DAY0 + 12 * HOUR_MS: 0.007, later: 0.003}
    )
    assert rains(await kept.rollups(Bucket.HYDRO_DAY)) == pytest.approx(
        {DAY0: 0.007, DAY0 + DAY_MS: 0.003}
    )


@each_store
async def test_the_running_hour_and_day_have_their_rain(kept: Kept) -> None:
    await kept.write(
        *(counter(DAY0 + n * 60_000, round(0.1 + n * 0.0002, 6)) for n in range(90)),
    )
    now_ms = DAY0 + 90 * 60_000 + marks.GRACE_MS  # the second hour is not over
    await kept.store.upkeep(now_ms)
    query = Query(gateway=kept.gateway)
    hours = await kept.store.rollups(query, Bucket.HOUR)
    assert rains(hours) == pytest.approx({DAY0: 0.0118, DAY0 + HOUR_MS: 0.006}, abs=1e-9)
    for bucket in (Bucket.DAY, Bucket.HYDRO_DAY):
        (day,) = await kept.store.rollups(query, bucket)
        assert day.rain == pytest.approx(0.0178, abs=1e-9)
        assert day.counted == 90


@pytest.fixture(params=["sqlite", "influxdb"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "sqlite":
        return {"kind": "sqlite"}
    server = request.getfixturevalue("shared_influxd")
    name = f"d{abs(hash(str(request.getfixturevalue('tmp_path'))))}"
    return {"kind": "influx", "url": server.url, "api": "v1", "database": name}


async def test_days_that_are_moved_are_made_anew(config: dict[str, Any], tmp_path: Path) -> None:
    readings = [reading(value=n / 8, at_ms=DAY0 + n * 7 * HOUR_MS // 2) for n in range(14)]
    rows = [row("g", one) for one in readings]
    shifted = Days(utc_offset_hours=-3, hydrological_begins_hour=9)
    async with opened(config | {"days": {"keep": []}}, tmp_path) as (_, store):
        await store.write([Points("g", readings)], lambda _: None)
        await store.upkeep(NOW)
        assert await store.rollups(Query(), Bucket.DAY) == []
    for days in (Days(), shifted, Days()):
        tables = {"days": days.model_dump()}
        async with opened(config | tables, tmp_path) as (_, store):
            await store.upkeep(NOW)
            for bucket in (Bucket.DAY, Bucket.HYDRO_DAY):
                found = await store.rollups(Query(), bucket)
                wanted = [one._replace(mean=None) for one in by_hand(rows, bucket, days)]
                assert [one._replace(mean=None) for one in found] == wanted
                newest = Query(limit=1, newest_first=True)
                assert await store.rollups(newest, bucket) == found[-1:]


def test_days_are_made_of_whole_hours() -> None:
    for table in ({"utc_offset_hours": 5.5}, {"hydrological_begins_hour": 24}, {"keep": ["week"]}):
        with pytest.raises(ConfigError, match=f"store.days.{next(iter(table))}"):
            opened({"kind": "sqlite", "days": table}, Path())


@each_store
async def test_no_query_is_answered_with_more_than_it_asks_for(kept: Kept) -> None:
    await kept.write(*(counter(DAY0 + n * HOUR_MS, n * MM) for n in range(50)))
    await kept.rollups(Bucket.HOUR)
    query = Query(gateway=kept.gateway, since_ms=DAY0 + 10 * HOUR_MS, until_ms=DAY0 + 13 * HOUR_MS)
    found = await kept.store.rollups(query, Bucket.HOUR)
    assert [one.rain for one in found] == pytest.approx([MM] * 3)
    newest = replace(query, limit=1, newest_first=True)
    assert await kept.store.rollups(newest, Bucket.HOUR) == found[-1:]
