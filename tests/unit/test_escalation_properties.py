"""Calling the tiers until somebody answers: any water, any answers, in virtual time."""

from collections import Counter
from itertools import pairwise

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloud.alerts.actions import CALLS, Kind
from cloud.alerts.alarm import HELD
from cloud.alerts.escalation import Escalation, Outcome, Phase, next_due_ms
from cloud.alerts.hazard import Hazard, Stage
from tests import plans
from tests.examples import examples
from tests.unit.test_escalation import Case
from wire.messages import Level

LEVELS = st.sampled_from([None, *Level])
PLAN = plans.small(
    5,
    hazard={"river": {"climbs_to": {"blue": "village", "yellow": "township"}}},
    tell=[{"at": ["raise", "climb", "clear"], "roles": ["office"]}],
    tier={"township": {"answer_within_min": {"now": 7}, "retry_every_min": 1}},
)
PLAN = plans.made(
    PLAN.model_dump(mode="json", exclude_none=True)
    | {
        "contact": {
            name: one.model_dump(mode="json", exclude_none=True)
            | ({"roles": ["office"]} if name == "district-1" else {})
            for name, one in PLAN.contact.items()
        }
    }
)


class Escalations(RuleBasedStateMachine):
    """Any water, any answers, any holds, any stand-still of the cloud."""

    @initialize()
    def begin(self):
        self.case = Case(PLAN)

    @rule(level=LEVELS, stage=st.sampled_from(Stage))
    def water(self, level, stage):
        self.case.water(level, stage)

    @rule(minutes=st.floats(0, 40))
    def wait(self, minutes):
        """No tier is passed over, and none is left before its time is up."""
        self.case.wait(minutes)

    @rule(minutes=st.floats(0, 300))
    def sleep(self, minutes):
        before = set(self.rungs())
        self.case.sleep(minutes)
        opened = set(self.rungs()) - before
        declined = self.case.state.declined if self.case.state else ()
        assert len(opened) <= 1 + len(declined)  # who cannot act is not waited for

    @rule(by=st.sampled_from(["grid-1", "city-1", "a stranger"]), back=st.integers(0, 1))
    def answer(self, by, back):
        case = self.case
        case.answer(by, max(0, case.alarm.round - back))
        if back == 0 and case.state is not None:
            assert case.phase() is not Phase.RINGING
            if case.phase() is not Phase.HELD:
                assert next_due_ms(case.state) == case.state.follow_ms

    @rule(by=st.sampled_from(["grid-1", "village-1", "city-1"]), unreached=st.booleans())
    def decline(self, by, unreached):
        """Nobody who is left is waited for: the next area is called within the step."""
        case = self.case
        case.decline(by, unreached=unreached)
        if case.phase() is not Phase.RINGING:
            return
        state = case.state
        assert state is not None
        assert state.level is not None
        assert by in state.declined
        last = state.rungs[-1]
        top = PLAN.called("north", Hazard.RIVER, state.level)
        if last.contacts and set(last.contacts) <= set(state.declined):
            assert last.area == top[-1]

    @rule(by=st.sampled_from(["grid-1", "city-1", "a stranger"]), outcome=st.sampled_from(Outcome))
    def report(self, by, outcome):
        case = self.case
        case.report(by, outcome)
        if case.state is None or case.phase() is not Phase.ANSWERED:
            return
        if outcome not in (Outcome.ACTING, Outcome.CANNOT_ACT):
            assert next_due_ms(case.state) is None

    @rule(kind=st.sampled_from(HELD), up_to=st.sampled_from(Level), minutes=st.floats(1, 90))
    def hold(self, kind, up_to, minutes):
        self.case.hold(minutes, kind, up_to)

    @rule()
    def release(self):
        self.case.release()

    @rule()
    def restart(self):
        if self.case.state is not None:
            self.case.state = msgspec.json.decode(
                msgspec.json.encode(self.case.state), type=Escalation
            )

    @rule()
    def nobody_answers(self):
        """Left alone, it climbs to the top of its level, in order, and stays ringing there."""
        case = self.case
        if case.phase() is not Phase.RINGING:
            return
        case.water(case.alarm.level)  # what it falls to meanwhile is another matter
        case.wait(60)  # the longest that five tiers can take once it is happening
        assert case.state is not None
        assert case.state.level is not None
        top = PLAN.called("north", Hazard.RIVER, case.state.level)
        if case.state.stage is Stage.NOW:
            assert self.rungs() == list(top)
        before = len(case.sent)
        case.wait(20)
        rang = Counter(send.contact for send in case.sent[before:] if send.kind in CALLS)
        for area in self.rungs():
            if f"{area}-1" not in case.state.declined or area == self.rungs()[-1]:
                assert rang[f"{area}-1"] >= 2

    @rule()
    def nobody_reports(self):
        """An answer without a result does not last."""
        case = self.case
        if not case.state_waits():
            return
        before = case.alarm.round
        case.water(case.alarm.level)
        if case.state_waits() and case.alarm.lower_since_ms is None:
            case.wait(150)
            assert case.alarm.round > before or case.alarm.level is None

    def rungs(self) -> list[str]:
        return [rung.area for rung in self.case.state.rungs] if self.case.state else []

    @invariant()
    def no_tier_is_passed_over(self):
        assert tuple(self.rungs()) == PLAN.ladder("north")[: len(self.rungs())]
        rungs = self.case.state.rungs if self.case.state else ()
        for below, above in pairwise(rungs):
            assert above.called_ms >= below.deadline_ms

    @invariant()
    def it_rings_if_and_only_if_the_alarm_calls(self):
        assert self.case.alarm.calls == (self.case.phase() is Phase.RINGING)

    @invariant()
    def it_calls_no_area_unless_it_rings(self):
        assert bool(self.rungs()) == (self.case.phase() is Phase.RINGING)

    @invariant()
    def while_it_rings_something_is_due(self):
        if self.case.phase() is Phase.RINGING or self.case.state_waits():
            assert self.case.state is not None
            due = next_due_ms(self.case.state)
            assert due is not None
            assert due > self.case.now_ms - 1

    @invariant()
    def no_key_twice(self):
        keys = [send.key for send in self.case.sent]
        assert len(keys) == len(set(keys))

    @invariant()
    def whoever_is_called_is_told_of_the_end(self):
        """For each alert: nobody who was called remains in the dark once it is over."""
        case = self.case
        if case.state is not None and case.state.level is None:
            mine = [send for send in case.sent if send.alert == case.state.alert]
            last = {send.contact: send.kind for send in mine}
            assert set(last.values()) <= {Kind.CLEAR}

    @invariant()
    def the_plan_is_kept(self):
        assert self.case.state is None or self.case.state.plan == PLAN.version


Escalations.TestCase.settings = settings(examples(120), stateful_step_count=25)
TestEscalations = Escalations.TestCase
