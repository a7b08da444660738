"""What is measured now, and whether it rises: for messages that are composed later."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import episodes
from cloud.alerts.trend import MOST_SERIES, SPACING_MS, Samples, Trend, trend
from cloud.alerts.watch import KEEP_MS, Watch
from tests import layout
from tests.rules import MINUTE, NOW, assert_tongues, reading, rule
from wire.messages import Batch, Level
from wire.reading import Quality, Quantity

DEPTH = rule(
    "threshold",
    quantity="depth",
    orange={"over_cm": 15, "clear_cm": 12},
    red={"over_cm": 30, "clear_cm": 27},
)


def way(*cm: float) -> list[tuple[int, float]]:
    """One sample each half minute."""
    return [(NOW + n * SPACING_MS, one / 100) for n, one in enumerate(cm)]


@pytest.mark.parametrize(
    ("cm", "expected"),
    [
        ((31,), None),
        ((31, 33), None),  # half a minute says nothing
        ((31, 32, 33, 34), Trend.RISING),
        ((34, 33, 32, 31), Trend.FALLING),
        ((31, 31.4, 31.2, 31.5), Trend.STEADY),
        ((20, 30, 40, 44, 42, 40, 38), Trend.STEADY),  # it has turned
        ((40, 30, 20, 24, 28), Trend.STEADY),
    ],
)
def test_a_trend_is_more_than_the_noise_of_the_gauge(cm: Any, expected: Trend | None) -> None:
    *before, newest = way(*cm)
    assert trend(Quantity.DEPTH, before, newest) is expected


def test_what_has_no_trend_has_none() -> None:
    *before, newest = way(1, 200, 300)
    assert trend(Quantity.VOLTAGE, before, newest) is None


@given(st.lists(st.floats(0, 3), min_size=4, max_size=30), st.floats(0.02, 1))
def test_what_only_rises_never_falls(steps: list[float], metres: float) -> None:
    samples, depth = [], 0.0
    for n, _ in enumerate(steps):
        depth += metres
        samples.append((NOW + n * SPACING_MS, depth))
    assert trend(Quantity.DEPTH, samples[:-1], samples[-1]) is Trend.RISING


def test_samples_are_bounded_in_number_and_in_time() -> None:
    samples = Samples()
    for second in range(3600):
        samples.add("a", reading(second / 1000, NOW + 1000 * second))
    assert len(samples.of("a")) == 20
    samples.add("a", reading(9, NOW))  # older than what is kept
    assert samples.of("a")[-1][0] > NOW
    for n in range(MOST_SERIES + 5):
        samples.add(n, reading(1, NOW))
    assert len(samples._of) == MOST_SERIES


class Site:
    """A watch and its database, fed reading by reading."""

    def __init__(self) -> None:
        self.watch = Watch([DEPTH])
        self.now_ms = NOW + 60 * MINUTE
        self.connection = layout.in_memory().connect()

    def read(self, cm: float, at_ms: int, quality: Quality = Quality.GOOD) -> None:
        batch = Batch("g", "stream", 1, (reading(cm / 100, at_ms, quality),))
        findings = self.watch.examine([batch], [], [], {}, now_ms=self.now_ms)
        self.watch.adopt(findings)
        self.watch.save(self.connection, findings, NOW)

    @property
    def now(self) -> tuple[str, int, Level | None, Trend | None] | None:
        found = episodes.present(self.connection, "here").get("threshold::g:s")
        if found is None:
            return None
        assert_tongues(found.finding)
        one = found.finding
        return one.text_zh, one.at_ms - NOW, one.level, found.trend


def test_the_newest_good_reading_of_an_open_finding_is_kept_with_its_trend() -> None:
    site = Site()
    site.read(5, NOW)
    assert site.now is None
    site.read(16, NOW + MINUTE)
    assert site.now == ("积水约16厘米（橙色标准15厘米）", MINUTE, Level.ORANGE, Trend.RISING)
    site.read(150.4, NOW + 2 * MINUTE)
    assert site.now == ("积水约150厘米（红色标准30厘米）", 2 * MINUTE, Level.RED, Trend.RISING)
    site.read(990, NOW + 3 * MINUTE, Quality.SUSPECT)
    site.read(990, NOW + 4 * MINUTE, Quality.BAD)
    site.read(31, NOW + MINUTE + 1)  # late: from the backlog
    assert site.now == ("积水约150厘米（红色标准30厘米）", 2 * MINUTE, Level.RED, Trend.RISING)
    # Its alarm still stands for the off-delay: messages say what is measured then.
    site.read(3, NOW + 5 * MINUTE)
    assert site.now == ("积水约3厘米", 5 * MINUTE, None, Trend.FALLING)
    again = Watch([DEPTH])
    again.load(site.connection)
    site.watch = again
    site.read(2, NOW + 6 * MINUTE)
    assert site.now == ("积水约2厘米", 6 * MINUTE, None, None)  # samples are in memory


def test_long_after_the_end_nothing_is_measured_for_messages() -> None:
    site = Site()
    site.read(16, NOW)
    site.read(3, NOW + MINUTE)
    site.now_ms += KEEP_MS + 1
    site.read(2, NOW + 2 * MINUTE)
    site.read(1, NOW + 3 * MINUTE)
    assert site.now == ("积水约3厘米", MINUTE, None, Trend.FALLING)
