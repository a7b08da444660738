"""The search for the points that a store refuses, against stores that refuse in different ways."""

from collections.abc import Callable, Sequence
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import refusals
from cloud.errors import Rejected, Unavailable
from cloud.refusals import MOST_TRIES, Point, TooMany
from cloud.store import Points
from wire.reading import Quality, Quantity, Reading

T0 = 1_700_000_000_000


class Picky:
    """A store that takes what is not `bad`; `counts`: it says how many it has dropped."""

    def __init__(self, bad: Callable[[str, Reading], bool], *, counts: bool) -> None:
        self.taken: set[tuple[str, Reading]] = set()
        self.tries = 0
        self._bad = bad
        self._counts = counts

    async def write(self, points: Sequence[Points]) -> None:
        self.tries += 1
        given = [(gateway, reading) for gateway, readings in points for reading in readings]
        assert given
        dropped = [one for one in given if self._bad(*one)]
        if self._counts:  # a partial write
            self.taken |= {one for one in given if not self._bad(*one)}
        if dropped:
            raise Rejected("because", len(dropped) if self._counts else None)
        self.taken |= set(given)


async def search(store: Picky, points: Sequence[Point], *, at_last: bool = True) -> set[int]:
    """The indices of those that are refused."""
    with pytest.raises(Rejected) as caught:
        await store.write(refusals.grouped(points))
    found = await refusals.find(store.write, points, caught.value, at_last=at_last)
    assert all(words.startswith("because") for words in found.values())
    return {n for _, n in found}


def points_of(count: int, *, series: int = 10, quantities: int = 1) -> list[Point]:
    """Of several series in turn, oldest first."""
    kinds = [*Quantity][:quantities]
    return [
        Point(
            f"g{n % series % 3}",
            Reading(
                "site",
                f"s{n % series}",
                kinds[n % quantities],
                0.1,
                T0 + n // series * 1000,
                Quality.GOOD,
            ),
            (0, n),
        )
        for n in range(count)
    ]


@given(
    st.integers(1, 60).flatmap(
        lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1), min_size=1))
    ),
    st.integers(1, 7),
    st.integers(1, 3),
    st.booleans(),
)
async def test_those_and_no_others_are_found(
    case: tuple[int, set[int]], series: int, quantities: int, counts: bool
) -> None:
    count, bad = case
    points = points_of(count, series=series, quantities=quantities)
    refused = {(points[n].gateway, points[n].reading) for n in bad}
    store = Picky(lambda *one: one in refused, counts=counts)
    found = await search(store, points)
    assert {(points[n].gateway, points[n].reading) for n in found} == refused
    assert store.taken == {(one.gateway, one.reading) for one in points} - refused


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("clumps", [1, 2, 5])
async def test_few_among_many_take_few_writes(clumps: int, counts: bool) -> None:
    points = points_of(20_000, series=200)
    bad = {n * 3999 + 17 for n in range(clumps)}
    refused = {(points[n].gateway, points[n].reading) for n in bad}
    store = Picky(lambda *one: one in refused, counts=counts)
    assert await search(store, points) == bad
    assert store.tries <= 2 * clumps * (log2(20_000) + 2) + 2


async def test_a_conflict_of_types_takes_a_write_for_each_kind() -> None:
    points = points_of(20_000, quantities=4)
    store = Picky(lambda _, one: one.quantity is Quantity.LEVEL, counts=True)
    assert len(await search(store, points)) == 5_000
    assert store.tries == 1 + 4


async def test_readings_without_a_value_have_no_part_in_a_conflict_about_it() -> None:
    some = [
        one if n % 7 else one._replace(reading=Reading("x", "s", Quantity.DEPTH, None, T0 + n))
        for n, one in enumerate(points_of(5_000))
    ]
    store = Picky(lambda _, one: one.value is not None, counts=True)
    assert await search(store, some) == {n for n in range(5_000) if n % 7}
    assert store.tries == 3


async def test_what_is_older_than_retention_is_found_by_time() -> None:
    points = points_of(20_000, series=200)
    store = Picky(lambda _, one: one.at_ms < T0 + 37_000, counts=True)
    assert len(await search(store, points)) == 37 * 200
    assert store.tries <= 2 * log2(100) + 4


async def test_a_limit_on_series_is_found_by_series() -> None:
    points = points_of(20_000, series=200)
    store = Picky(lambda _, one: one.sensor in ("s3", "s117"), counts=True)
    assert len(await search(store, points)) == 200
    assert store.tries <= 2 * 2 * 2 * (log2(200) + 1)  # two series, in two halves of the time


@pytest.mark.parametrize("counts", [True, False])
async def test_if_all_is_refused_the_effort_is_bounded(counts: bool) -> None:
    points = points_of(2_000)
    store = Picky(lambda *_: True, counts=counts)
    assert len(await search(store, points)) == 2_000
    assert store.tries <= (1 if counts else MOST_TRIES + 2)


async def test_where_there_are_too_many_clumps_less_is_tried_or_it_ends() -> None:
    points = points_of(2_000)
    with pytest.raises(TooMany):
        await search(
            Picky(lambda _, one: one.at_ms % 3000 == 0, counts=True), points, at_last=False
        )
    store = Picky(lambda _, one: one.at_ms % 3000 == 0, counts=True)
    found = await search(store, points)
    bad = {n for n, one in enumerate(points) if one.reading.at_ms % 3000 == 0}
    assert bad <= found
    assert store.tries <= MOST_TRIES + 1
    left = [one for one in points if one.place[1] not in found]
    assert {(one.gateway, one.reading) for one in left} <= store.taken


async def test_if_each_part_is_taken_it_is_not_the_points() -> None:
    store = Picky(lambda *_: False, counts=False)
    error = Rejected("the ledger says no")
    for count in (1, 100):
        assert await refusals.find(store.write, points_of(count), error, at_last=True) == {}


async def test_the_same_point_twice_is_refused_twice() -> None:
    (one,) = points_of(1)
    store = Picky(lambda *_: True, counts=False)
    assert await search(store, [one, one._replace(place=(0, 1))]) == {0, 1}


class Doubtful(Picky):
    """A store that fails at what is bad as if it were away, and at everything while `is_away`."""

    is_away = False

    async def write(self, points: Sequence[Points]) -> None:
        if self.is_away:
            raise Unavailable("nobody there")
        try:
            await super().write(points)
        except Rejected as error:
            raise Unavailable("500: cannot do it now") from error


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_ROUND_S", 0)


async def doubted(store: Doubtful, points: Sequence[Point], control: list[Points]) -> set[int]:
    error = Unavailable("500: cannot do it now")
    found = await refusals.doubted(store.write, points, error, control, rounds=3)
    return {n for _, n in found}


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("with_control", [True, False])
async def test_what_a_store_fails_at_while_it_takes_others_is_found(with_control: bool) -> None:
    points = points_of(60, quantities=3)
    control = [Points("g", (points[0].reading,))] if with_control else []
    store = Doubtful(lambda _, one: one.quantity is [*Quantity][1], counts=False)
    assert await doubted(store, points, control) == set(range(1, 60, 3))
    store = Doubtful(lambda _, one: one.at_ms == T0 and one.sensor == "s7", counts=False)
    assert await doubted(store, points, control) == {7}


@pytest.mark.usefixtures("no_pause")
async def test_a_store_that_is_away_condemns_nothing() -> None:
    points = points_of(10)
    store = Doubtful(lambda *_: False, counts=False)
    store.is_away = True
    with pytest.raises(Unavailable):
        await doubted(store, points, [Points("g", (points[0].reading,))])
    assert await doubted(store, points, []) == set(), "nothing was taken: nobody can tell"


@pytest.mark.usefixtures("no_pause")
async def test_a_store_that_goes_away_in_the_search_condemns_nothing() -> None:
    points = points_of(40)

    class Leaving(Doubtful):
        async def write(self, points: Sequence[Points]) -> None:
            self.is_away = self.tries >= 4
            await super().write(points)

    store = Leaving(lambda _, one: one.sensor == "s3", counts=False)
    with pytest.raises(Unavailable):
        await doubted(store, points, [Points("g", (points[0].reading,))])


@pytest.mark.usefixtures("no_pause")
async def test_a_store_that_comes_back_in_the_search_condemns_nothing() -> None:
    points = points_of(40)

    class Returning(Doubtful):
        async def write(self, points: Sequence[Points]) -> None:
            self.is_away = 1 <= self.tries < 2
            self.tries += self.is_away
            await super().write(points)

    store = Returning(lambda *_: False, counts=False)
    assert await doubted(store, points, [Points("g", (points[0].reading,))]) == set()
