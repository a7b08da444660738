"""Several gauges at one site, gauges that die, and clocks of gateways that are wrong: what messages
say is measured."""

from typing import Any

import pytest

from cloud.alerts.compose import NEWEST_MS
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.figures import FIGURES
from cloud.alerts.watch import Watch
from cloud.channels import Message
from tests.dispatching import MINUTE, SITE, Office
from tests.rules import rule
from wire.messages import Batch
from wire.reading import Quality, Quantity, Reading

DEPTH = rule(
    "threshold",
    quantity="depth",
    orange={"over_cm": 15, "clear_cm": 12},
    red={"over_cm": 30, "clear_cm": 27},
)


class Site:
    """A site whose gauges are read by the cloud's own rules, with its people."""

    def __init__(self) -> None:
        self.office: Any = Office()
        self.watch = Watch([DEPTH])

    def read(self, after_ms: int = 0, at_ms: int | None = None, **cm: float) -> None:
        """The gauges measure, and the rules look at it; `at_ms`: by the gateway's clock."""
        office = self.office
        office.now_ms += after_ms
        at_ms = office.now_ms if at_ms is None else at_ms
        readings = tuple(
            Reading(SITE, name, Quantity.DEPTH, value / 100, at_ms, Quality.GOOD)
            for name, value in cm.items()
        )
        batch = Batch("gw", "s", at_ms, readings)
        findings = self.watch.examine([batch], [], [], {}, office.now_ms)
        with office.connection.begin():
            self.watch.save(office.connection, findings, office.now_ms)
        self.watch.adopt(findings)
        office.round()

    def message(self, contact: str = "chen-yu") -> Message:
        """What the nearest contact is told now, whatever they were told before."""
        office = self.office
        desk = Dispatch(office.plan, office.plan.channel, office.tokens, office.settings).hand_over
        rows = [row for row in office._waiting() if row.not_before_ms <= office.now_ms]
        row = rows[0]
        found = office.work(lambda c, now_ms: desk.next(c, row.channel, row.contact, now_ms))
        assert isinstance(found, Message)
        return found


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_gauge_that_died_does_not_speak_for_one_that_drowns(site: Site) -> None:
    site.read(b=31)
    site.read(1000, a=31, b=33)
    for _ in range(10):
        site.read(30_000, b=150)
    message = site.message()
    assert "150" in message.text
    assert message.readings[0].sensor == "b"
    assert message.readings[0].value == 1.5


def test_of_two_gauges_that_disagree_the_one_that_reads_most_speaks(site: Site) -> None:
    site.read(a=150, b=31)
    site.read(5000, a=150, b=31)
    assert "150" in site.message().text


def test_a_gauge_that_died_above_the_other_is_named_beside_it(site: Site) -> None:
    site.read(a=80, b=35)
    for _ in range(4):
        site.read(30_000, b=36)
    message = site.message()
    assert {reading.sensor for reading in message.readings} == {"a", "b"}
    assert "另一测点" in message.text
    assert "80" in message.text


def test_a_level_that_only_a_dead_gauge_holds_says_what_the_other_one_reads(site: Site) -> None:
    site.read(a=35, b=20)
    for _ in range(2 + NEWEST_MS // 30_000):
        site.read(30_000, b=16)
    message = site.message()
    assert message.level == "red"
    assert "最后测得积水约35厘米" in message.text
    assert "此后无读数" not in message.text
    assert "另一测点" in message.text
    assert "16厘米" in message.text


def test_a_gauge_that_never_found_anything_says_what_it_reads_where_the_other_one_died(
    site: Site,
) -> None:
    site.read(a=5, b=5)
    site.read(MINUTE, a=35, b=5)
    for _ in range(3):
        site.read(30_000, b=4)
    message = site.message()
    assert message.level == "red"
    assert "另一测点" in message.text
    assert "4厘米" in message.text


def test_what_was_last_read_long_ago_does_not_rise_any_more(site: Site) -> None:
    for cm in (10, 20, 31, 40, 50):
        site.read(30_000, a=cm)
    assert "仍在上涨" in site.message().text
    site.office.round(NEWEST_MS + MINUTE)
    assert "上涨" not in site.message().text


@pytest.mark.parametrize("ahead_ms", [10 * MINUTE, 24 * 60 * MINUTE, 366 * 24 * 60 * MINUTE])
def test_a_gateway_from_the_future_hides_no_later_reading(site: Site, ahead_ms: int) -> None:
    site.read(at_ms=site.office.now_ms + ahead_ms, a=31)
    for _ in range(4):
        site.read(MINUTE, a=150)
    message = site.message()
    assert "150" in message.text
    assert message.readings[0].at_ms == site.office.now_ms


@pytest.mark.parametrize(
    ("cm", "said"),
    [(30, "30厘米"), (30.004, "30厘米"), (1e9, "厘米"), (1e300, "厘米"), (29.6, "30厘米")],
)
def test_any_value_can_be_said(site: Site, cm: float, said: str) -> None:
    site.read(a=cm)
    assert said in site.message().text
    assert len(site.message().text) < 300


@pytest.mark.parametrize("value", [0.0, -0.0, -0.001, -1.0, 1e-300, -1e300])
def test_no_figure_is_minus_nothing_or_a_row_of_digits(value: float) -> None:
    for figure in FIGURES.values():
        said = figure.shown(value, "zh")
        assert not said.startswith(("-0 ", "-0厘", "-0.0厘"))
        assert len(said) < 40


@pytest.mark.parametrize("back_ms", [MINUTE, 60 * MINUTE, 3 * 24 * 60 * MINUTE])
def test_a_clock_that_is_set_back_hides_no_later_reading(site: Site, back_ms: int) -> None:
    site.read(a=31, b=40)
    site.read(MINUTE, a=32, b=40)
    site.office.now_ms -= back_ms
    site.read(5000, a=60)
    site.read(2 * MINUTE, a=150)  # b is dead, and was read by a clock that was ahead
    message = site.message()
    assert "150" in message.text
    assert message.readings[0].at_ms == site.office.now_ms
    assert all(one.at_ms <= site.office.now_ms for one in message.readings)
