"""Exercises that a script leads over several sites. They run in the dispatch's rounds: each step
counts once, wherever the process is killed, and an exercise never outlasts its script.

One runs at a time. It ends when all is done (each alert is over, or was answered and nothing more
is awaited), when its time is up, when somebody stops it, or when a step is late by more than
`AWAY_MS`: nobody should be called for an exercise at another time than was announced. A site where
a real alert stands takes no further part.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Final, Protocol

import msgspec
from sqlalchemy import Connection, select, update

from cloud import state, tables
from cloud.alerts import dutystore, exercises
from cloud.alerts.drillcheck import Setting, check
from cloud.alerts.drillscript import Script, Step
from cloud.alerts.dutychanges import Duty
from cloud.alerts.escalationstate import Phase
from cloud.alerts.exercises import Scenario, Stepping
from cloud.alerts.hazard import Hazard
from cloud.alerts.plan import Plan
from cloud.alerts.records import AlarmKey, Records
from configs.loader import UserError

AWAY_MS: Final = 120_000
"""A step that is late by more ends the exercise: the service was away."""

_LOOKED_THROUGH: Final = 1000

_TABLE: Final = tables.drill


class End(StrEnum):
    """Why an exercise is over."""

    DONE = "all is done"
    TIME = "its time is up"
    STOPPED = "it was stopped"
    AWAY = "the service was away"


class Wave(msgspec.Struct, frozen=True):
    """A step that was carried out at `at_ms` (UTC), and the alert that it was about."""

    step: int
    at_ms: int
    alert: str


class Drill(msgspec.Struct, frozen=True):
    """How far an exercise has come: `done` steps are behind it. `base_ms` (UTC) is where the
    script's times count from, by the clock as it is; `left` are sites that take no further part,
    and why; `script` is a `Script` as JSON."""

    id: str
    script: str
    by: str
    plan: str
    began_ms: int
    base_ms: int
    done: int = 0
    waves: tuple[Wave, ...] = ()
    left: dict[str, str] = {}
    ended_ms: int | None = None
    end: End | None = None
    stopped_by: str = ""

    def read_script(self) -> Script:
        """What was to happen."""
        return Script.model_validate_json(self.script)


class Work(Stepping, Protocol):
    """What is asked of the dispatch."""

    plan: Plan

    def begin(self, connection: Connection) -> Records: ...


def next_due_ms(drill: Drill) -> int | None:
    """When something happens by itself."""
    if drill.ended_ms is not None:
        return None
    script = drill.read_script()
    end_ms = drill.base_ms + script.lasts_ms
    if drill.done == len(script.step):
        return end_ms
    return min(end_ms, drill.base_ms + script.step[drill.done].at_ms)


def start(
    dispatch: Work, connection: Connection, script: Script, by: str, plan: str, now_ms: int
) -> str:
    """Begin it, if nothing speaks against it; its id. `plan` is the version under which it was
    checked. Raises UserError with all that does."""
    records = dispatch.begin(connection)
    if (running := of(connection)) is not None:
        raise UserError(f"{running.id} is running: `shuichi alert exercise stop` ends it")
    if plan != dispatch.plan.version:
        raise UserError("another plan has come into force since it was checked: check it again")
    duty = Duty(dutystore.read(connection, now_ms))
    found = [f"{key}: {what}" for key, what in check(script, Setting(dispatch.plan, duty, now_ms))]
    for site in dict.fromkeys(site for site, _ in script.places):
        if (real := _real(records, site)) is not None:
            found.append(f"{site}: a real alert stands there: {real}")
        for hazard in Hazard:
            alarm, _ = records.alarm(AlarmKey(site, hazard, exercise=True))
            if alarm.level is not None:
                found.append(f"{site}: an exercise runs there: {alarm.alert}")
    if found:
        raise UserError("\n".join(found))
    content = script.model_dump_json()
    drill = Drill(f"drill.{now_ms}", content, by, plan, now_ms, now_ms)
    put(connection, turn(dispatch, records, drill, now_ms))
    records.save()
    return drill.id


def stop(dispatch: Work, connection: Connection, by: str, now_ms: int) -> str:
    """End the one that runs; its id, "" if none does."""
    records = dispatch.begin(connection)
    drill = of(connection)
    if drill is None:
        return ""
    ended = _ended(dispatch, records, drill, End.STOPPED, now_ms)
    put(connection, msgspec.structs.replace(ended, stopped_by=by))
    records.save()
    return drill.id


def due(dispatch: Work, records: Records, name: str, now_ms: int) -> None:
    """Its time has come, or somebody has answered."""
    drill = of(records.connection, name)
    if drill is not None:
        put(records.connection, turn(dispatch, records, drill, now_ms))


def turn(dispatch: Work, records: Records, drill: Drill, now_ms: int) -> Drill:
    """Do what is due."""
    if drill.ended_ms is not None:
        return drill
    script = drill.read_script()
    drill = _without_those_who_left(records, script, drill)
    if now_ms >= drill.base_ms + script.lasts_ms:
        return _ended(dispatch, records, drill, End.TIME, now_ms)
    while drill.done < len(script.step):
        step = script.step[drill.done]
        late_ms = now_ms - drill.base_ms - step.at_ms
        if late_ms < 0:
            return drill
        if late_ms > AWAY_MS:
            return _ended(dispatch, records, drill, End.AWAY, now_ms)
        drill = _carried_out(dispatch, records, drill, step, now_ms)
    if all(_is_settled(records, place) for place in script.places):
        return _ended(dispatch, records, drill, End.DONE, now_ms)
    return drill


def _carried_out(dispatch: Work, records: Records, drill: Drill, step: Step, now_ms: int) -> Drill:
    number = drill.done
    drill = msgspec.structs.replace(drill, done=number + 1)
    if step.site in drill.left:
        return drill
    why = ""
    if (real := _real(records, step.site)) is not None:
        why = f"a real alert: {real}"
    elif step.site not in dispatch.plan.site:
        why = "the plan has no such site any more"
    if why:
        return msgspec.structs.replace(drill, left=drill.left | {step.site: why})
    if step.level is None:
        key = AlarmKey(step.site, step.hazard, exercise=True)
        alert = exercises.end(dispatch, records, key, now_ms)
    else:
        known = step.site, step.hazard, step.level, step.stage, step.figures
        alert = exercises.run(dispatch, records, Scenario(*known), now_ms)
    return msgspec.structs.replace(drill, waves=(*drill.waves, Wave(number, now_ms, alert)))


def _without_those_who_left(records: Records, script: Script, drill: Drill) -> Drill:
    """Sites where the exercise was ended by a real alert, or by hand."""
    left = dict(drill.left)
    stands: dict[tuple[str, Hazard], str] = {}
    for wave in drill.waves:
        step = script.step[wave.step]
        place = step.site, step.hazard
        if step.level is None:
            stands.pop(place, None)
        else:
            stands[place] = wave.alert
    for (site, hazard), alert in stands.items():
        alarm, _ = records.alarm(AlarmKey(site, hazard, exercise=True))
        if site not in left and (alarm.alert != alert or alarm.level is None):
            real = _real(records, site)
            left[site] = "it was ended by hand" if real is None else f"a real alert: {real}"
    return msgspec.structs.replace(drill, left=left)


def _ended(dispatch: Work, records: Records, drill: Drill, end: End, now_ms: int) -> Drill:
    """All of its alerts are over."""
    for site, hazard in drill.read_script().places:
        if site not in drill.left:
            exercises.end(dispatch, records, AlarmKey(site, hazard, exercise=True), now_ms)
    return msgspec.structs.replace(drill, ended_ms=now_ms, end=end)


def _is_settled(records: Records, place: tuple[str, Hazard]) -> bool:
    """Whether nothing is awaited there any more."""
    alarm, _ = records.alarm(AlarmKey(*place, exercise=True))
    if alarm.level is None:
        return True
    case = records.case(alarm.alert)
    if case is None:
        return True
    return case.escalation.phase is Phase.ANSWERED and case.escalation.follow_ms is None


def _real(records: Records, site: str) -> str | None:
    """The real alert that stands at a site and is not held back; a device that fails is none."""
    for hazard in Hazard:
        alarm, _ = records.alarm(AlarmKey(site, hazard))
        if hazard is not Hazard.EQUIPMENT and alarm.level is not None and alarm.hold is None:
            return alarm.alert
    return None


# Storage


def of(connection: Connection, name: str | None = None) -> Drill | None:
    """An exercise by its id, or the one that runs."""
    wanted = select(_TABLE.c.state)
    if name is None:
        wanted = wanted.where(_TABLE.c.ended_ms.is_(None)).limit(1)
    else:
        wanted = wanted.where(_TABLE.c.id == name)
    found = connection.execute(wanted).scalar_one_or_none()
    return None if found is None else msgspec.json.decode(found, type=Drill)


def newest(connection: Connection, most: int) -> list[Drill]:
    """Those that began last, the newest first."""
    rows = connection.execute(
        select(_TABLE.c.state).order_by(_TABLE.c.began_ms.desc()).limit(most)
    ).scalars()
    return [msgspec.json.decode(row, type=Drill) for row in rows]


def with_alerts(connection: Connection, alerts: Collection[str]) -> list[Drill]:
    """Those of the last ones to which any of these alerts belongs."""
    found = newest(connection, _LOOKED_THROUGH)
    return [one for one in found if any(wave.alert in alerts for wave in one.waves)]


def put(connection: Connection, drill: Drill) -> None:
    """Keep it as it is now."""
    row = {
        "id": drill.id,
        "began_ms": drill.began_ms,
        "ended_ms": drill.ended_ms,
        "state": msgspec.json.encode(drill).decode(),
        "due_ms": next_due_ms(drill),
    }
    state.upsert(connection, _TABLE, [row])


def look_again(connection: Connection, now_ms: int) -> None:
    """Something has changed at an alert of an exercise: its turn comes in the next round."""
    running = update(_TABLE).where(_TABLE.c.ended_ms.is_(None))
    connection.execute(running.values(due_ms=now_ms))
