"""What people change of duty: absence, cover, swap, removal, and the duty of an imported calendar.
In the dispatch's transactions. Raises UserError for what cannot be."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from cloud.alerts import dutystore, dutytimes, dutywords
from cloud.alerts.byhand import Who, Words
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.dutychanges import Change, Duty, Kind
from cloud.alerts.plan import Plan
from configs.loader import UserError, suggest
from configs.text import clean

Id = Annotated[str, Meta(max_length=80)]
Time = Annotated[str, Meta(max_length=40)]


class Absence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A contact is away. Times as in `dutytimes`."""

    contact: Id
    begin: Time = msgspec.field(name="from", default="")
    until: Time
    by: Who
    said: Words = ""


class Cover(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A contact takes the duty of another, or is on duty for an area, beside those who are or
    (`instead`) in their place. `on` are days on which the duty begins, in place of times."""

    contact: Id
    covered: Id = msgspec.field(name="for", default="")
    area: Id = ""
    instead: bool = False
    begin: Time = msgspec.field(name="from", default="")
    until: Time = ""
    on: Time = ""
    by: Who
    said: Words = ""


class Swap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Two contacts take each other's duty."""

    first: Id
    second: Id
    begin: Time = msgspec.field(name="from", default="")
    until: Time = ""
    on: Time = ""
    by: Who
    said: Words = ""


class Remove(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change counts no more."""

    number: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    by: Who


class Made(msgspec.Struct, frozen=True):
    """What was changed, a line for each change, what follows from it, and their numbers."""

    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """Who asks, and when (UTC, ms). `how` is the way it came."""

    how: str
    now_ms: int


class Drawn(msgspec.Struct, frozen=True):
    """Changes that are to be made, and what the plan and all others were: for `consequences`,
    which take a while and want no transaction."""

    plan: Plan
    before: Duty
    made: tuple[Change, ...]
    removed: tuple[Change, ...] = ()
    now_ms: int = 0

    def told(self) -> Made:
        """What came of it, in words."""
        lines = [
            *(f"{one.number}: {dutywords.described(self.plan, one)}" for one in self.made),
            *(f"{one.number} is removed" for one in self.removed),
        ]
        notes = dutywords.consequences(self.plan, self.before, self.made, self.removed, self.now_ms)
        numbers = tuple(one.number for one in (*self.made, *self.removed))
        return Made(tuple(lines), tuple(notes), numbers)


def absence(dispatch: Dispatch, connection: Connection, given: Absence, asked: Asked) -> Drawn:
    """Whoever is absent is not called, but if nobody else is left."""
    plan = dispatch.plan
    begin_ms, until_ms, _ = _times(plan, given.begin, given.until, "", asked.now_ms)
    who = person(plan, given.contact)
    change = _new(Kind.ABSENCE, who, begin_ms, until_ms, given, asked)
    return _make(dispatch, connection, [change], asked.now_ms)


def cover(dispatch: Dispatch, connection: Connection, given: Cover, asked: Asked) -> Drawn:
    """Somebody takes a duty of somebody else, or one more of an area."""
    plan = dispatch.plan
    if bool(given.covered) == bool(given.area):
        raise UserError("give whom or which area is covered: a contact, or an area")
    if given.area and given.on:
        raise UserError("days are for the duty of a contact: give an area's cover from and until")
    if given.instead and not given.area:
        raise UserError("in place of those on duty is for an area")
    begin_ms, until_ms, days = _times(plan, given.begin, given.until, given.on, asked.now_ms)
    who = person(plan, given.contact)
    change = _new(Kind.COVER, who, begin_ms, until_ms, given, asked)
    if given.covered:
        covered = person(plan, given.covered)
        if covered == who:
            raise UserError(f"{who!r} cannot cover themselves")
        change = msgspec.structs.replace(change, covered=covered, days=days)
    else:
        change = msgspec.structs.replace(change, area=area(plan, given.area), instead=given.instead)
    return _make(dispatch, connection, [change], asked.now_ms)


def swap(dispatch: Dispatch, connection: Connection, given: Swap, asked: Asked) -> Drawn:
    """Two covers at once."""
    plan = dispatch.plan
    begin_ms, until_ms, days = _times(plan, given.begin, given.until, given.on, asked.now_ms)
    first, second = person(plan, given.first), person(plan, given.second)
    if first == second:
        raise UserError(f"{first!r} cannot swap with themselves")
    covers = [
        msgspec.structs.replace(
            _new(Kind.COVER, who, begin_ms, until_ms, given, asked),
            covered=whom,
            days=days,
            swap=0,
        )
        for who, whom in ((first, second), (second, first))
    ]
    return _make(dispatch, connection, covers, asked.now_ms)


def remove(dispatch: Dispatch, connection: Connection, given: Remove, asked: Asked) -> Drawn:
    """Both halves of a swap go together. The record stays."""
    dispatch.begin(connection)
    one = dutystore.of(connection, given.number)
    if one is None:
        raise UserError(f"there is no change {given.number}: see `shuichi duty list`")
    if one.removed_ms is not None:
        raise UserError(f"change {given.number} was removed already")
    if one.ends_ms <= asked.now_ms:
        raise UserError(f"change {given.number} is over, and stays for the record")
    before = dutystore.read(connection, asked.now_ms)
    gone = [
        other
        for other in before
        if other.number == one.number or (one.swap is not None and other.swap == one.swap)
    ]
    by = f"{clean(given.by, 80)} ({asked.how})"
    for other in gone:
        dutystore.remove(connection, other, by, asked.now_ms)
    return Drawn(dispatch.plan, Duty(before), (), tuple(gone), asked.now_ms)


def _new(
    kind: Kind, contact: str, begin_ms: int, until_ms: int, given: Any, asked: Asked
) -> Change:
    return Change(
        number=0,
        kind=kind,
        contact=contact,
        from_ms=begin_ms,
        until_ms=until_ms,
        by=clean(given.by, 80),
        how=asked.how,
        said=clean(given.said),
        made_ms=asked.now_ms,
    )


def _make(
    dispatch: Dispatch, connection: Connection, changes: Sequence[Change], now_ms: int
) -> Drawn:
    """Keep new changes, unless they are there already or there are too many."""
    dispatch.begin(connection)
    before = dutystore.read(connection, now_ms)
    if dutystore.count(connection, now_ms) + len(changes) > dutystore.MOST_AT_ONCE:
        raise UserError(
            f"{dutystore.MOST_AT_ONCE} changes are in force or planned: remove some first"
        )
    same = {_content(one): one.number for one in before}
    if found := [same[_content(one)] for one in changes if _content(one) in same]:
        raise UserError(f"that is change {found[0]} already")
    made = numbered(changes, dutystore.next_number(connection))
    dutystore.add(connection, made)
    return Drawn(dispatch.plan, Duty(before), tuple(made), (), now_ms)


def numbered(changes: Iterable[Change], first: int) -> list[Change]:
    """New changes with their numbers; those of a swap know the first of them."""
    return [
        msgspec.structs.replace(one, number=first + place, swap=None if one.swap is None else first)
        for place, one in enumerate(changes)
    ]


def _content(one: Change) -> tuple[object, ...]:
    """What makes two changes the same."""
    return (
        *(one.kind, one.contact, one.from_ms, one.until_ms, one.area, one.covered),
        *(one.instead, one.days, one.swap is None),
    )


def _times(plan: Plan, begin: str, until: str, on: str, now_ms: int) -> tuple[int, int, bool]:
    """From, until, and whether they are days on which duty begins."""
    zone = plan.zone
    try:
        if on:
            if begin or until:
                raise UserError("give either days, or from and until")
            begin_ms, until_ms = dutytimes.days(on, zone)
        elif not until:
            raise UserError("say until when: nobody is away, or covers, for ever")
        else:
            begin_ms = dutytimes.begin(begin, zone, now_ms)
            until_ms = dutytimes.end(until, zone, begin_ms)
    except ValueError as error:
        raise UserError(str(error)) from None
    if until_ms <= begin_ms:
        end, start = dutytimes.shown(until_ms, zone), dutytimes.shown(begin_ms, zone)
        raise UserError(f"it would end at {end}, and begin only at {start}")
    if until_ms <= now_ms:
        raise UserError(f"it was over at {dutytimes.shown(until_ms, zone)} ({plan.timezone})")
    if until_ms > now_ms + dutytimes.LONGEST_MS:
        raise UserError(f"it would end at {dutytimes.shown(until_ms, zone)}: more than two years")
    return begin_ms, until_ms, bool(on)


def person(plan: Plan, text: str) -> str:
    """The contact of an id, or of a name that only one has."""
    people = {name: one for name, one in plan.contact.items() if not one.public}
    found = _one_of(
        "contact", text, {name: (one.name, one.name_en) for name, one in people.items()}
    )
    if found:
        return found
    if text in plan.contact:
        raise UserError(f"{text!r} is a loudspeaker or a board, and never on duty")
    raise UserError(f"{text!r} is no contact of the plan{suggest(text, people)}")


def area(plan: Plan, text: str) -> str:
    found = _one_of("area", text, {key: (one.name, one.name_en) for key, one in plan.area.items()})
    if found:
        return found
    raise UserError(f"{text!r} is no area of the plan{suggest(text, plan.area)}")


def _one_of(kind: str, text: str, names: Mapping[str, tuple[str, str]]) -> str:
    """The key that is meant, "" for none."""
    if text in names:
        return text
    found = [key for key, named in names.items() if text.strip() and text.strip() in named]
    if len(found) > 1:
        raise UserError(f"{text!r} is the name of more than one {kind}: {', '.join(found)}")
    return found[0] if found else ""


LONGEST_LIST: Final = 1000
"""Changes that are listed at most, the newest."""
