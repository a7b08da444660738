"""Who is on duty over a time, in stretches during which nothing changes. Pure."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cloud.alerts.duty import DAY
from cloud.alerts.dutychanges import DAY_MS, Duty, Slot, day_begins_ms, local
from cloud.alerts.plan import Plan


class Stretch(NamedTuple):
    """From a moment to another (UTC, ms) these are on duty."""

    from_ms: int
    until_ms: int
    slots: tuple[Slot, ...]


def stretches(plan: Plan, duty: Duty, area: str, from_ms: int, until_ms: int) -> Iterator[Stretch]:
    """An area's duty between two moments, in order and without a hole."""
    begin_ms, slots = from_ms, duty.slots(plan, area, from_ms)
    for at_ms in _moments(plan, duty, area, from_ms, until_ms):
        now = duty.slots(plan, area, at_ms)
        if now != slots:
            yield Stretch(begin_ms, at_ms, slots)
            begin_ms, slots = at_ms, now
    yield Stretch(begin_ms, until_ms, slots)


def looked_at_until(plan: Plan, duty: Duty, area: str, span: tuple[int, int], most: int) -> int:
    """How far one may look within `span` if who is on duty may change `most` times at most."""
    moments = _moments(plan, duty, area, *span)
    return moments[most] if len(moments) > most else span[1]


def gaps(
    plan: Plan, duty: Duty, area: str, from_ms: int, until_ms: int
) -> tuple[tuple[int, int], ...]:
    """When nobody is on duty in an area."""
    found: list[tuple[int, int]] = []
    for one in stretches(plan, duty, area, from_ms, until_ms):
        if not one.slots:
            if found and found[-1][1] == one.from_ms:
                found[-1] = (found[-1][0], one.until_ms)
            else:
                found.append((one.from_ms, one.until_ms))
    return tuple(found)


def _moments(plan: Plan, duty: Duty, area: str, from_ms: int, until_ms: int) -> list[int]:
    """When who is on duty may change, after `from_ms` and before `until_ms`, in order."""
    zone = plan.zone
    first, last = local(from_ms, zone).date(), local(until_ms, zone).date()
    days = [first + timedelta(days=n) for n in range(-1, (last - first).days + 1)]
    found = {day_begins_ms(day, zone) for day in days}
    for day in days:
        found.update(_clock_changes(day, zone))
        for contact in plan.members(area):
            for shift in plan.shifts(contact)[0]:
                for begin, length in shift.begins(day):
                    found.update(_at(day, begin, zone))
                    found.update(_at(day, begin + length, zone))
    for change in duty.changes:
        found |= {change.from_ms, change.until_ms}
        if change.area == area:
            for span in change.spans:
                found.update(span)
    return sorted(at_ms for at_ms in found if from_ms < at_ms < until_ms)


def _at(day: date, minute: int, zone: ZoneInfo) -> Iterable[int]:
    """The moments at which clocks show a minute of a day; two where they are put back over it."""
    day += timedelta(days=minute // DAY)
    wall = datetime(day.year, day.month, day.day, minute % DAY // 60, minute % 60, tzinfo=zone)
    return {round(wall.replace(fold=fold).timestamp()) * 1000 for fold in (0, 1)}


def _clock_changes(day: date, zone: ZoneInfo) -> Iterable[int]:
    """When the clock is put on or back on a local day."""
    low, high = day_begins_ms(day, zone), day_begins_ms(day + timedelta(days=1), zone)
    if high - low == DAY_MS:
        return ()
    before = local(low, zone).utcoffset()
    low, high = low // 60_000, high // 60_000
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle * 60, UTC).astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return (high * 60_000,)
