"""What an escalation is, and what it hears: see `escalation`."""

from enum import StrEnum

import msgspec

from cloud.alerts.alarm import Status
from cloud.alerts.hazard import Hazard, Stage
from wire.messages import Level


class Situation(msgspec.Struct, frozen=True, tag=True):
    """How the alarm stands. The same one again changes nothing. Level None: it is over."""

    level: Level | None
    stage: Stage
    round: int
    status: Status


class Answer(msgspec.Struct, frozen=True, tag=True):
    """Somebody answers: who (a contact of the plan, or a name), when, how (link, keypress, command
    ...), and what was said. `round` is that of the message answered; None for somebody who sees the
    alarm as it stands."""

    by: str
    at_ms: int
    how: str
    said: str = ""
    round: int | None = None


class Decline(msgspec.Struct, frozen=True, tag=True):
    """A contact cannot act, or (`unreached`) no channel takes a message to them."""

    contact: str
    round: int
    unreached: bool = False


class Outcome(StrEnum):
    """What comes of an alert, as those who act report it."""

    ACTING = "acting"
    CLOSED = "closed"
    EVACUATED = "evacuated"
    FALSE_ALARM = "false-alarm"
    DONE = "done"
    CANNOT_ACT = "cannot-act"


class Report(msgspec.Struct, frozen=True, tag=True):
    """Somebody says what came of it. `people` is how many were evacuated. Like `Answer` else."""

    by: str
    at_ms: int
    how: str
    outcome: Outcome
    people: int | None = None
    said: str = ""
    round: int | None = None


class Climb(msgspec.Struct, frozen=True, tag=True):
    """A person wants the next area to be called now."""

    by: str


class Add(msgspec.Struct, frozen=True, tag=True):
    """A person wants one more contact of the plan to be called: to help, or to take over."""

    contact: str
    by: str


class Tick(msgspec.Struct, frozen=True, tag=True):
    """Time has passed."""


Input = Situation | Answer | Decline | Report | Climb | Add | Tick


class Phase(StrEnum):
    """IDLE: nothing to call for; HELD: the alarm is shelved, suppressed or out of service."""

    IDLE = "idle"
    RINGING = "ringing"
    ANSWERED = "answered"
    HELD = "held"


class Rung(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An area that is being called. Times in ms, UTC."""

    area: str
    called_ms: int
    deadline_ms: int
    next_ms: int
    tries: int
    contacts: tuple[str, ...]


class Escalation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How far the calls of one alert have come. `told` has everyone who knows of it; `infos` counts
    what they were told without being asked; `at_top` says that nobody up to the top has answered
    in time."""

    alert: str
    site: str
    hazard: Hazard
    plan: str
    exercise: bool = False
    phase: Phase = Phase.IDLE
    level: Level | None = None
    stage: Stage = Stage.TREND
    round: int = 0
    rungs: tuple[Rung, ...] = ()
    told: tuple[str, ...] = ()
    infos: int = 0
    at_top: bool = False
    answer: Answer | None = None
    declined: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    """Who was told the end of what was here before, and of nothing since."""
    unreached: tuple[str, ...] = ()
    """Those of `declined` whom no channel reaches."""
    added: tuple[str, ...] = ()
    report: Report | None = None
    follow_ms: int | None = None
    follow_ups: int = 0
    area: str = ""
    """Of whoever has answered."""
