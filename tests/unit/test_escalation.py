"""Calling the tiers until somebody answers, case by case and by properties, in virtual time."""

import pytest

from cloud.alerts import alarm as alarms
from cloud.alerts import escalation
from cloud.alerts.actions import CALLS, Kind, Note, Reopen, Send, Withdraw
from cloud.alerts.alarm import Acknowledge, Alarm, Condition, Status
from cloud.alerts.escalation import (
    Answer,
    Decline,
    Escalation,
    Outcome,
    Phase,
    Report,
    Tick,
    begin,
    next_due_ms,
    situation,
)
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.holds import Hold, Scope, held
from tests import plans
from wire.messages import Level

MIN = 60_000
RULE = alarms.Rule(off_delay_ms=10 * MIN)
START = 1_782_000_000_000


class Case:
    """An alarm with its escalation, as the cloud would run them; `sent` is what the world got."""

    def __init__(self, plan=None) -> None:
        self.plan = plan or plans.small(3)
        self.now_ms = START
        self.alarm = Alarm("north", Hazard.RIVER)
        self.state: Escalation | None = None
        self.sent: list[Send] = []
        self.at: dict[str, int] = {}
        self.notes: list[Note] = []
        self.withdrawn: list[Withdraw] = []
        self.holds: list[Hold] = []

    def wait(self, minutes: float) -> None:
        """Ticks when they are due, as the heap of the cloud does."""
        end = self.now_ms + round(minutes * MIN)
        turns = 0
        while (due := self.due_ms()) is not None and due <= end:
            assert (turns := turns + 1) < 10_000, f"it is due for ever: {self.state}"
            self.now_ms = max(self.now_ms, due)
            self.tick()
        self.now_ms = end

    def sleep(self, minutes: float) -> None:
        """Nobody ticks: the cloud is down. Then it starts."""
        self.now_ms += round(minutes * MIN)
        self.tick()

    def due_ms(self) -> int | None:
        due = [alarms.next_due_ms(self.alarm, RULE)]
        if self.state is not None:
            due.append(next_due_ms(self.state))
        return min((at for at in due if at is not None), default=None)

    def tick(self) -> None:
        self._alarm(alarms.Tick())
        if self.state is not None:
            self._step(Tick())

    def water(self, level: Level | None, stage=Stage.NOW) -> None:
        self.now_ms += 1
        self._alarm(Condition("gauge", level, self.now_ms, stage))

    def answer(self, by: str, round: int | None = None) -> None:
        if self.state is None:
            return
        self._step(Answer(by, self.now_ms, "link", "coming", round))
        self._alarm(Acknowledge(by, round))

    def decline(self, contact: str, *, unreached: bool = False) -> None:
        if self.state is not None:
            self._step(Decline(contact, self.alarm.round, unreached))

    def report(self, by: str, outcome: Outcome, round: int | None = None) -> None:
        """What the cloud does with a report: it answers for the alarm too."""
        if self.state is None:
            return
        ringing = self.state.phase is Phase.RINGING
        self._step(Report(by, self.now_ms, "link", outcome, round=round))
        if ringing and outcome is not Outcome.CANNOT_ACT:
            self._alarm(Acknowledge(by, round))

    def hold(self, minutes: float, kind: Status = Status.SHELVED, up_to: Level = Level.RED) -> None:
        number, until_ms = len(self.holds) + 1, self.now_ms + round(minutes * MIN)
        one = Hold(number, kind, Scope("north"), self.now_ms, until_ms, up_to, "Li", "works")
        self.holds.append(one)
        self._alarm(alarms.Tick())

    def release(self) -> None:
        self.holds = []
        self._alarm(alarms.Tick())

    def _alarm(self, given: alarms.Input) -> None:
        self.alarm, _ = alarms.step(self.alarm, given, self.now_ms, RULE)
        covers = held(self.alarm, self.holds, (), lambda _: None, self.now_ms)
        self.alarm, _ = alarms.step(self.alarm, covers, self.now_ms, RULE)
        if self.alarm.alert and (self.state is None or self.state.alert != self.alarm.alert):
            if self.state is not None:
                assert next_due_ms(self.state) is None
            heard = () if self.state is None else self.state.heard
            self.state = begin(self.alarm, self.plan, heard=heard)
        if self.state is not None:
            self._step(situation(self.alarm))

    def _step(self, given: escalation.Input) -> None:
        assert self.state is not None
        self.state, actions = escalation.step(self.state, given, self.now_ms, self.plan)
        for action in actions:
            match action:
                case Send():
                    self.sent.append(action)
                    assert action.key not in self.at
                    self.at[action.key] = self.now_ms
                case Note():
                    self.notes.append(action)
                case Withdraw():
                    self.withdrawn.append(action)
        for action in actions:
            if isinstance(action, Reopen):
                self._alarm(alarms.Reopen(action.by, action.reason))

    def told(self, *kinds: Kind) -> list[tuple[float, str, str]]:
        """When (min), why and who."""
        return [
            (round((self.at[send.key] - START) / MIN, 1), send.kind, send.contact)
            for send in self.sent
            if not kinds or send.kind in kinds
        ]

    def state_waits(self) -> bool:
        """Whether a result is awaited."""
        waits = self.state is not None and self.state.follow_ms is not None
        return waits and self.phase() is Phase.ANSWERED

    def phase(self) -> Phase | None:
        return None if self.state is None else self.state.phase


@pytest.fixture
def case() -> Case:
    return Case()


def test_calls_climb_and_those_below_go_on_being_called(case):
    case.water(Level.RED)
    case.wait(11)
    assert case.told(Kind.RAISE, Kind.CLIMB) == [
        (0, "raise", "grid-1"),
        (5, "climb", "village-1"),
        (10, "climb", "township-1"),
    ]
    assert [at for at, _, who in case.told() if who == "grid-1"] == [0, 2, 4, 6]
    assert [at for at, _, who in case.told() if who == "village-1"] == [5, 7, 9, 11]


def test_the_channels_come_in_their_order(case):
    case.water(Level.RED)
    (send,) = case.sent
    assert send.ways == (("sms", 0), ("voice", 30_000))
    assert send.at_ms == case.now_ms
    assert send.answer_by_ms == case.now_ms + 5 * MIN


def test_at_the_top_it_rings_for_ever_at_a_bounded_rate(case):
    case.water(Level.RED)
    case.wait(60)
    before = len(case.told())
    case.wait(100)
    assert len(case.told()) - before == 3 * 10
    assert [note.kind for note in case.notes].count("top") == 1


def test_an_answer_stops_it_within_the_step(case):
    case.water(Level.RED)
    case.wait(6)
    case.answer("village-1", round=1)
    assert case.phase() is Phase.ANSWERED
    assert case.withdrawn[-1] == Withdraw(case.alarm.alert, 1)
    assert case.told(Kind.ANSWERED) == [(6, "answered", "grid-1")]
    case.report("village-1", Outcome.CLOSED)
    sent = len(case.sent)
    case.wait(600)
    assert len(case.sent) == sent
    assert case.alarm.status is Status.ACKNOWLEDGED
    assert case.state is not None
    assert case.state.answer is not None
    assert (case.state.answer.by, case.state.answer.said) == ("village-1", "coming")


def test_an_answer_from_outside_the_plan_stops_it_too(case):
    case.water(Level.RED)
    case.answer("operator Chen")
    case.wait(9)
    assert {who for _, _, who in case.told()} == {"grid-1"}


def test_a_rise_after_an_answer_begins_again_with_the_nearest(case):
    case.water(Level.ORANGE)
    case.answer("grid-1")
    case.wait(3)
    case.water(Level.RED)
    case.wait(6)
    assert case.told(Kind.RAISE, Kind.CLIMB) == [
        (0, "raise", "grid-1"),
        (3, "raise", "grid-1"),
        (8, "climb", "village-1"),
    ]


def test_a_rise_during_the_calls_is_told_and_the_climb_goes_on(case):
    case.water(Level.ORANGE)
    case.wait(6)
    case.water(Level.RED)
    assert case.told(Kind.RISE) == [(6, "rise", "grid-1"), (6, "rise", "village-1")]
    case.wait(5)
    assert case.told(Kind.CLIMB) == [(5, "climb", "village-1"), (10, "climb", "township-1")]
    assert case.withdrawn == [Withdraw(case.alarm.alert, 1)]


def test_an_answer_to_the_message_before_the_rise_does_not_stop_it(case):
    case.water(Level.ORANGE)
    case.water(Level.RED)
    case.answer("grid-1", round=1)
    assert case.phase() is Phase.RINGING
    assert case.notes[-1].kind == "late answer"
    case.answer("grid-1", round=2)
    assert case.phase() is Phase.ANSWERED


def test_a_nearer_stage_shortens_the_time(case):
    case.water(Level.ORANGE, Stage.TREND)
    case.wait(20)
    assert case.told(Kind.CLIMB) == []
    case.water(Level.ORANGE, Stage.NOW)
    case.wait(5)
    assert case.told(Kind.CLIMB) == [(25, "climb", "village-1")]


def test_whoever_knows_of_it_already_is_told_of_the_rise(case):
    case.water(Level.ORANGE)
    case.wait(6)
    case.answer("village-1")
    case.water(Level.RED)
    assert case.told(Kind.COPY) == [(6, "copy", "village-1")]


CAPPED = {"river": {"climbs_to": {"orange": "village"}}}


def test_a_level_climbs_no_higher_than_the_plan_says():
    case = Case(plans.small(4, hazard=CAPPED))
    case.water(Level.ORANGE)
    case.wait(120)
    assert {who for _, _, who in case.told()} == {"grid-1", "village-1"}
    case.water(Level.RED)
    case.wait(20)
    assert case.told(Kind.CLIMB)[1:] == [
        (120, "climb", "township-1"),
        (125, "climb", "district-1"),
    ]


def test_a_fall_hands_back_to_the_tiers_below():
    case = Case(plans.small(4, hazard=CAPPED))
    case.water(Level.RED)
    case.wait(11)
    case.water(Level.ORANGE)
    case.wait(10)
    assert case.told(Kind.FALL, Kind.HAND_BACK) == [
        (21, "fall", "grid-1"),
        (21, "fall", "village-1"),
        (21, "hand-back", "township-1"),
        (21, "hand-back", "district-1"),
    ]
    sent = len(case.sent)
    case.wait(60)
    assert {send.contact for send in case.sent[sent:]} == {"grid-1", "village-1"}


def test_the_end_is_told_to_all_who_were_told_and_by_one_channel(case):
    case.water(Level.RED)
    case.wait(6)
    case.water(None)
    case.wait(9.5)
    assert case.told(Kind.CLEAR) == []
    case.wait(1)
    told = {send.contact for send in case.sent if send.kind in CALLS}
    cleared = [send for send in case.sent if send.kind is Kind.CLEAR]
    assert {send.contact for send in cleared} == told
    assert len(cleared) == len(told)
    assert {len(send.ways) for send in cleared} == {1}
    assert case.phase() is Phase.IDLE
    assert case.alarm.status is Status.RETURNED


def test_it_comes_back_unanswered_and_calls_again(case):
    case.water(Level.RED)
    case.water(None)
    case.wait(60)
    case.water(Level.BLUE)
    assert case.phase() is Phase.RINGING
    case.wait(6)
    assert case.told(Kind.CLIMB)[-1][2] == "village-1"


def test_deadlines_hold_over_an_hour_without_power_and_no_tier_is_passed_over(case):
    case.water(Level.RED)
    case.wait(1)
    case.sleep(60)
    assert case.told(Kind.AGAIN, Kind.CLIMB) == [
        (61, "again", "grid-1"),
        (61, "climb", "village-1"),
    ]
    case.wait(4.9)
    assert "township-1" not in {who for _, _, who in case.told()}
    case.wait(0.2)
    assert case.told(Kind.CLIMB)[-1] == (66, "climb", "township-1")


def test_a_shelved_alarm_calls_nobody_and_begins_again_after(case):
    case.water(Level.RED)
    case.wait(6)
    case.hold(30)
    assert case.phase() is Phase.HELD
    sent = len(case.sent)
    case.wait(29)
    assert len(case.sent) == sent
    case.wait(2)
    assert case.told(Kind.RAISE)[1:] == [(36, "raise", "grid-1")]


def test_an_alarm_that_is_acknowledged_elsewhere_stops_the_calls(case):
    case.water(Level.RED)
    case._alarm(Acknowledge("operator"))
    assert case.phase() is Phase.ANSWERED


def test_a_site_that_the_plan_does_not_know_is_for_the_top():
    case = Case()
    case.alarm = Alarm("nowhere", Hazard.RIVER)
    case.water(Level.RED)
    assert case.told() == [(0, "raise", "township-1")]
    assert "does not know" in case.notes[0].text


def test_a_tier_without_contacts_is_noted_and_climbed_at_once():
    written = plans.tables(3)
    del written["contact"]["grid-1"]
    case = Case(plans.made(written))
    case.water(Level.RED)
    assert case.told() == [(0, "climb", "village-1")]
    assert [note.kind for note in case.notes] == ["opened", "empty", "climbed"]


def test_a_plan_without_anybody_rings_nobody_and_says_so():
    case = Case(plans.small(2, contact={}))
    case.water(Level.RED)
    assert case.sent == []
    assert case.notes[-1].kind == "top"
    assert case.due_ms() is None


def test_those_on_duty_are_called_and_if_nobody_is_all_of_them():
    written = plans.tables(1, duty={"day": {"windows": ["daily 08:00-20:00"]}})
    written["contact"]["grid-1"]["duty"] = ["day"]
    written["contact"]["grid-2"] = written["contact"]["grid-1"] | {"duty": []}
    case = Case(plans.made(written))
    case.now_ms = START - 10 * 3_600_000  # 22:00 in Shanghai
    case.water(Level.RED)
    assert {(send.contact, send.off_duty) for send in case.sent} == {("grid-2", False)}
    del written["contact"]["grid-2"]
    case = Case(plans.made(written))
    case.now_ms = START - 10 * 3_600_000
    case.water(Level.RED)
    assert {(send.contact, send.off_duty) for send in case.sent} == {("grid-1", True)}


def test_who_comes_on_duty_during_the_calls_is_called_with_the_next_try():
    written = plans.tables(1, duty={"early": {"windows": ["daily 08:03-20:00"]}})
    written["contact"]["grid-2"] = written["contact"]["grid-1"] | {"duty": ["early"]}
    case = Case(plans.made(written))  # 08:00 in Shanghai
    case.water(Level.RED)
    case.wait(5)
    assert [at for at, _, who in case.told() if who == "grid-2"] == [4]


def test_copies_go_to_whom_the_plan_names_and_are_not_calls():
    written = plans.tables(3, tell=[{"at": ["raise", "clear"], "roles": ["office"]}])
    written["contact"]["township-1"]["roles"] = ["office"]
    case = Case(plans.made(written))
    case.water(Level.RED)
    assert case.told(Kind.COPY) == [(0, "copy", "township-1")]
    case.wait(10.1)
    assert (10, "climb", "township-1") in case.told()
    case.answer("grid-1")
    case.water(None)
    case.wait(10)
    assert len([one for one in case.told(Kind.CLEAR) if one[2] == "township-1"]) == 1


def test_another_version_of_the_plan_is_refused(case):
    case.water(Level.RED)
    edited = plans.small(3, title="another")
    assert edited.version != case.plan.version
    with pytest.raises(ValueError, match="keeps to plan"):
        escalation.step(case.state, Tick(), case.now_ms, edited)


def test_whoever_is_off_duty_and_was_told_nothing_is_not_told_of_the_end():
    written = plans.tables(2)
    written["duty"] = {"never": {"windows": []}}
    written["contact"]["village-1"] |= {"roles": ["traffic"], "duty": ["never"]}
    written["contact"]["extra"] = written["contact"]["village-1"] | {"duty": []}
    written["tell"] = [{"at": ["clear"], "roles": ["traffic"]}]
    case = Case(plans.made(written))
    case.water(Level.RED)
    case.answer("grid-1")
    case.water(None)
    case.wait(11)
    assert {who for _, _, who in case.told(Kind.CLEAR)} == {"grid-1", "extra"}


def test_who_was_told_of_an_end_hears_that_it_is_back_when_it_is_answered_below():
    case = Case()
    case.water(Level.RED)
    case.wait(12)  # it climbs to the top
    case.answer("township-1")
    case.water(None)
    case.wait(11)
    assert {contact for _, _, contact in case.told(Kind.CLEAR)} == {
        "grid-1",
        "village-1",
        "township-1",
    }
    case.sent.clear()
    case.water(Level.RED)
    assert {contact for _, _, contact in case.told()} == {"grid-1"}
    case.answer("grid-1")
    assert [(kind, contact) for _, kind, contact in case.told(*Kind)[1:]] == [
        (Kind.COPY, "village-1"),
        (Kind.COPY, "township-1"),
    ]
    case.water(None)
    case.wait(11)  # and they hear of this end too
    assert len(case.told(Kind.CLEAR)) == 3


def test_an_end_that_is_not_the_last_of_its_alert_is_taken_back_too():
    case = Case()
    case.water(Level.RED)
    case.wait(12)
    case.water(None)
    case.wait(11)  # nobody has answered: what comes now is the same alert
    case.sent.clear()
    case.water(Level.RED)
    case.answer("grid-1")
    assert {contact for _, _, contact in case.told(Kind.COPY)} == {"village-1", "township-1"}


def test_a_loudspeaker_that_said_it_is_over_says_at_once_that_it_is_back():
    written = plans.tables(3)
    horn = {"name": "Horn", "area": "village", "channels": ["sms"], "public": True}
    written["contact"]["horn"] = horn | {"address": {"phone": "+8612300000009"}}
    case = Case(plans.made(written))
    case.water(Level.RED)
    case.wait(12)
    case.answer("grid-1")
    case.water(None)
    case.wait(11)
    case.sent.clear()
    case.water(Level.RED)
    assert [contact for _, _, contact in case.told(Kind.PUBLIC)] == ["horn"]
