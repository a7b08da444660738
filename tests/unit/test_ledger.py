"""The interval set against a plain set, and the ledger through its database."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert

from cloud import ledger, state, tables
from cloud.ledger import Key, Stream
from wire import ranges
from wire.messages import Gap
from wire.ranges import Intervals

numbers = st.lists(st.integers(1, 60), max_size=80)


@given(numbers)
def test_it_holds_what_a_set_holds(added: list[int]) -> None:
    plain, intervals = set(added), Intervals()
    for number in added:
        intervals.add(number)
    assert [n for n in range(63) if n in intervals] == sorted(plain)
    assert intervals.count == len(plain)
    assert len(intervals) == len([*intervals])
    assert intervals.highest == max(plain, default=0)
    assert intervals == Intervals(added) == Intervals.of(intervals) == intervals.copy()


@given(numbers)
def test_its_intervals_are_ascending_disjoint_and_not_adjacent(added: list[int]) -> None:
    ranges = list(Intervals(added))
    assert all(first <= last for first, last in ranges)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))


@given(numbers, st.integers(0, 70))
def test_missing_is_the_rest_up_to_a_number(added: list[int], up_to: int) -> None:
    missing = Intervals(added).missing(up_to)
    told = [n for first, last in missing for n in range(first, last + 1)]
    assert told == sorted(set(range(1, up_to + 1)) - set(added))


@given(numbers, numbers)
def test_what_is_taken_out_is_out(added: list[int], out: list[int]) -> None:
    intervals = Intervals(added)
    for number in out:
        intervals.discard(number)
    assert intervals == Intervals(set(added) - set(out))


@given(numbers, numbers, st.integers(1, 9))
def test_the_changes_since_a_set_make_it_the_other(
    before: list[int], after: list[int], step: int
) -> None:
    then, now = Intervals(before), Intervals(after)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "_STEP", step)
        gone, new = now.since(then)
    table = dict(then)
    for first in gone:
        del table[first]
    table |= dict(new)
    assert table == dict(now)


def test_a_copy_goes_its_own_way() -> None:
    one = Intervals([1, 2])
    other = one.copy()
    other.add(3)
    assert 3 in other
    assert 3 not in one


def test_what_the_gateway_has_sealed_is_expected_too() -> None:
    stream = Stream(received=Intervals([1, 2, 4]))
    assert stream.missing == [(3, 3)]
    stream.expect(sealed=6, readings_sealed=60)
    stream.expect(sealed=5, readings_sealed=50)  # an older word, heard late
    assert stream.missing == [(3, 3), (5, 6)]


async def test_streams_come_back_from_the_database_as_they_went(tmp_path: Path) -> None:
    key, other = Key("g", "a"), Key("g", "b")
    known: dict[Key, Stream] = {}
    async with state.opened(tmp_path / "cloud.db") as database:
        # Holes that open, join before, after and on both sides, and a second stream beside.
        for batches in ([2, 5], [4, 9], [3], [1, 6, 7, 8], [20]):
            before = await database.run(lambda c: ledger.load(c, {key, other}))
            assert before[key] == known.get(key, Stream())
            now = {one: stream.copy() for one, stream in before.items()}
            for number in batches:
                now[key].accept(number, 10, now_ms=number)
            now[other].redelivered += 1
            now[other].expect(7, 70)
            await database.run(partial(ledger.save, new=now, old=before))
            known = now
    async with state.opened(tmp_path / "cloud.db", read_only=True) as database:
        found = await database.run(ledger.load)
    assert found == known
    assert list(found[key].received) == [(1, 9), (20, 20)]
    assert found[key].readings == 100
    assert (found[key].first_at_ms, found[key].last_at_ms) == (2, 20)
    assert found[other].redelivered == 5
    assert found[other].missing == [(1, 7)]


@given(numbers, st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), max_size=8))
def test_ranges_are_added_as_their_numbers(added: list[int], spans: list[tuple[int, int]]) -> None:
    plain, intervals = set(added), Intervals(added)
    for first, length in spans:
        intervals.add_range(first, first + length)
        plain |= set(range(first, first + length + 1))
    assert intervals == Intervals(plain)


async def test_a_declared_gap_is_not_missing_and_survives_a_restart(tmp_path: Path) -> None:
    key = Key("gw", "s")
    stream = Stream()
    for number in (1, 2, 9):
        stream.accept(number, 10, 1000)
    stream.expect(10, 100)
    stream.declare(Gap("disk full", 5, 6, 30, ((3, 5),)))
    stream.declare(Gap("outbox damaged", 5, 6))
    assert stream.missing == [(6, 8), (10, 10)]
    assert stream.readings_lost == 30

    def write(connection: Connection) -> None:
        ledger.save(connection, {key: stream}, {key: Stream()})
        row = {"gateway": "gw", "stream": "s", "batch": 9, "position": 0, "reason": "disk full"}
        times = {"from_ms": 5, "to_ms": 6, "readings": 30, "batches": "[[3,5]]"}
        connection.execute(insert(tables.gap), [row | times])

    async with state.opened(tmp_path / "cloud.db") as database:
        await database.run(write)
    async with state.opened(tmp_path / "cloud.db") as database:
        (again,) = (await database.run(ledger.load)).values()
    assert again.missing == [(6, 8), (10, 10)]
    assert again.readings_lost == 30


def test_a_copy_of_a_stream_is_whole_and_goes_its_own_way() -> None:
    lost = Intervals([9])
    examined = Intervals([3])
    stream = Stream(Intervals([1, 2]), 3, 4, 5, 6, 7, 8, lost, 10, 11, 12, 13, 14, examined)
    copy = stream.copy()
    assert copy == stream
    copy.accept(3, 1, now_ms=20)
    copy.lost.add(8)
    assert stream == Stream(
        Intervals([1, 2]), 3, 4, 5, 6, 7, 8, lost, 10, 11, 12, 13, 14, Intervals([3])
    )
    assert (lost, copy.examined) == (Intervals([9]), Intervals())


def test_a_set_of_very_many_numbers_takes_no_memory() -> None:
    declared = Intervals.of([(1, 2**53)])
    assert list(declared) == [(1, 2**53)]
    assert declared.count == 2**53


@given(st.lists(st.integers(1, 60)), st.lists(st.integers(1, 60)))
def test_a_union_holds_what_either_holds(one: list[int], other: list[int]) -> None:
    made = Intervals(one).union(Intervals(other))
    assert made == Intervals({*one, *other})
    assert made.count == len({*one, *other})


@given(
    st.lists(st.tuples(st.sampled_from(["receive", "lose", "take back"]), st.integers(1, 30))),
)
def test_the_lowest_hole_is_found_wherever_the_search_begins(steps: list[tuple[str, int]]) -> None:
    stream, here, lost = Stream(), set[int](), set[int]()
    for what, number in steps:
        if what == "receive":
            stream.received.add(number)
            here.add(number)
        elif what == "lose":
            stream.declare(Gap("full", 0, 0, None, ((number, number),)))
            lost.add(number)
        else:
            stream.take_back(number)
            here.discard(number)
        stream.look_for_hole(0)
        wanted = min({*range(1, stream.expected + 1)} - here - lost, default=None)
        assert stream.hole == wanted
        assert [one for first, last in stream.missing for one in range(first, last + 1)] == sorted(
            {*range(1, stream.expected + 1)} - here - lost
        )


def test_a_search_for_a_hole_does_not_begin_anew_each_time(monkeypatch) -> None:
    """A gateway that sends each second batch and declares the others lost makes a step of each."""
    stream, most = Stream(), 2000
    for number in range(1, most, 2):
        stream.received.add(number)
        stream.declare(Gap("full", 0, 0, None, ((number + 1, number + 1),)))
    stream.look_for_hole(0)
    steps: list[int] = []
    found = Intervals.next_out

    def counted(self: Intervals, number: int) -> int:
        steps.append(number)
        return found(self, number)

    monkeypatch.setattr(Intervals, "next_out", counted)
    stream.received.add(most + 5)
    stream.copy().look_for_hole(0)
    assert stream.whole >= most - 1
    assert len(steps) < 10
