"""Nobody is silent by mistake: any water, holds, inhibition, answers, kills and clocks.

What must hold is worked out here anew, in other words than in the dispatch: from the holds that
were asked for, a time that no clock can set back, and the plan's rules."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import insert

from cloud import tables
from cloud.alerts import byhand, holding, holds, views
from cloud.alerts.actions import CALLS, Send
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.escalation import Escalation, Phase
from cloud.alerts.hazard import Hazard
from cloud.alerts.holdrecords import SEEN_EVERY_MS
from configs.loader import UserError
from tests import plans
from tests.dispatching import MINUTE, PLAN, Office
from tests.examples import examples
from wire.messages import Level

AREAS = {
    "daping-underpass": {"daping-shiqiao-3", "daping-shiqiao", "daping", "dongjiang", "yunting"},
    "daping-slope": {"hekou-shangwan", "hekou", "dongjiang", "yunting"},
    "jialing-huangshaxi": {"hekou-shangwan", "hekou", "dongjiang", "yunting"},
}
PLACES = (
    ("daping-underpass", Hazard.UNDERPASS),
    ("daping-underpass", Hazard.EQUIPMENT),
    ("jialing-huangshaxi", Hazard.RIVER),
    ("jialing-huangshaxi", Hazard.EQUIPMENT),
    ("daping-slope", Hazard.EQUIPMENT),
)
GATEWAYS = ("gw-1", "gw-2")
WRITTEN = PLAN.model_dump(mode="json", exclude_none=True) | {
    "inhibit": [
        {
            "reason": "the river is out",
            "source": {"hazards": ["river"], "levels": ["red"]},
            "target": {"hazards": ["equipment"], "levels": ["blue", "yellow"]},
            "same": "area",
        }
    ]
}
INHIBITING = plans.made(WRITTEN)

MINUTES = st.integers(1, 120)
SCOPES = st.fixed_dictionaries(
    {},
    optional={
        "site": st.sampled_from([*AREAS]),
        "area": st.sampled_from(["daping", "hekou-shangwan", "dongjiang"]),
        "gateway": st.sampled_from(GATEWAYS),
        "hazard": st.sampled_from([Hazard.RIVER, Hazard.UNDERPASS, Hazard.EQUIPMENT]),
    },
)


class Asked:
    """A hold that was asked for. It is in force for `minutes`, from `begin_ms` on by the time that
    no clock sets back; of one that is planned, the wall clock says more."""

    def __init__(self, scope, up_to, begin_ms, end_ms, window):
        self.scope, self.up_to = scope, up_to
        self.begin_ms, self.end_ms = begin_ms, end_ms
        self.window = window
        self.ended = False


class Nights(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.office = Office(INHIBITING)
        self.asked: dict[int, Asked] = {}
        self.back_ms = 0
        self.blurred_ms = 0
        self.by_hand: dict[tuple[str, Hazard], int] = {}
        with self.office.connection.begin():
            columns = [c for c in tables.gateway.c if not c.nullable]
            row = {c.name: "" if c.type.python_type is str else 0 for c in columns}
            for name in GATEWAYS:
                given = insert(tables.gateway).values(row | {"gateway": name})
                self.office.connection.execute(given)

    @property
    def true_ms(self):
        """A time that only goes forward."""
        return self.office.now_ms + self.back_ms

    def settle(self):
        for _ in range(10):
            due_ms = self.office.round()
            self.office.deliver()
            if due_ms is None or due_ms > self.office.now_ms:
                return
        raise AssertionError("it never comes to rest")

    # What happens

    @rule(
        place=st.sampled_from(PLACES),
        level=st.sampled_from([None, *Level]),
        gateway=st.sampled_from(GATEWAYS),
    )
    def find(self, place, level, gateway):
        self.office.now_ms += 1000
        site, hazard = place
        with self.office.connection.begin():
            self.office._findings.add(
                *(self.office.connection, self.office.now_ms, level),
                *(f"{hazard}-{gateway}", site, hazard),
                gateway=gateway,
            )
        self.settle()

    @rule(away=st.booleans())
    def flood(self, away):
        """The river is red, whether somebody knows of it or not, and a battery is weak."""
        self.office.channels_are_away = away
        self.find(("jialing-huangshaxi", Hazard.RIVER), Level.RED, "gw-1")
        self.find(("daping-slope", Hazard.EQUIPMENT), Level.BLUE, "gw-1")

    @rule()
    def river_falls(self):
        for gateway in GATEWAYS:
            self.find(("jialing-huangshaxi", Hazard.RIVER), None, gateway)
        self.wait(11)

    @rule(scope=SCOPES, minutes=MINUTES, up_to=st.sampled_from(Level))
    def hold(self, scope, minutes, up_to):
        begin_ms = self.true_ms
        self._made(scope, up_to, begin_ms, begin_ms + minutes * MINUTE, None, minutes=minutes)

    @rule(scope=SCOPES, ahead=MINUTES, minutes=MINUTES, up_to=st.sampled_from(Level))
    def plan_ahead(self, scope, ahead, minutes, up_to):
        wall_ms = self.office.now_ms // MINUTE * MINUTE + ahead * MINUTE
        end_ms = wall_ms + minutes * MINUTE
        words = [holds.shown(one, PLAN.zone) for one in (wall_ms, end_ms)]
        shift_ms = self.back_ms
        self._made(
            *(scope, up_to, wall_ms + shift_ms, end_ms + shift_ms, (wall_ms, end_ms)),
            begin=words[0],
            end=words[1],
        )

    def _made(self, scope, up_to, begin_ms, end_ms, window, **when):
        order = holding.Order("Li", "works", up_to=up_to, **scope, **when)
        try:
            work = holding.make
            dispatch = self.office.dispatch
            done = self.office.work(lambda c, n: work(dispatch, c, order, "test", n))
        except UserError:
            misplaced = {"site", "area"} <= scope.keys() and scope["area"] not in AREAS[
                scope["site"]
            ]
            assert not scope or misplaced
            return
        assert done.ok, done.text
        number = max(row.id for row in self.office.rows(tables.hold))
        self.asked[number] = Asked(scope, up_to, begin_ms, end_ms, window)
        self.settle()

    @rule(number=st.integers(1, 8))
    def release(self, number):
        done = self.office.release(number)
        if number in self.asked:
            self.asked[number].ended = self.asked[number].ended or done.ok
        self.settle()

    @rule(place=st.sampled_from(PLACES), level=st.sampled_from([Level.ORANGE, Level.RED]))
    def report(self, place, level):
        self.office.now_ms += 1000
        site, hazard = place
        given = byhand.Raise(site, hazard, level, "Li", "water over the tyres")
        dispatch = self.office.dispatch
        assert self.office.work(lambda c, n: byhand.raise_alert(dispatch, c, given, n)).ok
        self.by_hand[place] = max(self.asked, default=0)
        self.settle()
        assert self.alarm(place).hold is None  # whatever was held back before

    @rule(place=st.sampled_from(PLACES))
    def answer(self, place):
        alarm = self.alarm(place)
        if alarm is not None and alarm.alert:
            work = self.office.dispatch.acknowledge
            self.office.work(lambda c, n: work(c, alarm.alert, "Li", "test", "", n))
            self.settle()

    @rule(minutes=st.floats(0.1, 90))
    def wait(self, minutes):
        self.office.now_ms += round(minutes * MINUTE)
        self.settle()

    @rule(minutes=st.integers(1, 90))
    def nobody_looks(self, minutes):
        """The service is killed, and starts later."""
        self.office.restart()
        self.office.now_ms += minutes * MINUTE
        self.settle()

    @rule(minutes=st.floats(0.1, 180))
    def clock_back(self, minutes):
        by_ms = round(minutes * MINUTE)
        self.office.now_ms -= by_ms
        self.back_ms += by_ms
        self.settle()

    @rule(minutes=st.floats(2, 60))
    def clock_back_while_it_is_down(self, minutes):
        """To the measure at which it is written down, it is known."""
        self.clock_back(minutes)
        self.office.restart()
        self.blurred_ms += SEEN_EVERY_MS
        self.settle()

    # What must hold

    def alarm(self, place):
        site, hazard = place
        where = (tables.alarm.c.site == site, tables.alarm.c.hazard == hazard)
        rows = self.office.rows(tables.alarm, *where)
        return msgspec.json.decode(rows[0].state, type=Alarm) if rows else None

    def in_force(self, asked, slack_ms=0):
        """Whether a hold may be in force: never longer than it says, and, if it was planned, only
        while the clock shows so."""
        if asked.ended:
            return False
        if asked.window is None:
            return asked.begin_ms <= self.true_ms < asked.end_ms + slack_ms
        begin_ms, end_ms = asked.window
        return begin_ms <= self.office.now_ms < end_ms

    def fits(self, asked, place, source):
        site, hazard = place
        scope = asked.scope
        gateway = source.split(":")[2] if ":" in source else ""
        return (
            scope.get("site", site) == site
            and scope.get("area", "yunting") in AREAS[site]
            and scope.get("hazard", hazard) == hazard
            and scope.get("gateway", gateway) == gateway
        )

    def goes_before(self, alarm, place, known):
        """By the plan's rule: a red river that stands in the area or above, of which somebody
        knows, and which is not held back."""
        site, hazard = place
        river = self.alarm(("jialing-huangshaxi", Hazard.RIVER))
        return (
            hazard is Hazard.EQUIPMENT
            and alarm.level in (Level.BLUE, Level.YELLOW)
            and "hekou-shangwan" in AREAS[site]
            and river is not None
            and river.level is Level.RED
            and river.hold is None
            and river.alert in known
        )

    @invariant()
    def nobody_is_silent_by_mistake(self):
        assert self.office.dispatch.errors == []
        known = {row.alert for row in self.office.rows(tables.knowledge) if row.delivered}
        shown = {one.id: one for one in self.office.work(lambda c, _: views.alerts(c))}
        for place in PLACES:
            alarm = self.alarm(place)
            if alarm is None or alarm.level is None:
                continue
            self.is_right(place, alarm, known, shown[alarm.alert])

    def is_right(self, place, alarm, known, view):
        through = self.by_hand.get(place, 0) if alarm.through else 0
        before = self.goes_before(alarm, place, known)
        behind = [
            name for name, one in alarm.sources.items() if one.level is not None
        ] or alarm.behind
        possible = all(
            (before and ":" in source)
            or any(
                self.in_force(one, self.blurred_ms)
                and alarm.level <= one.up_to
                and number > through
                and self.fits(one, place, source)
                for number, one in self.asked.items()
            )
            for source in behind
        )
        escalation = self.calls_of(alarm)
        if alarm.hold is None:
            assert not view.held_by
            if alarm.process is Status.UNACKNOWLEDGED:
                assert escalation.phase is Phase.RINGING
                assert self.has_been_called(alarm), "it rings, and nobody was called"
            return
        assert possible, f"{place} is silent: {alarm.covers}"
        assert escalation.phase is Phase.HELD
        assert [one.reason for one in view.held_by] == [one.reason for one in alarm.covers]
        assert all(one.reason for one in view.held_by)
        assert self.waiting_calls(alarm) == []

    @invariant()
    def a_hold_holds(self):
        """While the clock goes as it should, what is held back is silent."""
        if self.back_ms:
            return
        for place in PLACES:
            alarm = self.alarm(place)
            if alarm is None or alarm.level is None or alarm.through:
                continue
            if alarm.lower_since_ms is not None:
                continue
            for one in self.asked.values():
                if self.in_force(one) and alarm.level <= one.up_to:
                    active = [s for s, found in alarm.sources.items() if found.level is not None]
                    if all(self.fits(one, place, source) for source in active):
                        assert alarm.hold is not None

    def calls_of(self, alarm):
        where = tables.escalation.c.alert == alarm.alert
        (row,) = self.office.rows(tables.escalation, where)
        return msgspec.json.decode(row.state, type=Escalation)

    def sends(self):
        for row in self.office.rows(tables.outgoing):
            for send in msgspec.json.decode(row.sends, type=list[Send]):
                yield row, send
        for row in self.office.rows(tables.held):
            for send in msgspec.json.decode(row.sends, type=list[Send]):
                yield None, send

    def has_been_called(self, alarm):
        """In this round, or it is about to be in a digest."""
        return any(
            send.alert == alarm.alert and send.round == alarm.round and send.kind in CALLS
            for _, send in self.sends()
        )

    def waiting_calls(self, alarm):
        return [
            send.key
            for row, send in self.sends()
            if send.alert == alarm.alert
            and send.kind in CALLS
            and (row is None or (row.done_ms is None and row.not_before_ms <= self.office.now_ms))
        ]


Nights.TestCase.settings = settings(examples(6), stateful_step_count=20)
TestNights = Nights.TestCase
