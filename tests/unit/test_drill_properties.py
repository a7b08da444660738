"""Exercises by script, whatever people, water, clocks and kills do."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cloud import drillshow, tables
from cloud.alerts import drillcheck, drillreport
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.drillscript import Script
from cloud.alerts.escalation import Escalation
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.news import News
from configs import loader
from configs.loader import ConfigError
from tests.dispatching import MINUTE, PLAN, SITE
from tests.examples import examples
from tests.unit.test_drills import RIVER, SETTING, Drilled, step
from wire.messages import Level

PLACES = [
    (SITE, Hazard.UNDERPASS),
    (RIVER, Hazard.RIVER),
    (RIVER, Hazard.RAINSTORM),
    ("daping-slope", Hazard.LANDSLIDE),
]
STEPS = st.tuples(
    st.integers(0, 8), st.sampled_from(["orange", "red", None]), st.sampled_from(PLACES)
)
NUMBER = st.integers(0, 9)
EVENTS = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 4)),
    st.tuples(st.just("away"), st.integers(1, 8)),
    st.tuples(st.just("clock back"), st.integers(1, 50)),
    st.tuples(st.just("real"), st.sampled_from(PLACES), st.sampled_from([Level.RED, None])),
    st.tuples(st.just("answer"), NUMBER),
    st.tuples(st.just("decline"), NUMBER),
    st.tuples(st.just("report"), NUMBER, st.sampled_from(["closed", "cannot-act"])),
    st.tuples(st.just("end"), st.sampled_from(PLACES)),
    st.tuples(st.just("stop")),
)


class Random(Drilled):
    def do(self, event):
        match event:
            case "wait", minutes:
                self.restart()
                self.run(minutes)
            case "away", minutes:
                self.now_ms += minutes * MINUTE
                self.restart()
                self.round()
            case "clock back", minutes:
                self.now_ms -= minutes * MINUTE
                self.round()
            case "real", (site, hazard), level:
                self.now_ms += 1000
                self.find(level, f"of-{hazard}", site, hazard)
                self.deliver()
            case "end", (site, hazard):
                end = self.dispatch.exercise
                self.work(lambda c, n: end(c, site, hazard, None, Stage.NOW, n))
            case ("stop",):
                self.stop()
            case says, number, *result:
                self.says(says, number, *result)

    def says(self, what, number, result="closed"):
        calls = self.rows(tables.call, tables.call.c.exercise)
        if not calls:
            return
        call = calls[number % len(calls)].id
        if what == "report":
            news = News("result", "sms", "", {"result": result})
            self.work(lambda c, n: self.dispatch.report(c, call, news, n))
        else:
            work = getattr(self.dispatch, what)
            self.work(lambda c, n: work(c, call, "", "sms", "", n))
        self.round()

    def is_quiet(self):
        alarms = self.rows(tables.alarm, tables.alarm.c.exercise)
        cases = [
            msgspec.json.decode(row.state, type=Escalation)
            for row in self.rows(tables.escalation, tables.escalation.c.due_ms.is_not(None))
        ]
        return not any(one.exercise for one in cases) and all(
            msgspec.json.decode(row.state, type=Alarm).process is Status.NORMAL for row in alarms
        )


@examples(12)
@given(st.lists(STEPS, min_size=1, max_size=5), st.lists(EVENTS, max_size=10))
def test_every_exercise_ends_is_scored_and_is_never_taken_for_real(steps, events):
    written = [step(at, level, *place) for at, level, place in sorted(steps, key=lambda s: s[0])]
    tables_ = {"title": "t", "off_duty": True, "lasts_min": 12, "step": written}
    try:
        script = loader.parse(tables_, Script, "d", lambda one: drillcheck.check(one, SETTING))
    except ConfigError:
        return
    office = Random()
    office.start(script)
    for event in events:
        office.do(event)
        assert office.dispatch.errors == []
        assert list(drillshow.rows(office.score()))
    office.run(13)
    drill = office.drill()
    assert drill.ended_ms is not None
    carried_out = [wave.step for wave in drill.waves]
    assert carried_out == sorted(set(carried_out))
    assert office.is_quiet()
    assert drillreport.build(office.score(), "zh", PLAN.zone).sections
    for _, message in office.messages():
        assert message.exercise == message.title.startswith(("【演练】", "[EXERCISE]"))
