"""When a person is on duty: weekly windows of local time, with exceptions by date. Pure.

A window reads `Mon-Fri 08:00-18:00`, `Sat,Sun 20:00-08:00` (over midnight) or `daily 00:00-24:00`.
One that passes midnight belongs to the day on which it begins, on an exceptional date as well.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Final, NamedTuple

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY: Final = 1440
"""Minutes."""

_SPAN: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))")


class Span(NamedTuple):
    """From a minute of the day, for so many minutes, at most 24 h."""

    start: int
    length: int


@cache
def span(text: str) -> Span:
    """The time of `08:00-18:00`. Raises ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time such as 08:00-18:00")
    hours, minutes, *ends = (int(part) for part in found.groups() if part is not None)
    start, end = 60 * hours + minutes, 60 * ends[0] + ends[1]
    return Span(start, end - start if end > start else end + DAY - start)


@cache
def weekly(text: str) -> tuple[tuple[int, Span], ...]:
    """Day of the week (Monday is 0) and time, for each day of a window. Raises ValueError."""
    days, _, times = text.partition(" ")
    time = span(times)
    if days == "daily":
        return tuple((day, time) for day in range(7))
    found: dict[int, None] = {}
    for part in days.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(
                f"{text!r} is not a window such as 'Mon-Fri 08:00-18:00', 'Sat,Sun 20:00-08:00' "
                "or 'daily 00:00-24:00'"
            )
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= dict.fromkeys(day % 7 for day in range(begin, end + (7 if end < begin else 0) + 1))
    return tuple((day, time) for day in found)


class Shift(NamedTuple):
    """Windows, and for exceptional dates the times that hold in their place."""

    windows: Sequence[str]
    on: Mapping[date, Sequence[str]] = {}

    def begins(self, day: date) -> Iterable[Span]:
        """The times that begin on a day."""
        if day in self.on:
            return [span(text) for text in self.on[day]]
        return [
            time
            for window in self.windows
            for weekday, time in weekly(window)
            if weekday == day.weekday()
        ]


ALWAYS: Final = Shift(("daily 00:00-24:00",))


def on_duty(shifts: Iterable[Shift], away: frozenset[date], moment: datetime) -> bool:
    """Whether somebody with these shifts is on duty at a local time; on the dates in `away` no
    duty of theirs begins."""
    minute = 60 * moment.hour + moment.minute
    today = moment.date()
    for day, passed in ((today, minute), (today - timedelta(days=1), minute + DAY)):
        if day in away:
            continue
        for shift in shifts:
            for time in shift.begins(day):
                if time.start <= passed < time.start + time.length:
                    return True
    return False


def uncovered(people: Sequence[tuple[Sequence[Shift], frozenset[date]]], day: date) -> list[str]:
    """The parts of a day on which none of the people is on duty, as `08:00-09:30`."""
    covered = bytearray(DAY)
    for shifts, away in people:
        for begin, offset in ((day, 0), (day - timedelta(days=1), DAY)):
            if begin in away:
                continue
            for shift in shifts:
                for time in shift.begins(begin):
                    first = max(0, time.start - offset)
                    last = min(DAY, time.start + time.length - offset)
                    if last > first:
                        covered[first:last] = b"\1" * (last - first)
    gaps, start = [], None
    for minute, taken in enumerate((*covered, 1)):
        if not taken and start is None:
            start = minute
        elif taken and start is not None:
            gaps.append(f"{_clock(start)}-{_clock(minute)}")
            start = None
    return gaps


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
