"""A response plan: who is told what, and when (`configs/plans/*.toml`, see docs/response-plans.md).

`read` gives a plan that can be used: shape, references and loops are right. Whether it is a good
plan (an hour without duty, a tier without instructions) is for `cloud.alerts.plancheck` to say.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from cloud.alerts import inhibition
from cloud.alerts.actions import Way
from cloud.alerts.duty import ALWAYS, Shift, on_duty
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plantables import (
    Area,
    Channel,
    Contact,
    DutyTable,
    HazardRule,
    Inhibit,
    Instruction,
    Minutes,
    Name,
    PublicInstruction,
    Site,
    Tell,
    Text,
    Tier,
    TierRule,
    Within,
    to_date,
)
from cloud.channels import Language
from configs import loader
from configs.loader import Fault, Tables, suggest
from wire.messages import Level

ANSWER_WITHIN_MIN: Final = {Stage.TREND: 60.0, Stage.SOON: 30.0, Stage.IMMINENT: 10.0, Stage.NOW: 5}
"""Now: 5 min, as in Changzhi's rule of 叫应. The others are ours; set your own."""

RESULT_WITHIN_MIN: Final = Within(yellow=60, orange=20, red=10)
"""Ours, for all hazards but equipment, of which no result is awaited; set your own."""


class Deadlines(NamedTuple):
    """Of a tier at a stage, ms."""

    answer: int
    retry: int
    ring: int


class Plan(Tables):
    """The whole of a plan."""

    title: Text
    timezone: str = "Asia/Shanghai"
    language: Language = "zh"
    digest_window_s: Annotated[float, Field(ge=0, le=3600)] = 60
    answer_within_min: dict[Stage, Minutes] = {}
    area: dict[Name, Area]
    site: dict[Name, Site]
    contact: dict[Name, Contact] = {}
    duty: dict[Name, DutyTable] = {}
    channel: dict[Name, Channel] = {}
    tier: dict[Tier, TierRule] = {}
    hazard: dict[Hazard, HazardRule] = {}
    instruction: tuple[Instruction, ...] = ()
    public_instruction: tuple[PublicInstruction, ...] = ()
    tell: tuple[Tell, ...] = ()
    inhibit: tuple[Inhibit, ...] = ()

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is not a time zone such as Asia/Shanghai") from None
        return name

    @cached_property
    def version(self) -> str:
        """A digest of what the plan says: comments and order of lines do not count."""
        # A plan that says nothing of it keeps the version that it had in older releases: alerts
        # that have begun under it go on by it.
        unsaid: dict[str, Any] = {
            "contact": {
                name: {key for key in ("public", "after_s") if not getattr(one, key)}
                for name, one in self.contact.items()
            },
            "tier": {name: {"after_s"} for name, rule in self.tier.items() if not rule.after_s},
            "hazard": {
                name: {"result_within_min"}
                for name, rule in self.hazard.items()
                if rule.result_within_min is None
            },
        }
        if not self.public_instruction:
            unsaid["public_instruction"] = True
        if not self.inhibit:
            unsaid["inhibit"] = True
        return hashlib.sha256(self.model_dump_json(exclude=unsaid).encode()).hexdigest()[:16]

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @cached_property
    def ways(self) -> dict[str, tuple[Way, ...]]:
        """By contact: the channels in order. What waits, waits for another channel: one of them at
        least is used at once."""
        return {name: self.ways_of(contact) for name, contact in self.contact.items()}

    def ways_of(self, contact: Contact) -> tuple[Way, ...]:
        """Of one contact, by what they, their tier and the channels say of it."""
        of_tier = self.tier.get(self.area[contact.area].kind, TierRule()).after_s
        after_ms = [
            round(1000 * contact.after_s.get(one, of_tier.get(one, self.channel[one].after_s)))
            for one in contact.channels
        ]
        first_ms = min(after_ms)
        return tuple(
            Way(channel, wait_ms - first_ms)
            for channel, wait_ms in zip(contact.channels, after_ms, strict=True)
        )

    def climb(self, area: str) -> str | None:
        """The area that a call climbs to from this one."""
        here = self.area[area]
        return here.escalates_to or here.parent

    def inside(self, site: str) -> tuple[str, ...]:
        """The areas that a site lies in, nearest first; none for a site that the plan does not
        know."""
        found = self._inside.get(site)
        if found is None and site in self.site:
            areas: dict[str, None] = {}
            here: str | None = self.site[site].area
            while here is not None and here in self.area and here not in areas:
                areas[here] = None
                here = self.area[here].parent
            found = self._inside[site] = tuple(areas)
        return found or ()

    def ladder(self, site: str) -> tuple[str, ...]:
        """The areas that are called for a site, nearest first. For a site that the plan does not
        know they are those at the top: somebody must be called."""
        ladder = self._ladders.get(site)
        if ladder is None:
            ladder = tuple(name for name, area in self.area.items() if self.climb(name) is None)
            self._ladders[site] = ladder
        return ladder

    def called(self, site: str, hazard: Hazard, level: Level) -> tuple[str, ...]:
        """The part of the ladder that is called at a level, at least its first area."""
        key = (site, hazard, level)
        found = self._called.get(key)
        if found is None:
            rule = self.hazard.get(hazard)
            top: Tier | None = getattr(rule.climbs_to, level.name.lower()) if rule else None
            ladder = self.ladder(site)
            end = len(ladder)
            if top is not None:
                above = (i for i, area in enumerate(ladder) if self.area[area].kind.rank > top.rank)
                end = max(1, next(above, end))
            found = self._called[key] = ladder[:end]
        return found

    def members(self, area: str) -> tuple[str, ...]:
        """The contacts of an area, in the order in which the plan has them."""
        return self._members.get(area, ())

    def announcers(self, area: str) -> tuple[str, ...]:
        """The loudspeakers and boards of an area."""
        return self._announcers.get(area, ())

    def follow_up_ms(self, hazard: Hazard, level: Level) -> int | None:
        """Within which time after an answer a result is awaited, None for no result."""
        within = self.hazard.get(hazard, HazardRule()).result_within_min
        if within is None:
            within = Within() if hazard is Hazard.EQUIPMENT else RESULT_WITHIN_MIN
        minutes: float | None = getattr(within, level.name.lower())
        return None if minutes is None else round(minutes * 60_000)

    def on_duty(self, area: str, now_ms: int) -> tuple[str, ...]:
        """The contacts of an area who are on duty."""
        minute = now_ms // 60_000
        key = (area, minute)
        found = self._duty_cache.get(key)
        if found is None:
            if len(self._duty_cache) > 10_000:  # days of one area, minutes of a big city
                self._duty_cache.clear()
            moment = datetime.fromtimestamp(minute * 60, UTC).astimezone(self.zone)
            found = self._duty_cache[key] = tuple(
                name for name in self.members(area) if on_duty(*self.shifts(name), moment)
            )
        return found

    def shifts(self, contact: str) -> tuple[tuple[Shift, ...], frozenset[date]]:
        """A contact's shifts, and the dates on which none of them begins."""
        return self._shifts[contact]

    def deadlines(self, area: str, stage: Stage) -> Deadlines:
        """How long an area has, and how often it is called."""
        tier = self.area[area].kind
        found = self._deadlines.get((tier, stage))
        if found is None:
            rule = self.tier.get(tier, TierRule())
            within = ANSWER_WITHIN_MIN | self.answer_within_min | rule.answer_within_min
            found = self._deadlines[tier, stage] = Deadlines(
                *(
                    round(one * 60_000)
                    for one in (within[stage], rule.retry_every_min, rule.ring_every_min)
                )
            )
        return found

    def levels(self, hazard: Hazard) -> tuple[Level, ...]:
        """The levels that a hazard has."""
        return self.hazard.get(hazard, HazardRule()).levels

    def instructions(self, hazard: Hazard, level: Level, tier: Tier) -> tuple[Instruction, ...]:
        """All that fit; a good plan has exactly one."""
        return tuple(
            one
            for one in self.instruction
            if one.hazard is hazard and level in one.levels and tier in one.tiers
        )

    def told(self, at: str, site: str, hazard: Hazard, level: Level) -> tuple[str, ...]:
        """Who of the ladder is told at "raise", "climb" or "clear", beside those who are called."""
        roles = {
            role
            for tell in self.tell
            if at in tell.at and level in tell.levels and hazard in tell.hazards
            for role in tell.roles
        }
        if not roles:
            return ()
        return tuple(
            name
            for area in self.ladder(site)
            for name in self.members(area)
            if roles.intersection(self.contact[name].roles)
        )

    @cached_property
    def _ladders(self) -> dict[str, tuple[str, ...]]:
        ladders = {}
        for name, site in self.site.items():
            areas: dict[str, None] = {}
            here: str | None = site.area
            while here is not None and here in self.area and here not in areas:
                areas[here] = None
                here = self.climb(here)
            ladders[name] = tuple(areas)
        return ladders

    @cached_property
    def _inside(self) -> dict[str, tuple[str, ...]]:
        return {}

    @cached_property
    def _called(self) -> dict[tuple[str, Hazard, Level], tuple[str, ...]]:
        return {}

    @cached_property
    def _members(self) -> dict[str, tuple[str, ...]]:
        return self._by_area(public=False)

    @cached_property
    def _announcers(self) -> dict[str, tuple[str, ...]]:
        return self._by_area(public=True)

    def _by_area(self, *, public: bool) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for name, contact in self.contact.items():
            if contact.public is public:
                found[contact.area] = (*found.get(contact.area, ()), name)
        return found

    @cached_property
    def _shifts(self) -> dict[str, tuple[tuple[Shift, ...], frozenset[date]]]:
        shifts = {name: table.shift() for name, table in self.duty.items()}
        return {
            name: (
                tuple(shifts[one] for one in contact.duty if one in shifts)
                if contact.duty
                else (ALWAYS,),
                frozenset(map(to_date, contact.away)),
            )
            for name, contact in self.contact.items()
        }

    @cached_property
    def _duty_cache(self) -> dict[tuple[str, int], tuple[str, ...]]:
        return {}

    @cached_property
    def _deadlines(self) -> dict[tuple[Tier, Stage], Deadlines]:
        return {}


def read(file: Path) -> Plan:
    """The plan in `file`. Raises ConfigError with all of its faults, loops included."""
    # Nobody may fill a pipe, and a service would wait for ever.
    return loader.parse(loader.read(file, pipes=False), Plan, file, faults)


def parse(text: str) -> Plan:
    """A plan that `Plan.model_dump_json` has kept."""
    return Plan.model_validate_json(text)


def together(plan: Plan, others: Iterable[Plan]) -> Plan:
    """A plan for a message about alerts that began under several: `plan`, with the areas, sites and
    people that only the others know."""
    versions = {one.version: one for one in others if one.version != plan.version}
    if not versions:
        return plan
    fields = dict(plan)
    for table in ("area", "site", "contact"):
        fields[table] = {
            name: one
            for other in (*versions.values(), plan)
            for name, one in getattr(other, table).items()
        }
    return Plan.model_construct(**fields)


def faults(plan: Plan) -> Iterator[Fault]:
    """Names that name nothing, and loops: with these a plan cannot be followed."""
    for name, area in plan.area.items():
        for key in ("parent", "escalates_to"):
            yield from _known(plan, f"area.{name}.{key}", getattr(area, key), "area", "an area")
    for name, site in plan.site.items():
        yield from _known(plan, f"site.{name}.area", site.area, "area", "an area")
    for name, contact in plan.contact.items():
        here = f"contact.{name}"
        yield from _known(plan, f"{here}.area", contact.area, "area", "an area")
        for shift in contact.duty:
            yield from _known(plan, f"{here}.duty", shift, "duty", "a duty")
        for channel in contact.channels:
            yield from _known(plan, f"{here}.channels", channel, "channel", "a channel of the plan")
    yield from _loops({name: area.parent for name, area in plan.area.items()}, "parent")
    ways = {name: area.escalates_to for name, area in plan.area.items()}
    yield from _loops({name: plan.climb(name) for name in plan.area}, "escalates_to", ways)
    yield from inhibition.faults(plan.inhibit)


def _known(plan: Plan, key: str, name: str | None, table: str, kind: str) -> Iterator[Fault]:
    """One that is there and wrong is told by itself."""
    known = getattr(plan, table)
    if name is not None and name not in known and plan.is_sound(table, name):
        yield Fault(key, f"{name!r} is not {kind}{suggest(name, known)}")


def _loops(
    ways: dict[str, str | None], key: str, through: dict[str, str | None] | None = None
) -> Iterator[Fault]:
    """The loops in `ways`; with `through` only those that take a way of it."""
    told: set[str] = set()
    for name in ways:
        path: list[str] = []
        here: str | None = name
        while here is not None and here not in path and here not in told:
            path.append(here)
            here = ways.get(here)
        if here is not None and here in path:
            loop = path[path.index(here) :]
            if through is None or any(through[one] is not None for one in loop):
                yield Fault(f"area.{here}.{key}", f"is a loop: {' > '.join((*loop, here))}")
        told.update(path)
