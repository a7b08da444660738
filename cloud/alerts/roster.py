"""The duty of an imported calendar, as `rosterfile` reads it and `rosterorders` keeps it. Pure."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from cloud.alerts.dutychanges import DAY_MS

MOST_BYTES: Final = 1024 * 1024
MOST_EVENTS: Final = 5000
"""In a file."""
MOST_DUTIES: Final = 20_000
"""That come of it, repeated ones each for itself."""
LONGEST_DUTY_MS: Final = 31 * DAY_MS
AHEAD_MS: Final = 400 * DAY_MS
"""What repeats is followed so far ahead: import again before then."""

Moment = Annotated[int, Meta(ge=0, lt=7_258_118_400_000)]
Id = Annotated[str, Meta(min_length=1, max_length=80)]


class Duties(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a calendar has of one contact in one area: from and until (UTC, ms), in order; and the
    UIDs of its events."""

    contact: Id
    area: Id
    spans: Annotated[tuple[tuple[Moment, Moment], ...], Meta(max_length=MOST_DUTIES)] = ()
    uids: Annotated[tuple[Annotated[str, Meta(max_length=32)], ...], Meta(max_length=5000)] = ()


class Roster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a calendar, from its first moment that is not over to its last. `notes` say what of it
    was left out."""

    calendar: Annotated[str, Meta(min_length=1, max_length=80)]
    from_ms: Moment
    until_ms: Moment
    duties: Annotated[tuple[Duties, ...], Meta(max_length=2000)]
    notes: Annotated[tuple[str, ...], Meta(max_length=20)] = ()
