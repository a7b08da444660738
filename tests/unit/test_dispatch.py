"""From findings to calls, and from answers to silence: the dispatch in a real database."""

import itertools
import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import create_engine, event, func, select

from cloud import tables
from cloud.alerts import alarm, everybody, plan
from cloud.alerts.alarm import Alarm, Hold, Status, Trigger
from cloud.alerts.dispatch import Dispatch, Settings
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import AlarmKey
from cloud.alerts.tokens import Tokens
from cloud.channels import Message
from configs import loader
from tests.findings import Findings
from wire.messages import Level

PLAN = plan.read(loader.HERE / "plans" / "example-city.toml")
SITE = "daping-underpass"
KEY = AlarmKey(SITE, Hazard.UNDERPASS)
BEGIN_MS = 1_750_000_000_000
MINUTE = 60_000
SETTINGS = Settings(off_delay_ms=10 * MINUTE, answer_url="https://flood.example")


class Office:
    """A dispatch with a clock of its own; `restart` is what a kill leaves behind."""

    def __init__(self, the_plan=PLAN, settings=SETTINGS):
        self.engine = create_engine("sqlite://")
        event.listen(self.engine, "connect", _no_autobegin)
        event.listen(self.engine, "begin", lambda c: c.exec_driver_sql("BEGIN"))
        self.connection = self.engine.connect()
        with self.connection.begin():
            tables.metadata.create_all(self.connection)
        self.now_ms = BEGIN_MS
        self.plan, self.settings = the_plan, settings
        self.tokens = Tokens(b"secret")
        self.restart()
        self._findings = Findings()

    def restart(self, the_plan=None):
        self.plan = the_plan or self.plan
        self.dispatch = Dispatch(self.plan, self.plan.channel, self.tokens, self.settings)

    def find(
        self, level, rule="depth", site=SITE, hazard=Hazard.UNDERPASS, value=0.34, at_once=True
    ):
        """A rule finds a level, None for none."""
        with self.connection.begin():
            self._findings.add(self.connection, self.now_ms, level, rule, site, hazard, value)
        return self.round() if at_once else None

    def round(self, after_ms=0):
        self.now_ms += after_ms
        return self.work(self.dispatch.round)

    def work(self, what, *arguments):
        with self.connection.begin():
            return what(self.connection, *arguments, self.now_ms)

    def run(self, minutes):
        """Let time pass, from deadline to deadline."""
        end_ms = self.now_ms + minutes * MINUTE
        while (due_ms := self.round()) is not None and due_ms <= end_ms:
            self.now_ms = max(due_ms, self.now_ms)
        self.now_ms = end_ms
        self.round()

    def rows(self, table, *where):
        with self.connection.begin():
            return self.connection.execute(select(table).where(*where)).all()

    def messages(self, *, waiting=False):
        """What was to be told, in order; with `waiting` only what still is."""
        rows = self.rows(tables.outgoing)
        rows.sort(key=lambda row: (row.made_ms, row.not_before_ms))
        return [
            (row, msgspec.json.decode(row.message, type=Message))
            for row in rows
            if not waiting or row.done_ms is None
        ]

    def called(self):
        """The areas that were called, in order."""
        notes = self.rows(tables.timeline, tables.timeline.c.kind.in_(("opened", "climbed")))
        return [row.area for row in notes]

    def kinds(self):
        return [row.kind for row in self.rows(tables.timeline)]

    def alarm(self, key=KEY):
        (row,) = self.rows(tables.alarm, tables.alarm.c.exercise == key.exercise)
        return msgspec.json.decode(row.state, type=Alarm)

    def acknowledge(self):
        alert = self.alarm().alert
        work = self.dispatch.acknowledge
        assert self.work(lambda c, now_ms: work(c, alert, "Li", "command", "", now_ms)).ok

    def last_call(self):
        return max(self.rows(tables.call), key=lambda row: row.made_ms)


def _no_autobegin(connection, _):
    connection.isolation_level = None


def test_the_nearest_are_called_first_and_nobody_is_passed_over():
    office = Office()
    office.find(Level.RED)
    assert office.called() == ["daping-shiqiao-3"]
    (row, message), *_ = office.messages()
    assert message.level == "red"
    assert message.to
    assert message.title.startswith("红色预警")
    assert "积水深度 34 cm" in message.text
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
    office.run(120)
    after = Counter(message.kind for _, message in office.messages())
    assert {kind: n for kind, n in after.items() if kind in ("raise", "climb", "again")} == {
        kind: n for kind, n in before.items() if kind in ("raise", "climb", "again")
    }
    assert not [m for _, m in office.messages(waiting=True) if m.kind in ("raise", "again")]
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
    until_ms = office.now_ms + 30 * MINUTE
    demand = Hold(Trigger.SHELVE, "Li", "works on site", until_ms)
    outcome = office.work(lambda c, n: office.dispatch.hold(c, KEY, demand, n))
    assert outcome.ok
    office.find(Level.RED)
    assert office.messages() == []
    office.run(31)
    assert office.called()[0] == "daping-shiqiao-3"
    refused = office.work(lambda c, n: office.dispatch.hold(c, KEY, demand, n))
    assert not refused.ok


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


def test_without_a_plan_everybody_is_told():
    office = Office(everybody.plan(["log", "robot"]))
    office.find(Level.ORANGE)
    assert {(row.contact, row.channel) for row, _ in office.messages()} == {
        ("everybody", "log"),
        ("everybody", "robot"),
    }
    office.run(24 * 60 - 1)
    assert len(office.messages()) == 2


def test_a_channel_that_is_not_configured_is_told_of_and_holds_up_nobody():
    office = Office()
    office.dispatch = Dispatch(PLAN, [], office.tokens, office.settings)
    office.find(Level.RED)
    assert {row.outcome for row, _ in office.messages()} == {"refused"}
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
