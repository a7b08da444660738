"""What people do by hand: raise an alert that no sensor has seen, call the next area or one more
person, hand over, take an answer back, note something, resolve. In the dispatch's transactions."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from cloud.alerts import alarm as alarms
from cloud.alerts import causes, escalation
from cloud.alerts.alarm import Acknowledge, Condition, Status
from cloud.alerts.dispatch import Dispatch, Outcome
from cloud.alerts.escalation import Phase
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import AlarmKey, Case, Known, Records
from configs import text
from wire.messages import Level

SOURCE: Final = causes.BY_HAND

Who = Annotated[str, Meta(pattern=r"^[^\x00]*[^\x00\s][^\x00]*$", max_length=80)]
Words = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=500)]


class Raise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody reports a danger: `said` is what they have seen, in their own words."""

    site: Annotated[str, Meta(min_length=1, max_length=64)]
    hazard: Hazard
    level: Level
    by: Who
    said: Words
    stage: Stage = Stage.NOW


class Demand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that is done to an alert, by whom, and why or what is said of it. `contact` is
    whom it is about, of the plan."""

    alert: str
    by: Who
    said: Words = ""
    contact: str = ""


def raise_alert(dispatch: Dispatch, connection: Connection, given: Raise, now_ms: int) -> Outcome:
    """People are called as if a sensor had found it, until it is resolved by hand."""
    if given.site not in dispatch.plan.site:
        return Outcome(False, f"{given.site!r} is no site of the plan: whom should it call?")
    if not given.said.strip():
        return Outcome(False, "say what was seen: those who are called read it")
    records = dispatch.begin(connection)
    key = AlarmKey(given.site, given.hazard)
    who, what = text.clean(given.by, 80), text.clean(given.said)
    known = Known(cause={"zh": f"{who}报告：{what}", "en": f"{who} reported: {what}"})
    # Whoever holds back what sensors find has not held back what somebody sees there.
    through = records.holds.newest()
    condition = Condition(SOURCE, given.level, now_ms, given.stage, through)
    dispatch.step(records, key, condition, now_ms, known)
    alert = records.alarm(key)[0].alert
    if (case := records.case(alert)) is not None:
        _note(records, case, "raised by hand", given.by, given.said, now_ms)
    records.save()
    return Outcome(True, alert)


def resolve(dispatch: Dispatch, connection: Connection, given: Demand, now_ms: int) -> Outcome:
    """What was reported by hand is over; an alert that is over and unanswered ends by it. What
    sensors find only they can end."""
    records = dispatch.begin(connection)
    case, key = _case(records, given.alert)
    if case is None or key is None:
        return _unknown(given.alert)
    _note(records, case, "resolved", given.by, given.said, now_ms)
    records.rule = records.rule._replace(off_delay_ms=0)  # a person has looked
    alarm, _ = records.alarm(key)
    if SOURCE in alarm.sources and alarm.sources[SOURCE].level is not None:
        dispatch.step(records, key, Condition(SOURCE, None, now_ms), now_ms)
        if not any(one.level is not None for one in records.alarm(key)[0].sources.values()):
            dispatch.step(records, key, alarms.Tick(), now_ms)
    if records.alarm(key)[0].process is Status.RETURNED:
        dispatch.step(records, key, Acknowledge(given.by), now_ms)
    alarm, _ = records.alarm(key)
    records.save()
    if alarm.alert == given.alert and alarm.level is not None:
        level = alarm.level.name.lower()
        return Outcome(
            False, f"noted; sensors still find {level} there: `shuichi alert shelve` keeps it quiet"
        )
    return Outcome(True, "it is over")


def climb(dispatch: Dispatch, connection: Connection, given: Demand, now_ms: int) -> Outcome:
    """Call the next area now."""
    records = dispatch.begin(connection)
    case, _ = _case(records, given.alert)
    if case is None:
        return _unknown(given.alert)
    state = case.escalation
    if state.phase is not Phase.RINGING:
        return Outcome(False, f"nobody is being called: it is {state.phase}")
    before = len(state.rungs)
    dispatch.escalate(records, given.alert, escalation.Climb(given.by), now_ms)
    after = records.case(given.alert)
    records.save()
    assert after is not None
    if len(after.escalation.rungs) == before:
        return Outcome(False, f"{state.rungs[-1].area} is the top already")
    return Outcome(True, f"{after.escalation.rungs[-1].area} is called")


def add(dispatch: Dispatch, connection: Connection, given: Demand, now_ms: int) -> Outcome:
    """Call one more person; after an answer their answer takes its place: a handover."""
    records = dispatch.begin(connection)
    case, _ = _case(records, given.alert)
    if case is None:
        return _unknown(given.alert)
    state = case.escalation
    plan = dispatch.plan_of(records, state.plan)
    if given.contact not in plan.contact:
        return Outcome(False, f"{given.contact!r} is no contact of the plan")
    if plan.contact[given.contact].public:
        return Outcome(False, f"{given.contact!r} is a loudspeaker or a board")
    if state.phase not in (Phase.RINGING, Phase.ANSWERED):
        return Outcome(False, f"nobody is being called: it is {state.phase}")
    dispatch.escalate(records, given.alert, escalation.Add(given.contact, given.by), now_ms)
    records.save()
    if state.phase is Phase.ANSWERED:
        return Outcome(True, f"{given.contact} is called, and takes over by answering")
    return Outcome(True, f"{given.contact} is called")


def take_back(dispatch: Dispatch, connection: Connection, given: Demand, now_ms: int) -> Outcome:
    """The answer does not stand: people are called again, from the nearest area."""
    records = dispatch.begin(connection)
    case, key = _case(records, given.alert)
    if case is None or key is None:
        return _unknown(given.alert)
    if records.alarm(key)[0].alert != given.alert:
        return Outcome(False, "that alert is over")
    events = dispatch.step(records, key, alarms.Reopen(given.by, given.said), now_ms)
    records.save()
    refused = next((event.refused for event in events if event.refused), "")
    return Outcome(not refused, refused or "people are called again")


def note(dispatch: Dispatch, connection: Connection, given: Demand, now_ms: int) -> Outcome:
    """Something for the timeline."""
    if not given.said.strip():
        return Outcome(False, "there is nothing to note")
    records = dispatch.begin(connection)
    case, _ = _case(records, given.alert)
    if case is None:
        return _unknown(given.alert)
    _note(records, case, "note", given.by, given.said, now_ms)
    records.save()
    return Outcome(True, "noted")


def _case(records: Records, alert: str) -> tuple[Case | None, AlarmKey | None]:
    case = records.case(alert)
    if case is None:
        return None, None
    state = case.escalation
    return case, AlarmKey(state.site, state.hazard, state.exercise)


def _unknown(alert: str) -> Outcome:
    return Outcome(False, f"there is no alert {alert}")


def _note(records: Records, case: Case, kind: str, who: str, text: str, now_ms: int) -> None:
    records.note(case.incident, case.escalation.alert, now_ms, kind, who=who, text=text)
