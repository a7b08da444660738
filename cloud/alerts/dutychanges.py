"""Who is on duty once absences, covers, swaps and imported rosters are applied to a plan. Pure.

A *slot* is one duty at one moment: an area, and the contact who holds it. The slots of an area are
those of the windows of its contacts. The changes of that moment are applied to them:

1. A roster takes the place of its contact's windows, and of their dates, from its first moment to
   its last; of several rosters the newest holds.
2. Covers are applied in the order in which they were made, the two of a swap at once. A cover of a
   contact hands over the slots that this contact holds by then, so a cover may itself be covered.
   A cover of an area adds a slot, or with `instead` takes the place of all of them. Whoever is
   absent, or none of the plan, covers nothing.
3. Slots of absent contacts fall away.

If no slot is left, everyone of the area is called who is not absent; if all are, all of them.

A cover by `days` counts for the duty that begins on these days, though it ends on the next; one by
times counts from the first moment to the last. A duty of more than 24 hours begins on each day.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from cloud.alerts.duty import DAY
from cloud.alerts.plan import Plan

DAY_MS: Final = 86_400_000

NEVER: Final = 2**60
"""After any moment."""

LASTS_MS: Final = DAY_MS + 2 * 3_600_000
"""After the end of its last day a change by days may count for so long: a duty has 24 hours at
most, and the clock may be put back that night."""


class Kind(StrEnum):
    """What a change is."""

    ABSENCE = "absence"
    COVER = "cover"
    ROSTER = "roster"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change; times are UTC, ms, `until_ms` is the first moment after it.

    A cover is of `area` or of the contact `covered`; `swap` is the number of the first of two that
    belong together. A roster has the duties of a contact in `area` as `spans`, in order.
    """

    number: int
    kind: Kind
    contact: str
    from_ms: int
    until_ms: int
    area: str = ""
    covered: str = ""
    instead: bool = False
    days: bool = False
    swap: int | None = None
    calendar: str = ""
    uids: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    by: str = ""
    how: str = ""
    said: str = ""
    made_ms: int = 0
    removed_ms: int | None = None
    removed_by: str = ""

    def holds(self, at_ms: int) -> bool:
        """Whether it counts at a moment, by its times."""
        return self.from_ms <= at_ms < self.until_ms

    @property
    def ends_ms(self) -> int:
        """From when on it can change nothing."""
        return self.until_ms + (LASTS_MS if self.days else 0)


class Slot(NamedTuple):
    """`owner` is the contact whose duty it is ("" for the cover of an area), `contact` who has it;
    `day` is the local date on which it begins. `duty` names the plan's window ("" where the
    contact is always on duty or has a roster); `by` are the changes that brought it about."""

    contact: str
    owner: str
    day: date
    duty: str = ""
    by: tuple[Change, ...] = ()


class Duty:
    """Duty with these changes. Those that were removed, or name what a plan does not have, are as
    if they were not there."""

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        valid = sorted(
            (one for one in changes if one.removed_ms is None), key=lambda one: one.number
        )
        self.changes = tuple(valid)
        self._absences: dict[str, list[Change]] = {}
        """By contact."""
        for one in valid:
            if one.kind is Kind.ABSENCE:
                self._absences.setdefault(one.contact, []).append(one)
        self._rosters: dict[str, list[Change]] = {}
        """By area, the newest first."""
        for one in reversed(valid):
            if one.kind is Kind.ROSTER:
                self._rosters.setdefault(one.area, []).append(one)
        self._longest = {
            one.number: max((end - begin for begin, end in one.spans), default=0) for one in valid
        }
        self._covers = tuple(_steps(one for one in valid if one.kind is Kind.COVER))
        self._found: dict[tuple[str, str, int], tuple[Slot, ...]] = {}

    def absence(self, contact: str, at_ms: int) -> Change | None:
        """The absence of a contact at a moment, the one that lasts longest."""
        found = [one for one in self._absences.get(contact, ()) if one.holds(at_ms)]
        return max(found, key=lambda one: one.until_ms, default=None)

    def on_duty(self, plan: Plan, area: str, at_ms: int) -> tuple[str, ...]:
        """The contacts who are on duty for an area."""
        if not self.changes:
            return plan.on_duty(area, at_ms)
        return tuple(dict.fromkeys(one.contact for one in self.slots(plan, area, at_ms)))

    def everyone(self, plan: Plan, area: str, at_ms: int) -> tuple[str, ...]:
        """Whom to call where nobody is on duty: an absent contact only if nobody else is left."""
        members = plan.members(area)
        return tuple(one for one in members if not self.is_away(plan, one, at_ms)) or members

    def is_away(self, plan: Plan, contact: str, at_ms: int) -> bool:
        """Whether a contact is absent, by a change or by a date of the plan."""
        if self.absence(contact, at_ms) is not None:
            return True
        _, away = plan.shifts(contact)
        return bool(away) and local(at_ms, plan.zone).date() in away

    def in_place_of(self, plan: Plan, contact: str, at_ms: int) -> dict[str, str]:
        """Who is on duty where `contact` would be, with the areas: they, or who covers them."""
        own = plan.contact[contact].area
        if not self.changes:
            return {contact: own} if contact in plan.on_duty(own, at_ms) else {}
        found = {one.contact: own for one in self.slots(plan, own, at_ms) if one.owner == contact}
        for area in self.areas_of(plan, contact):
            if any(one.contact == contact for one in self.slots(plan, area, at_ms)):
                found.setdefault(contact, area)
        return found

    def slots(self, plan: Plan, area: str, at_ms: int) -> tuple[Slot, ...]:
        """The duties of an area at a moment."""
        key = (plan.version, area, at_ms)
        found = self._found.get(key)
        if found is None:
            if len(self._found) > 10_000:
                self._found.clear()
            found = self._found[key] = self._slots(plan, area, at_ms)
        return found

    def _slots(self, plan: Plan, area: str, at_ms: int) -> tuple[Slot, ...]:
        if area not in plan.area:
            return ()
        slots = [*self._planned(plan, area, at_ms)]
        for step in self._covers:
            counting = [
                one
                for one in step
                if one.from_ms <= at_ms < one.ends_ms and self._counts(plan, one, at_ms)
            ]
            if not counting:
                continue
            for one in counting:
                if one.area == area and one.holds(at_ms):
                    day = _day_of(one.from_ms, one.until_ms, at_ms, plan.zone)
                    added = Slot(one.contact, "", day, by=(one,))
                    slots = [added] if one.instead else [*slots, added]
            slots = [_covered(one, counting, at_ms, plan.zone) for one in slots]
        return tuple(one for one in slots if self.absence(one.contact, at_ms) is None)

    def _planned(self, plan: Plan, area: str, at_ms: int) -> Iterator[Slot]:
        """By rosters and windows."""
        rosters: dict[str, Change] = {}
        for one in self._rosters.get(area, ()):
            if one.holds(at_ms) and _is_person(plan, one.contact):
                rosters.setdefault(one.contact, one)
        members = plan.members(area)
        for contact in (*members, *(one for one in rosters if one not in members)):
            if (roster := rosters.get(contact)) is None:
                yield from windows(plan, contact, at_ms)
                continue
            for begin_ms, end_ms in self._at(roster, at_ms):
                day = _day_of(begin_ms, end_ms, at_ms, plan.zone)
                yield Slot(contact, contact, day, by=(roster,))

    def _at(self, roster: Change, at_ms: int) -> Iterator[tuple[int, int]]:
        """The duties of a roster that a moment is in, in order."""
        spans = roster.spans
        first = bisect_left(spans, (at_ms - self._longest[roster.number],))
        for begin_ms, end_ms in spans[first : bisect_right(spans, (at_ms, NEVER))]:
            if at_ms < end_ms:
                yield begin_ms, end_ms

    def _counts(self, plan: Plan, cover: Change, at_ms: int) -> bool:
        """Whether who covers can: an absent contact cannot, nor one that the plan does not have."""
        return _is_person(plan, cover.contact) and self.absence(cover.contact, at_ms) is None

    def areas_of(self, plan: Plan, contact: str) -> tuple[str, ...]:
        """Where a contact may be on duty, by a change too: their own area first."""
        areas = {plan.contact[contact].area: None}
        for one in self.changes:
            if one.area:
                areas[one.area] = None
            elif one.covered in plan.contact:
                areas[plan.contact[one.covered].area] = None
        return tuple(one for one in areas if one in plan.area)


def windows(plan: Plan, contact: str, at_ms: int) -> Iterator[Slot]:
    """A contact's duties by the windows of the plan."""
    moment = local(at_ms, plan.zone)
    minute = 60 * moment.hour + moment.minute
    shifts, away = plan.shifts(contact)
    names = [one for one in plan.contact[contact].duty if one in plan.duty] or [""]
    today = moment.date()
    for day, passed in ((today, minute), (today - timedelta(days=1), minute + DAY)):
        if day in away:
            continue
        for name, shift in zip(names, shifts, strict=False):
            if any(one.start <= passed < one.start + one.length for one in shift.begins(day)):
                yield Slot(contact, contact, day, name)


def unknown(plan: Plan, change: Change) -> str:
    """Why a plan cannot follow a change: what of it the plan does not have; "" if it has all."""
    for name in (change.contact, change.covered):
        if name and name not in plan.contact:
            return f"the plan has no contact {name!r}"
    if change.area and change.area not in plan.area:
        return f"the plan has no area {change.area!r}"
    return ""


def local(at_ms: int, zone: ZoneInfo) -> datetime:
    """A moment in a time zone."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone)


def day_begins_ms(day: date, zone: ZoneInfo) -> int:
    """The first moment of a local day (UTC, ms)."""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def _is_person(plan: Plan, contact: str) -> bool:
    return contact in plan.contact and not plan.contact[contact].public


def _steps(covers: Iterable[Change]) -> Iterator[tuple[Change, ...]]:
    """The covers in order, those of a swap together."""
    swaps: dict[int, list[Change]] = {}
    for one in covers:
        swaps.setdefault(one.number if one.swap is None else one.swap, []).append(one)
    for number in sorted(swaps):
        yield tuple(swaps[number])


def _covered(slot: Slot, covers: Iterable[Change], at_ms: int, zone: ZoneInfo) -> Slot:
    """A slot as its holder's cover leaves it."""
    for one in covers:
        if one.covered == slot.contact and _applies(one, slot, at_ms, zone):
            return slot._replace(contact=one.contact, by=(*slot.by, one))
    return slot


def _applies(cover: Change, slot: Slot, at_ms: int, zone: ZoneInfo) -> bool:
    if not cover.days:
        return cover.holds(at_ms)
    first, last = local(cover.from_ms, zone).date(), local(cover.until_ms - 1, zone).date()
    return first <= slot.day <= last


def _day_of(begin_ms: int, end_ms: int, at_ms: int, zone: ZoneInfo) -> date:
    """The day to which a duty belongs: that of its begin, or today if it lasts over a day."""
    return local(begin_ms if end_ms - begin_ms <= DAY_MS else at_ms, zone).date()


AS_PLANNED: Final = Duty()
"""Without changes."""
