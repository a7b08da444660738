"""Exercises that a script leads, run through the dispatch, with people who do as they are told."""

import json

import pytest

from cloud import tables
from cloud.alerts import drillcheck, drills, drillscore, statistics
from cloud.alerts.drillcheck import Setting
from cloud.alerts.drills import AWAY_MS, End
from cloud.alerts.drillscript import Script, faults
from cloud.alerts.dutychanges import Duty
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.news import News
from cloud.alerts.records import read_parts
from configs import loader
from configs.loader import ConfigError, UserError
from tests.dispatching import BEGIN_MS, MINUTE, PLAN, SITE, Office
from wire.messages import Level

EXAMPLE = loader.HERE / "drills" / "before-the-rains.toml"
RIVER = "jialing-huangshaxi"
SETTING = Setting(PLAN, Duty(), BEGIN_MS)


def script(**changes):
    """One step at the underpass."""
    step = {"at_min": 0, "site": SITE, "hazard": "underpass", "level": "red"}
    tables_ = {"title": "t", "step": [step], "lasts_min": 30} | changes
    return loader.parse(tables_, Script, "drill.toml", faults)


def step(at_min, level=None, site=SITE, hazard="underpass", **more):
    what = {"end": True} if level is None else {"level": level}
    return {"at_min": at_min, "site": site, "hazard": hazard} | what | more


def problems(the_plan=PLAN, **changes):
    step_ = [step(0, "red")]
    given = {"title": "t", "step": step_, "lasts_min": 30} | changes
    setting = SETTING._replace(plan=the_plan)
    try:
        loader.parse(given, Script, "d", lambda one: drillcheck.check(one, setting))
    except ConfigError as error:
        return {fault.key: fault.problem for fault in error.faults}
    return {}


class Drilled(Office):
    """An office in which an exercise runs."""

    def start(self, given):
        work = drills.start
        begin = (given, "Li", self.plan.version)
        name = self.work(lambda c, n: work(self.dispatch, c, *begin, n))
        self.round()
        self.deliver()
        return name

    def stop(self):
        return self.work(lambda c, n: drills.stop(self.dispatch, c, "Li", n))

    def drill(self, name=None):
        with self.connection.begin():
            return drills.of(self.connection, name) or drills.newest(self.connection, 1)[0]

    def score(self):
        one = self.drill()
        return self.work(lambda c, n: drillscore.of(c, one, n))

    def call_of(self, contact, site=SITE):
        rows = [
            row
            for row in self.rows(tables.call, tables.call.c.contact == contact)
            if any(part.alert.startswith(site) for part in read_parts(row.parts))
        ]
        return max(rows, key=lambda row: row.made_ms).id

    def answers(self, contact, site=SITE):
        call = self.call_of(contact, site)
        done = self.work(lambda c, n: self.dispatch.answer(c, call, "", "sms", "收到", n))
        assert done.ok, done

    def reports(self, contact, site=SITE):
        call, news = (
            self.call_of(contact, site),
            News("result", "sms", "已封路", {"result": "closed"}),
        )
        self.work(lambda c, n: self.dispatch.report(c, call, news, n))


@pytest.fixture
def office():
    return Drilled()


def test_the_example_fits_its_plan_and_runs_to_its_score(office):
    given = loader.load(EXAMPLE, Script, lambda one: drillcheck.check(one, SETTING))
    office.start(given)
    office.run(2)
    office.answers("he-lan")
    office.run(5)  # 7: the river has risen at 5
    office.answers("ding-rui", RIVER)
    office.run(6)  # 13: red at 12
    office.run(1)
    office.answers("he-lan")
    office.run(4)
    office.reports("he-lan")
    office.run(30)
    drill = office.drill()
    assert (drill.end, drill.done, len(drill.waves)) == (End.TIME, 4, 4)
    score = office.score()
    by = {one.contact: one for one in score.people}
    assert (by["he-lan"].outcome, by["he-lan"].tier) == ("result", "grid")
    assert by["he-lan"].to_answer_s == 120  # the longer of two
    assert by["he-lan"].to_result_s == 240  # from the second
    assert by["ding-rui"].outcome == "answered"
    met = {(one.site, one.what): one.met for one in score.checks}
    assert met == {
        (SITE, "answer"): True,
        (SITE, "result"): True,
        (SITE, "highest tier"): True,
        (RIVER, "answer"): True,
    }
    assert (score.points, score.most, score.passed) == (60, 60, True)
    spans = {one.site: one.spans for one in score.sites}
    assert [span.answered_ms - span.begin_ms for span in spans[SITE]] == [2 * MINUTE, 2 * MINUTE]
    assert all(m.exercise and m.title.startswith(("【演练】", "[EX")) for _, m in office.messages())
    assert office.rows(tables.alarm, tables.alarm.c.state.contains("unacknowledged")) == []


def test_who_does_not_answer_declines_or_cannot_be_reached_is_told_apart(office):
    office.start(script(expect=[{"answer_within_min": 4, "highest_tier": "village"}]))
    office.run(6)  # he-lan lets it pass: the village is called
    call = office.call_of("lu-ming")
    office.work(lambda c, n: office.dispatch.decline(c, call, "", "sms", "去不了", n))
    office.run(0)
    call = office.call_of("tan-bo")
    office.work(lambda c, n: office.dispatch.unreached(c, call, n))
    office.run(2)
    office.answers("dongjiang-duty-night")
    office.run(1)
    office.stop()
    score = office.score()
    outcomes = {one.contact: one.outcome for one in score.people}
    assert outcomes == {
        "he-lan": "not answered",
        "lu-ming": "declined",
        "tan-bo": "unreached",
        "dongjiang-duty-night": "answered",
    }
    (site,) = score.sites
    assert site.highest_tier == "district"
    checks = {one.what: (one.met, one.measured_s, one.measured) for one in score.checks}
    assert checks == {"answer": (False, 480, ""), "highest tier": (False, None, "district")}
    assert (score.points, score.most, score.passed) == (0, 20, False)
    tiers = {one.tier: one for one in score.tiers}
    assert (tiers["grid"].not_answered, tiers["village"].declined) == (1, 1)
    assert tiers["township"].unreached == 1


def test_what_somebody_said_last_counts_and_silence_in_any_round(office):
    office.start(script(step=[step(0, "orange"), step(2, "red")]))
    office.run(1)
    office.answers("he-lan")
    assert office.score().people[0].outcome == "answered"
    office.run(8)  # red since 2: the village is called at 7
    assert {one.contact: one.outcome for one in office.score().people} == {
        "he-lan": "not answered",
        "lu-ming": "waiting",
    }
    office.run(4)
    call, cannot = office.call_of("he-lan"), News("result", "sms", "x", {"result": "cannot-act"})
    office.answers("he-lan")
    office.work(lambda c, n: office.dispatch.report(c, call, cannot, n))
    office.run(1)
    outcomes = {one.contact: one.outcome for one in office.score().people}
    assert (outcomes["he-lan"], outcomes["lu-ming"]) == ("declined", "not answered")


def test_without_expectations_the_plan_is_the_measure(office):
    office.start(script())
    office.run(1)
    office.answers("he-lan")
    office.reports("he-lan")
    office.run(1)
    assert office.drill().end is End.DONE  # nothing is left to wait for
    score = office.score()
    assert [(one.what, one.limit, one.met) for one in score.checks] == [
        ("answer", "5 min", True),
        ("result", "10 min", True),
    ]
    assert (score.points, score.most) == (20, 20)


def test_a_kill_anywhere_does_no_step_twice_and_leaves_none_out(office):
    office.start(script(step=[step(0, "orange"), step(2, "red"), step(4)]))
    for _ in range(6):
        office.restart()
        office.run(1)
    drill = office.drill()
    assert [wave.step for wave in drill.waves] == [0, 1, 2]
    assert drill.end is End.DONE
    assert [wave.at_ms - BEGIN_MS for wave in drill.waves] == [0, 2 * MINUTE, 4 * MINUTE]


@pytest.mark.parametrize(
    ("away_ms", "end"), [(AWAY_MS, None), (AWAY_MS + 1, End.AWAY), (10 * 60 * MINUTE, End.TIME)]
)
def test_a_service_that_was_away_goes_on_or_ends_it(office, away_ms, end):
    office.start(script(step=[step(0, "orange"), step(10, "red")], lasts_min=15))
    office.run(1)
    office.now_ms = BEGIN_MS + 10 * MINUTE + away_ms
    office.restart()
    office.round()
    assert office.drill().end is end
    rings = office.rows(tables.escalation, tables.escalation.c.state.contains('"ringing"'))
    assert bool(rings) == (end is None)
    office.run(5)
    assert office.rows(tables.escalation, tables.escalation.c.due_ms.is_not(None)) == []


def test_a_clock_that_is_set_back_moves_the_script_with_it(office):
    office.start(script(step=[step(0, "orange"), step(3, "red")]))
    office.run(1)
    office.now_ms -= 60 * MINUTE
    office.run(1)
    assert office.drill().done == 1
    office.run(2)
    assert office.drill().done == 2


def test_a_real_alert_takes_its_site_out_and_is_told_as_real(office):
    both = [step(0, "orange"), step(0, "red", RIVER, "river"), step(3, "red")]
    office.start(script(step=both, expect=[{"answer_within_min": 5}]))
    office.run(2)
    office.answers("ding-rui", RIVER)
    office.find(Level.ORANGE)
    office.run(6)
    drill = office.drill()
    assert list(drill.left) == [SITE]
    assert "a real alert" in drill.left[SITE]
    assert [wave.step for wave in drill.waves] == [0, 1]
    assert drill.end is None  # it goes on by the river
    real = [m for _, m in office.messages() if m.site == SITE and m.at_ms > BEGIN_MS + 2 * MINUTE]
    assert [one.kind for one in real if one.exercise] == ["clear"]
    assert {"raise", "climb"} <= {one.kind for one in real}
    office.stop()
    met = {one.site: one.met for one in office.score().checks}
    assert met == {SITE: None, RIVER: True}


def test_what_ends_by_hand_takes_no_further_part(office):
    office.start(script(step=[step(0, "orange"), step(3, "red")]))
    office.run(1)
    end = (SITE, Hazard.UNDERPASS, None, Stage.NOW)
    office.work(lambda c, n: office.dispatch.exercise(c, *end, n))
    office.run(3)
    drill = office.drill()
    assert (drill.left, drill.end) == ({SITE: "it was ended by hand"}, End.DONE)


def test_stop_ends_it_at_once_and_tells_who_was_told(office):
    name = office.start(script())
    office.run(1)
    assert office.stop() == name
    assert office.stop() == ""
    office.run(2)
    assert office.messages()[-1][1].kind == "clear"
    assert office.drill().stopped_by == "Li"
    assert office.score().checks[0].met is None  # nobody had 5 minutes


def test_one_runs_at_a_time_and_none_where_something_stands(office):
    office.find(Level.ORANGE)
    office.run(0)
    with pytest.raises(UserError, match="a real alert stands there"):
        office.start(script())
    river = script(step=[step(0, "red", RIVER, "river")])
    office.start(river)
    with pytest.raises(UserError, match="is running"):
        office.start(river)
    office.stop()
    where = (RIVER, Hazard.RIVER, Level.RED, Stage.NOW)
    office.now_ms += MINUTE
    office.work(lambda c, n: office.dispatch.exercise(c, *where, n))
    with pytest.raises(UserError, match="an exercise runs there"):
        office.start(river)


def test_another_plan_must_be_checked_again(office):
    given = script()
    with pytest.raises(UserError, match="another plan has come into force"):
        office.work(lambda c, n: drills.start(office.dispatch, c, given, "Li", "other", n))


def test_all_faults_are_told_at_once():
    found = problems(
        title="",
        step=[
            step(10, "red"),
            step(5, "red"),
            step(6, "red", "nowhere"),
            step(7, "blue"),
            step(8, None, RIVER, "river"),
            step(9, "red", RIVER, "underpass"),
            step(40, "red", values={"crack_mm": 3}),
            {"at_min": 1, "at_s": 60, "site": SITE, "hazard": "underpass"},
        ],
        expect=[{"site": "nowhere-else"}, {"site": SITE, "answer_within_min": 0}],
    )
    assert {"title", "step.1", "step.2.site", "step.3.level", "step.4.end"} <= set(found)
    assert {"step.5.hazard", "step.6", "step.6.values.crack_mm", "step.7"} <= set(found)
    assert {"expect.0", "expect.0.site", "expect.1.answer_within_min"} <= set(found)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"step": []}, "step"),
        ({"step": [step(0, "red"), step(1, "red")]}, "step.1.level"),
        ({"step": [step(1e308, "red")]}, "step.0.at_min"),
        ({"lasts_min": 100_000}, "lasts_min"),
        ({"step": [step(0, "red", values={"depth_cm": "\x1b[2J"})]}, "step.0.values.depth_cm"),
        ({"expect": [{"hazard": "river", "answer_within_min": 3}]}, "expect.0.hazard"),
        ({"steps": 1}, "steps"),
    ],
)
def test_each_fault_is_found_where_it_is(changes, key):
    assert key in problems(**changes)


def test_nobody_is_woken_unless_the_script_says_so():
    tables_ = json.loads(PLAN.model_dump_json())
    tables_["contact"]["he-lan"]["duty"] = ["day"]
    night = loader.parse(tables_, type(PLAN), "p")
    found = problems(night)
    assert "is on duty at 0 min" in found["step.0"]
    assert problems(night, off_duty=True) == {}
    assert problems() == {}


def test_who_would_be_disturbed_is_known_before(office):
    given = script(lasts_min=7)
    entries = drillcheck.timetable(given, SETTING)
    people = {one.contact: one for one in drillcheck.disturbed(entries, PLAN)}
    assert people["he-lan"].after_ms == 0
    assert people["lu-ming"].after_ms == 5 * MINUTE
    assert "city-duty" not in people  # it ends before
    office.start(given)
    office.run(8)
    told = {row.contact for row in office.rows(tables.outgoing) if row.message}
    assert told == set(people)


def test_statistics_leave_it_out(office):
    office.start(script(lasts_min=2))
    office.run(3)
    name = statistics.this_month(BEGIN_MS, PLAN.zone)
    with office.connection.begin():
        real = statistics.of_month(office.connection, PLAN, name)
        drilled = statistics.of_month(office.connection, PLAN, name, exercises=True)
    assert (real.alerts, real.messages) == (0, 0)
    assert (drilled.alerts, drilled.unanswered) == (1, 1)
