"""The states of an alert, case by case and by properties."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloud.alerts import alarm as alarms
from cloud.alerts.alarm import (
    Acknowledge,
    Alarm,
    Condition,
    Cover,
    Event,
    Held,
    Rule,
    Source,
    Status,
    Tick,
    Trigger,
    next_due_ms,
    step,
)
from cloud.alerts.hazard import Hazard, Stage
from tests.examples import examples
from wire.messages import Level

RULE = Rule(off_delay_ms=600_000)
MIN = 60_000


class Desk:
    """One alarm and a clock; its readings are as old as the moment."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.alarm = Alarm("north", Hazard.RIVER)
        self.events: list[Event] = []

    def give(self, given, after_min: float = 0.0) -> Status:
        self.now_ms += round(after_min * MIN)
        self.alarm, events = step(self.alarm, given, self.now_ms, RULE)
        self.events += events
        return self.alarm.status

    def water(self, level: Level | None, after_min=1.0, source="gauge", stage=Stage.NOW) -> Status:
        at_ms = self.now_ms + round(after_min * MIN)
        return self.give(Condition(source, level, at_ms, stage), after_min)

    def answer(self, by="Li", round=None, after_min=1.0) -> Status:
        return self.give(Acknowledge(by, round), after_min)

    def hold(self, *kinds, minutes=30, up_to=Level.RED) -> Status:
        until_ms = self.now_ms + minutes * MIN
        covers = [Cover(kind, f"hold {kind}", "Li", "why", until_ms, up_to) for kind in kinds]
        return self.give(Held(tuple(covers), until_ms if kinds else None))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events if not event.refused]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_way_through_the_four_states(desk):
    assert desk.alarm.status is Status.NORMAL
    assert desk.water(Level.ORANGE) is Status.UNACKNOWLEDGED
    assert desk.answer() is Status.ACKNOWLEDGED
    desk.water(None)
    assert desk.give(Tick(), 10) is Status.NORMAL
    assert desk.kinds() == ["rise", "answer", "return"]
    assert desk.alarm.answered_by == "Li"


def test_what_returned_unanswered_waits_for_an_answer(desk):
    desk.water(Level.ORANGE)
    desk.water(None)
    assert desk.give(Tick(), 10) is Status.RETURNED
    assert desk.give(Tick(), 10_000) is Status.RETURNED
    assert desk.alarm.unanswered
    assert desk.answer() is Status.NORMAL


def test_a_rise_after_an_unanswered_return_is_the_same_alert(desk):
    desk.water(Level.ORANGE)
    alert = desk.alarm.alert
    desk.water(None)
    desk.give(Tick(), 60)
    assert desk.water(Level.BLUE) is Status.UNACKNOWLEDGED
    assert desk.alarm.alert == alert


def test_the_same_reading_again_creates_nothing(desk):
    reading = Condition("gauge", Level.RED, 1_000_000)
    desk.give(reading)
    once = desk.alarm
    desk.give(reading)
    assert desk.alarm == once
    assert desk.kinds() == ["rise"]
    assert once.alert == "north.river.1000000"


def test_another_worker_gives_the_alert_the_same_id(desk):
    desk.give(Condition("gauge", Level.RED, 999_000))
    other = Desk()
    other.give(Condition("gauge", Level.RED, 999_000), after_min=3)
    assert desk.alarm.alert == other.alarm.alert


def test_a_new_episode_is_a_new_alert_even_from_a_late_reading(desk):
    desk.give(Condition("a", Level.RED, 900_000))
    desk.answer()
    desk.give(Condition("a", None, 900_001))
    desk.give(Tick(), 10)
    first = desk.alarm.alert
    desk.give(Condition("b", Level.RED, 900_000), 1)
    assert desk.alarm.alert != first


def test_an_older_word_of_a_source_counts_for_nothing(desk):
    desk.water(Level.RED)
    before = desk.alarm
    desk.give(Condition("gauge", None, desk.now_ms - 1))
    assert desk.alarm == before


def test_a_word_from_the_future_does_not_outdate_those_that_follow(desk):
    desk.give(Condition("gauge", Level.RED, desk.now_ms + 10**9))
    assert desk.alarm.status is Status.UNACKNOWLEDGED
    desk.water(None)
    assert desk.give(Tick(), 10) is Status.RETURNED


def test_the_worst_of_several_sources_holds(desk):
    desk.water(Level.ORANGE, source="a")
    desk.water(Level.RED, source="b", stage=Stage.SOON)
    assert (desk.alarm.level, desk.alarm.stage) == (Level.RED, Stage.NOW)
    desk.water(None, source="b")
    desk.give(Tick(), 10)
    assert (desk.alarm.level, desk.alarm.stage) == (Level.ORANGE, Stage.NOW)
    assert desk.kinds() == ["rise", "rise", "fall"]


def test_a_flap_joins_the_episode_and_is_counted(desk):
    desk.water(Level.ORANGE)
    desk.answer()
    for _ in range(20):
        desk.water(None)
        desk.water(Level.ORANGE)
    assert desk.alarm.status is Status.ACKNOWLEDGED
    assert desk.alarm.flaps == 20
    assert desk.kinds() == ["rise", "answer"]
    assert desk.alarm.round == 1


def test_a_fall_counts_after_the_off_delay_only(desk):
    desk.water(Level.RED)
    desk.water(Level.BLUE)
    due = next_due_ms(desk.alarm, RULE)
    assert due == desk.now_ms + RULE.off_delay_ms
    levels = []
    for minutes in (9.9, 0.1):
        desk.give(Tick(), minutes)
        levels.append(desk.alarm.level)
    assert levels == [Level.RED, Level.BLUE]
    assert next_due_ms(desk.alarm, RULE) is None


def test_a_rise_after_an_answer_needs_another_answer(desk):
    desk.water(Level.ORANGE)
    desk.answer()
    assert desk.water(Level.RED) is Status.UNACKNOWLEDGED
    assert desk.alarm.round == 2


def test_a_nearer_stage_needs_another_answer(desk):
    desk.water(Level.ORANGE, stage=Stage.TREND)
    desk.answer()
    assert desk.water(Level.ORANGE, stage=Stage.IMMINENT) is Status.UNACKNOWLEDGED


def test_a_stage_that_moves_away_again_needs_none(desk):
    desk.water(Level.ORANGE, stage=Stage.IMMINENT)
    desk.answer()
    desk.water(Level.ORANGE, stage=Stage.TREND)
    assert desk.give(Tick(), 10) is Status.ACKNOWLEDGED
    assert desk.alarm.stage is Stage.TREND
    assert desk.kinds() == ["rise", "answer"]


def test_an_answer_to_an_earlier_round_is_told_and_does_not_count(desk):
    desk.water(Level.ORANGE)
    desk.water(Level.RED)
    assert desk.answer(round=1) is Status.UNACKNOWLEDGED
    assert "risen" in desk.events[-1].refused
    assert desk.answer(round=2) is Status.ACKNOWLEDGED


def test_there_is_nothing_to_answer_when_all_is_normal(desk):
    assert desk.answer() is Status.NORMAL
    assert desk.events[-1].refused


def test_what_is_held_back_and_unanswered_is_presented_again(desk):
    desk.water(Level.ORANGE)
    assert desk.hold(Status.SHELVED) is Status.SHELVED
    assert not desk.alarm.calls
    assert desk.alarm.unanswered
    assert next_due_ms(desk.alarm, RULE) == desk.now_ms + 30 * MIN
    desk.now_ms += 30 * MIN
    assert desk.hold() is Status.UNACKNOWLEDGED
    assert desk.alarm.round == 2
    assert (desk.events[-1].kind, desk.events[-1].reason) == (
        *(Trigger.RELEASE, "the time of the hold is over"),
    )
    assert next_due_ms(desk.alarm, RULE) is None


def test_a_hold_that_ends_on_an_answered_alarm_calls_nobody(desk):
    desk.water(Level.ORANGE)
    desk.answer()
    desk.hold(Status.SHELVED)
    assert desk.hold() is Status.ACKNOWLEDGED
    assert desk.alarm.round == 1


def test_of_several_holds_the_strongest_is_shown_and_each_is_kept(desk):
    desk.water(Level.ORANGE)
    assert desk.hold(Status.SHELVED, Status.SUPPRESSED) is Status.SUPPRESSED
    assert desk.hold(Status.OUT_OF_SERVICE, Status.SHELVED) is Status.OUT_OF_SERVICE
    assert [one.status for one in desk.alarm.covers] == [Status.OUT_OF_SERVICE, Status.SHELVED]
    assert desk.hold(Status.SHELVED) is Status.SHELVED
    assert desk.kinds() == ["rise", "hold", "hold", "hold"]
    desk.hold(Status.SHELVED)  # the same again is no news
    assert desk.kinds() == ["rise", "hold", "hold", "hold"]


def test_why_a_hold_ends_is_said(desk):
    desk.water(Level.ORANGE)
    desk.hold(Status.SHELVED, up_to=Level.ORANGE)
    desk.water(Level.RED)
    desk.hold()
    assert desk.events[-1].reason == "it has risen above orange"
    desk.hold(Status.SHELVED)
    desk.water(None)
    desk.give(Tick(), 10)
    desk.hold()
    assert desk.events[-1].reason == "it is over"


def test_what_made_it_stand_counts_until_the_fall_does(desk):
    desk.water(Level.RED, source="a")
    desk.water(Level.BLUE, source="b")
    assert desk.alarm.behind == ("a", "b")
    desk.water(None, source="a")
    assert desk.alarm.behind == ("a", "b")  # it is at red still, and that was a
    desk.give(Tick(), 10)
    assert (desk.alarm.level, desk.alarm.behind) == (Level.BLUE, ("b",))
    desk.water(None, source="b")
    assert desk.alarm.behind == ("b",)


LEVELS = st.sampled_from([None, *Level])
SOURCES = st.sampled_from(["a", "b"])


class Alarms(RuleBasedStateMachine):
    """Any water, any people, any clock that goes forward."""

    @initialize()
    def begin(self):
        self.desk = Desk()
        self.rose_unanswered = False  # kept apart from the alarm's own books

    def give(self, given, after_min):
        before = self.desk.alarm
        seen = len(self.desk.events)
        self.desk.give(given, after_min)
        after, events = self.desk.alarm, self.desk.events[seen:]
        for event in events:
            assert event.alert == after.alert or event.alert == before.alert
            if event.refused:
                continue
            if event.kind is Trigger.RISE:
                self.rose_unanswered = True
            if event.kind is Trigger.ANSWER:
                self.rose_unanswered = False
        if before.process is Status.UNACKNOWLEDGED and after.process is not before.process:
            kinds = {event.kind for event in events if not event.refused}
            assert kinds & {Trigger.ANSWER, Trigger.RETURN}
        assert after.round >= before.round
        if after.level is not None and (before.level is None or after.level > before.level):
            assert after.round > before.round
        if before.alert and after.alert != before.alert:
            assert before.process is Status.NORMAL

    @rule(level=LEVELS, source=SOURCES, stage=st.sampled_from(Stage), after=st.floats(0, 15))
    def water(self, level, source, stage, after):
        at_ms = self.desk.now_ms + round(after * MIN)
        self.give(Condition(source, level, at_ms, stage), after)

    @rule(level=LEVELS, source=SOURCES, age=st.integers(1, 10**6))
    def old_water(self, level, source, age):
        self.give(Condition(source, level, self.desk.now_ms - age), 0)

    @rule(back=st.integers(-1, 2), after=st.floats(0, 5))
    def answer(self, back, after):
        self.give(Acknowledge("Li", max(0, self.desk.alarm.round - back)), after)

    @rule(after=st.floats(0, 300))
    def wait(self, after):
        self.give(Tick(), after)

    @rule(kinds=st.sets(st.sampled_from(alarms.HELD)))
    def hold(self, kinds):
        if self.desk.alarm.level is not None:
            self.desk.hold(*kinds)

    @precondition(lambda self: next_due_ms(self.desk.alarm, RULE) is not None)
    @rule()
    def until_due(self):
        """A Tick when one is due changes something: the heap never spins."""
        before = self.desk.alarm
        due = next_due_ms(before, RULE)
        assert due is not None
        self.give(Tick(), max(0, due - self.desk.now_ms) / MIN + 1 / MIN)
        if self.desk.alarm.look_ms is not None and self.desk.alarm.look_ms <= self.desk.now_ms:
            self.desk.hold()
        assert self.desk.alarm != before

    @rule()
    def restart(self):
        """What is stored as JSON is all that there is."""
        self.desk.alarm = msgspec.json.decode(msgspec.json.encode(self.desk.alarm), type=Alarm)

    @invariant()
    def nobody_forgets_that_nobody_has_answered(self):
        assert self.desk.alarm.unanswered == self.rose_unanswered

    @invariant()
    def process_and_level_agree(self):
        idle = self.desk.alarm.process in (Status.NORMAL, Status.RETURNED)
        assert idle == (self.desk.alarm.level is None)

    @invariant()
    def it_is_held_back_by_something_or_not_at_all(self):
        alarm = self.desk.alarm
        found = [one.status for one in alarm.covers]
        assert alarm.hold == (max(found, key=alarms.HELD.index) if found else None)

    @invariant()
    def it_is_never_below_its_sources(self):
        words = [s.level for s in self.desk.alarm.sources.values() if s.level is not None]
        if words:
            assert self.desk.alarm.level is not None
            assert self.desk.alarm.level >= max(words)
            # Lower sources are on their way to being believed: an end is in sight.
            if self.desk.alarm.level > max(words):
                assert self.desk.alarm.lower_since_ms is not None

    @invariant()
    def calls_only_for_what_is_unanswered(self):
        assert not self.desk.alarm.calls or self.desk.alarm.unanswered


Alarms.TestCase.settings = settings(examples(120), stateful_step_count=30)
TestAlarms = Alarms.TestCase


def test_a_source_that_never_had_anything_to_say_is_not_kept(desk):
    desk.water(None)
    assert desk.alarm.sources == {}
    desk.water(Level.BLUE)
    assert desk.alarm.sources == {"gauge": Source(Level.BLUE, Stage.NOW, desk.now_ms)}
    assert alarms.DEFAULT.off_delay_ms > 0
