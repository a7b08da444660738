"""Holds: what people have held back for a time, where, and up to which level. Pure.

A hold names a site, an area with all that lies in it, a gateway, a hazard, or several of these:
then all of them must fit. An alarm is held back only if each of the sources that make it stand is:
what another gateway finds there too, rings.

- What is worse than `up_to` rings all the same.
- What a person raises by hand rings through the holds that were there before.
- The alerts about alerting itself (gateway `SERVICE`) are held back only by a hold that names their
  hazard and `SERVICE` as gateway or site.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, tzinfo
from typing import Final

import msgspec

from cloud.alerts.alarm import Alarm, Cover, Held, Status
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import SERVICE
from wire.messages import Level

UP_TO: Final = Level.ORANGE
"""Unless it is said: a red, of which people die, is held back by nobody who did not mean it."""


class Scope(msgspec.Struct, frozen=True, gc=False):
    """What a hold names, "" and None for what it does not. An exercise has holds of its own."""

    site: str = ""
    area: str = ""
    gateway: str = ""
    hazard: Hazard | None = None
    exercise: bool = False

    def __str__(self) -> str:
        words = [
            f"{name} {value}"
            for name, value in (
                *(("site", self.site), ("area", self.area), ("gateway", self.gateway)),
                ("hazard", self.hazard),
            )
            if value
        ]
        return ", ".join([*words, *(("exercise",) if self.exercise else ())])


class Hold(msgspec.Struct, frozen=True, gc=False):
    """`kind` is what its alarms show. It is in force from `begin_ms` to `end_ms` (UTC). `begun`: it
    is in force although the clock may show an earlier time."""

    id: int
    kind: Status
    scope: Scope
    begin_ms: int
    end_ms: int
    up_to: Level
    by: str
    reason: str
    begun: bool = False

    @property
    def name(self) -> str:
        return f"hold {self.id}"

    def is_in_force(self, now_ms: int) -> bool:
        return (self.begun or self.begin_ms <= now_ms) and now_ms < self.end_ms


def held(
    alarm: Alarm,
    holds: Iterable[Hold],
    areas: Collection[str],
    goes_before: Callable[[str], Cover | None],
    now_ms: int,
) -> Held:
    """What holds an alarm back at `now_ms`. `areas` are those in which its site lies;
    `goes_before` says which other alert goes before a source of it."""
    if alarm.level is None:
        return Held()
    fitting = [one for one in holds if fits(one.scope, alarm, areas) and one.id > alarm.through]
    moments = [
        at_ms
        for one in fitting
        for at_ms in ((one.end_ms,) if one.begun else (one.begin_ms, one.end_ms))
        if at_ms > now_ms
    ]
    again_ms = min(moments, default=None)
    in_force = [one for one in fitting if one.is_in_force(now_ms) and alarm.level <= one.up_to]
    in_force.sort(key=lambda one: -one.end_ms)  # until when it is held back: the last end
    covers: dict[str, Cover] = {}
    for source in alarm.behind or ("",):
        gateway = gateway_of(source)
        hold = next((one for one in in_force if _takes(one.scope, gateway)), None)
        cover = goes_before(source) if hold is None else _cover(hold)
        if cover is None:
            return Held((), again_ms)
        covers[cover.name] = cover
    return Held(tuple(covers.values()), again_ms)


def fits(scope: Scope, alarm: Alarm, areas: Collection[str]) -> bool:
    """Whether all that is named fits, but for the gateway, which is that of a source."""
    return (
        scope.exercise is alarm.exercise
        and scope.site in ("", alarm.site)
        and (not scope.area or scope.area in areas)
        and scope.hazard in (None, alarm.hazard)
    )


def gateway_of(source: str) -> str:
    """Whose readings a source goes by, "" for what is no rule: see `episodes.source`."""
    parts = source.split(":")
    return parts[-2] if len(parts) >= 4 else ""


def rule_of(source: str) -> str:
    """The name of the rule."""
    return source.partition(":")[0]


def shown(at_ms: int, zone: tzinfo) -> str:
    """A moment for people, with its zone: `2026-12-01 22:00 +08:00`."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    offset = f"{at:%z}"
    return f"{at:%Y-%m-%d %H:%M} {offset[:3]}:{offset[3:5]}"


def _takes(scope: Scope, gateway: str) -> bool:
    if gateway == SERVICE:
        return scope.hazard is Hazard.EQUIPMENT and SERVICE in (scope.gateway, scope.site)
    return scope.gateway in ("", gateway)


def _cover(hold: Hold) -> Cover:
    return Cover(hold.kind, hold.name, hold.by, hold.reason, hold.end_ms, hold.up_to)
