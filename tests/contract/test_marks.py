"""Marks and the account of retention, on both databases that can hold the state."""

import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from cloud import state
from cloud.database import Place
from cloud.state import State
from cloud.store import Points, marks
from cloud.store.marks import Mark
from tests.services import Postgres
from wire.reading import Quantity, Reading

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


async def test_a_mark_is_a_gateway_and_an_hour_and_grows(database: State) -> None:
    async def mark(*some: Points) -> None:
        await database.run(partial(marks.mark, points=some))

    await mark(points("a", 5, 3, 9), points("b", HOUR - 1, HOUR, 3 * HOUR), points("c"))
    await mark(points("a", 7), points("a", 12, 10))
    await mark(points("a", 1))
    await mark()
    assert sorted(await database.run(marks.due)) == [
        Mark("a", T0, T0 + 1, T0 + 12, 3),
        Mark("b", T0, T0 + HOUR - 1, T0 + HOUR - 1, 1),
        Mark("b", T0 + HOUR, T0 + HOUR, T0 + HOUR, 1),
        Mark("b", T0 + 3 * HOUR, T0 + 3 * HOUR, T0 + 3 * HOUR, 1),
    ]
    found = await database.run(partial(marks.due, gateway="b", before_ms=T0 + 3 * HOUR))
    assert [one.hour_ms for one in found] == [T0 + HOUR, T0]  # what is live comes first


async def test_many_gateways_are_marked_at_once(database: State) -> None:
    many = [points(f"g{n}", n) for n in range(1234)]
    await database.run(partial(marks.mark, points=many))
    found = {one.gateway: one.first_ms - T0 for one in await database.run(marks.due)}
    assert found == {f"g{n}": n for n in range(1234)}


async def test_what_was_added_meanwhile_is_still_due(database: State) -> None:
    await database.run(partial(marks.mark, points=[points("a", 1), points("b", 1)]))
    seen = await database.run(marks.due)
    await database.run(partial(marks.mark, points=[points("a", 1)]))
    await database.run(partial(marks.done, marks=seen))
    assert [one.gateway for one in await database.run(marks.due)] == ["a"]


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
