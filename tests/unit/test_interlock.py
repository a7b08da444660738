"""The interlock's rule, case by case and by properties."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from hypothesis.stateful import rule as stateful_rule

from edge import interlock
from edge.interlock import Agree, Found, Local, Order, Rule, Tick
from edge.rulers import Notice, RulerRule, Sample
from tests.examples import examples
from wire.aspect import Aspect

RULERS = RulerRule(
    amber_m=0.15,
    red_m=0.30,
    amber_clear_m=0.12,
    red_clear_m=0.27,
    rise_samples=2,
    stale_after_s=10.0,
)
RULE = Rule(rulers=RULERS, hold_s=60.0, safe=Aspect.AMBER)
NEVER = float("inf")


def with_rulers(**changes):
    return RULE._replace(rulers=RULERS._replace(**changes))


class Site:
    """Feeds readings, one a second unless told otherwise."""

    def __init__(self, rule=RULE, rulers=("a",), latched=False, switched=False):
        self.rule, self.now = rule, 0.0
        self.state = interlock.begin(rule, rulers, latched=latched, switched=switched)
        self.notices: list[Notice] = []

    def feed(self, *depths, ruler="a", every=1.0):
        for depth in depths:
            self.now += every
            self._step(Sample(ruler, depth))
        return self.state.wanted

    def wait(self, seconds):
        return self.say(Tick(), after=seconds)

    def say(self, event, after=0.0):
        self.now += after
        self._step(event)
        return self.state.wanted

    def _step(self, event):
        self.state, _, notices = interlock.step(self.rule, self.state, event, self.now)
        self.notices += notices

    def shown(self) -> Aspect:
        return self.state.wanted

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
    # What has risen stays for the hold, or a ruler that comes and goes would make the lamp flap.
    assert site.feed(*[0.0] * 59) is Aspect.AMBER
    assert site.feed(0.0, 0.0) is Aspect.GREEN


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
    assert site.shown() is Aspect.GREEN
    site.feed(0.4, 0.4, ruler="b")
    assert site.shown() is Aspect.RED
    assert site.state.depth == 0.4
    # b dies: a decides, but red must still be held.
    for _ in range(20):
        site.feed(0.0, ruler="a")
    assert "ruler_lost" in site.kinds()
    assert site.shown() is Aspect.RED


def test_a_latched_red_waits_for_a_person():
    site = Site(RULE._replace(latch_red=True))
    site.feed(0.0, 0.0, 0.4, 0.4)
    site.say(Agree("Li"))  # too early: the water is still there, so it counts for nothing
    assert site.feed(*[0.05] * 200) is Aspect.RED
    assert site.say(Agree("Li")) is Aspect.AMBER
    assert site.feed(*[0.05] * 61) is Aspect.GREEN
    # The next flood is latched again.
    site.feed(0.4, 0.4)
    assert site.feed(*[0.05] * 200) is Aspect.RED


def test_a_restart_does_not_speak_for_the_person():
    site = Site(RULE._replace(latch_red=True), latched=True)
    assert site.shown() is Aspect.RED
    assert site.feed(*[0.05] * 200) is Aspect.RED
    assert site.say(Agree("Li")) is Aspect.AMBER
    # A site that no longer asks for a person starts as any other.
    assert Site(latched=True).shown() is Aspect.AMBER


def test_separate_clear_thresholds():
    site = Site(with_rulers(red_clear_m=0.20))
    site.feed(0.0, 0.0, 0.4, 0.4)
    assert site.feed(*[0.22] * 100) is Aspect.RED
    assert site.feed(*[0.20] * 61) is Aspect.AMBER


def test_red_clears_at_its_own_threshold_though_amber_clears_above_it():
    site = Site(with_rulers(red_clear_m=0.05))
    site.feed(0.30, 0.30)
    assert site.feed(*[0.08] * 200) is Aspect.RED
    assert site.feed(*[0.05] * 62) is Aspect.AMBER


def test_water_that_has_risen_far_while_a_ruler_was_silent_is_believed_as_at_the_start():
    site = Site(with_rulers(jump_m=0.5, rise_samples=1))
    site.feed(0.0, 0.0)
    site.wait(11)
    assert site.feed(0.60) is Aspect.RED


def test_a_wet_ruler_that_never_moves_is_not_believed():
    site = Site(with_rulers(stuck_after_s=100.0))
    site.feed(0.0, 0.0)
    assert site.feed(*[0.05] * 100) is Aspect.GREEN
    assert site.feed(*[0.05] * 12) is Aspect.AMBER
    assert "has stood at 0.05 m" in site.notices[-2].text
    assert site.feed(*[0.06] * 80) is Aspect.GREEN


def test_a_ruler_that_stands_still_stays_lost():
    site = Site(with_rulers(stuck_after_s=20.0, jump_m=0.5))
    site.feed(*[0.05] * 60)
    assert site.kinds().count("ruler_lost") == 1
    assert site.kinds().count("ruler_back") == 1  # at the start


def test_a_dry_ruler_may_stand_still():
    site = Site(with_rulers(stuck_after_s=100.0))
    assert site.feed(*[0.0] * 1000) is Aspect.GREEN


def test_a_jump_is_believed_when_the_next_reading_confirms_it():
    site = Site(with_rulers(jump_m=0.10))
    site.feed(0.0, 0.0)
    assert site.feed(0.5) is Aspect.GREEN
    assert site.feed(0.5) is Aspect.RED  # no later than without the check


def test_a_ruler_that_jumps_to_and_fro_is_lost():
    site = Site(with_rulers(jump_m=0.10))
    site.feed(0.0, 0.0)
    assert site.feed(*[0.5, 0.0] * 6) is Aspect.AMBER
    assert "ruler_lost" in site.kinds()


def test_one_absurdly_low_reading_does_not_touch_a_hold():
    site = Site(with_rulers(jump_m=0.10))
    site.feed(0.0, 0.0, 0.4, 0.4)
    site.feed(0.0)  # doubted: the depth is still 0.4
    assert site.state.depth == 0.4
    assert site.state.lower_since is None


def test_rulers_that_disagree_are_told_once():
    site = Site(RULE._replace(disagree_m=0.10, disagree_after_s=5.0), rulers=("a", "b"))
    for _ in range(10):
        site.feed(0.0, ruler="a")
        site.feed(0.12, ruler="b")
    assert site.kinds().count("rulers_disagree") == 1
    site.feed(0.12, 0.12, ruler="a")
    assert site.kinds()[-1] == "rulers_agree"


def test_an_order_raises_at_once_and_ends():
    site = Site()
    site.feed(0.0, 0.0)
    assert site.say(Order(Aspect.RED, None, site.now + 100, "Li")) is Aspect.RED
    assert site.notices[-1].detail["cause"] == "order of Li"
    for _ in range(99):
        assert site.feed(0.0) is Aspect.RED
    assert site.feed(0.0) is Aspect.GREEN
    assert "order_ended" in site.kinds()


def test_an_order_lowers_for_a_time_but_not_to_green_above_red_water():
    site = Site()
    site.feed(0.0, 0.0, 0.4, 0.4)
    assert site.say(Order(None, Aspect.GREEN, site.now + 50, "Li")) is Aspect.AMBER
    assert site.feed(*[0.29] * 10) is Aspect.GREEN
    assert site.feed(0.4, 0.4) is Aspect.AMBER
    assert site.feed(*[0.4] * 50) is Aspect.RED


def test_an_order_does_not_lower_under_the_safe_aspect_without_a_ruler():
    site = Site()
    site.feed(0.0, 0.0, 0.4, 0.4)
    site.wait(11)
    assert site.say(Order(None, Aspect.GREEN, site.now + 50, "Li")) is Aspect.AMBER
    assert site.say(Order(None, None, NEVER, "Li")) is Aspect.RED


def test_a_red_lamp_stays_red_until_the_water_is_known():
    site = Site()
    assert site.say(Found(Aspect.RED)) is Aspect.RED
    assert site.wait(1.0) is Aspect.RED
    assert site.feed(0.2, 0.2) is Aspect.AMBER
    other = Site()
    assert other.say(Found(Aspect.GREEN)) is Aspect.AMBER


def test_the_local_switch_raises_and_lets_go():
    site = Site()
    site.feed(0.0, 0.0)
    assert site.say(Local(Aspect.RED)) is Aspect.RED
    assert site.notices[-1].detail["cause"] == "local switch"
    assert site.say(Local(None)) is Aspect.RED  # what has risen stays for the hold
    assert site.feed(*[0.0] * 60) is Aspect.GREEN


DEPTHS = st.one_of(st.none(), st.floats(0, 0.6).map(lambda x: round(x, 2)))
ORDERS = st.builds(
    lambda floor, ceiling, until: (floor, ceiling, until),
    st.sampled_from([None, *interlock.ASPECTS]),
    st.sampled_from([None, *interlock.ASPECTS]),
    st.floats(0, 200),
)
RULES = st.builds(
    lambda latch, safe, jump, stuck: RULE._replace(
        latch_red=latch, safe=safe, rulers=RULERS._replace(jump_m=jump, stuck_after_s=stuck)
    ),
    st.booleans(),
    st.sampled_from([Aspect.FLASHING_AMBER, Aspect.AMBER, Aspect.RED]),
    st.sampled_from([None, 0.2]),
    st.sampled_from([None, 90.0]),
)


@settings(examples(100), stateful_step_count=60)
class AnyHistory(RuleBasedStateMachine):
    """Readings, silence, orders, the switch beside the road: the promises hold throughout."""

    @initialize(rule=RULES)
    def begin(self, rule):
        self.site = Site(rule, rulers=("a", "b"))
        self.raised_at = float("-inf")
        self.before = self.site.state
        self.told = 0
        self.agreed_now = False

    @stateful_rule(ruler=st.sampled_from(["a", "b"]), depth=DEPTHS, every=st.floats(0.1, 20))
    def reads(self, ruler, depth, every):
        self.site.feed(depth, ruler=ruler, every=every)

    @stateful_rule(depth=DEPTHS, times=st.integers(2, 80))
    def stays(self, depth, times):
        for _ in range(times):
            self.site.feed(depth, ruler="a", every=0.5)
            self.promises()
            self.site.feed(depth, ruler="b", every=0.5)
            self.promises()

    @stateful_rule(seconds=st.floats(0.1, 200))
    def waits(self, seconds):
        self.site.wait(seconds)

    @stateful_rule(order=ORDERS)
    def orders(self, order):
        floor, ceiling, lasts = order
        self.site.say(Order(floor, ceiling, self.site.now + lasts, "Li"))

    @stateful_rule(floor=st.sampled_from([None, Aspect.AMBER, Aspect.RED]))
    def switches(self, floor):
        self.site.say(Local(floor))

    @stateful_rule()
    def agrees(self):
        self.agreed_now = True
        self.site.say(Agree("Li"))
        self.promises()
        self.agreed_now = False

    @invariant()
    def promises(self):
        if not hasattr(self, "site"):
            return
        before, state, rule, now = self.before, self.site.state, self.site.rule, self.site.now
        healthy = [r for r in state.rulers.values() if not r.lost]
        wanted = state.wanted
        new = self.site.notices[self.told :]
        if any(r.over[1] >= RULERS.rise_samples for r in healthy):
            assert wanted is not Aspect.GREEN, "green while a healthy ruler is over red"
            if state.order is interlock.NO_ORDER:
                assert wanted is Aspect.RED
        if not healthy:
            assert wanted.severity >= rule.safe.severity, "under the safe aspect, blind"
        if wanted.severity != before.wanted.severity:
            (turned,) = [n for n in new if n.kind == "aspect_wanted"]
            assert (turned.detail["from"], turned.detail["to"]) == (
                before.wanted.value,
                wanted.value,
            )
            assert turned.detail["cause"], "a change without a cause in the log"
        ordered = state.order is not interlock.NO_ORDER
        if wanted.severity < before.wanted.severity:
            assert ordered or now - self.raised_at >= rule.hold_s, "lowered sooner than the dwell"
        if wanted.severity > before.wanted.severity:
            self.raised_at = now
        if before.band == interlock.RED and state.band != interlock.RED:
            assert state.band == interlock.AMBER, "red fell further than amber"
            assert before.agreed or self.agreed_now or not rule.latch_red, "a latch nobody freed"
        self.before, self.told = state, len(self.site.notices)


TestAnyHistory = AnyHistory.TestCase
