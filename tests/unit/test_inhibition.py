"""Inhibition: what goes before what by the plan, and what the plan may not say."""

import msgspec
import pytest

from cloud import tables
from cloud.alerts import byhand, holding, simulate, views
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.digest import LONGEST_MS
from cloud.alerts.hazard import Hazard
from cloud.alerts.plan import parse
from cloud.alerts.rule import SERVICE
from configs.loader import ConfigError
from tests import plans
from tests.dispatching import BEGIN_MS, MINUTE, PLAN, SITE, Office
from wire.messages import Level

RIVER = ("jialing-huangshaxi", Hazard.RIVER)
GAUGE = ("jialing-huangshaxi", Hazard.EQUIPMENT)
SLOPE = ("daping-slope", Hazard.EQUIPMENT)
PUMP = (SITE, Hazard.EQUIPMENT)
OUT = {
    "reason": "the river is out",
    "source": {"hazards": ["river"], "levels": ["red"]},
    "target": {"hazards": ["equipment"], "levels": ["blue", "yellow"]},
    "same": "area",
}
SILENT = {
    "reason": "its gateway is silent",
    "source": {"hazards": ["equipment"], "rules": ["gateway-silent"]},
    "target": {
        "hazards": ["equipment"],
        "levels": ["blue", "yellow", "orange"],
        "rules": ["stale"],
    },
    "same": "gateway",
}


def planned(*rules):
    written = PLAN.model_dump(mode="json", exclude_none=True) | {"inhibit": [*rules]}
    return plans.made(written)


class Duty(Office):
    def __init__(self, *rules, kept=None):
        super().__init__(kept or planned(*rules))

    def finds(self, level, place=RIVER, rule="", gateway="gw"):
        """A rule finds a level somewhere; the channels take what follows."""
        self.now_ms += 1000
        site, hazard = place
        with self.connection.begin():
            self._findings.add(
                *(self.connection, self.now_ms, level, rule or f"of-{hazard}", site, hazard),
                gateway=gateway,
            )
        self.settle()

    def settle(self, after_ms=0):
        self.now_ms += after_ms
        while (due_ms := self.round()) is not None and due_ms <= self.now_ms:
            self.deliver()
        self.deliver()
        self.round()

    def status(self, place):
        site, hazard = place
        where = (tables.alarm.c.site == site, tables.alarm.c.hazard == hazard)
        (row,) = self.rows(tables.alarm, *where)
        return msgspec.json.decode(row.state, type=Alarm).status


@pytest.fixture
def office():
    return Duty(OUT, SILENT)


def test_while_the_river_is_red_nobody_is_called_for_batteries_in_its_area(office):
    office.finds(Level.RED)
    for place in (GAUGE, SLOPE, PUMP):
        office.finds(Level.YELLOW, place)
    assert office.status(GAUGE) is Status.SUPPRESSED
    assert office.status(SLOPE) is Status.SUPPRESSED  # another site of that area
    assert office.status(PUMP) is Status.UNACKNOWLEDGED  # elsewhere
    shown = office.work(lambda c, _: views.alerts(c))
    (one,) = [one for one in shown if (one.site, one.hazard) == GAUGE]
    (by,) = one.held_by
    assert (by.by, by.reason, by.until_ms) == ("plan", "the river is out", None)
    assert by.name.startswith("jialing-huangshaxi.river.")
    office.finds(Level.ORANGE, GAUGE)  # which is worse than the rule holds back
    assert office.status(GAUGE) is Status.UNACKNOWLEDGED


@pytest.mark.parametrize("way", ["over", "lower", "held", "another plan"])
def test_it_rings_at_once_when_nothing_goes_before_it_any_more(office, way):
    office.finds(Level.RED)
    office.finds(Level.BLUE, SLOPE)
    assert office.status(SLOPE) is Status.SUPPRESSED
    if way == "held":
        order = holding.Order("Li", "works", *RIVER[:1], minutes=60, up_to=Level.RED)
        order = msgspec.structs.replace(order, hazard=Hazard.RIVER)
        assert office.work(lambda c, n: holding.make(office.dispatch, c, order, "test", n)).ok
    elif way == "another plan":
        office.dispatch.use(PLAN)
    else:
        office.finds(Level.ORANGE if way == "lower" else None)
        assert office.status(SLOPE) is Status.SUPPRESSED
        office.settle(10 * MINUTE)
    office.settle()
    assert office.status(SLOPE) is Status.UNACKNOWLEDGED
    office.settle(LONGEST_MS)  # further calls of one person go together
    called = [m for row, m in office.messages() if m.site == SLOPE[0]]
    assert called[0].kind == "raise"


def test_it_waits_while_the_answer_of_the_other_stands(office):
    office.finds(Level.RED)
    office.finds(Level.BLUE, SLOPE)
    (row,) = office.rows(tables.alarm, tables.alarm.c.hazard == "river")
    alert = msgspec.json.decode(row.state, type=Alarm).alert
    work = office.dispatch.acknowledge
    office.work(lambda c, n: work(c, alert, "Li", "command", "", n))
    office.settle()
    assert office.status(SLOPE) is Status.SUPPRESSED  # it is dealt with, and stands


def test_what_nobody_knows_of_goes_before_nothing(office):
    office.channels_are_away = True
    office.finds(Level.RED)
    office.finds(Level.BLUE, SLOPE)
    assert office.status(SLOPE) is Status.UNACKNOWLEDGED
    office.channels_are_away = False
    office.settle()
    office.settle()
    assert office.status(SLOPE) is Status.SUPPRESSED


def test_what_is_held_back_goes_before_nothing(office):
    order = holding.Order("Li", "works", RIVER[0], hazard=Hazard.RIVER, minutes=9, up_to=Level.RED)
    office.work(lambda c, n: holding.make(office.dispatch, c, order, "test", n))
    office.finds(Level.RED)
    office.finds(Level.BLUE, SLOPE)
    assert office.status(SLOPE) is Status.UNACKNOWLEDGED
    office.settle(10 * MINUTE)
    office.settle()
    assert office.status(SLOPE) is Status.SUPPRESSED


def test_the_stale_rulers_of_a_silent_gateway_call_nobody(office):
    office.finds(Level.ORANGE, ("gw-1", Hazard.EQUIPMENT), "gateway-silent", gateway="gw-1")
    office.finds(Level.ORANGE, GAUGE, "stale", gateway="gw-1")
    office.finds(Level.ORANGE, SLOPE, "stale", gateway="gw-2")
    assert office.status(GAUGE) is Status.SUPPRESSED
    assert office.status(SLOPE) is Status.UNACKNOWLEDGED
    office.finds(Level.BLUE, GAUGE, "battery", gateway="gw-1")
    assert office.status(GAUGE) is Status.UNACKNOWLEDGED  # not only because of its gateway


def test_what_a_person_raises_rings(office):
    office.finds(Level.RED)
    office.finds(Level.BLUE, SLOPE)
    given = byhand.Raise(*SLOPE, Level.BLUE, "Li", "the fence is down")
    assert office.work(lambda c, n: byhand.raise_alert(office.dispatch, c, given, n)).ok
    assert office.status(SLOPE) is Status.UNACKNOWLEDGED


@pytest.mark.parametrize(
    ("gateway", "status"), [(SERVICE, Status.UNACKNOWLEDGED), ("gw", Status.SUPPRESSED)]
)
def test_alerts_about_alerting_itself_ring(gateway, status):
    office = Duty(OUT | {"same": "site"})
    office.finds(Level.RED, (SERVICE, Hazard.RIVER))
    service = (SERVICE, Hazard.EQUIPMENT)
    office.finds(Level.BLUE, service, "service", gateway=gateway)
    assert office.status(service) is status


def test_it_survives_a_restart(office):
    office.finds(Level.RED)
    office.finds(Level.BLUE, SLOPE)
    office.restart()
    office.settle()
    assert office.status(SLOPE) is Status.SUPPRESSED
    office.finds(None)
    office.restart()
    office.settle(10 * MINUTE)
    office.settle()
    assert office.status(SLOPE) is Status.UNACKNOWLEDGED


def which(*hazards, levels=("blue",), rules=()):
    return {"hazards": [*hazards], "levels": [*levels], "rules": [*rules]}


def rule(source, target, same="area"):
    return {"reason": "r", "source": source, "target": target, "same": same}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([rule(which("river"), which(hazard, levels=["red"]))], f"would hold back red of {hazard}")
        for hazard in (*Hazard,)
    ]
    + [
        ([rule(which("equipment"), which(hazard, levels=["orange"]))], "yellow is the worst")
        for hazard in ("river", "underpass", "landslide", "rainstorm")
    ]
    + [
        ([rule(which("river"), {"hazards": ["equipment"]})], "would hold back red of equipment"),
        (
            [rule(which("equipment"), which("equipment"))],
            "inhibit.0: holds back what it goes by: two such alerts would hold back each other",
        ),
        (
            [
                rule(which("river"), which("rainstorm")),
                rule(which("rainstorm"), which("equipment")),
                rule(which("equipment"), which("river")),
            ],
            "is a circle: inhibit.0 > inhibit.1 > inhibit.2 > inhibit.0",
        ),
        (
            [rule(which("equipment", rules=["a", "b"]), which("equipment", rules=["b"]))],
            "holds back what it goes by",
        ),
    ],
)
def test_what_could_silence_a_danger_is_refused(rules, says):
    with pytest.raises(ConfigError) as caught:
        planned(*rules)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "rules",
    [
        [OUT, SILENT],
        [rule(which("equipment", levels=["red"]), which("equipment"))],  # never of one level
        [rule(which("equipment", rules=["a"]), which("equipment", rules=["b"]))],
        [rule(which("river"), which("rainstorm")), rule(which("rainstorm"), which("equipment"))],
        [rule(which("river"), which("equipment", levels=["orange"]))],
    ],
)
def test_what_has_no_circle_may_be_said(rules):
    kept = planned(*rules)
    assert parse(kept.model_dump_json()) == kept
    assert kept.version != PLAN.version


def test_a_plan_that_says_nothing_of_it_keeps_its_version():
    assert planned().version == PLAN.version


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"source": {"hazards": []}}, "inhibit.0.source.hazards"),
        ({"same": "gate"}, "inhibit.0.same"),
        ({"reason": ""}, "inhibit.0.reason"),
        ({"target": {"hazards": ["equipment"], "levels": ["purple"]}}, "'purple' is not one of"),
    ],
)
def test_its_tables_are_read_with_care(table, says):
    with pytest.raises(ConfigError) as caught:
        planned(OUT | table)
    assert says in str(caught.value)


def test_a_rule_that_an_older_check_let_pass_holds_back_no_danger():
    written = PLAN.model_dump(mode="json", exclude_none=True)
    bad = OUT | {"target": {"hazards": ["landslide"], "levels": ["red", "blue"]}}
    kept = parse(msgspec.json.encode(written | {"inhibit": [bad]}).decode())
    office = Duty(kept=kept)
    office.finds(Level.RED)
    office.finds(Level.RED, ("daping-slope", Hazard.LANDSLIDE))
    assert office.status(("daping-slope", Hazard.LANDSLIDE)) is Status.UNACKNOWLEDGED


def test_a_rehearsal_says_by_which_rule_nobody_might_be_called():
    where = (planned(OUT), "daping-slope", Hazard.EQUIPMENT)
    first = simulate.run(*where, Level.BLUE, at_ms=BEGIN_MS)[0]
    assert (first.kind, "river at red stands, same area: the river is out" in first.title) == (
        *("inhibited", True),
    )
    assert simulate.run(*where, Level.ORANGE, at_ms=BEGIN_MS)[0].kind != "inhibited"
