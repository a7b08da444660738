"""The phone rings only where an SMS stays unanswered: by contact, by tier, by channel."""

import pytest
from sqlalchemy import update

from cloud import tables
from cloud.alerts import plancheck, simulate
from cloud.alerts.actions import Kind
from cloud.alerts.hazard import Hazard
from cloud.alerts.plantables import Tier
from cloud.alerts.simulate import Answering
from configs.loader import ConfigError
from tests import plans
from tests.dispatching import BEGIN_MS, Office
from wire.messages import Level

SITE, S = "north", 1000


def plan(*, channel_s=None, tier=None, contact=None, **more):
    written = plans.tables(2, **more)
    if channel_s is not None:
        written["channel"]["voice"]["after_s"] = channel_s
    if tier is not None:
        written["tier"] = {"grid": {"after_s": tier}}
    written["contact"]["grid-1"] |= contact or {}
    return plans.made(written)


def waits(the_plan, contact="grid-1"):
    return {way.channel: way.after_ms / S for way in the_plan.ways[contact]}


@pytest.mark.parametrize(
    ("given", "voice_s"),
    [
        ({}, 30),
        ({"channel_s": 0}, 0),
        ({"tier": {"voice": 90}}, 90),
        ({"tier": {"voice": 90}, "contact": {"after_s": {"voice": 60}}}, 60),
        ({"tier": {"voice": 90}, "contact": {"after_s": {"voice": 0}}}, 0),
    ],
)
def test_the_contact_says_it_else_the_tier_else_the_channel(given, voice_s):
    the_plan = plan(**given)
    assert waits(the_plan) == {"sms": 0, "voice": voice_s}
    assert waits(the_plan, "village-1") == {"sms": 0, "voice": given.get("channel_s", 30)}


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        ({"channels": ["voice"]}, {"voice": 0}),
        ({"channels": ["voice", "sms"]}, {"voice": 30, "sms": 0}),
        ({"after_s": {"sms": 20, "voice": 50}}, {"sms": 0, "voice": 30}),
    ],
)
def test_nobody_waits_for_nothing(contact, expected):
    assert waits(plan(contact=contact)) == expected


def test_a_plan_that_says_nothing_of_it_keeps_its_version():
    assert plan().version == plan(contact={"after_s": {}}).version
    assert plan().version != plan(contact={"after_s": {"voice": 31}}).version
    assert plan(tier={}).version != plan(tier={"voice": 31}).version


@pytest.mark.parametrize("wait_s", [-1, 3601, float("inf"), float("nan"), "x"])
def test_a_wait_that_is_none_is_refused(wait_s):
    with pytest.raises(ConfigError, match="after_s"):
        plan(contact={"after_s": {"voice": wait_s}})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"contact": {"after_s": {"vioce": 60}}},
            "after_s.vioce: is none of their channels (did you mean 'voice'",
        ),
        (
            {"tier": {"vioce": 60}},
            "tier.grid.after_s.vioce: is no channel of the plan (did you mean 'voice'",
        ),
        (
            {"contact": {"after_s": {"voice": 300}}},
            "contact.grid-1: 'voice' is used after 300 s, but the next area is called after 300 s",
        ),
    ],
)
def test_what_is_wrong_with_a_wait_is_said(given, said):
    found = [f"{one.key}: {one.problem}" for one in plancheck.findings(plan(**given))]
    assert any(said in line for line in found), found


def test_simulate_shows_the_wait_and_an_answer_ends_it():
    the_plan = plan(contact={"after_s": {"voice": 60}})

    def rung_at(*answers):
        lines = simulate.run(
            the_plan,
            SITE,
            Hazard.RIVER,
            Level.RED,
            at_ms=BEGIN_MS,
            answers=answers,
            lasts_ms=100 * S,
        )
        return [one.after_ms / S for one in lines if one.channel == "voice"]

    assert rung_at() == [60]
    assert rung_at(Answering(Tier.GRID, 59 * S)) == []


class Duty(Office):
    """The office of this plan, with a red alert of its site."""

    def __init__(self, the_plan):
        super().__init__(the_plan)
        self.find(Level.RED, site=SITE, hazard=Hazard.RIVER)

    def told(self, channel="voice"):
        out = tables.outgoing
        rows = self.rows(out, out.c.channel == channel, out.c.outcome == "delivered")
        return [(row.contact, (row.done_ms - BEGIN_MS) / S) for row in rows]

    def pass_s(self, seconds):
        self.now_ms += seconds * S
        self.round()

    def answer(self):
        (state,) = self.rows(tables.escalation)
        work = self.dispatch.acknowledge
        assert self.work(lambda c, now_ms: work(c, state.alert, "Li", "link", "", now_ms)).ok


def test_an_sms_that_stays_unanswered_is_followed_by_a_call():
    duty = Duty(plan(contact={"after_s": {"voice": 60}}))
    duty.deliver()
    duty.pass_s(59)
    duty.deliver()
    assert (duty.told("sms"), duty.told()) == ([("grid-1", 0)], [])
    duty.pass_s(1)
    duty.deliver()
    assert duty.told() == [("grid-1", 60)]


@pytest.mark.parametrize("at_s", [0, 1, 59])
def test_no_phone_rings_after_an_answer(at_s):
    duty = Duty(plan(contact={"after_s": {"voice": 60}}))
    duty.deliver()
    duty.pass_s(at_s)
    duty.answer()
    duty.run(9)  # before the result is asked for
    assert duty.told() == []


def test_no_phone_rings_after_an_answer_that_came_while_the_line_was_busy():
    """The call is due, and its channel has not come round to it."""
    duty = Duty(plan(contact={"after_s": {"voice": 60}}))
    duty.deliver()
    duty.channels_are_away = True
    duty.pass_s(90)
    assert [kind for kind, _, channel in duty.waiting() if channel == "voice"] == [Kind.RAISE]
    duty.answer()
    duty.channels_are_away = False
    duty.run(9)  # before the result is asked for
    assert duty.told() == []


def test_a_refused_sms_is_not_waited_for():
    duty = Duty(plan(contact={"after_s": {"voice": 60}}))
    duty.deliver(refused=("sms",))
    assert duty.told() == [("grid-1", 0)]


def test_the_call_waits_as_long_as_one_message_before_it_went_out():
    written = plans.tables(2)
    written["channel"]["robot"] = {}
    written["contact"]["grid-1"] |= {"channels": ["robot", "sms", "voice"]}
    duty = Duty(plans.made(written))
    duty.deliver(refused=("robot",))
    assert (duty.told("sms"), duty.told()) == ([("grid-1", 0)], [])


def test_a_chain_of_waits_moves_up_one_by_one():
    written = plans.tables(2)
    written["channel"]["mail"] = {}
    written["contact"]["grid-1"] |= {
        "channels": ["sms", "mail", "voice"],
        "after_s": {"mail": 40, "voice": 80},
    }
    duty = Duty(plans.made(written))
    duty.deliver(refused=("sms",))
    assert (duty.told("mail"), duty.told()) == ([("grid-1", 0)], [])
    duty.pass_s(80)
    duty.deliver()
    assert duty.told() == [("grid-1", 80)]


def test_a_channel_that_the_config_does_not_have_is_not_waited_for():
    duty = Office(plan(contact={"after_s": {"voice": 60}}))
    duty.dispatch = type(duty.dispatch)(duty.plan, ["voice"], duty.tokens, duty.settings)
    duty.find(Level.RED, site=SITE, hazard=Hazard.RIVER)
    duty.deliver()
    out = tables.outgoing
    rows = duty.rows(out, out.c.channel == "voice", out.c.contact == "grid-1")
    assert [(row.outcome, row.done_ms - BEGIN_MS) for row in rows] == [("delivered", 0)]


def test_in_a_digest_the_call_waits_for_an_answer_to_the_digest():
    duty = Duty(plan(contact={"after_s": {"voice": 60}}))
    out = tables.outgoing
    duty.deliver()
    for number in range(9):  # a flood: what comes after the first goes out at the end of a minute
        duty.find(Level.RED, site=SITE, hazard=Hazard.RIVER, rule=f"r{number}")
    duty.run(1.5)
    by_channel = {
        channel: sorted(row.not_before_ms for row in duty.rows(out, out.c.channel == channel))
        for channel in ("sms", "voice")
    }
    assert all(
        voice_ms - sms_ms == 60 * S
        for sms_ms, voice_ms in zip(by_channel["sms"], by_channel["voice"], strict=True)
    )


def test_news_go_by_the_first_channel_and_wait_for_nothing():
    the_plan = plan(contact={"channels": ["voice", "sms"], "after_s": {"voice": 60}})
    duty = Duty(the_plan)
    duty.deliver()
    duty.pass_s(10)
    duty.answer()
    duty.pass_s(600)
    duty.find(None, site=SITE, hazard=Hazard.RIVER)
    duty.run(20)
    news = [row for row in duty.rows(tables.outgoing) if '"clear"' in row.sends]
    assert [(row.contact, row.channel) for row in news] == [("grid-1", "voice")]
    assert all(row.not_before_ms == row.made_ms for row in news)


def test_a_channel_that_takes_nothing_is_not_waited_for():
    """The SMS waits for its provider: the phone rings now. What went out is waited for as ever."""
    duty = Duty(plan(contact={"after_s": {"voice": 60}}))
    broken = duty.dispatch.hand_over.broken

    def pass_over(*channels):
        return duty.work(lambda c, now_ms: broken(c, channels, now_ms))

    assert pass_over("robot") is False
    assert pass_over("sms") is True
    assert pass_over("sms") is False
    out = tables.outgoing
    (row,) = duty.rows(out, out.c.channel == "voice")
    assert row.not_before_ms == duty.now_ms
    told = Duty(plan(contact={"after_s": {"voice": 60}}))
    told.deliver()
    assert told.work(lambda c, now_ms: told.dispatch.hand_over.broken(c, ["sms"], now_ms)) is False


def test_what_a_channel_took_before_it_broke_is_waited_for():
    written = plans.tables(2)
    written["channel"]["robot"] = {}
    written["contact"]["grid-1"] |= {"channels": ["robot", "sms", "voice"]}
    duty = Duty(plans.made(written))
    out = tables.outgoing
    taken = update(out).where(out.c.channel == "sms").values(done_ms=1, outcome="delivered")
    with duty.connection.begin():
        duty.connection.execute(taken)
    hand_over = duty.dispatch.hand_over
    assert duty.work(lambda c, now_ms: hand_over.broken(c, ["robot", "sms"], now_ms)) is False


def test_while_one_channel_carries_it_no_other_moves_up():
    written = plans.tables(2)
    written["channel"]["robot"] = {}
    written["contact"]["grid-1"] |= {"channels": ["robot", "sms", "voice"]}
    duty = Duty(plans.made(written))
    hand_over = duty.dispatch.hand_over
    assert duty.work(lambda c, now_ms: hand_over.broken(c, ["robot"], now_ms)) is False
    assert duty.work(lambda c, now_ms: hand_over.broken(c, ["robot", "sms"], now_ms)) is True
