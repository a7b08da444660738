"""What falls of a rain counter mean: noise, glitches, resets, roll-overs, and what nobody can tell.

Cases are those of public reports: weewx 525, EPA SWMM 74, Home Assistant 149570.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import rain
from cloud.alerts.rain import Fallen, Method, Totals
from tests.rules import HOUR, MINUTE, NOW, follow, levels, live, reading, rule
from wire.messages import Level
from wire.reading import Quantity, Reading

START = NOW - NOW % (5 * MINUTE)
METHOD = Method(5 * MINUTE, 12 * HOUR, 30 * MINUTE, 10 / 60_000)
NATIONAL = rule("rain_sum")


def total(mm: float, at_ms: int) -> Reading:
    return reading(mm / 1000, at_ms, quantity=Quantity.RAIN_TOTAL)


def series(values_mm: Sequence[float], every_ms: int = 10 * MINUTE) -> list[tuple[int, float]]:
    return [(START + n * every_ms, mm / 1000) for n, mm in enumerate(values_mm)]


def fallen(points: Sequence[tuple[int, float]], method: Method = METHOD) -> Fallen:
    gauge: Any = Totals()
    newest = 0
    for at_ms, value in points:
        newest = max(newest, at_ms)
        gauge = rain.add(gauge, at_ms, value, newest, method)
    return rain.fallen(gauge, newest, [12 * HOUR], method)[0]


def warned(values_mm: Sequence[float], every_ms: int = 10 * MINUTE) -> list[Level | None]:
    said = [total(mm, START + n * every_ms) for n, mm in enumerate(values_mm)]
    return levels(follow(NATIONAL, live(said))[1])


@pytest.mark.parametrize(
    ("values_mm", "every_ms"),
    [
        ([9.8, 9.6] * 240, 10_000),  # a counter that alternates for 40 minutes
        ([9.8, 9.6] * 20, MINUTE),
        ([193.6, 193.6, 193.6, 193.6, 52.5, 193.6, 193.6], 10 * MINUTE),
        ([193.6, 193.6, 0, 193.6], 10 * MINUTE),
        ([193.6, 193.6, 0, 193.6], 2 * HOUR),  # seldom read
        ([193.6, 0, 0, 0, 193.6, 193.6], MINUTE),
        ([193.6, 0, 52.5, 3, 193.6, 193.8], MINUTE),  # anything, and back
        ([50, 0] * 40, MINUTE),
        ([50, 48] * 40, MINUTE),
        ([10, 60, 10, 10], 10 * MINUTE),  # up, and back
        ([100, 99.5, 99, 98.4, 97.7, 97.1, 96.5], HOUR),  # a weighing gauge: evaporation
    ],
)
def test_in_dry_weather_no_fall_of_a_counter_is_rain(values_mm: list[float], every_ms: int) -> None:
    points = series(values_mm, every_ms)
    assert fallen(points).depth < 0.0015
    assert not {Level.YELLOW, Level.ORANGE, Level.RED} & set(warned(values_mm, every_ms))


def test_the_reported_counters_raise_nothing_at_all() -> None:
    assert warned([9.8, 9.6] * 20, MINUTE) == []
    assert warned([193.6, 193.6, 193.6, 193.6, 52.5, 193.6, 193.6]) == []


@pytest.mark.parametrize(
    ("values_mm", "rain_mm"),
    [
        ([30, 30, 2, 3], 3),  # a reset, with what fell since
        ([30, 30, 0, 0, 1, 2], 2),
        ([193.6, 0.2, 0.2], 0.2),
        ([12, 14, 0.4, 6, 9], 2 + 0.4 + 5.6 + 3),
    ],
)
def test_a_fall_to_near_zero_that_stays_is_a_reset(values_mm: list[float], rain_mm: float) -> None:
    found = fallen(series(values_mm))
    assert found.depth == pytest.approx(rain_mm / 1000)
    assert found.doubtful == 0


@pytest.mark.parametrize(
    ("tip_mm", "bits"), [(0.1, 16), (0.2, 16), (0.254, 16), (0.2794, 16), (0.01, 16), (0.2, 32)]
)
def test_a_counter_that_rolls_over_counts_right(tip_mm: float, bits: int) -> None:
    tips = [2**bits - 12, 2**bits - 5, 3, 9]
    found = fallen(series([tip % 2**bits * tip_mm for tip in tips]))
    assert found.depth == pytest.approx(21 * tip_mm / 1000)
    assert found.doubtful == 0


def test_a_range_that_the_config_names_rolls_over_in_heavy_rain() -> None:
    method = METHOD._replace(rolls_over_at=1.0)
    found = fallen(series([940, 970, 5, 20]), method)
    assert found.depth == pytest.approx(0.030 + 0.035 + 0.015)
    one: Any = rule("rain_sum", rolls_over_at_mm=1000)
    assert one.method.rolls_over_at == 1.0


def test_what_cannot_be_told_apart_is_visible_and_raises_no_more_than_blue() -> None:
    values = [193.6, 193.6, 52.5, 52.5, 52.5]
    found = fallen(series(values))
    assert found.depth == 0
    assert found.doubtful == pytest.approx(0.0525)
    said = live([total(mm, START + n * 10 * MINUTE) for n, mm in enumerate(values)])
    _, findings = follow(NATIONAL, said)
    assert levels(findings) == [Level.BLUE]
    assert "about 52.5 mm of rain" in findings[0].text
    assert findings[0].parts["doubtful_mm"] == 52.5
    saw = [mm for _ in range(60) for mm in (60.0, 52, 54, 56, 58)]
    assert not {Level.YELLOW, Level.ORANGE, Level.RED} & set(warned(saw, MINUTE))


def test_an_exchanged_gauge_warns_again_once_it_has_settled() -> None:
    storm = [52.5 + n * 1.2 for n in range(160)]  # 72 mm/h, all of it below where the old one stood
    found = warned([193.6, 193.6, *storm], MINUTE)
    assert found[-2:] == [Level.ORANGE, Level.RED]
    sums = fallen(series([193.6, 193.6, *storm], MINUTE))
    assert 0.120 < sums.depth < 0.165


def test_a_jump_counts_once_the_next_reading_confirms_it() -> None:
    assert fallen(series([10, 50])).depth == 0
    assert fallen(series([10, 50])).doubtful == pytest.approx(0.04)
    assert fallen(series([10, 50, 50])).depth == pytest.approx(0.04)


@st.composite
def rains(draw: st.DrawFn) -> list[tuple[int, float]]:
    """Rain of up to 60 mm/h by a counter that stands well above zero."""
    tips = draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 5]), min_size=4, max_size=60))
    counts = itertools.accumulate(tips, initial=draw(st.integers(100, 1000)))
    return [(START + n * MINUTE, count * 0.0002) for n, count in enumerate(counts)]


@given(rains(), st.data())
def test_glitches_change_no_sum(points: list[tuple[int, float]], data: st.DataObject) -> None:
    """A few wrong readings, anywhere but at the end, then the counter goes on as it was."""
    wrong = list(points)
    length = data.draw(st.integers(1, min(5, len(points) - 2)))
    at = data.draw(st.integers(1, len(points) - 1 - length))
    for n in range(at, at + length):
        wrong[n] = (points[n][0], data.draw(st.integers(0, 45)) * 0.0002)
    assert fallen(wrong).depth == pytest.approx(fallen(points).depth, abs=0.0011)
    assert fallen(wrong).doubtful < 0.0011


@given(rains(), st.data())
def test_noise_adds_no_rain(points: list[tuple[int, float]], data: st.DataObject) -> None:
    noisy = [
        (at_ms, value - data.draw(st.sampled_from([0, 0, 0.0002, 0.0004, 0.0008])))
        for at_ms, value in points[:-1]
    ]
    found = fallen([*noisy, points[-1]])
    assert found.depth <= points[-1][1] - points[0][1] + 0.0009
    assert found.doubtful == 0


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 70_000)), min_size=1, max_size=80))
def test_whatever_the_counter_shows_the_sums_are_bounded_by_the_fastest_rain(
    what: list[tuple[int, int]],
) -> None:
    points = sorted({START + minute * MINUTE: tips * 0.0002 for minute, tips in what}.items())
    found = fallen(points)
    length_s = (points[-1][0] - points[0][0]) / 1000
    assert 0 <= found.depth <= METHOD.most * length_s + 1e-9
    assert found.doubtful >= 0
