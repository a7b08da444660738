"""Changes of duty in words, for people at a terminal and for those who read the answer of the API.
Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from cloud.alerts import dutyhours
from cloud.alerts.dutychanges import DAY_MS, Change, Duty, Kind, Slot, local, unknown
from cloud.alerts.dutytimes import shown
from cloud.alerts.plan import Plan

AHEAD_MS: Final = 31 * DAY_MS
"""So far ahead it is looked who is on duty."""

_MOST_GAPS: Final = 5

_MOST_MOMENTS: Final = 2000
"""At which it is looked: who makes a change waits for it, and a service has other things to do."""


def named(plan: Plan, contact: str) -> str:
    """`He Lan (he-lan)`; one that the plan does not have by its id alone."""
    one = plan.contact.get(contact)
    return contact if one is None or one.name == contact else f"{one.name} ({contact})"


def area_named(plan: Plan, area: str) -> str:
    """The same of an area."""
    one = plan.area.get(area)
    return area if one is None or one.name == area else f"{one.name} ({area})"


def described(plan: Plan, change: Change) -> str:
    """What a change says, in local time of the plan."""
    who, when = named(plan, change.contact), times(plan, change)
    if change.kind is Kind.ABSENCE:
        return f"{who} is absent {when}"
    if change.kind is Kind.ROSTER:
        count = len(change.spans)
        duties = f"{count} {'duty' if count == 1 else 'duties'}"
        return (
            f"{who} has {duties} in {area_named(plan, change.area)} {when}, "
            f"by the calendar {change.calendar!r}"
        )
    if change.covered:
        swap = ", in a swap" if change.swap is not None else ""
        return f"{who} covers {named(plan, change.covered)} {when}{swap}"
    how = "in place of those on duty" if change.instead else "beside those on duty"
    return f"{who} covers {area_named(plan, change.area)} {when}, {how}"


def times(plan: Plan, change: Change) -> str:
    """When it counts."""
    zone = plan.zone
    if not change.days:
        begin, end = shown(change.from_ms, zone), shown(change.until_ms, zone)
        return f"from {begin} to {end} ({plan.timezone})"
    first, last = local(change.from_ms, zone).date(), local(change.until_ms - 1, zone).date()
    days = f"on {first}" if first == last else f"from {first} to {last}"
    return f"in the duty that begins {days} ({plan.timezone})"


def stands(plan: Plan, change: Change, now_ms: int) -> str:
    """How a change stands: in force, planned, over, removed, or left out and why."""
    if change.removed_ms is not None:
        return f"removed {shown(change.removed_ms, plan.zone)} by {change.removed_by}"
    if change.ends_ms <= now_ms:
        return "over"
    if reason := unknown(plan, change):
        return f"left out: {reason}"
    return "planned" if now_ms < change.from_ms else "in force"


def why(plan: Plan, slot: Slot, area: str, *, in_full: bool = True) -> str:
    """Why somebody is on duty; `in_full` with what was said of each change."""
    reasons = []
    if slot.by and slot.by[0].kind is Kind.ROSTER:
        reasons.append(f"roster {slot.by[0].calendar!r}")
    elif slot.owner and slot.owner == slot.contact and not slot.duty:
        reasons.append("always")
    elif slot.duty:
        table = plan.duty[slot.duty]
        times = [str(one) for one in table.on.get(str(slot.day), table.windows)]
        reasons.append(f"{slot.duty}: {', '.join(times)}")
    for change in slot.by:
        if change.kind is Kind.COVER:
            whom = named(plan, change.covered) if change.covered else area_named(plan, area)
            verb = "swaps with" if change.swap is not None else "covers"
            said = f": {change.said}" if change.said and in_full else ""
            reasons.append(f"{verb} {whom}, change {change.number} by {change.by}{said}")
    return "; ".join(reasons)


def consequences(
    plan: Plan, before: Duty, made: Sequence[Change], removed: Sequence[Change], now_ms: int
) -> list[str]:
    """What whoever makes or removes changes should know: who cannot cover, and when nobody is on
    duty."""
    gone = {one.number for one in removed}
    after = Duty((*(one for one in before.changes if one.number not in gone), *made))
    found: list[str] = []
    for one in made:
        found += _of_time(one, now_ms)
        found += _of_cover(plan, before, after, one, now_ms)
        found += _of_roster(plan, before, one)
    found += new_gaps(plan, before, after, (*made, *removed), now_ms)
    return list(dict.fromkeys(found))


def new_gaps(
    plan: Plan, before: Duty, after: Duty, changes: Iterable[Change], now_ms: int
) -> list[str]:
    """When nobody is on duty in an area by these changes, where somebody was without them."""
    changes = tuple(one for one in changes if one.ends_ms > now_ms)
    if not changes:
        return []
    from_ms = max(now_ms, min(one.from_ms for one in changes))
    until_ms = min(max(one.ends_ms for one in changes), from_ms + AHEAD_MS)
    found: list[str] = []
    if until_ms <= from_ms:
        return []
    areas = _concerned(plan, after, changes)
    whole_ms, most = until_ms, max(50, _MOST_MOMENTS // max(1, len(areas)))
    for area in areas[: _MOST_MOMENTS // 50]:
        span = (from_ms, whole_ms)
        until_ms = dutyhours.looked_at_until(plan, after, area, span, most)
        was = dutyhours.gaps(plan, before, area, from_ms, until_ms)
        for begin_ms, end_ms in dutyhours.gaps(plan, after, area, from_ms, until_ms):
            if not any(low <= begin_ms and end_ms <= high for low, high in was):
                found.append(
                    f"nobody is on duty in {area_named(plan, area)} from "
                    f"{shown(begin_ms, plan.zone)} to {shown(end_ms, plan.zone)}: "
                    f"{_instead(plan, after, area, begin_ms)}"
                )
    more = len(found) - _MOST_GAPS
    return [*found[:_MOST_GAPS], f"and {more} times more"] if more > 0 else found


def _instead(plan: Plan, duty: Duty, area: str, at_ms: int) -> str:
    called = duty.everyone(plan, area, at_ms)
    if not called:
        return "nobody belongs to it, and a call passes it over"
    return f"{', '.join(plan.contact[one].name for one in called)} would be called"


def _of_time(change: Change, now_ms: int) -> Iterator[str]:
    """At 02:00 the next 20:00 is not that of tonight."""
    hours = (change.from_ms - now_ms) // 3_600_000
    if change.kind is not Kind.ROSTER and not change.days and 0 < hours < 48:
        yield f"it does not count yet: it begins in {hours} h"


def _of_cover(plan: Plan, before: Duty, after: Duty, change: Change, now_ms: int) -> Iterator[str]:
    if change.kind is not Kind.COVER:
        return
    away = after.absence(change.contact, max(change.from_ms, now_ms))
    if away is not None:
        until = shown(away.until_ms, plan.zone)
        yield f"{named(plan, change.contact)} is absent until {until}, and covers nothing before"
    if change.covered and not _has_duty(plan, before, change):
        yield f"{named(plan, change.covered)} has no duty then: it changes nothing"


def _of_roster(plan: Plan, before: Duty, roster: Change) -> Iterator[str]:
    """The changes that go on counting upon it."""
    if roster.kind is not Kind.ROSTER:
        return
    for one in before.changes:
        touches = roster.contact in (one.contact, one.covered)
        if touches and one.kind is not Kind.ROSTER and one.from_ms < roster.until_ms:
            yield f"change {one.number} counts as before: {described(plan, one)}"


def _has_duty(plan: Plan, duty: Duty, change: Change) -> bool:
    """Whether there is anything to cover; absent contacts have a duty too."""
    planned = Duty(one for one in duty.changes if one.kind is not Kind.ABSENCE)
    until_ms = min(change.ends_ms, change.from_ms + AHEAD_MS)
    return any(
        slot.contact == change.covered and (not change.days or _is_of(plan, change, slot))
        for area in planned.areas_of(plan, change.covered)
        for one in dutyhours.stretches(plan, planned, area, change.from_ms, until_ms)
        for slot in one.slots
    )


def _is_of(plan: Plan, change: Change, slot: Slot) -> bool:
    first = local(change.from_ms, plan.zone).date()
    return first <= slot.day <= local(change.until_ms - 1, plan.zone).date()


def _concerned(plan: Plan, duty: Duty, changes: Iterable[Change]) -> list[str]:
    """The areas in which changes may change something."""
    areas: dict[str, None] = {}
    for one in changes:
        if one.area:
            areas[one.area] = None
        for contact in (one.contact, one.covered) if one.kind is not Kind.ROSTER else ():
            if contact in plan.contact:
                areas |= dict.fromkeys(duty.areas_of(plan, contact))
    return [one for one in areas if one in plan.area]
