"""An iCalendar file (RFC 5545) as duty: whose, when, and all that is wrong with it at once.

`read` may take long over a file that was made to hold it up: `rosterchild` gives it a process of
its own, with limits.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import icalendar
from dateutil import rrule
from icalendar.timezone import tzp

from cloud.alerts.dutychanges import DAY_MS, day_begins_ms, local
from cloud.alerts.plan import Plan
from cloud.alerts.roster import (
    AHEAD_MS,
    LONGEST_DUTY_MS,
    MOST_BYTES,
    MOST_DUTIES,
    MOST_EVENTS,
    Duties,
    Roster,
)
from cloud.alerts.rosterpeople import People, shown
from configs.loader import ConfigError, Fault
from configs.text import clean

CONTACT: Final = "X-SHUICHI-CONTACT"
AREA: Final = "X-SHUICHI-AREA"
"""Whose duty an event is, and where, in calendars that `rosterexport` has written."""
MEMBERS: Final = "X-SHUICHI-MEMBERS"
RANGE: Final = "X-SHUICHI-RANGE"
"""Whose windows such a calendar takes the place of, and from when to when."""

_MOST_FAULTS: Final = 100
_OLDEST: Final = 1990
_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_FINER: Final = ("BYHOUR", "BYMINUTE", "BYSECOND")
_MOST_REPEATS: Final = 20_000


class _Event(NamedTuple):
    """A VEVENT that is right by itself; `line` is that of its BEGIN. `zone` is None for a whole
    day."""

    line: int
    uid: str
    begin: datetime | date
    end: datetime | date
    item: Any
    people: tuple[tuple[str, str], ...]


class _Reading:
    def __init__(self, plan: Plan, now_ms: int, zone: ZoneInfo, source: str) -> None:
        self.plan = plan
        self.source = source
        self.now_ms = now_ms
        self.zone = zone
        self.people = People(plan)
        self.faults: list[Fault] = []
        self.left_out: dict[str, int] = {}
        self.duties: dict[tuple[str, str], set[tuple[int, int]]] = {}
        self.uids: dict[tuple[str, str], set[str]] = {}
        self.count = 0
        self.horizon_ms = now_ms + AHEAD_MS

    def fault(self, line: int, item: Any, problem: str) -> None:
        summary = clean(str(item.get("SUMMARY", "")), 40)
        where = f"line {line}, event {summary!r}" if summary else f"line {line}"
        self.faults.append(Fault(where, problem))

    def leave_out(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1


def read(content: bytes, plan: Plan, now_ms: int, source: str) -> Roster:
    """The duty that a calendar has of contacts of the plan. Raises ConfigError with all faults;
    `source` is the file's name, which stands in them and names a calendar without a name."""
    try:
        return _read(content, plan, now_ms, source)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        # The library expects people's calendars; what else it meets is no calendar of duty.
        reason = f"cannot be read as a calendar: {clean(str(error), 200)}"
        raise ConfigError(source, [Fault("", reason)]) from None


def _read(content: bytes, plan: Plan, now_ms: int, source: str) -> Roster:
    lines = _lines(content, source)
    tzp.use_default()  # forgets the time zones of other files
    try:
        calendars = icalendar.Calendar.from_ical(content, multiple=True)
    except ValueError as error:
        raise ConfigError(source, [Fault("", _unreadable(error, lines))]) from None
    calendars = [one for one in calendars if one.name == "VCALENDAR"]
    if not calendars:
        raise ConfigError(source, [Fault("", "is no calendar, or is cut off before its end")])
    reading = _Reading(plan, now_ms, _zone(calendars[0], plan), source)
    begins = iter(n for n, line in enumerate(lines, 1) if line.strip().upper() == "BEGIN:VEVENT")
    events: list[_Event] = []
    for calendar in calendars:
        for item in calendar.walk("VEVENT"):
            if (event := _event(reading, next(begins, 0), item)) is not None:
                events.append(event)
    for same in _by_uid(events):
        _expand(reading, same)
    if reading.faults:
        raise ConfigError(source, _bounded(reading.faults))
    return _roster(reading, calendars[0], source)


def _lines(content: bytes, source: str) -> list[str]:
    """The file by lines, if it is of a size that can be read."""
    if len(content) > MOST_BYTES:
        raise ConfigError(source, [Fault("", f"has more than {MOST_BYTES // 1024} KiB")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(source, [Fault(f"line {line}", "is not text in UTF-8")]) from None
    lines = re.split(r"\r\n|\n|\r", text)
    plain = [line.strip().upper() for line in lines]
    events = plain.count("BEGIN:VEVENT")
    if events > MOST_EVENTS:
        raise ConfigError(source, [Fault("", f"has {events} events, and may have {MOST_EVENTS}")])
    if faults := [*_zone_faults(plain)]:
        raise ConfigError(source, _bounded(faults))
    return lines


def _zone_faults(lines: Sequence[str]) -> Iterator[Fault]:
    """A time zone of the file's own changes its clock once or twice a year, or never."""
    inside = False
    for number, line in enumerate(lines, 1):
        if line in ("BEGIN:VTIMEZONE", "END:VTIMEZONE"):
            inside = line.startswith("BEGIN")
        rule = inside and line.startswith("RRULE")
        if rule and ("FREQ=YEARLY" not in line or any(one in line for one in _FINER)):
            yield Fault(f"line {number}", "a time zone whose clock changes more than once a year")


def _unreadable(error: ValueError, lines: Sequence[str]) -> str:
    text = str(error)
    for number, line in enumerate(lines, 1):
        if line.strip() and line.strip() in text:
            return f"line {number} is no line of a calendar: {clean(line.strip(), 60)!r}"
    return f"is no calendar: {clean(text, 200)}"


def _zone(calendar: Any, plan: Plan) -> ZoneInfo:
    """In which times without a zone are meant."""
    named = str(calendar.get("X-WR-TIMEZONE", ""))
    try:
        return ZoneInfo(named) if named else plan.zone
    except (ValueError, OSError, LookupError):
        return plan.zone


def _event(reading: _Reading, line: int, item: Any) -> _Event | None:
    """An event, None for one that does not count or is wrong."""
    if str(item.get("STATUS", "")).upper() == "CANCELLED" and "RECURRENCE-ID" not in item:
        reading.leave_out("cancelled")
        return None
    for name, problem in item.errors:
        reading.fault(line, item, f"{name} cannot be read: {clean(str(problem), 100)}")
    if item.errors:
        return None
    problem = _shape(item)
    if problem:
        reading.fault(line, item, problem)
        return None
    begin = item["DTSTART"].dt
    end = _end(item, begin)
    if isinstance(end, str):
        reading.fault(line, item, end)
        return None
    if not _OLDEST <= begin.year < 2200 or not _OLDEST <= end.year < 2200:
        reading.fault(line, item, f"is not between {_OLDEST} and 2199")
        return None
    event = _Event(line, str(item.get("UID", "")), begin, end, item, ())
    low, high = _moments(reading, event, begin)
    if high <= low:
        reading.fault(line, item, "ends before it begins, or at once")
        return None
    if high - low > LONGEST_DUTY_MS:
        reading.fault(line, item, f"lasts longer than {LONGEST_DUTY_MS // DAY_MS} days")
        return None
    if str(item.get("STATUS", "")).upper() == "CANCELLED":
        return event
    try:
        people = _people(reading, item)
    except ValueError as error:
        reading.fault(line, item, str(error))
        return None
    return event._replace(people=people)


def _shape(item: Any) -> str:
    """What of an event we do not follow, "" for nothing."""
    for name in ("DTSTART", "DTEND", "DURATION", "RRULE", "RECURRENCE-ID", "SUMMARY", "STATUS"):
        if isinstance(item.get(name), list):
            return f"has {name} more than once"
    if "DTSTART" not in item:
        return "has no DTSTART"
    for name in ("DTSTART", "DTEND", "RECURRENCE-ID"):
        if name in item and (zone := _unknown_zone(item[name])):
            return f"{name}: the time zone {clean(zone, 60)!r} is not known"
    if "EXRULE" in item:
        return "EXRULE is not followed: use EXDATE"
    if "RECURRENCE-ID" in item:
        if item["RECURRENCE-ID"].params.get("RANGE"):
            return "RECURRENCE-ID with RANGE is not followed: write the rule anew from there"
        if "RRULE" in item or "RDATE" in item:
            return "has RECURRENCE-ID, and repeats"
    for one in _dates(item, "RDATE"):
        if not isinstance(one, date):
            return "RDATE with periods is not followed: use events of their own"
    if "RRULE" in item:
        rule = item["RRULE"]
        frequency = [str(one).upper() for one in rule.get("FREQ", [])]
        if frequency and frequency[0] not in _FREQUENCIES:
            return f"FREQ={frequency[0]}: duty repeats by days, weeks, months or years"
        finer = next((one for one in _FINER if one in rule), "")
        if finer:
            return f"{finer}: duty repeats by days, weeks, months or years"
        if not frequency:
            return "RRULE has no FREQ"
    return ""


def _unknown_zone(value: Any) -> str:
    """The name of a zone that neither we nor the file know, "" for none."""
    named = str(value.params.get("TZID", ""))
    unknown = isinstance(value.dt, datetime) and value.dt.tzinfo is None
    return named if unknown else ""


def _end(item: Any, begin: datetime | date) -> datetime | date | str:
    """When it ends, or what is wrong."""
    if "DTEND" in item:
        end: datetime | date = item["DTEND"].dt
        if isinstance(end, datetime) is not isinstance(begin, datetime):
            return "DTSTART and DTEND are not both days or both times"
        return end
    if "DURATION" in item:
        length = item["DURATION"].dt
        if not isinstance(length, timedelta) or length > timedelta(days=366):
            return "DURATION is not a duration of at most a year"
        return begin + length
    return "has no end" if isinstance(begin, datetime) else begin + timedelta(days=1)


def _people(reading: _Reading, item: Any) -> tuple[tuple[str, str], ...]:
    """Contacts and the areas for which they are on duty. Raises ValueError."""
    plan, people = reading.plan, reading.people
    if CONTACT in item:
        name = str(item[CONTACT])
        found = [people.by_id(name)] if people.by_id(name) else []
        said = [name]
    else:
        found, said = _attending(people, item)
        summary = str(item.get("SUMMARY", ""))
        if not found:
            found, said = people.in_words(summary), [*said, summary]
    if not found:
        named = shown(one for one in said if one)
        raise ValueError(f"names nobody of the plan: {named}" if named else "names nobody")
    area = str(item.get(AREA, ""))
    if area and area not in plan.area:
        raise ValueError(f"{clean(area, 60)!r} is no area of the plan")
    return tuple((one, area or plan.contact[one].area) for one in dict.fromkeys(found))


def _attending(people: People, item: Any) -> tuple[list[str], list[str]]:
    """The contacts among those who attend, and what all of them are called."""
    attending = item.get("ATTENDEE", [])
    found: list[str] = []
    said: list[str] = []
    for one in attending if isinstance(attending, list) else [attending]:
        if str(one.params.get("PARTSTAT", "")).upper() == "DECLINED":
            continue
        name = str(one.params.get("CN", "")).strip('" ')
        said.append(name or str(one))
        found += people.by_mail(str(one)) or (people.by_name(name) if name else [])
    return found, said


def _dates(item: Any, name: str) -> Iterator[Any]:
    lists = item.get(name, [])
    for some in lists if isinstance(lists, list) else [lists]:
        yield from (one.dt for one in some.dts)


def _by_uid(events: Iterable[_Event]) -> Iterable[list[_Event]]:
    """Events that belong together: one with its exceptions."""
    found: dict[str, list[_Event]] = {}
    for number, one in enumerate(events):
        found.setdefault(one.uid or f"\0{number}", []).append(one)
    return found.values()


def _expand(reading: _Reading, same: Sequence[_Event]) -> None:
    """Each time of an event, with those that were moved or cancelled."""
    moved = [one for one in same if "RECURRENCE-ID" in one.item]
    taken = {_mark(reading, one.item["RECURRENCE-ID"].dt) for one in moved}
    newest = max((_sequence(one) for one in same if one not in moved), default=0)
    for event in same:
        if event in moved:
            if event.people:
                _add(reading, event, event.begin)
            else:
                reading.leave_out("cancelled")
            continue
        if _sequence(event) < newest:
            reading.leave_out("replaced by a later SEQUENCE")
            continue
        without = taken | {_mark(reading, one) for one in _dates(event.item, "EXDATE")}
        try:
            for begin in _begins(reading, event):
                if _mark(reading, begin) not in without and _day(begin) not in without:
                    _add(reading, event, begin)
        except ValueError as error:
            problem = f"RRULE cannot be followed: {clean(str(error), 100)}"
            reading.fault(event.line, event.item, problem)


def _sequence(event: _Event) -> int:
    number = event.item.get("SEQUENCE", 0)
    return int(number) if not isinstance(number, list) else 0


def _begins(reading: _Reading, event: _Event) -> Iterator[datetime | date]:
    """When it begins, each time: by the clock of its zone, as windows of a plan do."""
    yield event.begin
    seen = {_mark(reading, event.begin)}
    zone = event.begin.tzinfo if isinstance(event.begin, datetime) else None
    whole = not isinstance(event.begin, datetime)
    if "RRULE" in event.item:
        rule = event.item["RRULE"]
        first = _wall(event.begin)
        until = _until(rule, zone or reading.zone)
        kept = {key: value for key, value in rule.items() if key.upper() != "UNTIL"}
        recur: Any = icalendar.vRecur(kept)
        text = recur.to_ical().decode()
        last = local(reading.horizon_ms, reading.zone).replace(tzinfo=None) + timedelta(days=1)
        for wall in islice(rrule.rrulestr(text, dtstart=first), _MOST_REPEATS):
            if wall > last or (until is not None and wall > until):
                break
            begin = wall.date() if whole else wall.replace(tzinfo=zone)
            if (mark := _mark(reading, begin)) not in seen:
                seen.add(mark)
                yield begin
    for one in _dates(event.item, "RDATE"):
        if isinstance(one, datetime) is whole:
            raise ValueError("RDATE and DTSTART are not both days or both times")
        if (mark := _mark(reading, one)) not in seen:
            seen.add(mark)
            yield one


def _until(rule: Mapping[str, Any], zone: tzinfo) -> datetime | None:
    """The last begin of a rule by the clock of the event's zone, None for no end."""
    given = next(iter(rule.get("UNTIL", [])), None)
    if given is None:
        return None
    if not isinstance(given, datetime):
        return datetime.combine(given, time.max)
    if given.tzinfo is not None:
        given = given.astimezone(zone)
    return given.replace(tzinfo=None)


def _wall(one: datetime | date) -> datetime:
    if isinstance(one, datetime):
        return one.replace(tzinfo=None)
    return datetime.combine(one, time.min)


def _day(begin: datetime | date) -> str:
    """What an EXDATE of a whole day takes out, though the event has times."""
    return f"{begin:%Y-%m-%d}"


def _mark(reading: _Reading, one: datetime | date) -> int | str:
    """What tells one time of an event from another."""
    return _ms(reading, one) if isinstance(one, datetime) else _day(one)


def _ms(reading: _Reading, one: datetime) -> int:
    moment = one.replace(tzinfo=reading.zone) if one.tzinfo is None else one
    return round(moment.astimezone(UTC).timestamp()) * 1000


def _moments(reading: _Reading, event: _Event, begin: datetime | date) -> tuple[int, int]:
    """From and until, for the time of an event that begins so."""
    if not isinstance(begin, datetime):
        assert not isinstance(event.begin, datetime)
        length = _wall(event.end) - _wall(event.begin)
        day_after = begin + timedelta(days=length.days)
        return day_begins_ms(begin, reading.zone), day_begins_ms(day_after, reading.zone)
    assert isinstance(event.begin, datetime)
    assert isinstance(event.end, datetime)
    if event.begin.tzinfo == event.end.tzinfo:  # it ends at the same time of day, each time
        end = begin + (_wall(event.end) - _wall(event.begin))
    else:
        end = begin.astimezone(UTC) + (event.end - event.begin)
    return _ms(reading, begin), _ms(reading, end)


def _add(reading: _Reading, event: _Event, begin: datetime | date) -> None:
    low, high = _moments(reading, event, begin)
    if high <= reading.now_ms:
        reading.leave_out("over already")
        return
    if low >= reading.horizon_ms:
        reading.leave_out(f"more than {AHEAD_MS // DAY_MS} days ahead")
        return
    for key in event.people:
        reading.count += 1
        if reading.count > MOST_DUTIES:
            raise ConfigError(reading.source, [Fault("", f"gives more than {MOST_DUTIES} duties")])
        reading.duties.setdefault(key, set()).add((low, high))
        if event.uid:
            # Kept short: it only has to be told from others.
            uid = hashlib.sha256(event.uid.encode()).hexdigest()[:16]
            reading.uids.setdefault(key, set()).add(uid)


def _roster(reading: _Reading, calendar: Any, source: str) -> Roster:
    plan = reading.plan
    for name in filter(None, str(calendar.get(MEMBERS, "")).split(" ")):
        if key := reading.people.by_id(name):
            reading.duties.setdefault((key, plan.contact[key].area), set())
    spans = [span for some in reading.duties.values() for span in some]
    if not spans:
        raise ConfigError(source, [Fault("", f"has no duty from now on{_left_out(reading)}")])
    today_ms = day_begins_ms(local(reading.now_ms, plan.zone).date(), plan.zone)
    low = max(today_ms, min(begin for begin, _ in spans))
    high = max(end for _, end in spans)
    found = re.fullmatch(r"(\d{1,14})/(\d{1,14})", str(calendar.get(RANGE, "")))
    if found:
        low = max(today_ms, min(low, int(found[1])))
        high = min(max(high, int(found[2])), reading.horizon_ms)
    duties = tuple(
        Duties(
            contact,
            area,
            tuple(sorted(some)),
            tuple(sorted(reading.uids.get((contact, area), ()))),
        )
        for (contact, area), some in sorted(reading.duties.items())
    )
    notes = tuple(f"{count} {why}" for why, count in sorted(reading.left_out.items()))
    return Roster(_name(calendar, source), low, high, duties, notes)


def _name(calendar: Any, source: str) -> str:
    for key in ("X-WR-CALNAME", "NAME", "UID"):
        if name := clean(str(calendar.get(key, "")).strip(), 80):
            return name
    return clean(source, 80) or "calendar"


def _left_out(reading: _Reading) -> str:
    said = [f"{count} {why}" for why, count in sorted(reading.left_out.items())]
    return f": {', '.join(said)}" if said else ""


def _bounded(faults: list[Fault]) -> list[Fault]:
    more = len(faults) - _MOST_FAULTS
    return [*faults[:_MOST_FAULTS], Fault("", f"and {more} faults more")] if more > 0 else faults
