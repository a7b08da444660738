"""The dispatch: what rules find becomes alarms, incidents and calls, and answers end the calls.

Everything is decided by pure state machines (`alarm`, `incident`, `escalation`, `digest`); here is
what joins them. Each method works in the transaction that it is given, and whatever it decides is
committed with what it was decided from: a finding is taken, a deadline passes, an answer counts
once, wherever the process is killed. Several processes may call at the same time: they take turns.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, select, text, update
from sqlalchemy.exc import DBAPIError

from cloud import database, tables
from cloud.alerts import alarm as alarms
from cloud.alerts import (
    causes,
    drills,
    dutystore,
    episodes,
    escalation,
    exercises,
    holdrecords,
    holds,
    incident,
    setback,
)
from cloud.alerts.actions import Action, Note, Reopen, Send, Withdraw
from cloud.alerts.adoption import adopt
from cloud.alerts.alarm import Alarm, Condition, Trigger
from cloud.alerts.answering import Answering, Outcome
from cloud.alerts.cap import Publisher
from cloud.alerts.dutychanges import AS_PLANNED, Duty
from cloud.alerts.escalationstate import Escalation, Phase
from cloud.alerts.exercises import Scenario
from cloud.alerts.handover import HandOver, Outside
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.keptplans import KeptPlans
from cloud.alerts.mailboxes import Box
from cloud.alerts.news import News
from cloud.alerts.plan import Plan
from cloud.alerts.post import Post
from cloud.alerts.press import Matter, Press
from cloud.alerts.quiet import Quiet
from cloud.alerts.records import (
    AlarmKey,
    Case,
    Known,
    Records,
    Sayings,
    foremost_of,
)
from cloud.alerts.rounds import Rounds
from cloud.alerts.tokens import Tokens
from wire.messages import Level
from wire.seldom import Seldom

__all__ = ["Dispatch", "News", "Outcome", "Settings"]

log: Final = logging.getLogger("shuichi.dispatch")

Actions = tuple[Action, ...]

_TURN: Final = 0x5EED_A1A2
"""Of PostgreSQL's advisory locks, the one that says: somebody dispatches."""


class Settings(NamedTuple):
    """Times in ms. `answer_url` is where links begin, "" for none; `duty_phone` is the duty room's.
    `publisher` publishes warnings, and `cap_channels` take them."""

    off_delay_ms: int = 600_000
    window_ms: int = incident.WINDOW_MS
    answer_url: str = ""
    duty_phone: str = ""
    publisher: Publisher | None = None
    cap_channels: tuple[str, ...] = ()


class Dispatch(Answering):
    """Works by `plan`; what began under an earlier one keeps to that."""

    def __init__(self, plan: Plan, channels: Iterable[str], tokens: Tokens, settings: Settings):
        self.plan = plan
        self.on_plan: list[Callable[[Plan], None]] = []
        """Who is to know when another plan comes into force."""
        self._settings = settings
        self._tokens = tokens
        self._channels = tuple(channels)
        of_documents = settings.cap_channels
        self._post = Post(plan, self._channels, of_documents)
        outside = Outside(self._channels, tokens, settings.answer_url)
        self.hand_over = HandOver(plan, outside, self.begin, self.plan_of, self.unreached)
        self._press = Press(settings.publisher, of_documents, settings.answer_url)
        self._plans = KeptPlans(plan)
        self._quiet = Quiet(plan)
        self._rounds = Rounds(self)
        self._duty = dutystore.Reader()
        self._duty_fails = Seldom()
        self._latest_ms = 0
        self._looks_at_all = True
        """The plan may be another one than when the alarms were looked at last."""

    def use(self, plan: Plan) -> None:
        """Another plan comes into force: for what begins from now on."""
        self.plan = plan
        self._quiet, self._looks_at_all = Quiet(plan), True
        self._post = Post(plan, self._channels, self._settings.cap_channels)
        self._plans.use(plan)
        self.hand_over.use(plan)
        for tell in self.on_plan:
            tell(plan)

    def round(self, connection: Connection, now_ms: int) -> int | None:
        """Take what rules have found and let pass what is due; when to come again (UTC, ms), None
        if only news can change anything. What fails of it is set aside, and costs nothing else. A
        clock that was set back holds nothing up."""
        before_ms = self._latest_ms or setback.newest_ms(connection)
        if before_ms - now_ms > setback.NOTICED_MS:
            self.begin(connection)  # it is our turn from here on
            spans = self._settings.window_ms, self._settings.off_delay_ms
            setback.shift(connection, before_ms - now_ms, now_ms, *spans)
        if not self._latest_ms:
            self._leave_channels(connection, now_ms)
        holdrecords.pass_time(connection, now_ms)
        looks_at_all = self._looks_at_all
        if looks_at_all:
            holdrecords.stir(connection)
        due_ms = self._rounds.run(connection, now_ms)
        self._looks_at_all = self._looks_at_all and not looks_at_all
        self._latest_ms = now_ms
        return due_ms

    def _leave_channels(self, connection: Connection, now_ms: int) -> None:
        """What waits for a channel that the config does not have any more is refused, so that it
        goes by another one, or others are called."""
        out = tables.outgoing
        waiting = (out.c.done_ms.is_(None), out.c.channel.not_in(self._channels))
        for row in connection.execute(select(out.c.key, out.c.channel).where(*waiting)).all():
            ended = update(out).where(out.c.key == row.key)
            detail = f"there is no channel {row.channel}"
            connection.execute(ended.values(done_ms=now_ms, outcome="refused", detail=detail))
            try:
                with connection.begin_nested():
                    self.hand_over.refused(connection, row.key, now_ms)
            except DBAPIError:
                raise
            except Exception:  # a seam: one row that cannot be read costs no other one
                log.exception("%s is refused, and nobody else can be called for it", row.key)

    def not_before(self, now_ms: int) -> None:
        """The next round cannot be before `now_ms`: so late it is by a clock that nobody sets."""
        if self._latest_ms:
            self._latest_ms = max(self._latest_ms, now_ms)

    @property
    def errors(self) -> list[str]:
        """Why something is set aside at present."""
        return self._rounds.errors

    @property
    def duty_phone(self) -> str:
        """The number of the duty room, "" if it has none."""
        return self._settings.duty_phone

    def exercise(
        self,
        connection: Connection,
        site: str,
        hazard: Hazard,
        level: Level | None,
        stage: Stage,
        now_ms: int,
        figures: Mapping[str, str] | None = None,
    ) -> str:
        """Run the plan for real, every message marked as an exercise; level None ends it, at
        once. `figures` fill placeholders. The id of the alert, "" if there is none."""
        records = self.begin(connection)
        if level is None:
            alert = exercises.end(self, records, AlarmKey(site, hazard, exercise=True), now_ms)
        else:
            scenario = Scenario(site, hazard, level, stage, figures or {})
            alert = exercises.run(self, records, scenario, now_ms)
        records.save()
        return alert

    def begin(self, connection: Connection) -> Records:
        """A view of what is on disk; until the transaction ends nobody else dispatches."""
        if not database.is_sqlite(connection):  # of SQLite there is one writer only
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_TURN})"))
        self._plans.keep(connection)
        return self.view(connection)

    def view(self, connection: Connection) -> Records:
        """A view to look at only: it waits for nobody, and nobody for it."""
        return Records(connection, self._settings.off_delay_ms)

    def plan_of(self, records: Records, version: str) -> Plan:
        """The plan by which something began."""
        return self._plans.of(records.connection, version)

    def finding(self, records: Records, row: Row[Any], now_ms: int) -> None:
        """A finding of a rule becomes a condition of its alarm."""
        records.take(row.alert, row.number, now_ms)
        key = AlarmKey(row.site or row.gateway, Hazard(row.hazard))
        source = episodes.source(row.rule, row.part, row.gateway, row.sensor)
        level = None if row.level is None else Level[row.level.upper()]
        finding = causes.of(row)
        condition = Condition(source, level, row.at_ms, finding.stage)
        # By the time of this reading a fall before it may have lasted for the off-delay.
        self.step(records, key, alarms.Tick(row.at_ms), now_ms)
        self.step(records, key, condition, now_ms, finding.known if level else None)

    def alarm(self, records: Records, key: AlarmKey, now_ms: int) -> None:
        self.step(records, key, alarms.Tick(), now_ms)
        # When it is due next is to be known, though nothing has changed.
        records.put_alarm(key, *records.alarm(key))

    def case(self, records: Records, alert: str, now_ms: int) -> None:
        self.escalate(records, alert, escalation.Tick(), now_ms)

    def box(self, records: Records, name: Box, now_ms: int) -> None:
        self._give_up(records, self._post.deliver(records, name, (), now_ms), now_ms)

    def incident(self, records: Records, name: str, now_ms: int) -> None:
        window_ms = self._settings.window_ms
        one, exercise = records.incident(name)
        if incident.is_over(one, now_ms, window_ms):
            records.put_incident(one, exercise, window_ms=window_ms, closed_ms=now_ms)
            records.note(one.id, "", now_ms, "closed")

    def document(self, records: Records, alert: str, now_ms: int) -> None:
        """The CAP document of an alert has held for so long that it is renewed."""
        case = records.case(alert)
        if case is None:
            self._press.lapse(records, alert)
            return
        state = case.escalation
        alarm, sayings = records.alarm(AlarmKey(state.site, state.hazard, state.exercise))
        plan, known = self.plan_of(records, state.plan), foremost_of(alarm, sayings)
        self._press.renew(records, alert, Matter(alarm, known, plan, case.incident, now_ms))

    def drill(self, records: Records, name: str, now_ms: int) -> None:
        """An exercise by script has something to do."""
        drills.due(self, records, name, now_ms)

    def step(
        self,
        records: Records,
        key: AlarmKey,
        given: alarms.Input,
        now_ms: int,
        known: Known | None = None,
    ) -> tuple[alarms.Event, ...]:
        """One step of an alarm, and all that follows from it."""
        before, sayings = records.alarm(key)
        after, events = alarms.step(before, given, now_ms, records.rule)
        held = self._quiet.of(records, after, now_ms)
        after, of_hold = alarms.step(after, held, now_ms, records.rule)
        events += of_hold
        if after == before and not events:
            return events
        if known is not None and isinstance(given, Condition):
            sayings = {**_standing(sayings, after), given.source: known}
        records.put_alarm(key, after, sayings)
        self._quiet.changed(records, before, after)
        self._keep_incident(records, key, before, after, now_ms)
        calls = after.calls and not before.calls and not key.exercise  # what is held calls nobody
        if calls and key.hazard is not Hazard.EQUIPMENT:
            exercises.give_way(self, records, key.site, after.alert, now_ms)
        if after.alert and (case := records.case(after.alert)) is not None:
            for event in events:
                if event.kind is Trigger.ANSWER:
                    continue  # `_answered` tells more
                detail: dict[str, object] = {
                    "level": _colour(event.level),
                    "status": str(event.status),
                }
                words = event.refused or event.reason
                if event.kind is Trigger.HOLD and (until_ms := after.held_until_ms) is not None:
                    detail["until_ms"] = until_ms
                    words = f"until {holds.shown(until_ms, self.plan.zone)}: {words}"
                records.note(
                    *(case.incident, event.alert, event.at_ms, str(event.kind)),
                    who=event.by,
                    text=words,
                    detail=detail | ({"refused": True} if event.refused else {}),
                )
            plan = self.plan_of(records, case.escalation.plan)
            known = foremost_of(after, sayings)
            matter = Matter(after, known, plan, case.incident, now_ms)
            self._press.publish(records, before, matter)
            self.escalate(records, after.alert, escalation.situation(after), now_ms)
        return events

    def _keep_incident(
        self, records: Records, key: AlarmKey, before: Alarm, after: Alarm, now_ms: int
    ) -> None:
        """Join the incident of the site with an episode that begins or grows; leave it at its
        end."""
        window_ms = self._settings.window_ms
        if after.alert != before.alert:
            old = records.open_incident(key.site, key.exercise)
            one = incident.join(
                *(old, key.site, after.alert, after.level or Level.BLUE, now_ms, window_ms),
                exercise=key.exercise,
            )
            if old is not None and old.id != one.id:
                records.put_incident(old, key.exercise, window_ms=window_ms, closed_ms=now_ms)
            records.put_incident(one, key.exercise, window_ms=window_ms)
            earlier = records.case(before.alert) if before.alert else None
            heard: tuple[str, ...] = ()
            if earlier is not None and earlier.incident == one.id:
                heard = earlier.escalation.heard
            begun = escalation.begin(after, self.plan, exercise=key.exercise, heard=heard)
            records.put_case(Case(begun, one.id))
            if old is None or old.id != one.id:
                records.note(one.id, after.alert, now_ms, "incident", text=key.site)
            return
        if not after.alert or (case := records.case(after.alert)) is None:
            return
        one, exercise = records.incident(case.incident)
        changed = one
        if after.process is alarms.Status.NORMAL:
            changed = incident.leave(one, after.alert, now_ms)
        elif after.level is not None and after.level > one.peak:
            changed = incident.join(one, key.site, after.alert, after.level, now_ms, window_ms)
        if changed != one:
            records.put_incident(changed, exercise, window_ms=window_ms)

    def escalate(self, records: Records, alert: str, given: escalation.Input, now_ms: int) -> None:
        case = records.case(alert)
        assert case is not None
        state = case.escalation
        plan = self.plan_of(records, state.plan)
        if plan.version != state.plan:
            alarm, _ = records.alarm(AlarmKey(state.site, state.hazard, state.exercise))
            state, actions = self._with_duty(
                records, now_ms, lambda duty: adopt(state, alarm, now_ms, plan, duty)
            )
            case = Case(state, case.incident)
            records.put_case(case)
            self._do(records, case, actions, now_ms)
        before = state
        after, actions = self._with_duty(
            records, now_ms, lambda duty: escalation.step(before, given, now_ms, plan, duty)
        )
        if actions or after != case.escalation:
            records.put_case(Case(after, case.incident))
            if after.exercise and after.phase in (Phase.ANSWERED, Phase.IDLE):
                drills.look_again(records.connection, now_ms)
        self._do(records, case, actions, now_ms)

    def _with_duty(
        self, records: Records, now_ms: int, work: Callable[[Duty], tuple[Escalation, Actions]]
    ) -> tuple[Escalation, Actions]:
        """Do `work` with duty as it has been changed; by the plan alone if that fails."""
        duty = self._duty.at(records.connection, records, now_ms)
        if duty is not AS_PLANNED:
            try:
                return work(duty)
            except Exception:  # a seam: no change of duty may keep anybody from being called
                if self._duty_fails.says() is not None:
                    log.exception("duty is as the plan has it: its changes cannot be followed")
        return work(AS_PLANNED)

    def _give_up(self, records: Records, lost: Sequence[Send], now_ms: int) -> None:
        """Calls that the config has no channel for: nobody is waited for."""
        for send in lost:
            case = records.case(send.alert)
            if case is None or send.contact in case.escalation.declined:
                continue
            records.note(
                *(case.incident, send.alert, now_ms, "unreached"),
                who=send.contact,
                text="none of their channels is in the config",
            )
            given = escalation.Decline(send.contact, send.round, unreached=True)
            self.escalate(records, send.alert, given, now_ms)

    def _do(self, records: Records, case: Case, actions: Sequence[Action], now_ms: int) -> None:
        """What a step of `case` asks for."""
        sends: dict[str, list[Send]] = {}
        reopened: Reopen | None = None
        for action in actions:
            match action:
                case Send():
                    sends.setdefault(action.contact, []).append(action)
                case Note():
                    records.note(
                        *(case.incident, action.alert, now_ms, action.kind),
                        area=action.area,
                        text=action.text,
                    )
                case Withdraw():
                    records.withdraw(action, case, now_ms)
                case Reopen():
                    reopened = action
        lost: list[Send] = []
        for contact, some in sends.items():
            box = Box(contact, case.escalation.exercise)
            lost += self._post.deliver(records, box, some, now_ms)
        self._give_up(records, lost, now_ms)
        if reopened is not None:
            state = case.escalation
            key = AlarmKey(state.site, state.hazard, state.exercise)
            self.step(records, key, alarms.Reopen(reopened.by, reopened.reason), now_ms)


def _standing(sayings: Sayings, alarm: alarms.Alarm) -> Sayings:
    """Those whose sources still find something."""
    active = {name for name, one in alarm.sources.items() if one.level is not None}
    return {name: one for name, one in sayings.items() if name in active}


def _colour(level: Level | None) -> str | None:
    return None if level is None else level.name.lower()
