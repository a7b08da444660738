"""Thresholds: levels, hysteresis, dwell, quality, and time that only goes forward."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import trust
from configs.loader import ConfigError
from tests.rules import NOW, follow, levels, live, reading, rule
from wire.messages import Level
from wire.reading import Quality, Quantity

KEYS: dict[str, Any] = {
    "quantity": "depth",
    "orange": {"over_cm": 15, "clear_cm": 12},
    "red": {"over_cm": 30, "clear_cm": 27},
}
RULE = rule("threshold", **KEYS)
DWELL = rule("threshold", **KEYS, over_for_s=10, clear_for_s=30)

values = st.none() | st.floats(0, 0.5)
qualities = st.sampled_from([q for q in Quality if q is not Quality.MISSING])
history = st.lists(st.tuples(values, qualities, st.integers(1, 120)), max_size=60)


def test_each_level_begins_and_ends_at_its_own_thresholds() -> None:
    depths = [0.14, 0.15, 0.29, 0.30, 0.28, 0.27, 0.13, 0.12, 0.31, 0.0]
    _, found = follow(RULE, live(reading(depth, NOW + n) for n, depth in enumerate(depths)))
    assert [(one.at_ms - NOW, one.level) for one in found] == [
        (1, Level.ORANGE),
        (3, Level.RED),
        (5, Level.ORANGE),
        (7, None),
        (8, Level.RED),
        (9, None),
    ]
    assert [(one.value, one.threshold) for one in found[:4]] == [
        (0.15, 0.15),
        (0.30, 0.30),
        (0.27, 0.27),
        (0.12, 0.12),
    ]
    assert found[1].text == "30 cm of water (red limit 30 cm)"
    assert found[1].text_zh == "积水约30厘米（红色标准30厘米）"
    assert found[3].text_zh == "积水约12厘米"
    assert (found[0].unit, found[0].quantity, RULE.hazard) == ("m", "depth", Hazard.UNDERPASS)


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
    _, found = follow(RULE, live([reading(0.2, NOW, quality)]))
    assert bool(found) is raises
    _, found = follow(RULE, live([reading(0.2, NOW), reading(0.0, NOW + 1, quality)]))
    assert (len(found) == 2) is clears


def test_a_backlog_that_is_older_than_what_was_seen_changes_nothing() -> None:
    said = [reading(0.05, NOW), reading(0.9, NOW - 50), reading(0.9, NOW)]
    state, found = follow(RULE, [(one, NOW) for one in said])
    assert (state.newest_ms, state.level, found) == (NOW, None, [])


def test_a_reading_from_the_future_counts_and_does_not_outdate_the_next() -> None:
    said = [reading(0.2, NOW + 10_000), reading(0.0, NOW + 1)]
    state, found = follow(RULE, [(one, NOW) for one in said])
    assert [(one.at_ms, one.level) for one in found] == [
        (NOW + 10_000, Level.ORANGE),
        (NOW + 1, None),
    ]
    assert state.newest_ms == NOW


def test_dwell_must_be_served_without_a_break() -> None:
    depths = {0: 0.2, 9: 0.2, 10: 0.14, 11: 0.2, 20: 0.2, 21: 0.2, 30: 0.1, 59: 0.13, 60: 0.1}
    depths |= {89: 0.1, 90: 0.1}
    said = live(reading(depth, NOW + 1000 * second) for second, depth in depths.items())
    _, found = follow(DWELL, said)
    assert [((one.at_ms - NOW) / 1000, one.level) for one in found] == [
        (21, Level.ORANGE),
        (90, None),
    ]
    assert found[0].parts["held_s"] == 10


def test_it_covers_what_it_names() -> None:
    one = reading(0.2, NOW)
    for keys, covered in (
        ({}, True),
        ({"site": "here", "sensor": "s", "gateway": "g"}, True),
        ({"site": "elsewhere"}, False),
        ({"sensor": "other"}, False),
        ({"gateway": "other"}, False),
    ):
        assert (rule("threshold", **KEYS, **keys).place("g", one) is not None) is covered
    assert RULE.place("g", reading(1, NOW, quantity=Quantity.LEVEL)) is None


@pytest.mark.parametrize(
    ("quantity", "band", "over", "clear"),
    [
        ("depth", {"over_cm": 35, "clear_mm": 320}, 0.35, 0.32),
        ("level", {"over_m": 183.5, "clear_m": 183}, 183.5, 183.0),
        ("displacement", {"over_mm": 2.5, "clear_mm": -1}, 0.0025, -0.001),
        ("rain_rate", {"over_mm_h": 36, "clear_mm_h": 18}, 1e-5, 5e-6),
        ("temperature", {"over_c": 60, "clear_c": 55}, 60, 55),
        ("voltage", {"over_v": 15, "clear_v": 14.5}, 15, 14.5),
    ],
)
def test_thresholds_become_si(
    quantity: str, band: dict[str, float], over: float, clear: float
) -> None:
    one: Any = rule("threshold", quantity=quantity, yellow=band)
    (rung,) = one.rungs
    assert (rung.level, rung.over, rung.clear) == (Level.YELLOW, over, clear)


@pytest.mark.parametrize(
    ("keys", "where", "problem"),
    [
        ({}, "rule", "has no level: give a table blue, yellow, orange or red"),
        ({"red": {"over_c": 3, "clear_c": 2}}, "rule", "red is not in a unit that fits: over_m"),
        ({"red": {"over_cm": 3, "clear_c": 2}}, "rule.red", "not of one dimension"),
        ({"red": {"over_cm": 3}}, "rule.red", "needs exactly one of clear_m, clear_cm"),
        (
            {"red": {"over_cm": 3, "over_m": 1, "clear_cm": 1}},
            "rule.red",
            "needs exactly one of over_m",
        ),
        (
            {"orange": {"over_cm": 30, "clear_cm": 3}, "red": {"over_cm": 20, "clear_cm": 10}},
            "rule",
            "red does not lie over orange",
        ),
        (
            {"red": {"over_cm": 3, "clear_cm": 2}, "hazard": "fire"},
            "rule.hazard",
            "'underpass', 'river'",
        ),
    ],
)
def test_a_fault_says_what_and_where(keys: dict[str, Any], where: str, problem: str) -> None:
    others = {"blue": {"over_cm": 1, "clear_cm": 0}} if where == "rule.red" else {}
    with pytest.raises(ConfigError) as caught:
        rule("threshold", quantity="depth", **keys, **others)
    (fault,) = caught.value.faults
    assert fault.key == where
    assert problem in fault.problem


@given(history)
def test_findings_tell_every_change_of_level_and_a_restart_changes_none(
    what: list[tuple[float | None, Quality, int]],
) -> None:
    times = itertools.accumulate(seconds for *_, seconds in what)
    said = live(
        reading(value, NOW + 1000 * at, quality)
        for (value, quality, _), at in zip(what, times, strict=True)
    )
    for one in (RULE, DWELL):
        state, found = follow(one, said)
        assert follow(one, said, restart=True) == (state, found)
        told = [None, *levels(found)]
        assert all(a != b for a, b in itertools.pairwise(told))
        assert state.level == told[-1]


@given(history)
def test_a_level_never_flaps_within_its_dwell(
    what: list[tuple[float | None, Quality, int]],
) -> None:
    times = itertools.accumulate(seconds for *_, seconds in what)
    said = live(
        reading(value, NOW + 1000 * at, quality)
        for (value, quality, _), at in zip(what, times, strict=True)
    )
    one = rule("threshold", quantity="depth", red=KEYS["red"], over_for_s=10, clear_for_s=30)
    _, found = follow(one, said)
    for before, after in itertools.pairwise(found):
        assert after.at_ms - before.at_ms >= (30_000 if after.level is None else 10_000)


@given(history, st.randoms(use_true_random=False))
def test_what_comes_late_neither_raises_nor_clears(
    what: list[tuple[float | None, Quality, int]], random: Any
) -> None:
    readings = [reading(v, NOW + at, q) for v, q, at in what]
    random.shuffle(readings)
    newest, in_time = 0, []
    for one in readings:
        if one.at_ms > newest:
            in_time.append(one)
            newest = one.at_ms if trust(one).raises else newest  # else it says nothing
    heard_at = NOW + 1000
    assert follow(RULE, [(one, heard_at) for one in readings]) == follow(
        RULE, [(one, heard_at) for one in in_time]
    )
