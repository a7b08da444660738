"""What escalation asks of the world. Each has a key or a place, so that doing it twice is once."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from cloud.alerts.hazard import Hazard, Stage
from wire.messages import Level


class Kind(StrEnum):
    """Why somebody is told. The first six ask for an answer."""

    RAISE = "raise"
    CLIMB = "climb"  # the tier below has not answered
    RISE = "rise"  # it has become worse while they are being called
    REOPEN = "reopen"  # whoever answered did not act
    AGAIN = "again"
    FOLLOW_UP = "follow-up"  # whoever answered is asked what came of it
    FALL = "fall"
    HAND_BACK = "hand-back"  # it has fallen to what a lower tier handles
    ANSWERED = "answered"  # somebody else has answered: stand down
    RESULT = "result"  # what came of it
    HELD = "held"  # it is held back: who was called need not go on
    CLEAR = "clear"
    COPY = "copy"
    PUBLIC = "public"  # a loudspeaker or a board says it to everybody


FIRST_CALLS: Final = frozenset({Kind.RAISE, Kind.CLIMB, Kind.RISE, Kind.REOPEN})
"""Calls that tell their contact something new."""

CALLS: Final = FIRST_CALLS | {Kind.AGAIN, Kind.FOLLOW_UP}


class Part(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One of the things that a message tells. `asks`: it is a call, which wants an answer."""

    alert: str
    round: int
    area: str
    asks: bool


class Way(NamedTuple):
    """By a channel, so long after the message, if it is still unanswered then."""

    channel: str
    after_ms: int


class Send(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Tell one contact something at `at_ms` (UTC), by each of `ways`.

    `key` is the same whenever this send is worked out, and no other has it: a unique row with it
    and a channel keeps exactly-once. An answer to it carries `round`. `answer_by_ms` is the
    deadline of a call, None for the rest; `off_duty` says that nobody of the area was on duty, and
    so all of it is called.
    """

    alert: str
    site: str
    hazard: Hazard
    level: Level
    stage: Stage
    round: int
    kind: Kind
    area: str
    contact: str
    number: int
    at_ms: int
    ways: tuple[Way, ...]
    answer_by_ms: int | None = None
    off_duty: bool = False
    exercise: bool = False

    @property
    def key(self) -> str:
        """Contact × stage × try."""
        return f"{self.alert}/{self.round}/{self.kind}/{self.area}/{self.contact}/{self.number}"

    @property
    def part(self) -> Part:
        return Part(self.alert, self.round, self.area, self.kind in CALLS)


def foremost(sends: Iterable[Send]) -> Send:
    """What a message that tells of all these is about: a call rather than news, and the worst."""
    return max(sends, key=lambda send: (send.kind in CALLS, send.level))


def newest(sends: Iterable[Send]) -> dict[str, Send]:
    """By alert, of sends in order of time, the one that no later one says better: the last call (an
    end counts as one), or else the last news."""
    last: dict[str, Send] = {}
    for send in sends:
        before = last.get(send.alert)
        if before is None or before.kind not in CALLS or send.kind in CALLS | {Kind.CLEAR}:
            last[send.alert] = send
    return last


class Withdraw(msgspec.Struct, frozen=True, tag=True):
    """Do not send what has not been sent yet of an alert's calls (not of what was only to be
    known), up to `round`; of one area, or of all; to one contact, or to all."""

    alert: str
    round: int
    area: str | None = None
    contact: str | None = None

    def ends(self, part: Part, contact: str) -> bool:
        """Whether it means a part of what a contact is to be told."""
        return (
            part.asks
            and part.alert == self.alert
            and part.round <= self.round
            and self.area in (None, part.area)
            and self.contact in (None, contact)
        )


class Reopen(msgspec.Struct, frozen=True, tag=True):
    """The answer does not stand any more: the alarm is to be unacknowledged again, and why."""

    alert: str
    by: str
    reason: str


class Note(msgspec.Struct, frozen=True, tag=True):
    """Something for the timeline: "opened", "climbed", "empty" (a tier without contacts), "top"
    (nobody has answered, up to the top), "answered", "late answer", "follow-up" (no result yet),
    "fell", "held", "cleared"."""

    alert: str
    round: int
    kind: str
    area: str = ""
    text: str = ""


Action = Send | Withdraw | Note | Reopen
