"""Holds: what is held back, until when, and what rings all the same."""

import msgspec
import pytest
from sqlalchemy import insert

from cloud import tables
from cloud.alerts import byhand, holding, holds, reportwords, views
from cloud.alerts.actions import CALLS, Send
from cloud.alerts.alarm import Alarm
from cloud.alerts.hazard import Hazard
from cloud.alerts.holds import UP_TO
from cloud.alerts.rule import SERVICE
from configs.loader import UserError
from tests import plans
from tests.dispatching import MINUTE, PLAN, SITE, Office
from wire.messages import Level

RIVER = {"site": "jialing-huangshaxi", "hazard": Hazard.RIVER, "rule": "stage"}
SLOPE = {"site": "daping-slope", "hazard": Hazard.LANDSLIDE, "rule": "crack"}


class Duty(Office):
    """A finding of the same instant would be an old one."""

    def find(self, *arguments, **named):
        self.now_ms += 1000
        return super().find(*arguments, **named)


@pytest.fixture
def office():
    return Duty()


def stands(office, site=SITE, hazard=Hazard.UNDERPASS):
    """An alarm as it is on disk."""
    where = (tables.alarm.c.site == site, tables.alarm.c.hazard == hazard)
    (row,) = office.rows(tables.alarm, *where)
    return msgspec.json.decode(row.state, type=Alarm)


def status(office, site=SITE, hazard=Hazard.UNDERPASS):
    return str(stands(office, site, hazard).status)


def calls(office):
    """Who was called until now, in order."""
    found = []
    for row in office.rows(tables.outgoing):
        sends = msgspec.json.decode(row.sends, type=list[Send])
        found += [send.contact for send in sends if send.kind in CALLS and row.outcome != ""]
    return found


def view(office, site=SITE):
    (one,) = [one for one in office.work(lambda c, _: views.alerts(c)) if one.site == site]
    return one


def listed(office, past=False):
    return office.work(lambda c, n: holding.listed(c, n, past=past))


def gateway(office, name):
    with office.connection.begin():
        columns = {c.name: 0 for c in tables.gateway.c if not c.nullable}
        row = {
            name: "" if tables.gateway.c[name].type.python_type is str else 0 for name in columns
        }
        office.connection.execute(insert(tables.gateway).values(row | {"gateway": name}))


def wall(ms):
    """A moment as people write it, in the plan's time zone."""
    return holds.shown(ms, PLAN.zone)


def test_unless_it_is_said_a_red_rings(office):
    assert UP_TO is Level.ORANGE
    order = holding.Order("Li", "new ruler", site=SITE, minutes=60)
    assert office.work(lambda c, n: holding.make(office.dispatch, c, order, "test", n)).ok
    office.find(Level.ORANGE)
    assert (status(office), office.messages()) == ("out-of-service", [])
    office.find(Level.RED)
    assert status(office) == "active-unacknowledged"
    assert len(office.messages()) > 0


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        ({"site": SITE}, {SITE}),
        ({"area": "daping"}, {SITE}),
        ({"area": "daping-shiqiao-3"}, {SITE}),
        ({"area": "hekou"}, {"jialing-huangshaxi", "daping-slope"}),
        ({"area": "dongjiang"}, {SITE, "jialing-huangshaxi", "daping-slope"}),
        ({"hazard": Hazard.RIVER}, {"jialing-huangshaxi"}),
        ({"area": "hekou", "hazard": Hazard.LANDSLIDE}, {"daping-slope"}),
        ({"area": "daping", "hazard": Hazard.RIVER}, set()),
        ({"gateway": "gw"}, {SITE, "jialing-huangshaxi", "daping-slope"}),
        ({"gateway": "gw", "site": SITE}, {SITE}),
        ({"gateway": "gw-2"}, set()),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_all_that_is_named_must_fit(office, scope, held, before):
    for name in ("gw", "gw-2"):
        gateway(office, name)
    if before:
        assert office.hold(**scope).ok
    for one in ({}, RIVER, SLOPE):
        office.find(Level.ORANGE, **one)
    if not before:
        assert office.hold(**scope).ok
    for one in ({"site": SITE, "hazard": Hazard.UNDERPASS}, RIVER, SLOPE):
        site, hazard = one["site"], one["hazard"]
        wanted = "out-of-service" if site in held else "active-unacknowledged"
        assert status(office, site, hazard) == wanted


def test_what_another_gateway_finds_there_rings(office):
    for name in ("gw", "gw-2"):
        gateway(office, name)
    office.hold(gateway="gw")
    office.find(Level.ORANGE)
    assert status(office) == "out-of-service"
    with office.connection.begin():
        office.connection.execute(tables.alert.update().values(gateway="gw-2"))
    office._findings._episodes.clear()
    office.find(Level.BLUE, rule="other")
    assert status(office) == "out-of-service"  # both are of gw still
    with office.connection.begin():
        rows = tables.alert.update().where(tables.alert.c.rule == "other")
        office.connection.execute(rows.values(gateway="gw-2"))
    office.find(Level.YELLOW, rule="other")
    assert status(office) == "active-unacknowledged"


def test_a_window_that_is_planned_ahead_begins_and_ends_by_itself(office):
    begin, end = office.now_ms + 60 * MINUTE, office.now_ms + 120 * MINUTE
    begin, end = begin // MINUTE * MINUTE, end // MINUTE * MINUTE
    outcome = office.hold(begin=wall(begin), end=wall(end))
    assert outcome.ok
    assert "0 alerts are held back now" in outcome.text
    (one,) = listed(office)
    assert (one.state, one.begin_ms, one.end_ms) == ("ahead", begin, end)
    office.find(Level.ORANGE)
    assert status(office) == "active-unacknowledged"
    office.run(61)
    assert status(office) == "out-of-service"
    (one,) = listed(office)
    assert (one.state, one.alerts) == ("in force", (stands(office).alert,))
    called = len(calls(office))
    office.run(50)
    assert len(calls(office)) == called
    office.run(10)
    assert status(office) == "active-unacknowledged"
    assert len(calls(office)) > called
    assert listed(office) == []
    (one,) = listed(office, past=True)
    assert (one.state, one.ended_by) == ("past", "")


def test_what_is_held_back_says_by_whom_until_when_and_why(office):
    office.hold(30)
    office.find(Level.ORANGE)
    one = view(office)
    assert [(by.by, by.reason, by.name) for by in one.held_by] == [("Li", "works", "hold 1")]
    assert one.held_until_ms == office.now_ms - 1000 + 30 * MINUTE
    (line,) = office.rows(tables.timeline, tables.timeline.c.kind == "hold")
    until = wall(one.held_until_ms)
    assert (line.who, line.text) == ("Li", f"until {until}: works")
    assert reportwords.phrase(line.text, "zh") == f"至{until}：works"
    assert msgspec.json.decode(line.detail)["until_ms"] == one.held_until_ms


def test_who_was_called_hears_that_it_is_held_back(office):
    office.find(Level.ORANGE)
    called = {row.contact for row, _ in office.messages()}
    office.round(MINUTE * 2)
    office.hold(30)
    office.run(5)
    told = [message for _, message in office.messages() if message.kind == "held"]
    assert {row.contact for row, m in office.messages() if m.kind == "held"} == called
    assert "暂停呼叫" in told[0].text
    assert "works" in told[0].text
    assert "无需应答" in told[0].text


def test_ended_early_it_rings_at_once(office):
    office.hold(30)
    office.find(Level.ORANGE)
    assert office.messages() == []
    outcome = office.release(1, by="Wang")
    assert outcome.ok
    assert status(office) == "active-unacknowledged"
    assert len(office.messages()) > 0
    assert not office.release(1).ok
    assert not office.release(7).ok
    (one,) = listed(office, past=True)
    assert (one.ended_by, one.ended_why, one.ended_ms) == ("Wang", "done", office.now_ms)
    (line,) = office.rows(tables.timeline, tables.timeline.c.kind == "hold ended")
    assert (line.who, line.text) == ("Wang", "done")


def test_what_a_person_raises_rings_through_the_holds_that_were_there(office):
    office.hold(30, site=SITE)
    office.find(Level.ORANGE)
    given = byhand.Raise(SITE, Hazard.UNDERPASS, Level.ORANGE, "Li", "water over the tyres")
    assert office.work(lambda c, n: byhand.raise_alert(office.dispatch, c, given, n)).ok
    assert status(office) == "active-unacknowledged"
    office.hold(30, site=SITE)  # but who holds it back now means it
    assert status(office) == "out-of-service"


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        ({"hazard": Hazard.EQUIPMENT}, False),
        ({"hazard": Hazard.EQUIPMENT, "gateway": SERVICE}, True),
        ({"hazard": Hazard.EQUIPMENT, "site": SERVICE}, True),
    ],
)
def test_alerts_about_alerting_itself_are_held_back_by_name_only(office, scope, held):
    office.hold(**scope)
    with office.connection.begin():
        office._findings.add(
            *(office.connection, office.now_ms, Level.ORANGE, "service", "", Hazard.EQUIPMENT)
        )
        office.connection.execute(tables.alert.update().values(gateway=SERVICE, site=""))
    office.round()
    wanted = "out-of-service" if held else "active-unacknowledged"
    assert status(office, SERVICE, Hazard.EQUIPMENT) == wanted


def test_that_alerting_fails_is_not_held_back_in_passing(office):
    with pytest.raises(UserError, match="need hazard equipment"):
        office.hold(gateway=SERVICE)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"site": "dapin-underpass"}, "no site of the plan, and nothing is known of it (did you"),
        ({"area": "dapin"}, "'dapin' is no area of the plan (did you mean 'daping'?)"),
        ({"gateway": "gw-9"}, "nothing was ever heard of a gateway 'gw-9'"),
        ({"site": SITE, "area": "hekou"}, "does not lie in hekou"),
        ({"hazard": None}, "name a site, an area, a gateway or a hazard"),
        ({"site": SITE, "end": "tomorrow"}, "--to tomorrow: is not a time"),
        ({"site": SITE, "end": "9999-12-31 23:59"}, "is not a time between 1971 and 2199"),
        ({"site": SITE, "end": "2020-01-01 00:00"}, "it would end before it begins"),
        ({"site": SITE, "begin": "2099-01-01 00:00"}, "366 days ahead at most"),
        ({"site": SITE, "minutes": -1}, "--minutes -1: is not above 0"),
        ({"site": SITE, "minutes": float("nan")}, "--minutes nan: is not above 0"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(office, given, says):
    with pytest.raises(UserError) as caught:
        office.hold(**given)
    assert says in str(caught.value)
    assert listed(office) == []


def test_a_hold_has_an_end_and_a_reason(office):
    order = holding.Order("Li", "works", site=SITE)
    with pytest.raises(UserError, match="a hold has an end"):
        office.work(lambda c, n: holding.make(office.dispatch, c, order, "test", n))
    order = holding.Order("Li", "  ", site=SITE, minutes=5)
    with pytest.raises(UserError, match="needs a reason"):
        office.work(lambda c, n: holding.make(office.dispatch, c, order, "test", n))
    assert "744 h at most" in office.hold(60 * 24 * 32).text


def test_a_new_plan_may_have_other_areas(office):
    office.hold(area="hekou")
    office.find(Level.ORANGE)
    assert status(office) == "active-unacknowledged"
    written = PLAN.model_dump(mode="json", exclude_none=True)
    written["site"][SITE]["area"] = "hekou-shangwan"
    moved = plans.made(written)
    office.dispatch.use(moved)
    office.round()
    office.round()
    assert status(office) == "out-of-service"
    office.restart(PLAN)
    office.round()
    office.round()
    assert status(office) == "active-unacknowledged"


def test_who_answers_while_it_is_held_back_is_asked_for_the_result_afterwards(office):
    office.find(Level.ORANGE)
    alert = stands(office).alert
    office.hold(30)
    office.round(MINUTE)
    work = office.dispatch.acknowledge
    assert office.work(lambda c, n: work(c, alert, "he-lan", "command", "", n)).ok
    called = len(calls(office))
    office.run(35)
    assert status(office) == "active-acknowledged"
    asked = [m.kind for _, m in office.messages()][-3:]
    assert "follow-up" in asked
    assert len(calls(office)) > called


# Clocks


def test_a_hold_of_so_many_minutes_keeps_its_length_when_the_clock_is_set_back(office):
    office.hold(90, site=SITE)
    office.find(Level.ORANGE)
    office.round(30 * MINUTE)
    office.round(-60 * MINUTE)
    assert status(office) == "out-of-service"
    office.run(59)
    assert status(office) == "out-of-service"
    office.run(1)
    assert status(office) == "active-unacknowledged"


def test_after_a_restart_it_is_known_how_long_a_hold_has_lasted(office):
    office.find(Level.ORANGE)
    office.hold(90, site=SITE)
    for _ in range(8):
        office.round(10 * MINUTE)
    office.restart()
    office.round(-60 * MINUTE)  # while nothing ran
    office.run(10)
    assert status(office) == "active-unacknowledged"


def test_a_planned_window_is_by_the_clock_and_never_longer_than_it_says(office):
    begin = (office.now_ms + 10 * MINUTE) // MINUTE * MINUTE
    assert office.hold(begin=wall(begin), end=wall(begin + 60 * MINUTE), site=SITE).ok
    office.find(Level.ORANGE)
    office.now_ms = begin + 40 * MINUTE
    office.round()
    assert status(office) == "out-of-service"
    office.now_ms = begin - 20 * MINUTE  # the clock was wrong
    office.round()
    office.round()
    assert status(office) == "active-unacknowledged"
    office.now_ms = begin
    office.round()
    office.round()
    assert status(office) == "out-of-service"
    office.now_ms = begin + 20 * MINUTE  # 40 min of 60 had passed
    office.round()
    office.round()
    assert status(office) == "active-unacknowledged"


def test_a_hold_that_is_over_stays_over_when_the_clock_is_set_back(office):
    office.hold(30, site=SITE)
    office.find(Level.ORANGE)
    office.run(31)
    assert status(office) == "active-unacknowledged"
    office.round(-20 * MINUTE)
    office.round()
    assert status(office) == "active-unacknowledged"
    assert listed(office) == []


def test_before_a_round_has_seen_the_step_an_answer_ends_no_hold(office):
    office.hold(30, site=SITE)
    office.find(Level.ORANGE)
    office.now_ms -= 60 * MINUTE
    office.acknowledge()
    assert status(office) == "out-of-service"


# What is damaged


def test_a_hold_that_cannot_be_read_holds_nothing_back(office):
    office.hold(30, site=SITE)
    with office.connection.begin():
        office.connection.execute(tables.hold.update().values(up_to="purple"))
    office.find(Level.ORANGE)
    assert status(office) == "active-unacknowledged"
    assert office.dispatch.errors == []


def test_an_alarm_that_cannot_be_read_keeps_no_other_from_being_held_back(office):
    office.find(Level.ORANGE)
    office.find(Level.ORANGE, **RIVER)
    with office.connection.begin():
        broken = tables.alarm.c.hazard == "river"
        office.connection.execute(tables.alarm.update().where(broken).values(state="{"))
    assert office.hold(area="dongjiang").ok
    assert status(office) == "out-of-service"
    assert office.release(1).ok
    assert status(office) == "active-unacknowledged"


def test_there_are_not_more_holds_than_a_state_can_work_with(office, monkeypatch):
    monkeypatch.setattr(holding, "MOST", 2)
    assert office.hold(30).ok
    assert office.hold(30).ok
    assert "2 holds already" in office.hold(30).text
    assert office.release(1).ok
    assert office.hold(30).ok
