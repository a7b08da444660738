"""Inhibition: while one alert stands, nobody is called for what follows from it. Pure.

`[[inhibit]]` of the plan says which alert goes before which, and what they have in common. The
bound is `WORST`: no rule holds back a red, nor an orange of what people drown in or are buried by.
An alert is held back only if something goes before each of the sources that make it stand; what a
person has raised by hand, and the alerts about alerting itself, always ring.

An alert that is held back goes before none, and neither does one of which nobody has been told. The
rules have no circle, so that no two alerts ever hold back each other: `faults` refuses it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from cloud.alerts.alarm import Alarm, Cover, Status
from cloud.alerts.hazard import Hazard
from cloud.alerts.holds import gateway_of, rule_of
from cloud.alerts.plantables import Inhibit, Which
from cloud.alerts.rule import SERVICE
from configs.loader import Fault
from wire.messages import Level

WORST: Final[Mapping[Hazard, Level]] = {
    hazard: Level.ORANGE if hazard is Hazard.EQUIPMENT else Level.YELLOW for hazard in Hazard
}
"""The worst level of each hazard that a rule may hold back."""

BY: Final = "plan"
"""Who holds an alert back, where it is a rule."""

Inside = Callable[[str], Sequence[str]]
"""The areas that a site lies in, nearest first."""


class _Place(NamedTuple):
    """Where an alert goes before others: by the number of the rule, and the site, area or gateway.
    An exercise goes before exercises only."""

    rule: int
    name: str
    exercise: bool


class Standing:
    """The alerts that go before others."""

    def __init__(self, rules: Sequence[Inhibit], inside: Inside) -> None:
        self._rules = rules
        self._inside = inside
        self._places: dict[_Place, dict[str, None]] = {}
        self._of: dict[tuple[str, Hazard, bool], list[_Place]] = {}
        self._alerts: dict[tuple[str, Hazard, bool], str] = {}

    def put(self, alarm: Alarm) -> None:
        """How an alarm stands now."""
        key = (alarm.site, alarm.hazard, alarm.exercise)
        for place in self._of.pop(key, ()):
            self._places[place].pop(self._alerts[key], None)
        found = [*dict.fromkeys(self._where(alarm))]
        if found:
            self._of[key], self._alerts[key] = found, alarm.alert
        for place in found:
            self._places.setdefault(place, {})[alarm.alert] = None

    def goes_before(
        self, alarm: Alarm, source: str, is_known: Callable[[str], bool]
    ) -> Cover | None:
        """What goes before a source of an alarm, None if nothing does."""
        if alarm.level is None or ":" not in source or gateway_of(source) == SERVICE:
            return None
        for number, rule in enumerate(self._rules):
            if not _is_of(rule.target, alarm, source) or alarm.level > WORST[alarm.hazard]:
                continue
            for name in self._same(rule, alarm, source):
                for alert in self._places.get(_Place(number, name, alarm.exercise), ()):
                    if alert != alarm.alert and is_known(alert):
                        return Cover(
                            *(Status.SUPPRESSED, alert, BY, rule.reason),
                            *(None, max(rule.target.levels)),
                        )
        return None

    def _where(self, alarm: Alarm) -> Iterator[_Place]:
        if alarm.level is None or alarm.hold is not None:
            return
        for number, rule in enumerate(self._rules):
            for source in alarm.behind:
                if not _is_of(rule.source, alarm, source):
                    continue
                if rule.same == "site":
                    names = [alarm.site]
                elif rule.same == "gateway":
                    names = [gateway_of(source)]
                else:
                    names = [*self._inside(alarm.site)[:1]]
                yield from (_Place(number, name, alarm.exercise) for name in names if name)

    def _same(self, rule: Inhibit, alarm: Alarm, source: str) -> Sequence[str]:
        if rule.same == "site":
            return (alarm.site,)
        if rule.same == "gateway":
            return (gateway_of(source),)
        return self._inside(alarm.site)


def _is_of(which: Which, alarm: Alarm, source: str) -> bool:
    return (
        alarm.hazard in which.hazards
        and alarm.level in which.levels
        and (not which.rules or rule_of(source) in which.rules)
    )


def could_inhibit(rules: Iterable[Inhibit], hazard: Hazard, level: Level) -> Iterator[Inhibit]:
    """The rules by which nobody might be called for such an alert."""
    for rule in rules:
        if hazard in rule.target.hazards and level in rule.target.levels:
            yield rule


def faults(rules: Sequence[Inhibit]) -> Iterator[Fault]:
    """What cannot be followed: too bad a level, and circles."""
    for number, rule in enumerate(rules):
        for hazard in dict.fromkeys(rule.target.hazards):
            worst = max(rule.target.levels)
            if worst > WORST[hazard]:
                yield Fault(
                    f"inhibit.{number}.target.levels",
                    f"would hold back {worst.name.lower()} of {hazard}: "
                    f"{WORST[hazard].name.lower()} is the worst that may be held back",
                )
    after = {
        number: [other for other, one in enumerate(rules) if _overlap(rule.target, one.source)]
        for number, rule in enumerate(rules)
    }
    reported: set[int] = set()
    for number in after:
        if number in reported:
            continue
        if (circle := _circle(number, after)) is None:
            continue
        reported.update(circle)
        if len(circle) == 1:
            yield Fault(
                f"inhibit.{number}",
                "holds back what it goes by: two such alerts would hold back each other",
            )
        else:
            names = " > ".join(f"inhibit.{one}" for one in (*circle, number))
            yield Fault(f"inhibit.{number}", f"is a circle: {names}")


def _overlap(one: Which, other: Which) -> bool:
    """Whether an alert may be of both."""
    return (
        not set(one.hazards).isdisjoint(other.hazards)
        and not set(one.levels).isdisjoint(other.levels)
        and (not one.rules or not other.rules or not set(one.rules).isdisjoint(other.rules))
    )


def _circle(begin: int, after: Mapping[int, Sequence[int]]) -> list[int] | None:
    """The shortest way from `begin` back to it, None if there is none."""
    ways = [[begin]]
    seen: set[int] = set()
    for way in ways:
        for other in after[way[-1]]:
            if other == begin:
                return way
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return None
