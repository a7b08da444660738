"""From findings to calls, and from answers to silence: the dispatch in a real database."""

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from cloud import tables
from cloud.alerts import alarm, everybody, plan, waiting
from cloud.alerts.alarm import Status
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import read_parts
from cloud.alerts.tokens import Tokens
from configs import loader
from tests.dispatching import BEGIN_MS, KEY, MINUTE, PLAN, SITE, Office
from wire.messages import Level


def test_the_nearest_are_called_first_and_nobody_is_passed_over():
    office = Office()
    office.find(Level.RED)
    assert office.called() == ["daping-shiqiao-3"]
    (row, message), *_ = office.messages()
    assert message.level == "red"
    assert message.to
    assert message.title.startswith("红色预警")
    assert "积水约34厘米" in message.text
    assert message.link in message.text
    assert message.incident == row.incident
    call = office.tokens.read(message.link.rpartition("/")[2])
    assert [one.id for one in office.rows(tables.call) if one.id == call]
    office.run(60)
    ladder = ["daping-shiqiao-3", "daping-shiqiao", "daping", "dongjiang", "yunting"]
    assert office.called() == ladder
    assert "top" in office.kinds()
    keys = [row.key for row, _ in office.messages()]
    assert len(keys) == len(set(keys))


def test_an_answer_ends_the_calls_and_counts_once():
    office = Office()
    office.find(Level.RED)
    office.run(6)
    assert len(office.called()) == 2
    call = office.last_call()
    answer = (call.id, "", "link", "on my way")
    outcome = office.work(lambda c, *a: office.dispatch.answer(c, *a), *answer)
    assert outcome.ok
    assert office.alarm().status is Status.ACKNOWLEDGED
    before = Counter(message.kind for _, message in office.messages())
    office.run(9)  # then a result is asked for
    after = Counter(message.kind for _, message in office.messages())
    assert {kind: n for kind, n in after.items() if kind in ("raise", "climb", "again")} == {
        kind: n for kind, n in before.items() if kind in ("raise", "climb", "again")
    }
    assert not [kind for kind, *_ in office.waiting() if kind in ("raise", "again")]
    again = office.work(lambda c, *a: office.dispatch.answer(c, *a), *answer)
    assert not again.ok
    assert "already" in again.text
    (said,) = [row for row in office.rows(tables.timeline) if row.kind == "answer"]
    assert (said.who, said.text) == (call.contact, "on my way")
    unknown = office.work(lambda c, *a: office.dispatch.answer(c, *a), "nothing", "", "link", "")
    assert not unknown.ok


def test_a_rise_after_an_answer_calls_again_and_the_old_link_is_too_old():
    office = Office()
    office.find(Level.ORANGE)
    old = office.last_call()
    office.acknowledge()
    assert office.alarm().status is Status.ACKNOWLEDGED
    office.now_ms += MINUTE
    office.find(Level.RED)
    assert office.alarm().status is Status.UNACKNOWLEDGED
    assert office.called() == ["daping-shiqiao-3"] * 2
    late = office.work(lambda c, n: office.dispatch.answer(c, old.id, "", "link", "", n))
    assert not late.ok
    assert "risen" in late.text
    assert office.alarm().status is Status.UNACKNOWLEDGED


def test_what_is_over_is_told_and_the_incident_closes():
    office = Office()
    office.find(Level.RED)
    office.acknowledge()
    office.now_ms += MINUTE
    office.find(None)
    office.run(11)  # the off-delay
    assert office.alarm().status is Status.NORMAL
    assert "clear" in {message.kind for _, message in office.messages()}
    (incident,) = office.rows(tables.incident)
    assert incident.closed_ms is None
    office.run(70)
    (incident,) = office.rows(tables.incident)
    assert incident.closed_ms is not None
    office.find(Level.RED)
    assert len(office.rows(tables.incident)) == 2


def test_alerts_of_one_site_are_one_incident():
    office = Office()
    office.find(Level.RED)
    office.find(Level.ORANGE, rule="rain", hazard=Hazard.RAINSTORM)
    office.find(Level.RED, site="daping-slope", hazard=Hazard.LANDSLIDE)
    assert len(office.rows(tables.escalation)) == 3
    assert len(office.rows(tables.incident)) == 2


def test_a_shelved_alarm_calls_nobody_until_the_shelf_ends():
    office = Office()
    assert office.hold(30).ok
    office.find(Level.RED)
    assert office.messages() == []
    office.run(31)
    assert office.called()[0] == "daping-shiqiao-3"


def test_an_exercise_is_marked_and_kept_apart():
    office = Office()
    office.work(
        lambda c, n: office.dispatch.exercise(c, SITE, Hazard.UNDERPASS, Level.RED, Stage.NOW, n)
    )
    assert all(
        message.title.startswith(("【演练】", "[EXERCISE]")) for _, message in office.messages()
    )
    assert office.messages()
    office.find(Level.ORANGE)
    assert {row.exercise for row in office.rows(tables.incident)} == {True, False}
    real = [message for _, message in office.messages() if not message.exercise]
    assert real
    assert not any("演练" in message.title for message in real)


def test_an_exercise_ends_at_once_and_only_once():
    office = Office()

    def exercise(level):
        run = office.dispatch.exercise
        return office.work(lambda c, n: run(c, SITE, Hazard.UNDERPASS, level, Stage.NOW, n))

    assert exercise(None) == ""
    alert = exercise(Level.RED)
    office.now_ms += MINUTE
    assert exercise(None) == alert
    assert office.kinds()[-1] == "cleared"
    assert exercise(None) == ""
    office.now_ms += MINUTE
    assert exercise(Level.RED)
    assert office.alarm(KEY._replace(exercise=True)).calls


def test_a_restart_goes_on_where_it_was_and_by_the_plan_it_began_with():
    office = Office()
    office.find(Level.RED)
    changed = plan.parse(
        json.dumps(PLAN.model_dump(mode="json") | {"title": "edited", "contact": {}})
    )
    office.restart(changed)
    office.run(60)
    assert office.called()[-1] == "yunting"
    assert len(office.rows(tables.plan)) == 2
    versions = {row.state.split('"plan":"')[1][:16] for row in office.rows(tables.escalation)}
    assert versions == {PLAN.version}


def test_a_plan_is_kept_even_if_the_first_transaction_was_lost():
    office = Office()

    def lost(connection, now_ms):
        office.dispatch.round(connection, now_ms)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        office.work(lost)
    office.find(Level.RED)
    assert [row.version for row in office.rows(tables.plan)] == [PLAN.version]


@pytest.mark.parametrize("kill_at", range(12))
def test_killed_in_any_transaction_nothing_is_lost_or_told_twice(kill_at):
    """A transaction that does not end has not happened."""

    class Killed(Exception):
        pass

    def story(office, kill_at=None):
        done = itertools.count()

        def step(work):
            while True:
                try:
                    with office.connection.begin():
                        work(office.connection)
                        if next(done) == kill_at:
                            raise Killed
                    return
                except Killed:
                    office.restart()

        office.round = lambda after_ms=0: (
            step(lambda c: setattr(office, "due", office.dispatch.round(c, office.now_ms)))
            or office.due
        )
        office.find(Level.ORANGE)
        office.run(7)
        office.find(Level.RED)
        office.run(30)
        return [(row.key, row.not_before_ms, row.outcome) for row, _ in office.messages()]

    assert story(Office(), kill_at) == story(Office())


def test_a_thousand_alerts_in_a_minute_are_three_messages_for_each():
    many = PLAN.model_dump(mode="json")
    names = [f"site-{i}" for i in range(1000)]
    area = many["site"][SITE]
    many["site"] |= {name: area | {"name": name} for name in names}
    office = Office(plan.parse(json.dumps(many)))
    for i, name in enumerate(names):
        office.find(Level.RED if i % 3 else Level.ORANGE, site=name, at_once=i % 50 == 0)
        office.now_ms += 60
    office.round()
    told = Counter((row.contact, row.channel) for row, _ in office.messages())
    assert told
    assert max(told.values()) <= 3


def test_a_call_that_is_answered_leaves_the_digest_that_waits():
    many = PLAN.model_dump(mode="json")
    many["site"] |= dict.fromkeys(("first", "answered", "open"), many["site"][SITE])
    office = Office(plan.parse(json.dumps(many)))
    for site in ("first", "answered", "open"):
        office.find(Level.RED, site=site)
    kept = {row.contact for row in office.rows(tables.held)}
    assert kept
    (alert,) = [
        row.alert for row in office.rows(tables.escalation) if row.alert.startswith("answered.")
    ]
    work = office.dispatch.acknowledge
    assert office.work(lambda c, n: work(c, alert, "Li", "command", "", n)).ok
    office.run(2)
    parts = [(row.contact, part) for row, _ in office.messages() for part in read_parts(row.parts)]
    assert {one for one, part in parts if part.alert.startswith("open.")} >= kept
    assert not [part for _, part in parts if part.alert == alert and part.asks]


def test_without_a_plan_all_channels_hear_of_the_end():
    office = Office(everybody.plan(["log", "robot"]))
    office.find(Level.RED)
    office.now_ms += MINUTE
    office.find(None)
    office.run(12)
    over = [row.channel for row, message in office.messages() if message.kind == "clear"]
    assert sorted(over) == ["log", "robot"]


def test_without_a_plan_everybody_is_told():
    office = Office(everybody.plan(["log", "robot"]))
    office.find(Level.ORANGE)
    assert {(row.contact, row.channel) for row, _ in office.messages()} == {
        ("log", "log"),
        ("robot", "robot"),
    }
    office.run(24 * 60 - 1)
    assert len(office.messages()) == 2


def test_a_channel_that_is_not_configured_is_told_of_and_holds_up_nobody():
    office = Office()
    office.dispatch = Dispatch(PLAN, [], office.tokens, office.settings)
    office.find(Level.RED)
    assert {row.outcome for row in office.rows(tables.outgoing)} == {"refused"}
    assert office.kinds().count("unreached") >= 5
    office.run(60)
    assert office.called()[-1] == "yunting"


def test_a_token_says_who_was_sent_it_and_nothing_else():
    tokens = Tokens(b"secret")
    token = tokens.sign("abc")
    assert tokens.read(token) == "abc"
    for other in ("", "abc", "abc.", token[:-1], token + "x", "abd" + token[3:], "ü.ü"):
        assert tokens.read(other) is None
    assert Tokens(b"other").read(token) is None


def test_next_due_is_told_so_that_nobody_need_look_all_the_time():
    office = Office()
    assert office.round() is None
    due_ms = office.find(Level.RED)
    assert BEGIN_MS < due_ms <= BEGIN_MS + 5 * MINUTE
    with office.connection.begin():
        count = office.connection.execute(select(func.count()).select_from(tables.outgoing))
        assert count.scalar_one() > 0
    assert alarm.next_due_ms(office.alarm()) is None
    assert Path(loader.HERE, "plans").is_dir()


def test_a_message_tells_what_the_lamp_shows():
    office = Office()
    row = {"gateway": "gw", "site": SITE, "wanted": "red", "confirmed": "amber", "cause": ""}
    with office.connection.begin():
        office.connection.execute(insert(tables.interlock).values(**row, at_ms=BEGIN_MS))
    office.find(Level.RED)
    (_, message), *_ = office.messages()
    assert "信号灯状态：黄色。" in message.text


def test_the_cause_is_that_of_the_worst_source_and_not_of_the_last_that_spoke():
    office = Office()
    office.find(Level.RED, rule="deep", value=0.34)
    office.find(Level.ORANGE, rule="edge", value=0.16)
    office.run(2)
    assert all("34厘米" in message.text for _, message in office.messages())
    office.now_ms += 1
    office.find(None, rule="deep", value=0)
    office.run(30)
    told = [message for _, message in office.messages() if message.level == "orange"]
    assert told
    assert all("16厘米" in message.text for message in told)


def test_whoever_was_called_is_told_who_has_answered():
    office = Office()
    office.find(Level.RED)
    office.run(6)
    call = office.last_call()
    answer = office.dispatch.answer
    assert office.work(lambda c, now_ms: answer(c, call.id, "", "link", "", now_ms)).ok
    office.run(2)
    told = [message for _, message in office.messages() if message.kind == "answered"]
    name = office.plan.contact[call.contact].name
    assert told
    assert all(name in message.text for message in told)


def test_after_an_outage_of_a_channel_only_the_newest_call_is_told():
    office = Office()
    office.find(Level.RED)
    office.channels_are_away = True
    office.run(4)
    office.channels_are_away = False
    told = [(row, m) for row, m in office.messages() if row.contact == "he-lan"]
    assert {(row.channel, m.kind) for row, m in told} == {("sms", "again"), ("voice", "again")}
    assert len(told) == 2
    given_up = [row for row in office.rows(tables.outgoing) if row.outcome == "withdrawn"]
    assert {row.detail for row in given_up} == {waiting.SUPERSEDED}


def test_what_is_not_said_again_is_not_given_up():
    office = Office()
    office.find(Level.RED)
    office.run(6)
    office.channels_are_away = True
    office.acknowledge()
    office.run(2)
    office.find(Level.RED, rule="other", hazard=Hazard.EQUIPMENT)
    office.run(1)
    office.channels_are_away = False
    told = [(m.site, m.kind, row.key) for row, m in office.messages() if row.contact == "he-lan"]
    kinds = [kind for _, kind, key in told if ".underpass." in key]
    assert kinds[-1] == "answered"
    assert [kind for _, kind, key in told if ".equipment." in key]


def test_a_call_that_is_repeated_says_of_when_its_figures_are():
    office = Office()
    office.find(Level.RED)
    office.run(4)
    first, *_, last = [m for row, m in office.messages() if row.channel == "sms"]
    assert "23:06积水约34厘米。" in first.text
    assert "23:06积水约34厘米。" in last.text
    office.run(6)
    *_, last = [m for row, m in office.messages() if row.contact == "he-lan"]
    assert "23:06最后测得积水约34厘米，此后无读数。" in last.text


def test_the_end_reaches_whoever_was_told_before_it_was_kept_what_they_know():
    office = Office()
    office.find(Level.RED)
    office.run(1)
    office.acknowledge()
    with office.connection.begin():  # as a release left it that kept no such thing
        office.connection.execute(tables.knowledge.delete())
    office.now_ms += MINUTE
    office.find(None)
    office.run(11)
    assert "clear" in {m.kind for row, m in office.messages() if row.contact == "he-lan"}
