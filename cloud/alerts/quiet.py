"""What holds an alarm back, for the dispatch: holds of people, and alerts that go before by the
plan in force. In its transactions."""

import weakref
from collections.abc import Callable

from cloud.alerts import holds
from cloud.alerts.alarm import Alarm, Cover, Held
from cloud.alerts.inhibition import Standing
from cloud.alerts.plan import Plan
from cloud.alerts.records import Records


class Quiet:
    """Works by `plan`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sources = frozenset(one for rule in plan.inhibit for one in rule.source.hazards)
        self._targets = frozenset(one for rule in plan.inhibit for one in rule.target.hazards)
        self._standing: weakref.WeakKeyDictionary[Records, Standing] = weakref.WeakKeyDictionary()

    def of(self, records: Records, alarm: Alarm, now_ms: int) -> Held:
        """What holds an alarm back now."""
        if alarm.level is None:
            return Held()
        found = records.holds.not_ended()
        areas = self._plan.inside(alarm.site)
        return holds.held(alarm, found, areas, self._goes_before(records, alarm), now_ms)

    def changed(self, records: Records, before: Alarm, after: Alarm) -> None:
        """An alarm stands otherwise: what it goes before is looked at anew."""
        if after.hazard not in self._sources or _shown(before) == _shown(after):
            return
        if (standing := self._standing.get(records)) is not None:
            standing.put(after)
        records.holds.stir(self._targets)

    def _goes_before(self, records: Records, alarm: Alarm) -> Callable[[str], Cover | None]:
        if alarm.hazard not in self._targets:
            return lambda _: None
        standing = self._standing.get(records)
        if standing is None:
            standing = self._standing[records] = Standing(self._plan.inhibit, self._plan.inside)
            for one in records.holds.standing(self._sources):
                standing.put(one)
            for one in records.alarms():
                standing.put(one)
        return lambda source: standing.goes_before(alarm, source, records.holds.is_known)


def _shown(alarm: Alarm) -> tuple[object, ...]:
    return alarm.alert, alarm.level, alarm.hold, alarm.behind
