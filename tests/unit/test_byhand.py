"""What people do by hand: alerts that no sensor has seen, and calls that somebody directs."""

from cloud import tables
from cloud.alerts import byhand
from cloud.alerts.actions import Kind
from cloud.alerts.alarm import Status
from cloud.alerts.byhand import Demand, Raise
from cloud.alerts.hazard import Hazard
from tests.dispatching import MINUTE, SITE, Office
from wire.messages import Level

VILLAGE = Raise(SITE, Hazard.UNDERPASS, Level.RED, "石桥社区", "村民来电，积水没过轮胎")


def do(office, work, given):
    return office.work(lambda c, now_ms: work(office.dispatch, c, given, now_ms))


def demand(office, work, **given):
    """Something done to the open alert, a minute later."""
    office.now_ms += MINUTE
    one = Demand(office.alarm().alert, given.pop("by", "Chen"), **given)
    return do(office, work, one)


def sms(office, contact=None):
    return [
        m for row, m in office.messages() if row.channel == "sms" and contact in (None, row.contact)
    ]


def test_the_village_phones_and_people_are_called_with_its_words():
    office = Office()
    done = do(office, byhand.raise_alert, VILLAGE)
    assert done.ok
    assert done.text == office.alarm().alert
    (message, *_) = sms(office)
    assert message.title == "红色预警：大坪下穿道积水"
    assert "23:06石桥社区报告：村民来电，积水没过轮胎。" in message.text
    assert office.kinds().count("raised by hand") == 1


def test_what_is_reported_must_be_known_to_the_plan_and_say_something():
    office = Office()
    elsewhere = do(office, byhand.raise_alert, Raise("atlantis", *VILLAGE_REST))
    assert (elsewhere.ok, "no site of the plan" in elsewhere.text) == (False, True)
    silent = do(office, byhand.raise_alert, Raise(SITE, Hazard.RIVER, Level.RED, "Li", " "))
    assert not silent.ok
    assert office.rows(tables.alarm) == []


VILLAGE_REST = (Hazard.UNDERPASS, Level.RED, "Li", "water")


def test_what_somebody_wrote_does_nothing_but_be_read():
    office = Office()
    do(
        office,
        byhand.raise_alert,
        Raise(SITE, Hazard.UNDERPASS, Level.RED, "a\u202eb", "x\x1b[2J\ny"),
    )
    text = sms(office)[0].text
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_it_lasts_until_somebody_resolves_it():
    office = Office()
    do(office, byhand.raise_alert, VILLAGE)
    office.acknowledge()
    office.run(5)
    assert demand(office, byhand.resolve, said="水退了").ok
    assert office.alarm().status is Status.NORMAL
    office.run(2)
    assert sms(office)[-1].kind == Kind.CLEAR


def test_what_sensors_find_no_hand_can_end():
    office = Office()
    office.find(Level.RED)
    do(office, byhand.raise_alert, VILLAGE)
    done = demand(office, byhand.resolve)
    assert not done.ok
    assert "sensors still find red" in done.text
    assert office.alarm().level is Level.RED


def test_an_alert_that_is_over_and_unanswered_is_resolved():
    office = Office()
    office.find(Level.RED)
    office.now_ms += MINUTE
    office.find(None)
    office.run(11)
    assert office.alarm().status is Status.RETURNED
    assert demand(office, byhand.resolve).ok
    assert office.alarm().status is Status.NORMAL


def test_the_next_area_is_called_now():
    office = Office()
    office.find(Level.RED)
    done = demand(office, byhand.climb)
    assert (done.ok, done.text) == (True, "daping-shiqiao is called")
    assert office.called()[-1] == "daping-shiqiao"
    for _ in range(3):
        assert demand(office, byhand.climb).ok
    top = demand(office, byhand.climb)
    assert (top.ok, top.text) == (False, "yunting is the top already")


def test_one_more_person_is_called_and_called_again():
    office = Office()
    office.find(Level.RED)
    assert demand(office, byhand.add, contact="bai-ning").ok
    assert [m.kind for m in sms(office, "bai-ning")] == [Kind.RAISE]
    office.run(2)
    assert len(sms(office, "bai-ning")) > 1
    unknown = demand(office, byhand.add, contact="nobody")
    assert not unknown.ok


def test_a_handover_is_complete_when_the_other_has_answered():
    office = Office()
    office.find(Level.RED)
    call = office.last_call()
    answer = office.dispatch.answer
    office.work(lambda c, n: answer(c, call.id, "", "link", "", n))
    before = _answer(office)
    assert demand(office, byhand.add, contact="bai-ning").ok
    (message,) = sms(office, "bai-ning")
    assert message.kind == Kind.RAISE
    assert _answer(office) == before  # until then the first one has it
    theirs = max(office.rows(tables.call), key=lambda row: row.made_ms)
    assert theirs.contact == "bai-ning"
    assert office.work(lambda c, n: answer(c, theirs.id, "", "link", "", n)).ok
    assert _answer(office) == "bai-ning"
    office.run(11)  # it is they who are asked for the result
    assert sms(office, "bai-ning")[-1].kind == Kind.FOLLOW_UP


def _answer(office):
    (row,) = office.rows(tables.escalation)
    return row.state.split('"answer":{')[1].split('"by":"')[1].split('"')[0]


def test_an_answer_is_taken_back_and_people_are_called_again():
    office = Office()
    office.find(Level.RED)
    office.acknowledge()
    assert demand(office, byhand.take_back, said="打错了").ok
    assert office.alarm().status is Status.UNACKNOWLEDGED
    assert sms(office)[-1].kind == Kind.REOPEN
    refused = demand(office, byhand.take_back)
    assert (refused.ok, refused.text) == (False, "nobody has answered it")


def test_a_note_is_in_the_timeline():
    office = Office()
    office.find(Level.RED)
    assert demand(office, byhand.note, said="抽水车已出发").ok
    (line,) = [row for row in office.rows(tables.timeline) if row.kind == "note"]
    assert (line.who, line.text) == ("Chen", "抽水车已出发")
    assert not demand(office, byhand.note, said="  ").ok


def test_an_unknown_alert_is_said_to_be_unknown():
    office = Office()
    for work in (byhand.climb, byhand.note, byhand.take_back, byhand.resolve):
        done = do(office, work, Demand("nothing", "Li", "x"))
        assert (done.ok, done.text) == (False, "there is no alert nothing")
