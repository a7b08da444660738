"""Exercises: the plan is run for real, beside the real alarms, and every message says that it is an
exercise. In the dispatch's transactions."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from cloud.alerts import alarm as alarms
from cloud.alerts.alarm import Acknowledge, Condition, Status
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import AlarmKey, Known, Records
from cloud.channels import Language
from wire.messages import Level

SOURCE: Final = "exercise"
"""The source of an exercise's conditions."""

CAUSE: Final[dict[Language, str]] = {
    "zh": "此为演练，没有真实险情",
    "en": "this is an exercise, there is no real danger",
}


class Scenario(NamedTuple):
    """What is supposed to be found. `figures` fill placeholders."""

    site: str
    hazard: Hazard
    level: Level
    stage: Stage = Stage.NOW
    figures: Mapping[str, str] = {}


class Stepping(Protocol):
    """What is asked of the dispatch."""

    def step(
        self, records: Records, key: AlarmKey, given: alarms.Input, now_ms: int, known: Any = None
    ) -> tuple[alarms.Event, ...]: ...


def run(dispatch: Stepping, records: Records, scenario: Scenario, now_ms: int) -> str:
    """Find it. The id of the alert."""
    key = AlarmKey(scenario.site, scenario.hazard, exercise=True)
    known = Known({**scenario.figures}, {"zh": CAUSE["zh"], "en": CAUSE["en"]})
    at_ms = _after(records, key, now_ms)
    condition = Condition(SOURCE, scenario.level, at_ms, scenario.stage)
    dispatch.step(records, key, condition, now_ms, known)
    return records.alarm(key)[0].alert


def end(dispatch: Stepping, records: Records, key: AlarmKey, now_ms: int) -> str:
    """Nothing is found any more, and nobody need say that they acted. The id of the alert that has
    ended, "" if there is none."""
    if records.alarm(key)[0].level is None:
        return ""
    rule = records.rule
    records.rule = rule._replace(off_delay_ms=0)  # nothing that could come back
    condition = Condition(SOURCE, None, _after(records, key, now_ms))
    dispatch.step(records, key, condition, now_ms)
    dispatch.step(records, key, alarms.Tick(), now_ms)
    if records.alarm(key)[0].process is Status.RETURNED:
        dispatch.step(records, key, Acknowledge(SOURCE), now_ms)
    records.rule = rule
    return records.alarm(key)[0].alert


def give_way(dispatch: Stepping, records: Records, site: str, alert: str, now_ms: int) -> None:
    """A real alert calls people at a site: nobody there is to be asked about an exercise too."""
    for hazard in Hazard:
        name = end(dispatch, records, AlarmKey(site, hazard, exercise=True), now_ms)
        if name and (case := records.case(name)) is not None:
            records.note(case.incident, name, now_ms, "gave way", text=alert)


def _after(records: Records, key: AlarmKey, now_ms: int) -> int:
    """Now, or later than what was said last: a second word within a millisecond counts too."""
    said = records.alarm(key)[0].sources.get(SOURCE)
    return now_ms if said is None else max(now_ms, said.at_ms + 1)
