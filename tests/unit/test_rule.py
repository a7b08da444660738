"""The alert rule: hysteresis, quality, and time that only goes forward."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts.rule import Rule, State, Transition, step
from wire.messages import Level
from wire.reading import Quality, Quantity, Reading

RULE = Rule("amber", Quantity.DEPTH, over=0.15, clear=0.12, level=Level.ORANGE)
NOW = 1_700_000_000_000

values = st.none() | st.floats(0, 0.5)
qualities = st.sampled_from([q for q in Quality if q is not Quality.MISSING])


def reading(value: float | None, at_ms: int, quality: Quality = Quality.GOOD) -> Reading:
    quality = Quality.MISSING if value is None else quality
    return Reading("underpass", "ruler", Quantity.DEPTH, value, at_ms, quality)


def run(*readings: Reading, now_ms: int = NOW) -> tuple[State, list[tuple[int, Transition]]]:
    state, changes = State(), []
    for one in readings:
        state, transition = step(RULE, state, one, now_ms)
        if transition:
            changes.append((one.at_ms, transition))
    return state, changes


def test_it_raises_at_the_threshold_and_clears_at_the_lower_one() -> None:
    depths = [0.14, 0.15, 0.14, 0.13, 0.16, 0.121, 0.12, 0.14, 0.15]
    _, changes = run(*(reading(depth, n) for n, depth in enumerate(depths, 1)))
    assert changes == [(2, Transition.RAISED), (7, Transition.CLEARED), (9, Transition.RAISED)]


@pytest.mark.parametrize(
    ("quality", "raises", "clears"),
    [
        (Quality.GOOD, True, True),
        (Quality.NOT_EVALUATED, True, True),
        (Quality.SUSPECT, True, False),
        (Quality.BAD, False, False),
    ],
)
def test_doubt_may_warn_and_never_ends_a_warning(
    quality: Quality, raises: bool, clears: bool
) -> None:
    _, changes = run(reading(0.2, 1, quality))
    assert bool(changes) is raises
    _, changes = run(reading(0.2, 1), reading(0.0, 2, quality))
    assert (len(changes) == 2) is clears


def test_a_backlog_that_is_older_than_what_was_seen_changes_nothing() -> None:
    state, changes = run(reading(0.05, 100), reading(0.9, 50), reading(0.9, 100))
    assert (state, changes) == (State(100, False), [])


def test_a_reading_from_the_future_counts_and_does_not_outdate_the_next() -> None:
    state, changes = run(reading(0.2, NOW + 10_000), reading(0.0, NOW + 1))
    assert changes == [(NOW + 10_000, Transition.RAISED), (NOW + 1, Transition.CLEARED)]
    assert state.newest_ms == NOW


def test_it_covers_what_it_names() -> None:
    one = reading(0.2, 1)
    assert RULE.covers(one)
    assert RULE._replace(site="underpass", sensor="ruler").covers(one)
    assert not RULE._replace(site="elsewhere").covers(one)
    assert not RULE._replace(sensor="other").covers(one)
    assert not RULE._replace(quantity=Quantity.LEVEL).covers(one)


@given(st.lists(st.tuples(values, qualities, st.integers(1, 50)), max_size=60))
def test_raised_and_cleared_alternate_and_time_goes_forward(
    what: list[tuple[float | None, Quality, int]],
) -> None:
    readings = [reading(value, at_ms, quality) for value, quality, at_ms in what]
    state, changes = run(*readings)
    assert [t for _, t in changes[::2]] == [Transition.RAISED] * len(changes[::2])
    assert [t for _, t in changes[1::2]] == [Transition.CLEARED] * len(changes[1::2])
    assert [at for at, _ in changes] == sorted(at for at, _ in changes)
    assert state.raised is (len(changes) % 2 == 1)
    assert state.newest_ms == max((r.at_ms for r in readings), default=0)
