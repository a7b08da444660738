"""What waits for a channel, when things change before it is sent."""

import msgspec
import pytest

from cloud import tables
from cloud.alerts.actions import Kind, Send
from cloud.alerts.alarm import Alarm
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.hazard import Hazard
from tests import plans
from tests.dispatching import Office
from wire.messages import Level

NORTH = {"site": "north", "hazard": Hazard.RIVER}


def pair(tiers=2, **changes):
    """A plan with two people in the nearest area."""
    written = plans.tables(tiers, **changes)
    written["contact"]["grid-2"] = {**written["contact"]["grid-1"], "name": "grid two"}
    for name in ("south", "east"):
        written["site"][name] = {**written["site"]["north"], "name": name.title()}
    return written


@pytest.fixture
def office():
    return Office(plans.made(pair()))


def call_of(office, contact):
    """The newest call of a contact."""
    calls = [row for row in office.rows(tables.call) if row.contact == contact]
    return max(calls, key=lambda row: row.made_ms).id


def say(office, what, contact, *words):
    """A contact answers or declines their newest call."""
    call, work = call_of(office, contact), getattr(office.dispatch, what)
    office.work(lambda c, now_ms: work(c, call, "", "sms", "", now_ms))


def read(row):
    """What a row tells."""
    return msgspec.json.decode(row.sends, type=list[Send])


def acknowledge(office, site="north"):
    """Li answers the alert of a site."""
    rows = office.rows(tables.alarm, tables.alarm.c.site == site)
    alert = msgspec.json.decode(rows[0].state, type=Alarm).alert
    work = office.dispatch.acknowledge
    assert office.work(lambda c, now_ms: work(c, alert, "Li", "command", "", now_ms)).ok


def by_voice_only(office):
    """The service begins again with a config that has no other channel."""
    office.dispatch = Dispatch(office.plan, ["voice"], office.tokens, office.settings)


def test_who_declines_takes_no_call_from_anybody_else(office):
    office.find(Level.RED, **NORTH)
    office.deliver()
    say(office, "decline", "grid-1")
    assert office.waiting() == [(Kind.RAISE, "grid-2", "voice")]


def test_who_declines_takes_nothing_from_the_digest_of_anybody_else(office):
    office.find(Level.ORANGE, **NORTH)
    office.find(Level.ORANGE, site="south", hazard=Hazard.RIVER)
    office.run(2)  # repeated calls wait for the digest
    office.channels_are_away = True
    office.round(60_000)
    office.round(60_000)
    before = [one for one in office.waiting() if one[1] == "grid-2"]
    say(office, "decline", "grid-1")
    assert [one for one in office.waiting() if one[1] == "grid-2"] == before


def words_of(office, contact, channel="sms"):
    """Titles and texts that a contact has got, in order."""
    return [
        f"{message.title}\n{message.text}"
        for row, message in office.messages()
        if row.contact == contact and row.channel == channel and row.outcome == "delivered"
    ]


def test_news_is_not_hidden_by_a_call_that_nobody_need_answer(office):
    """In an outage a digest of repeated calls waits, then somebody answers one of them."""
    for site in ("north", "south", "east"):
        office.find(Level.RED, site=site, hazard=Hazard.RIVER)
    office.run(2)
    office.channels_are_away = True
    office.run(1)
    waiting = [row for row in office.rows(tables.outgoing) if row.done_ms is None]
    assert any(len(read(row)) == 2 for row in waiting)
    acknowledge(office, "south")
    office.run(2)
    office.channels_are_away = False
    said = [one for one in words_of(office, "grid-2") if "Li已于" in one]
    assert any("South" in one for one in said)


def test_whoever_is_let_go_while_a_digest_waits_is_not_called():
    written = pair(hazard={"river": {"climbs_to": {"orange": "grid"}}})
    office = Office(plans.made(written))
    for site in ("east", "south", "north"):
        office.find(Level.RED, site=site, hazard=Hazard.RIVER)
    office.run(7)
    assert words_of(office, "village-1")
    office.channels_are_away = True
    office.run(6)
    office.find(Level.ORANGE, **NORTH)
    office.run(11)
    office.channels_are_away = False
    *_, last = words_of(office, "village-1")
    north = [line for line in last.splitlines() if "North" in line]
    assert north
    assert "红色" not in north[0]


def test_what_fell_while_a_rise_waited_has_not_risen_for_whoever_knew_as_much(office):
    office.find(Level.ORANGE, **NORTH)
    office.deliver()
    office.channels_are_away = True
    office.run(1)
    office.find(Level.RED, **NORTH)
    office.run(1)
    office.find(Level.ORANGE, **NORTH)
    office.run(11)
    office.channels_are_away = False
    *_, last = words_of(office, "grid-1")
    assert "升级" not in last
    assert "橙色" in last


def test_nothing_has_fallen_for_whoever_never_heard_of_more(office):
    office.find(Level.ORANGE, **NORTH)
    office.deliver()
    acknowledge(office)
    office.run(2)
    office.channels_are_away = True
    office.find(Level.RED, **NORTH)
    office.run(1)
    acknowledge(office)
    office.find(Level.ORANGE, **NORTH)
    office.run(12)
    office.channels_are_away = False
    assert not any("降为" in one for one in words_of(office, "grid-1"))


def test_an_end_says_how_it_stands_where_the_site_is_in_danger_again():
    """District and village knew of the red one; the next one calls the grid only."""
    written = pair(3, hazard={"river": {"climbs_to": {"orange": "grid"}}})
    office = Office(plans.made(written))
    office.find(Level.RED, **NORTH)
    office.run(12)
    assert "township-1" in {row.contact for row in office.rows(tables.outgoing)}
    acknowledge(office)
    office.run(2)
    office.channels_are_away = True
    office.find(None, **NORTH)
    office.run(11)
    office.find(Level.ORANGE, **NORTH)
    office.run(2)
    office.channels_are_away = False
    *_, last = words_of(office, "township-1")
    assert "橙色" in last
    assert "解除" not in last
    office.find(None, **NORTH)
    office.run(60)
    *_, last = words_of(office, "township-1")
    assert "解除" in last
    *_, last = words_of(office, "grid-1")
    assert "解除" in last


def test_nobody_hears_the_end_of_what_was_never_answered_and_rises_again(office):
    """It is the same alert then."""
    office.find(Level.RED, **NORTH)
    office.run(1)
    alert = office.rows(tables.alarm)[0].state
    office.channels_are_away = True
    office.find(None, **NORTH)
    office.run(11)
    office.find(Level.ORANGE, **NORTH)
    office.run(2)
    office.channels_are_away = False
    said = words_of(office, "grid-1")
    assert not any("解除" in one for one in said)
    assert "橙色" in said[-1]
    name = msgspec.json.decode(alert, type=Alarm).alert
    assert msgspec.json.decode(office.rows(tables.alarm)[0].state, type=Alarm).alert == name


def test_an_end_that_a_channel_does_not_take_at_once_still_says_how_it_stands():
    written = pair(3, hazard={"river": {"climbs_to": {"orange": "grid"}}})
    office = Office(plans.made(written))
    office.find(Level.RED, **NORTH)
    office.run(12)
    acknowledge(office)
    office.run(2)
    office.channels_are_away = True
    office.find(None, **NORTH)
    office.run(11)
    office.find(Level.ORANGE, **NORTH)
    office.run(2)
    desk = office.dispatch.hand_over
    first = office.work(lambda c, now_ms: desk.next(c, "sms", "township-1", now_ms))
    office.work(lambda c, _: desk.not_taken(c, first.key))
    again = office.work(lambda c, now_ms: desk.next(c, "sms", "township-1", now_ms))
    assert (again.key, again.title, again.text) == (first.key, first.title, first.text)
    assert "橙色" in again.title


def test_what_no_channel_took_was_not_told(office):
    """A provider that refuses connections: nobody has heard of it, and nobody hears of its end."""
    office.find(Level.RED, **NORTH)
    desk = office.dispatch.hand_over
    message = office.work(lambda c, now_ms: desk.next(c, "sms", "grid-1", now_ms))
    office.work(lambda c, _: desk.not_taken(c, message.key))
    office.channels_are_away = True
    office.run(1)
    office.find(None, **NORTH)
    office.run(11)
    office.channels_are_away = False
    office.deliver()
    assert words_of(office, "grid-1") == []


def test_whoever_may_have_been_told_hears_of_the_end(office):
    """The provider did not answer in time, or we were killed: nobody knows whether it was sent."""
    office.find(Level.RED, **NORTH)
    desk = office.dispatch.hand_over
    office.work(lambda c, now_ms: desk.next(c, "sms", "grid-1", now_ms))
    office.channels_are_away = True
    office.run(1)
    office.find(None, **NORTH)
    office.run(11)
    office.restart()
    office.channels_are_away = False
    office.deliver()
    *_, last = words_of(office, "grid-1")
    assert "解除" in last


def test_a_repeated_call_compares_with_what_was_told_and_not_with_what_was_tried(office):
    office.find(Level.ORANGE, value=0.2, **NORTH)
    office.run(1)
    office.find(Level.RED, value=0.5, **NORTH)
    desk = office.dispatch.hand_over
    for _ in range(3):
        message = office.work(lambda c, now_ms: desk.next(c, "sms", "grid-1", now_ms))
        office.work(lambda c, _, key=message.key: desk.not_taken(c, key))
    assert "高30厘米" in message.text


# Plans that change in the meantime


def test_a_digest_of_alerts_of_two_plans_is_whole():
    """Each plan has a site and an area that the other one does not know."""
    first, second = pair(), pair()
    for written, name in ((first, "old-yard"), (second, "new-yard")):
        written["area"][name] = {"name": name, "kind": "grid", "parent": "village"}
        written["contact"]["grid-1"]["area"] = written["site"]["north"]["area"] = name
        written["site"][name] = {**written["site"]["north"], "name": name, "area": name}
    office = Office(plans.made(first))
    office.find(Level.RED, **NORTH)
    office.find(Level.RED, site="old-yard", hazard=Hazard.RIVER)
    office.dispatch.use(plans.made(second))
    office.find(Level.RED, site="new-yard", hazard=Hazard.RIVER)
    office.run(30)
    digests = [
        one
        for one in (*words_of(office, "grid-1"), *words_of(office, "village-1"))
        if "old-yard" in one and "new-yard" in one
    ]
    assert digests
    assert all(one.count("红色") >= 2 and "AGAIN" not in one for one in digests)


def test_a_number_that_is_corrected_while_an_alert_runs_is_called():
    office = Office(plans.made(pair()))
    office.find(Level.RED, **NORTH)
    changed = pair()
    changed["contact"]["grid-1"]["address"] = {"phone": "+8612399999999"}
    office.dispatch.use(plans.made(changed))
    office.run(3)
    to = [message.to for row, message in office.messages() if row.contact == "grid-1"]
    assert to[-1] == "+8612399999999"


def test_who_is_no_longer_in_the_plan_is_still_told_in_plain_words_if_need_be(monkeypatch):
    office = Office(plans.made(pair()))
    office.find(Level.RED, **NORTH)
    changed = pair()
    del changed["contact"]["grid-2"]
    office.dispatch.use(plans.made(changed))
    broken = office.dispatch.hand_over
    monkeypatch.setattr(broken, "_composed", lambda *_: 1 / 0)
    message = office.work(lambda c, now_ms: broken.next(c, "sms", "grid-2", now_ms))
    assert "红色" in message.title


# Channels that are no more


def test_news_goes_by_the_first_channel_that_the_config_has():
    office = Office(plans.made(pair()))
    by_voice_only(office)
    office.find(Level.RED, **NORTH)
    office.run(1)
    office.find(None, **NORTH)
    office.run(12)
    *_, last = words_of(office, "grid-1", "voice")
    assert "解除" in last


def test_what_waits_for_a_channel_that_was_removed_goes_by_another():
    office = Office(plans.made(pair()))
    office.find(Level.RED, **NORTH)
    office.run(1)
    office.channels_are_away = True
    office.find(None, **NORTH)
    office.run(12)
    by_voice_only(office)
    office.channels_are_away = False
    office.run(1)
    *_, last = words_of(office, "grid-1", "voice")
    assert "解除" in last
    assert office.waiting() == []


def test_news_beside_calls_that_a_channel_refuses_goes_by_the_next_one(office):
    for site in ("north", "south", "east"):
        office.find(Level.RED, site=site, hazard=Hazard.RIVER)
    office.run(1)
    acknowledge(office, "south")
    office.run(6)
    office.find(None, site="south", hazard=Hazard.RIVER)
    office.run(8)
    office.channels_are_away = True
    office.run(3)
    waiting = [row for row in office.rows(tables.outgoing) if row.done_ms is None]
    kinds = [{one.kind for one in read(row)} for row in waiting]
    assert any({Kind.CLEAR, Kind.AGAIN} <= some for some in kinds), "an end beside a call"
    office.channels_are_away = False
    office.deliver(refused=("sms",))
    office.run(1)
    said = words_of(office, "grid-2", "voice")
    assert any("解除" in line and "South" in line for one in said for line in one.splitlines())


# The public, and those who are only to know


def with_horn(tiers=2):
    written = pair(tiers)
    written["channel"]["board"] = {"address": "board"}
    written["contact"]["horn"] = {
        "name": "the loudspeaker",
        "area": "grid",
        "channels": ["board"],
        "address": {"board": "horn-1"},
        "public": True,
    }
    return written


def test_a_loudspeaker_names_nobody_and_asks_for_nothing():
    office = Office(plans.made(with_horn()))
    for level in (Level.ORANGE, Level.RED, Level.ORANGE, None):
        office.find(level, **NORTH)
        office.find(level, site="south", hazard=Hazard.RIVER)
        office.run(1)
        if level is Level.RED:
            acknowledge(office)
        office.run(12)
    said = words_of(office, "horn", "board")
    assert len(said) >= 3
    assert "解除" in said[-1]
    for one in said:
        assert "应答" not in one, one
        assert "Li" not in one
    levels = [level for one in said for level in ("橙色", "红色") if level in one.splitlines()[0]]
    assert levels[-1] == "橙色", "it says that it has fallen"


def test_those_who_know_of_an_alert_hear_that_it_has_risen_while_others_are_called():
    written = pair(2, tell=[{"at": ["raise"], "roles": ["traffic"], "levels": ["orange", "red"]}])
    written["contact"]["village-1"]["roles"] = ["traffic"]
    office = Office(plans.made(written))
    office.find(Level.ORANGE, **NORTH)
    office.run(1)
    assert "橙色" in words_of(office, "village-1")[-1]
    office.find(Level.RED, **NORTH)
    office.run(2)
    assert "红色" in words_of(office, "village-1")[-1]


def test_those_who_are_told_of_red_only_hear_of_an_orange_one_that_rises():
    written = pair(2, tell=[{"at": ["raise"], "roles": ["traffic"], "levels": ["red"]}])
    written["contact"]["village-1"]["roles"] = ["traffic"]
    office = Office(plans.made(written))
    office.find(Level.ORANGE, **NORTH)
    office.run(1)
    assert words_of(office, "village-1") == []
    office.find(Level.RED, **NORTH)
    office.run(2)
    assert "红色" in words_of(office, "village-1")[-1]


def test_what_fell_while_it_was_held_back_is_told_when_it_is_let_go(office):
    office.find(Level.RED, **NORTH)
    office.run(1)
    acknowledge(office)
    office.run(2)
    office.hold(60, site="north")
    office.find(Level.ORANGE, **NORTH)
    office.run(12)
    assert not any("橙色" in one for one in words_of(office, "grid-2"))
    office.release(1)
    office.run(2)
    assert any("橙色" in one for one in words_of(office, "grid-2"))
