"""What comes after an answer: declines climb at once, and results are asked for until they come."""

import pytest

from cloud.alerts.actions import Kind, Withdraw
from cloud.alerts.alarm import Status
from cloud.alerts.escalation import Decline, Outcome, Phase
from tests import plans
from tests.unit.test_escalation import MIN, START, Case
from wire.messages import Level

ASKED = 10
"""Minutes after which a result is asked for at red."""


@pytest.fixture
def case() -> Case:
    return Case()


def test_when_all_of_a_tier_decline_the_next_is_called_at_once(case):
    case.water(Level.RED)
    case.decline("grid-1")
    assert case.told(Kind.CLIMB) == [(0, "climb", "village-1")]
    assert Withdraw(case.alarm.alert, 1, contact="grid-1") in case.withdrawn
    case.decline("village-1", unreached=True)
    assert case.told(Kind.CLIMB)[1:] == [(0, "climb", "township-1")]
    case.wait(4)
    assert {who for at, _, who in case.told() if at > 1} == {"township-1"}


def test_one_of_two_who_declines_is_not_called_again_and_the_other_is(case):
    two = plans.small(2)
    contacts = {n: one.model_dump(mode="json", exclude_none=True) for n, one in two.contact.items()}
    contacts["grid-2"] = contacts["grid-1"]
    case = Case(plans.made(two.model_dump(mode="json", exclude_none=True) | {"contact": contacts}))
    case.water(Level.RED)
    case.decline("grid-1")
    assert case.told(Kind.CLIMB) == []
    case.wait(4)
    assert [who for _, _, who in case.told(Kind.AGAIN)] == ["grid-2"] * 2
    case.decline("grid-2")
    assert case.told(Kind.CLIMB) == [(4, "climb", "village-1")]


def test_at_the_top_where_all_decline_it_goes_on_ringing(case):
    case.water(Level.RED)
    for who in ("grid-1", "village-1", "township-1"):
        case.decline(who)
    before = len(case.sent)
    case.wait(60)
    rang = case.told()[before:]
    assert {who for _, _, who in rang} == {"township-1"}
    assert 5 <= len(rang) <= 30
    assert [note.kind for note in case.notes].count("top") == 1


def test_a_decline_of_an_earlier_round_means_nothing(case):
    case.water(Level.ORANGE)
    old = case.alarm.round
    case.water(Level.RED)
    case._step(Decline("grid-1", old))
    assert case.state.declined == ()


def test_who_declined_is_called_again_when_it_rises(case):
    case.water(Level.ORANGE)
    case.decline("grid-1")
    case.water(Level.RED)
    assert (0, "rise", "grid-1") in case.told(Kind.RISE)


def test_without_a_result_who_answered_is_asked_twice_and_then_all_are_called(case):
    case.water(Level.RED)
    case.answer("grid-1", 1)
    case.wait(ASKED)
    assert case.told(Kind.FOLLOW_UP) == [(ASKED, "follow-up", "grid-1")]
    case.wait(ASKED / 2)
    assert len(case.told(Kind.FOLLOW_UP)) == 2
    case.wait(ASKED / 2)
    # Who answered and then kept silent is not waited for again: the village is called at once.
    assert case.alarm.status is Status.UNACKNOWLEDGED
    assert case.phase() is Phase.RINGING
    assert [who for *_, who in case.told(Kind.REOPEN, Kind.CLIMB)] == ["village-1"]


def test_acting_gives_more_time_and_a_result_ends_the_asking(case):
    case.water(Level.RED)
    case.answer("grid-1", 1)
    case.wait(ASKED)
    case.report("grid-1", Outcome.ACTING)
    case.wait(ASKED - 1)
    assert len(case.told(Kind.FOLLOW_UP)) == 1
    case.report("grid-1", Outcome.CLOSED)
    case.wait(600)
    assert len(case.told(Kind.FOLLOW_UP)) == 1
    assert case.state.report.outcome is Outcome.CLOSED
    assert case.alarm.status is Status.ACKNOWLEDGED


def test_whoever_knows_is_told_the_result(case):
    case.water(Level.RED)
    case.wait(6)
    case.answer("village-1", 1)
    case.report("village-1", Outcome.EVACUATED)
    assert [who for *_, who in case.told(Kind.RESULT)] == ["grid-1"]


def test_a_report_without_an_answer_is_one(case):
    case.water(Level.RED)
    case.report("grid-1", Outcome.CLOSED, 1)
    assert case.alarm.status is Status.ACKNOWLEDGED
    assert case.phase() is Phase.ANSWERED
    case.wait(100)
    assert case.told(Kind.FOLLOW_UP) == []


def test_who_answered_and_cannot_act_takes_the_answer_back(case):
    case.water(Level.RED)
    case.answer("grid-1", 1)
    case.wait(3)
    case.report("grid-1", Outcome.CANNOT_ACT)
    assert case.alarm.status is Status.UNACKNOWLEDGED
    assert case.told(Kind.REOPEN, Kind.CLIMB) == [(3, "climb", "village-1")]


def test_another_one_who_cannot_act_takes_nobody_s_answer_back(case):
    case.water(Level.RED)
    case.wait(6)
    case.answer("village-1", 1)
    case.report("grid-1", Outcome.CANNOT_ACT, 1)
    assert case.alarm.status is Status.ACKNOWLEDGED
    assert case.state.answer.by == "village-1"


def test_an_operator_who_is_none_of_the_plan_is_asked_through_the_area(case):
    case.water(Level.RED)
    case.answer("operator Chen")
    case.wait(ASKED)
    assert case.told(Kind.FOLLOW_UP) == [(ASKED, "follow-up", "grid-1")]


def test_the_end_ends_the_asking(case):
    case.water(Level.RED)
    case.answer("grid-1", 1)
    case.water(None)
    case.wait(100)
    assert case.told(Kind.FOLLOW_UP) in ([], [(ASKED, "follow-up", "grid-1")])
    assert case.state.follow_ms is None


def test_a_loudspeaker_tells_the_public_and_nobody_waits_for_it():
    small = plans.small(2)
    contacts = {
        n: one.model_dump(mode="json", exclude_none=True) for n, one in small.contact.items()
    }
    contacts["horn"] = contacts["grid-1"] | {"public": True}
    case = Case(
        plans.made(small.model_dump(mode="json", exclude_none=True) | {"contact": contacts})
    )
    case.water(Level.RED)
    assert case.told(Kind.PUBLIC) == [(0, "public", "horn")]
    case.decline("grid-1")
    assert case.told(Kind.CLIMB) == [(0, "climb", "village-1")]
    case.wait(30)
    assert [kind for _, kind, who in case.told() if who == "horn"] == ["public"]
    case.water(None)
    case.wait(11)
    assert [kind for _, kind, who in case.told() if who == "horn"] == ["public", "clear"]


def test_the_first_follow_up_is_due_by_the_plan(case):
    case.water(Level.RED)
    case.answer("grid-1", 1)
    assert case.state.follow_ms == START + 1 + ASKED * MIN
