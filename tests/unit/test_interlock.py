"""The interlock's rule, case by case and by properties."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import interlock
from edge.interlock import Rule, Sample, Tick
from wire.aspect import Aspect

RULE = Rule(
    amber_m=0.15,
    red_m=0.30,
    fall_m=0.03,
    rise_samples=2,
    hold_s=60.0,
    stale_after_s=10.0,
    safe=Aspect.AMBER,
)


class Site:
    """Feeds readings, one a second unless told otherwise."""

    def __init__(self, rule=RULE, rulers=("a",)):
        self.rule, self.now = rule, 0.0
        self.state = interlock.begin(rule, rulers)
        self.notices = []

    def feed(self, *depths, ruler="a", every=1.0):
        for depth in depths:
            self.now += every
            self._step(Sample(ruler, depth))
        return self.state.wanted

    def wait(self, seconds):
        self.now += seconds
        self._step(Tick())
        return self.state.wanted

    def _step(self, event):
        self.state, _, notices = interlock.step(self.rule, self.state, event, self.now)
        self.notices += notices

    def kinds(self):
        return [n.kind for n in self.notices]


def test_starts_safe_and_turns_green_after_healthy_readings():
    site = Site()
    assert site.state.wanted is Aspect.AMBER
    assert site.feed(0.02) is Aspect.AMBER
    assert site.feed(0.02) is Aspect.GREEN
    assert "ruler_back" in site.kinds()


def test_starts_under_water_without_a_green_moment():
    site = Site()
    aspects = [site.feed(0.4), site.feed(0.4)]
    assert aspects == [Aspect.AMBER, Aspect.RED]


@pytest.mark.parametrize(
    ("depth", "aspect"),
    [(0.14, Aspect.GREEN), (0.15, Aspect.AMBER), (0.29, Aspect.AMBER), (0.30, Aspect.RED)],
)
def test_the_threshold_itself_counts_as_over(depth, aspect):
    site = Site()
    site.feed(0.0, 0.0)
    assert site.feed(depth, depth) is aspect


def test_one_splash_raises_nothing():
    site = Site()
    site.feed(0.0, 0.0)
    assert site.feed(0.5, 0.0, 0.5, 0.0) is Aspect.GREEN
    assert site.kinds().count("over_threshold") == 4  # amber and red, twice


def test_falls_slowly_and_one_aspect_at_a_time():
    site = Site()
    site.feed(0.0, 0.0, 0.4, 0.4)
    assert site.feed(*[0.28] * 100) is Aspect.RED  # under red, but not by the margin
    assert site.feed(*[0.05] * 60) is Aspect.RED
    assert site.feed(0.05) is Aspect.AMBER
    assert site.feed(*[0.05] * 59) is Aspect.AMBER
    assert site.feed(0.05) is Aspect.GREEN


def test_a_rise_during_the_hold_starts_it_again():
    site = Site()
    site.feed(0.0, 0.0, 0.4, 0.4)
    site.feed(*[0.05] * 50)
    site.feed(0.29)
    assert site.feed(*[0.05] * 60) is Aspect.RED
    assert site.feed(0.05) is Aspect.AMBER


def test_a_stale_ruler_shows_the_safe_aspect_and_says_so():
    site = Site()
    site.feed(0.0, 0.0)
    assert site.wait(10.0) is Aspect.GREEN
    assert site.wait(0.1) is Aspect.AMBER
    assert "ruler_lost" in site.kinds()
    assert site.feed(0.0) is Aspect.AMBER  # one reading is not trusted yet
    assert site.feed(0.0) is Aspect.GREEN


def test_a_stale_ruler_holds_red():
    site = Site()
    site.feed(0.0, 0.0, 0.4, 0.4)
    assert site.wait(1000.0) is Aspect.RED
    # It answers again, dry: the hold is served from now on, not from when it went silent.
    assert site.feed(0.0, 0.0) is Aspect.RED
    assert site.feed(*[0.0] * 58) is Aspect.RED
    assert site.feed(0.0, 0.0, 0.0) is Aspect.AMBER


def test_missing_readings_are_no_dry_readings():
    site = Site()
    site.feed(0.0, 0.0, 0.4)
    site.feed(None)
    assert site.feed(0.4) is Aspect.GREEN
    assert site.feed(0.4) is Aspect.RED


def test_the_highest_healthy_ruler_decides():
    site = Site(rulers=("a", "b"))
    site.feed(0.0, 0.0, ruler="a")
    site.feed(0.0, 0.0, ruler="b")
    assert site.state.wanted is Aspect.GREEN
    site.feed(0.4, 0.4, ruler="b")
    assert site.state.wanted is Aspect.RED
    assert site.state.depth == 0.4
    # b dies: a decides, but red must still be held.
    for _ in range(20):
        site.feed(0.0, ruler="a")
    assert "ruler_lost" in site.kinds()
    assert site.state.wanted is Aspect.RED


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.one_of(st.none(), st.floats(0, 0.6).map(lambda x: round(x, 2))),
        st.floats(0.1, 30),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_promises_hold_for_any_history(history):
    site = Site(rulers=("a", "b"))
    last_lowering = float("-inf")
    before = site.state.wanted
    for ruler, depth, wait in history:
        if ruler is None:
            site.wait(wait)
        else:
            site.feed(depth, ruler=ruler, every=wait)
        healthy = [r for r in site.state.rulers.values() if not r.lost]
        wanted = site.state.wanted
        if any(r.over[1] >= RULE.rise_samples for r in healthy):
            assert wanted is Aspect.RED
        if not healthy:
            assert wanted.severity >= RULE.safe.severity
        if any(r.depth >= RULE.amber_m for r in healthy) and before is not Aspect.GREEN:
            assert wanted is not Aspect.GREEN
        if before is Aspect.RED and wanted is not Aspect.RED:
            assert wanted is Aspect.AMBER
            assert site.now - last_lowering >= RULE.hold_s
        if wanted.severity < before.severity:
            last_lowering = site.now
            assert site.kinds()[-1] == "aspect_wanted"
        before = wanted
