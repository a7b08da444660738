"""Keys, ladders and thinning."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.shelf import (
    KEEP_ONE_IN,
    LADDERS,
    MOST_LIVES,
    PLACES,
    SENDING_ORDER,
    Key,
    Shelf,
    Thinner,
    giving,
    join,
    span,
)
from wire.reading import Quantity, Reading

keys = st.builds(
    Key, st.integers(0, PLACES - 1), st.integers(0, MOST_LIVES - 1), st.integers(1, 2**44 - 1)
)


@given(keys, keys)
def test_packed_keys_are_in_order_of_place_then_age(one, other):
    assert Key.unpack(one.pack()) == one
    assert (one.pack() < other.pack()) == (one < other)
    assert 0 <= one.pack() < 2**63
    low, high = span(one.place)
    assert low <= one.pack() <= high
    assert (low <= other.pack() <= high) == (one.place == other.place)


def test_every_shelf_is_on_one_ladder_and_is_sent():
    shelves = [shelf for ladder in LADDERS.values() for shelf in ladder]
    assert sorted(shelves) == sorted(SENDING_ORDER) == sorted(Shelf)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5), st.integers(0, 10**9))
def test_something_gives_exactly_when_there_is_too_much(sizes, limit):
    rung = giving(sizes, limit)
    assert (rung is None) == (sum(sizes) <= limit)
    if rung is not None:
        assert sizes[rung] * len(sizes) > limit
        assert all(size * len(sizes) <= limit for size in sizes[:rung])


def test_a_ladder_that_is_full_for_long_ends_with_equal_shares():
    sizes, limit = [0.0, 0.0, 0.0, 0.0], 1000
    for _ in range(200_000):
        sizes[0] += 1
        while (rung := giving(sizes, limit)) is not None:
            sizes[rung] -= 1
            if rung + 1 < len(sizes):
                sizes[rung + 1] += 1 / KEEP_ONE_IN
    assert all(abs(size - limit / 4) < 3 for size in sizes)


@given(st.lists(st.lists(st.integers(0, 3), max_size=8), max_size=12))
def test_thinning_keeps_each_first_and_fourth_after_it_however_batches_are_cut(batches):
    thinner, index = Thinner(), Counter[int]()
    kept: list[Reading] = []
    expected = []
    for batch in batches:
        readings = []
        for sensor in batch:
            reading = Reading("s", f"r{sensor}", Quantity.DEPTH, 0.1, index.total())
            readings.append(reading)
            if index[sensor] % KEEP_ONE_IN == 0:
                expected.append(reading)
            index[sensor] += 1
        kept += thinner.keep(readings)
    assert kept == expected


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), max_size=10))
def test_joined_ranges_hold_the_same_numbers_and_do_not_touch(pairs):
    ranges = [(first, first + more) for first, more in pairs]
    joined = join(ranges)
    numbers = {n for first, last in ranges for n in range(first, last + 1)}
    assert {n for first, last in joined for n in range(first, last + 1)} == numbers
    assert all(a[1] + 1 < b[0] for a, b in pairwise(joined))
