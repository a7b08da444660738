"""Rain sums: equal to what a plain calculation over all readings gives, whatever the order."""

import itertools
from bisect import bisect_left
from math import floor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import rain
from cloud.alerts.rain import Method, Rates, Totals
from configs.loader import ConfigError
from tests.examples import examples
from tests.rules import DAY, HOUR, MINUTE, NOW, follow, levels, live, reading, rule
from wire.messages import Level
from wire.reading import Quality, Quantity, Reading

BIN = 5 * MINUTE
START = NOW - NOW % BIN
METHOD = Method(BIN, 3 * HOUR, 30 * MINUTE, 10 / 60_000)
NATIONAL = rule("rain_sum")


def total(mm: float, at_ms: int, quality: Quality = Quality.GOOD) -> Reading:
    return reading(mm / 1000, at_ms, quality, Quantity.RAIN_TOTAL)


def counted(points: list[tuple[int, float]], method: Method = METHOD) -> Totals | Rates:
    gauge: Totals | Rates = Totals()
    newest = 0
    for at_ms, value in points:
        newest = max(newest, at_ms)
        gauge = rain.add(gauge, at_ms, value, newest, method)
    return gauge


def brute(points: list[tuple[int, float]], until_ms: int, window_ms: int) -> float:
    """The sum over all readings, of which the first and last of each bin say when it fell."""
    ordered = sorted(points)
    cumulative, last, sums = 0.0, ordered[0][1], [0.0]
    for _, value in ordered[1:]:
        cumulative += value - last if value >= last else value
        last = value
        sums.append(cumulative)
    edges = [
        (at, s)
        for i, ((at, value), s) in enumerate(zip(ordered, sums, strict=True))
        if i in (0, len(ordered) - 1)
        or ordered[i + 1][0] // BIN != at // BIN
        or ordered[i - 1][0] // BIN != at // BIN
        or floor(ordered[i + 1][1] / 0.001) != floor(value / 0.001)
        or floor(ordered[i - 1][1] / 0.001) != floor(value / 0.001)
        or ordered[i + 1][1] < value
        or (i > 0 and ordered[i - 1][1] > value)
    ]
    since_ms = until_ms - window_ms
    i = bisect_left(edges, (since_ms, 0.0))
    if i == 0:
        return edges[-1][1] - edges[0][1]
    (t0, s0), (t1, s1) = edges[i - 1], edges[i]
    return edges[-1][1] - (s0 + (s1 - s0) * (since_ms - t0) / (t1 - t0))


@st.composite
def counters(draw: st.DrawFn, resets: bool = True) -> list[tuple[int, float]]:
    """A counter over some hours, in m: dry spells, rain, gaps, and resets, each from well above
    zero and followed by another reading."""
    points, at_ms, value, since_reset = [], START, 0.0, 0
    for _ in range(draw(st.integers(1, 80))):
        points.append((at_ms, value))
        step_ms = draw(st.sampled_from([20_000, MINUTE, 4 * MINUTE, 17 * MINUTE, HOUR]))
        at_ms += step_ms
        rained = draw(st.sampled_from([0, 0, 1, 2, 5])) * 0.0002
        since_reset += 1
        if resets and value >= 0.006 and draw(st.integers(0, 5)) == 0:
            value, since_reset = rained, 0
        else:
            value += rained
    if resets and since_reset <= 1:
        points += [(at_ms, value), (at_ms + MINUTE, value)]
    return points


@given(counters())
def test_sums_equal_those_over_all_readings(points: list[tuple[int, float]]) -> None:
    until = points[-1][0]
    for window in (10 * MINUTE, HOUR, 3 * HOUR):
        found = rain.fallen(counted(points), until, [window], METHOD)[0]
        assert found.depth == pytest.approx(brute(points, until, window), abs=1e-9)
        assert 0 <= found.spread <= found.depth + 1e-12
        assert 0 <= found.unknown_ms <= window


@given(counters(), st.randoms(use_true_random=False))
def test_whole_bins_may_come_in_any_order(points: list[tuple[int, float]], random: Any) -> None:
    bins = [list(one) for _, one in itertools.groupby(points, lambda point: point[0] // BIN)]
    random.shuffle(bins)
    late = counted([point for one in bins for point in one])
    assert late == counted(points)


@given(counters(resets=False), st.randoms(use_true_random=False))
def test_readings_of_a_counter_without_reset_may_come_in_any_order(
    points: list[tuple[int, float]], random: Any
) -> None:
    shuffled = points.copy()
    random.shuffle(shuffled)
    assert counted(shuffled) == counted(points)


@examples(20)
@given(st.lists(st.tuples(st.integers(0, 6 * 3600), st.integers(0, 2000)), min_size=1))
def test_memory_is_bounded_whatever_the_counter_does(what: list[tuple[int, int]]) -> None:
    gauge = counted([(START + second * 1000, mm / 1000) for second, mm in what] * 3)
    assert isinstance(gauge, Totals)
    bins = {at_ms // BIN for at_ms, _ in gauge.points}
    assert len(gauge.points) <= 16 * len(bins)
    assert len(bins) <= METHOD.horizon_ms // BIN + 2


@given(
    st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1e-5)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_rates_sum_to_the_mean_of_each_bin_in_any_order(
    what: list[tuple[int, float]], random: Any
) -> None:
    points = [(START + minute * MINUTE, rate) for minute, rate in what]
    until = max(at for at, _ in points)
    gauge: Totals | Rates = Rates()
    random.shuffle(points)
    for at_ms, rate in points:
        gauge = rain.add(gauge, at_ms, rate, until, METHOD)
    expected = 0.0
    for number in {at // BIN for at, _ in points}:
        rates = [rate for at, rate in points if at // BIN == number]
        inside = min((number + 1) * BIN, until) - max(number * BIN, until - HOUR)
        expected += sum(rates) / len(rates) * max(inside, 0) / 1000
    assert rain.fallen(gauge, until, [HOUR], METHOD)[0].depth == pytest.approx(expected, abs=1e-12)


def storm(mm_per_hour: float, hours: float, start: int = START) -> list[Reading]:
    return [total(mm_per_hour * n / 60, start + n * MINUTE) for n in range(round(hours * 60) + 1)]


@pytest.mark.parametrize(
    ("mm_per_hour", "hours", "expected"),
    [
        (4, 12, []),
        (4.3, 12, [Level.BLUE]),
        (9, 6, [Level.YELLOW]),
        (20, 3, [Level.ORANGE]),
        (40, 3, [Level.ORANGE, Level.RED]),
    ],
)
def test_the_national_table(mm_per_hour: float, hours: float, expected: list[Level]) -> None:
    _, found = follow(NATIONAL, live(storm(mm_per_hour, hours)))
    assert levels(found) == expected


def test_what_counts_over_a_gap_is_told_with_it_and_late_data_put_it_right() -> None:
    before = storm(0, 1)
    gap = storm(30, 2, start=before[-1].at_ms)
    said: list[tuple[Reading, int]] = [(one, one.at_ms) for one in before]
    said.append((gap[-1], gap[-1].at_ms))
    state, found = follow(NATIONAL, said)
    assert levels(found) == [Level.ORANGE]
    assert "about 60 mm of rain" in found[0].text
    assert found[0].parts["spread_mm"] == pytest.approx(60)
    late = [(one, gap[-1].at_ms) for one in reversed(gap[:-1])]
    state, found = follow(NATIONAL, [*said, *late, (total(60.2, gap[-1].at_ms + 1000), NOW + DAY)])
    sums = rain.fallen(state.gauge, state.newest_ms, [3 * HOUR], NATIONAL.method)[0]  # type: ignore[attr-defined]
    assert levels(found) == [Level.ORANGE], "late data neither raise nor clear"
    assert sums.spread == 0
    assert sums.depth == pytest.approx(0.0602)


def test_a_gap_does_not_lower_a_sum_and_a_silent_gauge_ends_nothing() -> None:
    rainy = storm(60, 1)
    last = rainy[-1].at_ms
    missing = [reading(None, last + n * MINUTE, quantity=Quantity.RAIN_TOTAL) for n in range(600)]
    bad = [total(0, last + n * MINUTE, Quality.BAD) for n in range(600, 900)]
    state, found = follow(NATIONAL, live([*rainy, *missing[1:], *bad]))
    assert state.level == Level.ORANGE
    assert levels(found)[-1] == Level.ORANGE
    _, found = follow(NATIONAL, live([*rainy, total(60, last + 13 * HOUR)]))
    assert levels(found)[-1] is None, "known to be dry: it ends"


def test_a_doubtful_reading_may_raise_a_sum_and_never_ends_it() -> None:
    rainy = storm(60, 1)
    dry_at = rainy[-1].at_ms + 13 * HOUR
    suspect = [total(60, dry_at + n * MINUTE, Quality.SUSPECT) for n in range(30)]
    _, found = follow(NATIONAL, live([*rainy, *suspect]))
    assert levels(found)[-1] == Level.ORANGE
    _, found = follow(NATIONAL, live([*rainy, *suspect, total(60, dry_at + HOUR)]))
    assert levels(found)[-1] is None


def test_another_counter_is_no_rain() -> None:
    said = [total(3, START), total(4000, START + MINUTE), total(4000.2, START + 6 * MINUTE)]
    state, found = follow(NATIONAL, live(said))
    assert found == []
    assert rain.fallen(state.gauge, state.newest_ms, [HOUR], METHOD)[0].depth == pytest.approx(2e-4)


def test_a_reset_counts_what_fell_since() -> None:
    said = [total(30, START), total(2, START + MINUTE), total(3, START + 2 * MINUTE)]
    state, _ = follow(NATIONAL, live(said))
    assert rain.fallen(state.gauge, state.newest_ms, [HOUR], METHOD)[0].depth == pytest.approx(3e-3)


@examples(50)
@given(counters(), st.randoms(use_true_random=False))
def test_a_restart_changes_no_finding(points: list[tuple[int, float]], random: Any) -> None:
    one = rule("rain_sum", yellow={"hours": 1, "over_mm": 1}, red={"hours": 0.2, "over_mm": 2})
    random.shuffle(points)
    newest = max(at for at, _ in points)
    said = [(reading(v, at, quantity=Quantity.RAIN_TOTAL), newest) for at, v in points]
    assert follow(one, said) == follow(one, said, restart=True)


def test_own_levels_replace_the_table() -> None:
    one: Any = rule("rain_sum", red={"hours": 1, "over_mm": 70, "clear_mm": 40})
    (rung,) = one.rungs
    assert (rung, one.windows_ms) == ((Level.RED, 0.07, 0.04, ""), (HOUR,))
    with pytest.raises(ConfigError, match="clear_mm is not below over_mm"):
        rule("rain_sum", red={"hours": 1, "over_mm": 70, "clear_mm": 70})
