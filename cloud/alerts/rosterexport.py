"""Duty as an iCalendar file (RFC 5545) for calendar programs. Pure.

Times are in UTC, which needs no time zone in the file. The properties that begin with X-SHUICHI let
an import have the same duty back, for whichever people and areas.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import icalendar

from cloud.alerts import dutyhours
from cloud.alerts.dutychanges import DAY_MS, Duty
from cloud.alerts.dutytimes import LONGEST_MS
from cloud.alerts.dutyviews import Wanted
from cloud.alerts.dutywords import why
from cloud.alerts.plan import Plan
from cloud.alerts.roster import MOST_DUTIES
from cloud.alerts.rosterfile import AREA, CONTACT, MEMBERS, RANGE
from configs.loader import UserError

_MOST_MOMENTS: Final = 10_000
"""At which duty changes, within a calendar."""


class _Shift(NamedTuple):
    contact: str
    area: str
    begin_ms: int
    end_ms: int
    why: str


def calendar(plan: Plan, duty: Duty, wanted: Wanted) -> bytes:
    """The duty that is wanted, an event for each. Raises UserError if it is too much."""
    if wanted.until_ms <= wanted.from_ms:
        raise UserError("the calendar would end before it begins")
    if wanted.until_ms - wanted.from_ms > LONGEST_MS:
        raise UserError(f"a calendar has at most {LONGEST_MS // DAY_MS} days")
    areas = [wanted.area] if wanted.area else duty.areas_of(plan, wanted.contact)
    span = (wanted.from_ms, wanted.until_ms)
    for area in areas:
        if dutyhours.looked_at_until(plan, duty, area, span, _MOST_MOMENTS) < wanted.until_ms:
            raise UserError("duty changes too often for a calendar of that time: ask for less")
    shifts: list[_Shift] = []
    for area in areas:
        for one in _shifts(plan, duty, area, wanted.from_ms, wanted.until_ms):
            if wanted.contact in ("", one.contact):
                shifts.append(one)
                if len(shifts) > MOST_DUTIES:
                    raise UserError(f"a calendar has at most {MOST_DUTIES} duties: ask for less")
    return _written(plan, wanted, sorted(shifts, key=lambda one: (one.begin_ms, one.contact)))


def _shifts(plan: Plan, duty: Duty, area: str, from_ms: int, until_ms: int) -> Iterator[_Shift]:
    """Each duty as a whole: the slots of a contact that begin on one day and touch."""
    open_: dict[tuple[str, object], _Shift] = {}
    for stretch in dutyhours.stretches(plan, duty, area, from_ms, until_ms):
        now: dict[tuple[str, object], _Shift] = {}
        for slot in stretch.slots:
            key = (slot.contact, slot.day)
            known = now.get(key) or open_.get(key)
            begin_ms = stretch.from_ms if known is None else known.begin_ms
            # That somebody is ill is nothing for a calendar that many read.
            reason = why(plan, slot, area, in_full=False) if known is None else known.why
            now[key] = _Shift(slot.contact, area, begin_ms, stretch.until_ms, reason)
        yield from (one for key, one in open_.items() if key not in now)
        open_ = now
    yield from open_.values()


def _written(plan: Plan, wanted: Wanted, shifts: Iterable[_Shift]) -> bytes:
    name = plan.contact[wanted.contact].name if wanted.contact else plan.area[wanted.area].name
    members: Sequence[str] = [wanted.contact] if wanted.contact else plan.members(wanted.area)
    made = icalendar.Calendar()
    for key, value in (
        ("VERSION", "2.0"),
        ("PRODID", "-//Shuichi//duty//EN"),
        ("CALSCALE", "GREGORIAN"),
        ("METHOD", "PUBLISH"),
        ("X-WR-CALNAME", f"{plan.title}: {name}"),
        ("X-WR-TIMEZONE", plan.timezone),
        (MEMBERS, " ".join(members)),
        (RANGE, f"{wanted.from_ms}/{wanted.until_ms}"),
    ):
        made.add(key, value)
    made.add("REFRESH-INTERVAL", timedelta(hours=1), parameters={"VALUE": "DURATION"})
    for one in shifts:
        made.add_component(_event(plan, one))
    content: bytes = made.to_ical()
    return content


def _event(plan: Plan, one: _Shift) -> icalendar.Event:
    event = icalendar.Event()
    key = f"{one.contact}/{one.area}/{one.begin_ms}"
    event.add("UID", f"{hashlib.sha256(key.encode()).hexdigest()[:32]}@shuichi")
    # When a duty is published does not matter; a file that does not change has the same bytes.
    event.add("DTSTAMP", _moment(one.begin_ms))
    event.add("DTSTART", _moment(one.begin_ms))
    event.add("DTEND", _moment(one.end_ms))
    event.add("SUMMARY", f"{plan.contact[one.contact].name}, {plan.area[one.area].name}")
    event.add("DESCRIPTION", one.why)
    event.add("TRANSP", "TRANSPARENT")
    event.add(CONTACT, one.contact)
    event.add(AREA, one.area)
    return event


def _moment(at_ms: int) -> datetime:
    """iCalendar counts whole seconds."""
    return datetime.fromtimestamp(at_ms // 1000, UTC)
