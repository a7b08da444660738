"""Times of duty as people write them, in the time zone of the plan. Pure; all raise ValueError."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cloud.alerts.dutychanges import DAY_MS, day_begins_ms, local

LONGEST_MS: Final = 732 * DAY_MS
"""A change may end so far ahead."""

_SPAN: Final = re.compile(r"\+(\d{1,6})(min|h|d)")
_SPANS_MS: Final = {"min": 60_000, "h": 3_600_000, "d": DAY_MS}
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

FORMS: Final = "2026-07-01 20:00, 2026-07-01, 20:00 or +12h"


def begin(text: str, zone: ZoneInfo, now_ms: int) -> int:
    """When a change begins (UTC, ms): `FORMS`; "" is now. A day begins at midnight, a time of day
    is the next one."""
    if not text:
        return now_ms
    return _moment(text, zone, now_ms, ends=False)


def end(text: str, zone: ZoneInfo, begin_ms: int) -> int:
    """When a change ends, the first moment after it: `FORMS`. A day is meant as a whole; a time of
    day is the next one after `begin_ms`, a span counts from there."""
    return _moment(text, zone, begin_ms, ends=True)


def days(text: str, zone: ZoneInfo) -> tuple[int, int]:
    """The first moment of `2026-07-03`, or of `2026-07-03..2026-07-05`, and the first after it."""
    first, dots, last = text.partition("..")
    begins, ends = _day(first), _day(last if dots else first)
    if ends < begins:
        raise ValueError(f"{text!r} ends before it begins")
    return day_begins_ms(begins, zone), day_begins_ms(ends + timedelta(days=1), zone)


def shown(at_ms: int, zone: ZoneInfo) -> str:
    """`2026-07-01 20:00`; where the clock shows that twice, with what it is ahead of UTC."""
    moment = local(at_ms, zone)
    twice = moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
    return f"{moment:%Y-%m-%d %H:%M%z}" if twice else f"{moment:%Y-%m-%d %H:%M}"


def _moment(text: str, zone: ZoneInfo, from_ms: int, *, ends: bool) -> int:
    if found := _SPAN.fullmatch(text):
        return _sane(from_ms + int(found[1]) * _SPANS_MS[found[2]], text)
    if found := _CLOCK.fullmatch(text):
        return _next(int(found[1]), int(found[2]), zone, from_ms, after=ends)
    if _DAY.fullmatch(text):
        return day_begins_ms(_day(text) + timedelta(days=int(ends)), zone)
    day, _, clock = text.replace("T", " ").partition(" ")
    if ends and clock == "24:00":
        return day_begins_ms(_day(day) + timedelta(days=1), zone)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as {FORMS}") from None
    if moment.tzinfo is None:
        # Of an hour that comes twice both belong to it.
        moment = moment.replace(tzinfo=zone, fold=int(ends))
    if not 2000 <= moment.year < 2200:
        raise ValueError(f"{text!r} is not between 2000 and 2199")
    return _sane(round(moment.astimezone(UTC).timestamp()) * 1000, text)


def _next(hour: int, minute: int, zone: ZoneInfo, from_ms: int, *, after: bool) -> int:
    """The next moment at which the clock shows this; `after`: not `from_ms` itself."""
    day = local(from_ms, zone).date()
    for ahead in range(3):
        there = day + timedelta(days=ahead)
        for fold in (0, 1):
            wall = datetime(
                there.year, there.month, there.day, hour, minute, tzinfo=zone, fold=fold
            )
            at_ms = round(wall.timestamp()) * 1000
            # A begin of "20:00" at 20:00:30 is this minute.
            if at_ms > from_ms if after else at_ms > from_ms - 60_000:
                return at_ms
    raise AssertionError("unreachable: a clock shows each time of day within three days")


def _day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date such as 2026-07-03") from None
    if not 2000 <= found.year < 2200:
        raise ValueError(f"{text!r} is not between 2000 and 2199")
    return found


def _sane(at_ms: int, text: str) -> int:
    if at_ms >= 7_258_118_400_000:
        raise ValueError(f"{text!r} is too far ahead")
    return at_ms
