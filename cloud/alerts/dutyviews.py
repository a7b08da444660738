"""Who is on duty and why, and what has been changed, for those who look."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from cloud.alerts import dutyorders, dutytimes
from cloud.alerts.dutychanges import Change, Duty, Kind, unknown
from cloud.alerts.dutytimes import shown
from cloud.alerts.dutywords import described, stands, why
from cloud.alerts.plan import Plan
from configs.loader import Fault, UserError, suggest


class Person(msgspec.Struct, frozen=True):
    """Somebody on duty; `owner` is whose duty it is ("" for the cover of an area)."""

    contact: str
    name: str
    why: str
    owner: str
    changes: tuple[int, ...]


class Away(msgspec.Struct, frozen=True):
    """Somebody of the area who is absent; `change` is None for a date of the plan."""

    contact: str
    name: str
    why: str
    until_ms: int | None
    change: int | None


class AreaDuty(msgspec.Struct, frozen=True):
    """An area at a moment. `called` are those whom a call would reach."""

    area: str
    name: str
    on_duty: tuple[str, ...]
    members: tuple[str, ...]
    called: tuple[str, ...]
    people: tuple[Person, ...]
    away: tuple[Away, ...]


class Wanted(NamedTuple):
    """What of a plan is wanted as a calendar: a contact wherever they have duty, or an area; and
    from when to when (UTC, ms)."""

    contact: str
    area: str
    from_ms: int
    until_ms: int


class Row(msgspec.Struct, frozen=True):
    """A change, for a list. `what` says it in local time of the plan."""

    number: int
    kind: str
    contact: str
    covered: str
    area: str
    instead: bool
    from_ms: int
    until_ms: int
    days: bool
    swap: int | None
    calendar: str
    what: str
    stands: str
    by: str
    how: str
    said: str
    made_ms: int
    removed_ms: int | None
    removed_by: str


def who(plan: Plan, duty: Duty, areas: Iterable[str], at_ms: int) -> list[AreaDuty]:
    """Who is on duty in these areas."""
    return [_area(plan, duty, name, at_ms) for name in areas]


def asked_areas(plan: Plan, area: str | None, site: str | None) -> tuple[str, ...]:
    """The area, or the areas that are called for the site, or all. Raises UserError."""
    if area is not None and site is not None:
        raise UserError("give either an area or a site")
    if area is not None:
        if area not in plan.area:
            raise UserError(f"{area!r} is no area of the plan{suggest(area, plan.area)}")
        return (area,)
    if site is not None:
        if site not in plan.site:
            raise UserError(f"{site!r} is no site of the plan{suggest(site, plan.site)}")
        return plan.ladder(site)
    return tuple(plan.area)


def moment(text: str, plan: Plan, now_ms: int) -> int:
    """A moment as people write it, in local time of the plan; "" is now. Raises UserError."""
    try:
        return dutytimes.begin(text, plan.zone, now_ms)
    except ValueError as error:
        raise UserError(str(error)) from None


def asked_calendar(
    plan: Plan, contact: str, area: str, times: tuple[str, str], now_ms: int
) -> Wanted:
    """The contact or area, and the times (as in `dutytimes`), that a calendar is to have. Raises
    UserError."""
    if bool(contact) == bool(area):
        raise UserError("give either a contact or an area")
    begin, until = times
    try:
        from_ms = dutytimes.begin(begin, plan.zone, now_ms)
        until_ms = dutytimes.end(until, plan.zone, from_ms)
    except ValueError as error:
        raise UserError(str(error)) from None
    if contact:
        return Wanted(dutyorders.person(plan, contact), "", from_ms, until_ms)
    return Wanted("", dutyorders.area(plan, area), from_ms, until_ms)


def rows(plan: Plan, changes: Iterable[Change], now_ms: int) -> list[Row]:
    """Changes for a list."""
    return [
        Row(
            one.number,
            str(one.kind),
            one.contact,
            one.covered,
            one.area,
            one.instead,
            one.from_ms,
            one.until_ms,
            one.days,
            one.swap,
            one.calendar,
            described(plan, one),
            stands(plan, one, now_ms),
            one.by,
            one.how,
            one.said,
            one.made_ms,
            one.removed_ms,
            one.removed_by,
        )
        for one in changes
    ]


def _area(plan: Plan, duty: Duty, area: str, at_ms: int) -> AreaDuty:
    people: dict[str, Person] = {}
    for slot in duty.slots(plan, area, at_ms):
        numbers = tuple(one.number for one in slot.by)
        person = Person(
            slot.contact,
            plan.contact[slot.contact].name,
            why(plan, slot, area),
            slot.owner,
            numbers,
        )
        known = people.setdefault(slot.contact, person)
        if person.why not in known.why:
            both = f"{known.why}; {person.why}"
            people[slot.contact] = msgspec.structs.replace(
                known, why=both, changes=(*known.changes, *numbers)
            )
    on_duty = tuple(people)
    return AreaDuty(
        area,
        plan.area[area].name,
        on_duty,
        plan.members(area),
        on_duty or duty.everyone(plan, area, at_ms),
        tuple(people.values()),
        tuple(_away(plan, duty, area, at_ms)),
    )


def _away(plan: Plan, duty: Duty, area: str, at_ms: int) -> Iterable[Away]:
    """Those of the area, or who would cover something there, who are absent."""
    covering = [one.contact for one in duty.changes if one.kind is Kind.COVER and one.area == area]
    for contact in dict.fromkeys((*plan.members(area), *covering)):
        if contact not in plan.contact:
            continue
        name = plan.contact[contact].name
        if (absence := duty.absence(contact, at_ms)) is not None:
            until = shown(absence.until_ms, plan.zone)
            said = f": {absence.said}" if absence.said else ""
            reason = f"absent until {until}, change {absence.number} by {absence.by}{said}"
            yield Away(contact, name, reason, absence.until_ms, absence.number)
        elif duty.is_away(plan, contact, at_ms):
            yield Away(contact, name, "away today, by the plan", None, None)


def left_out(plan: Plan, changes: Iterable[Change]) -> list[Fault]:
    """The changes that name what a plan does not have: they change nothing."""
    return [
        Fault(f"duty change {one.number}", f"{reason}, so it is left out")
        for one in changes
        if (reason := unknown(plan, one))
    ]
