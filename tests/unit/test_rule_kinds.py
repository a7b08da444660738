"""Rise, river stage and crack: what moves, how fast, and against which mark."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts.hazard import Hazard
from cloud.alerts.rules.crack import motion
from configs.loader import ConfigError
from tests.rules import DAY, HOUR, NOW, follow, levels, live, reading, rule
from wire.messages import Level
from wire.reading import Quality, Quantity, Reading

RISE = rule("rise", window_min=5, orange={"over_cm": 10, "clear_cm": 3})


def ramp(cm_per_min: float, minutes: float, start: float = 0.0, at: int = NOW) -> list[Reading]:
    """A reading each 10 s."""
    return [
        reading((start + cm_per_min * n / 6) / 100, at + n * 10_000)
        for n in range(round(minutes * 6))
    ]


@pytest.mark.parametrize(("cm_per_min", "raised"), [(1.9, False), (2.1, True), (-5, False)])
def test_a_rise_is_that_of_the_window(cm_per_min: float, raised: bool) -> None:
    _, found = follow(RISE, live(ramp(cm_per_min, 10)))
    assert bool(found) is raised
    if raised:
        assert found[0].value == pytest.approx(0.105)
        assert found[0].at_ms >= NOW + 150_000, "not before the readings span half of the window"


def test_one_wild_reading_raises_nothing_wherever_it_stands() -> None:
    for wild in range(60):
        calm = ramp(0, 10, start=20)
        calm[wild] = reading(3.0, calm[wild].at_ms)
        assert follow(RISE, live(calm))[1] == []


def test_it_ends_when_the_water_stands_and_a_gap_is_no_rise() -> None:
    rising = ramp(4, 5)
    standing = ramp(0, 10, start=20, at=rising[-1].at_ms + 10_000)
    _, found = follow(RISE, live([*rising, *standing]))
    assert levels(found) == [Level.ORANGE, None]
    after_a_day = ramp(0, 10, start=90, at=rising[-1].at_ms + DAY)
    _, found = follow(RISE, live([*ramp(0, 5), *after_a_day]))
    assert found == []


def test_doubtful_readings_do_not_end_a_rise() -> None:
    rising = ramp(4, 5)
    standing = ramp(0, 10, start=20, at=rising[-1].at_ms + 10_000)
    doubtful = [reading(one.value, one.at_ms, Quality.SUSPECT) for one in standing]
    assert levels(follow(RISE, live([*rising, *doubtful]))[1]) == [Level.ORANGE]


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 90)), max_size=80))
def test_the_memory_of_a_rise_is_bounded_and_survives_a_restart(
    what: list[tuple[float, int]],
) -> None:
    times = itertools.accumulate(seconds for _, seconds in what)
    said = live(reading(v, NOW + 1000 * at) for (v, _), at in zip(what, times, strict=True))
    state, found = follow(RISE, said)
    assert len(state.points) <= 15
    assert follow(RISE, said, restart=True) == (state, found)


# Stage

STATION: dict[str, Any] = {
    "datum": "1985国家高程基准",
    "datum_en": "the 1985 datum",
    "gauge_zero_m": 158.2,
    "warning_m": 180.5,
    "guarantee_m": 183.5,
}


def stage(*metres: float) -> list[Reading]:
    return [reading(m, NOW + n, quantity=Quantity.LEVEL) for n, m in enumerate(metres)]


def test_a_stage_is_told_against_its_mark() -> None:
    one = rule("stage", **STATION)
    _, found = follow(one, live(stage(22.2, 22.3, 25.4, 25.21, 25.19, 22.19)))
    assert levels(found) == [Level.YELLOW, Level.RED, Level.YELLOW, None]
    first = found[0]
    assert first.value == pytest.approx(180.5)
    assert (first.threshold, first.unit) == (180.5, "m")
    assert first.text == "water level 180.50 m, at the warning level"
    assert first.text_zh == "水位180.50米，已达警戒水位"
    assert first.parts["gauge_m"] == 22.3
    assert first.parts["guarantee_m"] == 183.5
    assert found[1].text_zh == "水位183.60米，超保证水位0.10米"
    assert found[2].text_zh == "水位183.39米，低于保证水位0.11米"
    assert one.hazard is Hazard.RIVER


def test_marks_must_be_in_order() -> None:
    for keys, problem in (
        ({"guarantee_m": 180.5}, "guarantee_m is not above warning_m"),
        ({"fortify_m": 181}, "warning_m is not above fortify_m"),
        ({"warning_level": "red"}, "guarantee_level is not above warning_level"),
        ({"warning_level": "pink"}, "'pink' is not one of blue, yellow, orange, red"),
    ):
        with pytest.raises(ConfigError, match=problem):
            rule("stage", **STATION | keys)


# Crack

SPEED = rule("crack", v0_mm_day=0.5)


def opening(mm: float, at_ms: int, quality: Quality = Quality.GOOD) -> Reading:
    return reading(mm / 1000, at_ms, quality, Quantity.DISPLACEMENT)


def days(*increments_mm: float, per_day: int = 1) -> list[Reading]:
    """A crack that opens so much each day, read so often."""
    found, mm = [opening(0, NOW)], 0.0
    for day, increment in enumerate(increments_mm):
        for n in range(1, per_day + 1):
            at_ms = NOW + day * DAY + n * DAY // per_day
            found.append(opening(mm + increment * n / per_day, at_ms))
        mm += increment
    return found


@pytest.mark.parametrize(
    ("mm_per_day", "expected"),
    [
        (0.49, []),
        (0.51, [Level.YELLOW]),
        (2.6, [Level.ORANGE]),
        (5.1, [Level.RED]),
        (-5, []),
    ],
)
@pytest.mark.parametrize("per_day", [1, 24, 200])
def test_levels_are_multiples_of_v0(mm_per_day: float, expected: list[Level], per_day: int) -> None:
    _, found = follow(SPEED, live(days(*[mm_per_day] * 6, per_day=per_day)))
    assert levels(found) == expected
    if expected:
        assert found[0].value == pytest.approx(mm_per_day / 1000)
        assert found[0].parts["tangent_deg"] is not None


def test_the_tangent_angle_is_45_degrees_at_v0() -> None:
    _, found = follow(SPEED, live(days(*[0.5 + 1e-9] * 5)))
    assert found[0].parts["tangent_deg"] == pytest.approx(45, abs=0.1)


def test_the_daily_swing_of_the_sun_is_no_motion_and_one_wild_day_is_none() -> None:
    swing = [opening(abs(12 - n % 24) / 4, NOW + n * HOUR) for n in range(24 * 10)]
    assert follow(SPEED, live(swing))[1] == []
    calm = days(*[0.1] * 10)
    calm[5] = opening(40, calm[5].at_ms)
    assert follow(SPEED, live(calm))[1] == []


def test_a_gap_is_spread_over_its_days_and_too_long_a_one_tells_nothing() -> None:
    before = days(*[0.1] * 4)
    after_two_days = [
        opening(0.4 + 2 * 1.0 + n / 24, before[-1].at_ms + 2 * DAY + n * HOUR) for n in range(3)
    ]
    _, found = follow(SPEED, live([*before, *after_two_days]))
    assert levels(found) == [Level.YELLOW]
    assert found[0].value == pytest.approx(0.001, rel=0.05)
    after_a_week = [
        opening(50 + n / 24 / 10, before[-1].at_ms + 7 * DAY + n * HOUR) for n in range(24)
    ]
    assert follow(SPEED, live([*before, *after_a_week]))[1] == []


def test_acceleration_has_a_level_of_its_own() -> None:
    quickening = rule(
        "crack",
        red={"over_mm_day": 100, "clear_mm_day": 50},
        acceleration={"level": "orange", "over_mm_day2": 0.4, "clear_mm_day2": 0.1},
    )
    _, found = follow(quickening, live(days(*[0.5 * n for n in range(10)])))
    assert levels(found) == [Level.ORANGE]
    assert (found[0].quantity, found[0].unit) == ("crack_acceleration", "m/d2")
    steady = live(days(*[3.0] * 10))
    assert follow(quickening, steady)[1] == []


@given(
    st.lists(st.tuples(st.floats(0, 50), st.integers(0, 24 * 5)), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
def test_hours_that_come_late_fill_what_was_missing(
    what: list[tuple[float, int]], random: Any
) -> None:
    by_hour = {hour: opening(mm, NOW + hour * HOUR) for mm, hour in what}
    ordered = [by_hour[hour] for hour in sorted(by_hour)]
    shuffled = ordered[:-1].copy()
    random.shuffle(shuffled)
    last = ordered[-1]
    in_order, _ = follow(SPEED, live(ordered))
    late = [(one, last.at_ms) for one in shuffled]
    out_of_order, _ = follow(SPEED, [*late, (last, last.at_ms)])
    assert motion(out_of_order.hours) == motion(in_order.hours)
    said = live(ordered)
    assert follow(SPEED, said) == follow(SPEED, said, restart=True)


def test_a_crack_needs_one_kind_of_level() -> None:
    for keys in ({}, {"v0_mm_day": 1, "red": {"over_mm_day": 3, "clear_mm_day": 1}}):
        with pytest.raises(ConfigError, match="needs either levels"):
            rule("crack", **keys)
    with pytest.raises(ConfigError, match="red does not lie over orange"):
        rule("crack", v0_mm_day=1, multiples={"orange": 10, "red": 5})
