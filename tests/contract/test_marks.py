"""Marks and the account of retention, on both databases that can hold the state."""

import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloud import state
from cloud.database import Place
from cloud.state import State
from cloud.store import Bucket, Points, marks
from cloud.store.marks import Mark
from tests.services import Postgres
from wire.reading import Quantity, Reading

MINUTE = 60_000
HOUR = 3_600_000
T0 = 1_705_305_600_000  # 2024-01-15T08:00:00Z


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(
    request: pytest.FixtureRequest, tmp_path: Path, shared_postgres: Postgres
) -> AsyncIterator[State]:
    place: Place = tmp_path / "cloud.db"
    if request.param == "postgresql":
        place = shared_postgres.database(uuid.uuid4().hex)
    async with state.opened(place) as opened:
        yield opened


def points(gateway: str, *times: int) -> Points:
    return Points(
        gateway, [Reading("site", "ruler", Quantity.DEPTH, 0.1, T0 + at_ms) for at_ms in times]
    )


async def due(database: State, **asked: Any) -> list[Mark]:
    return await database.run(partial(marks.due, bucket=Bucket.MINUTE, **asked))


async def mark(database: State, *some: Points) -> None:
    await database.run(partial(marks.mark, points=some))


async def test_a_mark_is_a_gateway_and_a_minute(database: State) -> None:
    await mark(database, points("a", 5, 3, 9), points("b", HOUR - 1, HOUR, 3 * HOUR), points("c"))
    await mark(database, points("a", 7), points("a", 12, 10))
    await mark(database, points("a", MINUTE))
    await mark(database)
    assert sorted(one[:3] for one in await due(database)) == [
        ("minute", "a", T0),
        ("minute", "a", T0 + MINUTE),
        ("minute", "b", T0 + HOUR - MINUTE),
        ("minute", "b", T0 + HOUR),
        ("minute", "b", T0 + 3 * HOUR),
    ]
    found = await due(database, gateway="b", before_ms=T0 + 3 * HOUR)
    assert [one.at_ms for one in found] == [T0 + HOUR, T0 + HOUR - MINUTE]  # the newest first
    found = await due(database, since_ms=T0 + HOUR)
    assert [one.at_ms - T0 for one in found] == [3 * HOUR, HOUR]


async def test_a_touch_tells_what_the_mark_has_become(database: State) -> None:
    first = await database.run(partial(marks.mark, points=[points("a", 1), points("b", 1)]))
    assert sorted(first.marks) == [("a", T0, first.start), ("b", T0, first.start)]
    second = await database.run(partial(marks.mark, points=[points("a", 2, MINUTE)]))
    assert sorted(second.marks) == [
        ("a", T0, first.start + 1),
        ("a", T0 + MINUTE, second.start),
    ]
    assert {one.times for one in await due(database, gateway="b")} == {first.start}


async def test_a_batch_that_is_dense_marks_all_that_it_spans(database: State) -> None:
    await mark(database, points("a", *range(0, 5 * MINUTE, 10_000)))
    assert len(await due(database)) == 5


@pytest.mark.parametrize("times", [(0,), (0, 59_999), (0, 60_000), (0, 5 * 3_600_000, 1)])
async def test_each_minute_of_a_batch_is_marked(database: State, times: tuple[int, ...]) -> None:
    await mark(database, points("a", *times))
    wanted = {(T0 + one) // MINUTE * MINUTE for one in times}
    assert {one.at_ms for one in await due(database)} == wanted


async def test_what_is_not_over_is_not_asked_for(database: State) -> None:
    await mark(database, points("a", 0, MINUTE))
    ready = T0 + MINUTE + marks.GRACE_MS
    assert await due(database, now_ms=ready - 1) == []
    assert [one.at_ms for one in await due(database, now_ms=ready)] == [T0]


async def test_many_gateways_are_marked_at_once(database: State) -> None:
    many = [points(f"g{n}", n % 7) for n in range(1234)]
    await database.run(partial(marks.mark, points=many))
    assert {one.gateway for one in await due(database)} == {f"g{n}" for n in range(1234)}


async def test_what_was_added_meanwhile_is_still_due(database: State) -> None:
    await mark(database, points("a", 1), points("b", 1))
    seen = await due(database)
    await mark(database, points("a", 1))
    await database.run(partial(marks.done, marks=seen))
    assert [one.gateway for one in await due(database)] == ["a"]


async def test_what_is_set_aside_waits_unless_it_is_touched(database: State) -> None:
    await mark(database, points("a", 1), points("b", 1))
    now_ms = T0 + HOUR
    seen = await due(database, now_ms=now_ms)
    put = partial(marks.set_aside, marks=seen, fault="refused", until_ms=now_ms + 1000)
    await database.run(put)
    assert await database.run(marks.aside) == (2, "refused")
    assert await due(database, now_ms=now_ms) == []
    assert len(await due(database, now_ms=now_ms + 1000)) == 2
    await mark(database, points("b", 2))
    assert [one.gateway for one in await due(database, now_ms=now_ms)] == ["b"]
    assert await database.run(marks.aside) == (1, "refused")


async def test_what_retention_took_adds_up(database: State) -> None:
    for more in ({"a": 5, "b": 1, "c": 0}, {"a": 2}, {}):
        await database.run(partial(marks.retire, gateways=more))
    asked = {name: partial(marks.retired, gateway=name) for name in ("a", "c", None)}
    assert [await database.run(one) for one in asked.values()] == [7, 0, 8]


async def test_a_horizon_never_comes_back(database: State) -> None:
    look = partial(marks.horizon, gateway="a", level="raw")
    assert await database.run(look) == 0
    for at_ms in (HOUR, 3 * HOUR, 2 * HOUR):
        await database.run(partial(marks.advance, gateway="a", level="raw", at_ms=at_ms))
    assert await database.run(look) == 3 * HOUR
    assert await database.run(partial(marks.horizon, gateway="a", level="minute")) == 0


async def test_another_worker_leaves_a_mark_to_who_has_left_it_for_a_while(
    database: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    await mark(database, points("a", 1))
    now_ms = time.time_ns() // 1_000_000
    assert len(await due(database, now_ms=now_ms)) == 1
    monkeypatch.setattr(marks, "OWNER", "another")
    assert await due(database, now_ms=now_ms) == []
    assert len(await due(database, now_ms=now_ms + marks.OTHERS_MS + 1000)) == 1
    # It was noted by a clock that was set ahead: nobody waits for that time.
    assert len(await due(database, now_ms=now_ms - 10 * HOUR)) == 1
    await mark(database, points("a", 2))
    assert len(await due(database, now_ms=now_ms)) == 1


async def test_what_two_workers_have_made_at_once_is_made_once_more(database: State) -> None:
    await mark(database, points("a", 1), points("b", 1))
    slow = quick = await due(database)
    await database.run(partial(marks.done, marks=quick))
    assert await due(database) == []
    await mark(database, points("c", 1))
    # What the slow one has written may be older than what the quick one had read.
    await database.run(partial(marks.done, marks=slow))
    assert sorted(one.gateway for one in await due(database)) == ["a", "b", "c"]


@pytest.mark.parametrize("shape", ["0.1", "without an owner"])
async def test_marks_in_a_file_of_an_earlier_release_are_kept(shape: str, tmp_path: Path) -> None:
    columns = "gateway TEXT, hour_ms BIGINT, first_ms BIGINT, last_ms BIGINT, times BIGINT"
    rows: list[tuple[Any, ...]] = [("a", T0, T0 + 5, T0 + MINUTE + 1, 3), ("b", T0, T0, T0, 1)]
    if shape != "0.1":
        columns = "level TEXT, gateway TEXT, at_ms BIGINT, times BIGINT, fault TEXT"
        places = (("a", T0), ("a", T0 + MINUTE), ("b", T0))
        rows = [("minute", *place, 1, "") for place in places]
    with sqlite3.connect(tmp_path / "points.db") as old:
        old.execute(f"CREATE TABLE rollup_due ({columns})")
        signs = ", ".join("?" * len(rows[0]))
        old.executemany(f"INSERT INTO rollup_due VALUES ({signs})", rows)
    async with state.connected(tmp_path / "points.db") as opened:
        for _ in range(2):
            await opened.run(marks.create)
            assert sorted(one[1:3] for one in await due(opened)) == [
                ("a", T0),
                ("a", T0 + MINUTE),
                ("b", T0),
            ]
