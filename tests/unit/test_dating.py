"""Dates for what was sealed before the time was known."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.dating import Offset, bracket, date
from wire.codec import DecodeError, decode_batch, encode_batch
from wire.messages import Batch, Event, Gap
from wire.reading import Quality, Quantity, Reading

UTC_MS = 1_782_000_000_000


@given(st.data())
def test_the_true_offset_lies_within_the_error(data):
    boots = data.draw(st.lists(st.integers(0, 10**8), min_size=1, max_size=6))
    pauses = data.draw(st.lists(st.integers(0, 10**9), min_size=len(boots), max_size=len(boots)))
    end = data.draw(st.integers(0, 10**9))
    true, now = [], UTC_MS
    for lasted, pause in zip(boots, pauses, strict=True):
        true.append(now + pause)
        now += pause + lasted
    offsets = bracket(boots, UTC_MS, now + end)
    for offset, truth in zip(offsets, true, strict=True):
        assert offset.error_ms is not None
        assert abs(offset.utc_ms - truth) <= offset.error_ms + len(boots)


@given(
    st.lists(st.integers(0, 10**8), min_size=1, max_size=6),
    st.one_of(st.none(), st.integers(UTC_MS, UTC_MS + 10**9)),
)
def test_boots_keep_their_order_and_end_before_the_present_one(lasted, after_ms):
    before_ms = UTC_MS + 10**9
    offsets = bracket(lasted, after_ms, before_ms)
    begins = [offset.utc_ms for offset in offsets]
    ends = [begin + ms for begin, ms in zip(begins, lasted, strict=True)]
    assert all(end <= begin for end, begin in zip(ends, [*begins[1:], before_ms], strict=True))
    bounded = after_ms is not None and before_ms - after_ms >= sum(lasted)
    assert all((offset.error_ms is not None) == bounded for offset in offsets)
    if bounded:
        assert begins[0] >= after_ms


def test_one_boot_is_placed_in_the_middle():
    assert bracket([1000], UTC_MS, UTC_MS + 5000) == [Offset(UTC_MS + 2000, 2000)]


qualities = st.sampled_from(Quality)


@given(
    st.lists(st.tuples(st.integers(0, 2**37), qualities), max_size=5),
    st.integers(UTC_MS, UTC_MS + 10**10),
    st.sampled_from([0, 500, None]),
)
def test_a_date_moves_times_and_lowers_quality_only_where_it_is_a_guess(parts, utc_ms, error_ms):
    assume(parts)
    readings = tuple(
        Reading("s", "r", Quantity.DEPTH, None if q is Quality.MISSING else 0.1, at_ms, q)
        for at_ms, q in parts
    )
    first, last = parts[0][0], parts[-1][0]
    batch = Batch(
        "gw", "ab", 3, readings, (Event(last, "s", "k", "t"),), (Gap("too old", first, last, 1),)
    )
    dated = date(batch, Offset(utc_ms, error_ms))
    assert [r.at_ms for r in dated.readings] == [at_ms + utc_ms for at_ms, _ in parts]
    assert dated.events[0].at_ms == last + utc_ms
    assert (dated.gaps[0].from_ms, dated.gaps[0].to_ms) == (first + utc_ms, last + utc_ms)
    good = {Quality.GOOD, Quality.NOT_EVALUATED}
    for before, after in zip(readings, dated.readings, strict=True):
        lowered = error_ms != 0 and before.quality in good
        assert after.quality is (Quality.SUSPECT if lowered else before.quality)
    assert date(dated, Offset(utc_ms, 0)) == dated  # what has a date keeps it


def test_what_has_no_date_is_not_taken_for_a_batch_by_anybody_else():
    reading = Reading("s", "r", Quantity.DEPTH, 0.1, 7000, Quality.GOOD)
    payload = encode_batch(Batch("gw", "ab", 3, (reading,)))
    with pytest.raises(DecodeError, match="no absolute time"):
        decode_batch(payload)
    assert decode_batch(payload, relative=True).readings == (reading,)
