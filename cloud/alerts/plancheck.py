"""What a response plan lacks, told before the storm does. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Final

from cloud.alerts import duty, plan, publiccheck, wording
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Instruction
from cloud.channels import ChannelConfig
from configs.loader import Fault, suggest
from wire.messages import Level

BOARD: Final = "board"
"""The kind of channel that goes on showing what it was told last."""

_ANY_MONDAY: Final = date(1996, 1, 1)
"""Long before any plan: a week without exceptions."""


def findings(
    checked: Plan,
    channels: Mapping[str, ChannelConfig] | None = None,
    source: str = "",
    today: date = date.min,
    *,
    published: bool = False,
) -> list[Fault]:
    """All of them. `channels` are those of the cloud's config, whose name is `source`; without
    them nothing is said about channels that are not configured. Exceptional dates before `today`
    are no matter any more. `published`: the config publishes warnings, for whose receivers more is
    wanted."""
    broken = list(plan.faults(checked))
    found = [
        *broken,
        *_kinds(checked),
        *_people(checked),
        *_hours(checked, today),
        *_addresses(checked),
        *_waits(checked),
        *_instructions(checked),
        *_placeholders(checked),
        *_tiers(checked),
        *publiccheck.findings(checked),
    ]
    if published:
        found += publiccheck.unpublished(checked)
    if channels is not None:
        found += _channels(checked, channels, source)
    return list(dict.fromkeys(found))


def _kinds(checked: Plan) -> Iterator[Fault]:
    """A village lies in a township, not the other way round."""
    for name, area in checked.area.items():
        parent = checked.area.get(area.parent or "")
        if parent is not None and parent.kind.rank <= area.kind.rank and area.parent != name:
            yield Fault(
                f"area.{name}.parent",
                f"a {area.kind} cannot lie in a {parent.kind}, as {area.parent!r} is",
            )


def _people(checked: Plan) -> Iterator[Fault]:
    for name, site in checked.site.items():
        ladder = checked.ladder(name)
        if not any(checked.members(area) for area in ladder):
            yield Fault(f"site.{name}", "nobody would be called: no area of it has a contact")
            continue
        for hazard in site.hazards:
            for level in checked.levels(hazard):
                called = checked.called(name, hazard, level)
                if called and not any(checked.members(area) for area in called):
                    yield Fault(
                        f"site.{name}",
                        f"nobody would be called for {hazard} {_colour(level)}: "
                        f"no contact up to {called[-1]!r}",
                    )
    for area in _laddered(checked):
        if not checked.members(area):
            yield Fault(f"area.{area}", "has no contact: a call would pass it over")


def _hours(checked: Plan, today: date) -> Iterator[Fault]:
    """Hours of the week, and of exceptional dates, in local time, at which nobody is on duty."""
    for area in _laddered(checked):
        people = [checked.shifts(contact) for contact in checked.members(area)]
        if not people:
            continue
        weekly = [duty.uncovered(people, _ANY_MONDAY + timedelta(days=day)) for day in range(7)]
        if any(weekly):
            gaps = _by_days(dict(zip(duty.DAYS, weekly, strict=True)))
            yield Fault(f"area.{area}", f"nobody is on duty on {gaps} ({checked.timezone})")
        dates = {day for _, away in people for day in away}
        dates |= {day for shifts, _ in people for shift in shifts for day in shift.on}
        for day in sorted({one + timedelta(days=n) for one in dates for n in (0, 1)}):
            hours = duty.uncovered(people, day) if day >= today else []
            if hours and hours != weekly[day.weekday()]:
                gaps = f"{day} {', '.join(hours)}"
                yield Fault(f"area.{area}", f"nobody is on duty on {gaps} ({checked.timezone})")


def _by_days(gaps: dict[str, list[str]]) -> str:
    """`Sat, Sun 00:00-24:00; Mon 00:00-08:00`: days with the same gaps together."""
    days: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for day, hours in gaps.items():
        if hours:
            days[tuple(hours)].append(day)
    return "; ".join(f"{', '.join(names)} {', '.join(hours)}" for hours, names in days.items())


def _addresses(checked: Plan) -> Iterator[Fault]:
    for name, contact in checked.contact.items():
        needed = {
            channel: checked.channel[channel].address
            for channel in contact.channels
            if channel in checked.channel
        }
        for channel, kind in needed.items():
            if kind is not None and not contact.address.get(kind, "").strip():
                yield Fault(
                    f"contact.{name}.address.{kind}", f"is missing: channel {channel!r} needs it"
                )
        known = {channel.address for channel in checked.channel.values()} - {None}
        for kind in contact.address:
            if kind not in known:
                guess = suggest(kind, [one for one in known if one])
                yield Fault(
                    f"contact.{name}.address.{kind}", f"is an address that no channel uses{guess}"
                )


def _waits(checked: Plan) -> Iterator[Fault]:
    """Channels that wait for an answer longer than anybody does, and waits of no channel."""
    for tier, rule in checked.tier.items():
        for channel in rule.after_s:
            if channel not in checked.channel:
                guess = suggest(channel, checked.channel)
                yield Fault(f"tier.{tier}.after_s.{channel}", f"is no channel of the plan{guess}")
    for name, contact in checked.contact.items():
        for channel in contact.after_s:
            if channel not in contact.channels:
                guess = suggest(channel, contact.channels)
                yield Fault(
                    f"contact.{name}.after_s.{channel}", f"is none of their channels{guess}"
                )
        if contact.area not in checked.area or not checked.channel.keys() >= {*contact.channels}:
            continue  # which is said elsewhere
        answer_ms = min(checked.deadlines(contact.area, stage).answer for stage in Stage)
        for way in checked.ways_of(contact):
            if way.after_ms >= answer_ms:
                yield Fault(
                    f"contact.{name}",
                    f"{way.channel!r} is used after {way.after_ms / 1000:g} s, but the next area "
                    f"is called after {answer_ms / 1000:g} s: give it a shorter after_s",
                )


def _instructions(checked: Plan) -> Iterator[Fault]:
    """Each tier that is called needs one instruction, and no more, for each hazard and level."""
    cells = dict.fromkeys(
        (hazard, level, checked.area[area].kind)
        for name, site in checked.site.items()
        for hazard in site.hazards
        for level in checked.levels(hazard)
        for area in checked.called(name, hazard, level)
    )
    for hazard, level, tier in cells:
        fitting = checked.instructions(hazard, level, tier)
        if len(fitting) != 1:
            yield Fault(
                f"instruction: {hazard} {_colour(level)} {tier}",
                "is missing" if not fitting else f"is given {len(fitting)} times",
            )


def _placeholders(checked: Plan) -> Iterator[Fault]:
    for place, one in enumerate(checked.instruction):
        common = {*wording.VALUES[None], *wording.VALUES[one.hazard]} - {"instruction"}
        for language in ("zh", "en"):
            for name in dict.fromkeys(wording.placeholders(getattr(one, language))):
                key = f"instruction.{place}.{language}"
                if wording.PLACEHOLDER.fullmatch("{" + name + "}") is None:
                    yield Fault(key, f"{name!r} is not a placeholder such as {{site}}")
                    continue
                if name in common:
                    continue
                users = _users(checked, one)
                without = [site for site in users if not checked.site[site].values.get(name)]
                if not users or len(without) == len(users):
                    own = {value for site in users for value in checked.site[site].values}
                    guess = suggest(name, [*common, *own])
                    yield Fault(key, f"{{{name}}} has no value for {one.hazard}{guess}")
                else:
                    for site in without:
                        yield Fault(
                            f"site.{site}.values.{name}", f"is missing: {key} has {{{name}}}"
                        )


def _users(checked: Plan, instruction: Instruction) -> list[str]:
    """The sites at which an instruction is used."""
    return [
        name
        for name, site in checked.site.items()
        if instruction.hazard in site.hazards
        and any(
            checked.area[area].kind in instruction.tiers
            for level in instruction.levels
            for area in checked.called(name, instruction.hazard, level)
        )
    ]


def _tiers(checked: Plan) -> Iterator[Fault]:
    """People and words that no call ever reaches."""
    reached = {
        area
        for name, site in checked.site.items()
        for hazard in site.hazards
        for level in checked.levels(hazard)
        for area in checked.called(name, hazard, level)
    }
    held = {role for contact in checked.contact.values() for role in contact.roles}
    for place, tell in enumerate(checked.tell):
        for role in tell.roles:
            if role not in held:
                yield Fault(
                    f"tell.{place}.roles", f"nobody has the role {role!r}{suggest(role, held)}"
                )
    told = {
        contact
        for name, site in checked.site.items()
        for hazard in site.hazards
        for level in checked.levels(hazard)
        for at in ("raise", "climb", "clear")
        for contact in checked.told(at, name, hazard, level)
    }
    for area in checked.area:
        members = checked.members(area)
        if area not in reached and members and not set(members) <= told:
            yield Fault(f"area.{area}", "has contacts, but no call reaches it")
    kinds = {checked.area[area].kind for area in reached}
    for tier in checked.tier:
        if tier not in kinds:
            yield Fault(f"tier.{tier}", "no call reaches a tier of this kind")
    hazards: set[Hazard] = {hazard for site in checked.site.values() for hazard in site.hazards}
    for hazard in checked.hazard:
        if hazard not in hazards:
            yield Fault(f"hazard.{hazard}", "no site has this hazard")


def _channels(
    checked: Plan, configured: Mapping[str, ChannelConfig], source: str
) -> Iterator[Fault]:
    for name in checked.channel:
        if name not in configured:
            yield Fault(
                f"channel.{name}", f"is not configured in {source}{suggest(name, configured)}"
            )
    boards = {name for name, one in configured.items() if one.kind == BOARD}
    for key, contact in checked.contact.items():
        for name in contact.channels[1:]:
            if name in boards:
                yield Fault(
                    f"contact.{key}.channels",
                    f"{name!r} is a board and not the first: it would not be told of the end; "
                    "make the board a contact of its own",
                )


def _laddered(checked: Plan) -> Iterable[str]:
    """The areas that are on the ladder of a site."""
    return dict.fromkeys(area for site in checked.site for area in checked.ladder(site))


def _colour(level: Level) -> str:
    return level.name.lower()
