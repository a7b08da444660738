"""The states of an alert, after ISA-18.2 / IEC 62682. Pure.

    alarm, events = step(alarm, given, now_ms, rule)

There is one alarm for each site and hazard. An *episode* goes from leaving `normal` to being
normal again, and is one alert: its id is made of site, hazard and the time of the reading that
began it, so that whoever creates it twice creates it once. Within an episode the level rises and
falls.

- Several sources (rules, sensors) may speak of one hazard: the worst level and the nearest stage of
  them hold. Each source's own time only goes forward; an older word of it counts for nothing.
- A rise counts at once. A fall counts after `off_delay_ms` (the off-delay of ISA-18.2) by the time
  of the readings: what comes back within it has never been away, is counted as a flap, and calls
  nobody a second time. Readings that arrive late, all at once, fall and rise as they did.
- `round` rises whenever somebody new has to answer: with each rise, and when an alarm that was held
  back is presented again. An answer to an earlier round is recorded and does not count.
- `returned-unacknowledged` has no end but an answer, or the next rise: that nobody has answered is
  never forgotten.
- An alarm may be held back: shelved (by a person), suppressed by design, out of service. What
  holds it back is worked out from outside (`holds`), after each step. Beneath it the process goes
  on, and is shown again when nothing holds it back any more.

The table below is the whole of what may follow what; what it does not name is refused.
"""

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from cloud.alerts.hazard import Hazard, Stage
from wire.messages import Level


class Status(StrEnum):
    NORMAL = "normal"
    UNACKNOWLEDGED = "active-unacknowledged"
    ACKNOWLEDGED = "active-acknowledged"
    RETURNED = "returned-unacknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed-by-design"
    OUT_OF_SERVICE = "out-of-service"


class Trigger(StrEnum):
    """What moves an alarm; also the kind of event that tells of it."""

    RISE = "rise"
    FALL = "fall"
    RETURN = "return"
    ANSWER = "answer"
    REOPEN = "reopen"
    HOLD = "hold"
    RELEASE = "release"


PROCESS: Final = {
    (Status.NORMAL, Trigger.RISE): Status.UNACKNOWLEDGED,
    (Status.UNACKNOWLEDGED, Trigger.RISE): Status.UNACKNOWLEDGED,
    (Status.UNACKNOWLEDGED, Trigger.FALL): Status.UNACKNOWLEDGED,
    (Status.UNACKNOWLEDGED, Trigger.RETURN): Status.RETURNED,
    (Status.UNACKNOWLEDGED, Trigger.ANSWER): Status.ACKNOWLEDGED,
    (Status.ACKNOWLEDGED, Trigger.RISE): Status.UNACKNOWLEDGED,
    (Status.ACKNOWLEDGED, Trigger.FALL): Status.ACKNOWLEDGED,
    (Status.ACKNOWLEDGED, Trigger.RETURN): Status.NORMAL,
    (Status.ACKNOWLEDGED, Trigger.ANSWER): Status.ACKNOWLEDGED,  # one more person
    (Status.ACKNOWLEDGED, Trigger.REOPEN): Status.UNACKNOWLEDGED,
    (Status.RETURNED, Trigger.RISE): Status.UNACKNOWLEDGED,
    (Status.RETURNED, Trigger.ANSWER): Status.NORMAL,
}
"""What the water does and people answer."""

HELD: Final = (Status.SHELVED, Status.SUPPRESSED, Status.OUT_OF_SERVICE)
"""What an alarm shows while something holds it back; of several, the last."""


class Rule(NamedTuple):
    """Times in ms."""

    off_delay_ms: int = 600_000


DEFAULT: Final = Rule()


class Condition(msgspec.Struct, frozen=True, tag=True):
    """What a source finds at `at_ms` (UTC, of the reading); level None: nothing. `through` is the
    number of the newest hold that does not hold it back."""

    source: str
    level: Level | None
    at_ms: int
    stage: Stage = Stage.NOW
    through: int = 0


class Acknowledge(msgspec.Struct, frozen=True, tag=True):
    """A human answers. `round` is that of the message answered; None if they see it as it is."""

    by: str
    round: int | None = None


class Reopen(msgspec.Struct, frozen=True, tag=True):
    """The answer does not stand: whoever gave it cannot act, has not acted, or took it back."""

    by: str
    reason: str = ""


class Cover(msgspec.Struct, frozen=True, gc=False):
    """One thing that holds an alarm back: `name` is that of the hold, or the id of the alert that
    goes before; `by` who wants it, and why; `until_ms` (UTC), None for an alert, which has no end
    that is known."""

    status: Status
    name: str
    by: str
    reason: str
    until_ms: int | None
    up_to: Level


class Held(msgspec.Struct, frozen=True, tag=True):
    """What holds the alarm back now, nothing if there are no `covers`, and when that changes next
    by itself (UTC, ms). Fed after every other step."""

    covers: tuple[Cover, ...] = ()
    again_ms: int | None = None


class Tick(msgspec.Struct, frozen=True, tag=True):
    """Time has passed; with `until_ms`, only until the reading that is about to be heard."""

    until_ms: int | None = None


Input = Condition | Acknowledge | Reopen | Held | Tick


class Event(msgspec.Struct, frozen=True, gc=False):
    """What happened to an alert. `alert` is "" before the first episode; `refused` says why a
    demand came to nothing."""

    kind: Trigger
    alert: str
    at_ms: int
    level: Level | None
    stage: Stage
    status: Status
    round: int
    by: str = ""
    reason: str = ""
    refused: str = ""


class Source(msgspec.Struct, frozen=True, gc=False):
    """The newest word of a source."""

    level: Level | None
    stage: Stage
    at_ms: int


class Alarm(msgspec.Struct, frozen=True, gc=False):
    """How one hazard at one site stands. `level` and `stage` are the effective ones; `lower_since`
    is since when the sources have said less. `behind` are the sources that made it stand last.
    `covers` is all that holds it back, `look_ms` when that is to be worked out again; holds up to
    number `through` do not. An exercise has alarms of its own. Times in ms, UTC.
    """

    site: str
    hazard: Hazard
    process: Status = Status.NORMAL
    hold: Status | None = None
    level: Level | None = None
    stage: Stage = Stage.TREND
    alert: str = ""
    round: int = 0
    flaps: int = 0
    began_ms: int | None = None
    lower_since_ms: int | None = None
    answered_by: str = ""
    sources: dict[str, Source] = {}
    exercise: bool = False
    covers: tuple[Cover, ...] = ()
    look_ms: int | None = None
    behind: tuple[str, ...] = ()
    through: int = 0

    @property
    def status(self) -> Status:
        """What an operator sees."""
        return self.hold or self.process

    @property
    def held_until_ms(self) -> int | None:
        """When the first thing that holds it back is over; None if that is not known."""
        return min((one.until_ms for one in self.covers if one.until_ms is not None), default=None)

    @property
    def unanswered(self) -> bool:
        """Whether the episode has a rise that nobody has answered, held back or not."""
        return self.process in (Status.UNACKNOWLEDGED, Status.RETURNED)

    @property
    def calls(self) -> bool:
        """Whether people are to be called now."""
        return self.hold is None and self.process is Status.UNACKNOWLEDGED


def next_due_ms(alarm: Alarm, rule: Rule = DEFAULT) -> int | None:
    """When a Tick will change something, None if only an input can."""
    settles = None if alarm.lower_since_ms is None else alarm.lower_since_ms + rule.off_delay_ms
    due = [at for at in (settles, alarm.look_ms) if at is not None]
    return min(due, default=None)


def step(
    alarm: Alarm, given: Input, now_ms: int, rule: Rule = DEFAULT
) -> tuple[Alarm, tuple[Event, ...]]:
    """The alarm after `given`, and what happened, in order."""
    change = _Change(alarm, now_ms)
    if isinstance(given, Held):
        change.held(given)
        return change.alarm, tuple(change.events)
    match given:
        case Condition():
            change.heard(given)
        case Acknowledge():
            change.acknowledged(given)
        case Reopen():
            change.reopened(given)
        case Tick():
            if given.until_ms is not None:
                change.at_ms = min(given.until_ms, now_ms)
    change.settle(rule)
    return change.alarm, tuple(change.events)


class _Change:
    """One step on its way; nothing of it lasts longer than the step."""

    def __init__(self, alarm: Alarm, now_ms: int) -> None:
        self.alarm = alarm
        self.now_ms = now_ms
        self.at_ms = now_ms
        """The time of what is heard, else now."""
        self.events: list[Event] = []
        self.through = 0

    def heard(self, said: Condition) -> None:
        """Keep the newest word of a source. One from the future counts, without outdating those
        that follow it."""
        known = self.alarm.sources.get(said.source)
        if known is not None and said.at_ms <= known.at_ms:
            return
        newest = max(0 if known is None else known.at_ms, min(said.at_ms, self.now_ms))
        if known is None and said.level is None:
            return
        self.at_ms, self.through = newest, said.through
        sources = self.alarm.sources | {said.source: Source(said.level, said.stage, newest)}
        self._set(sources=sources, through=max(self.alarm.through, said.through))

    def acknowledged(self, answer: Acknowledge) -> None:
        """Whoever answers an earlier round has not heard of the rise since."""
        if answer.round is not None and answer.round < self.alarm.round:
            self._tell(Trigger.ANSWER, answer.by, "", "it has risen since that message")
        elif (self.alarm.process, Trigger.ANSWER) not in PROCESS:
            self._tell(Trigger.ANSWER, answer.by, "", "there is nothing to answer")
        else:
            self._set(answered_by=answer.by)
            self._process(Trigger.ANSWER, answer.by)

    def reopened(self, demand: Reopen) -> None:
        """People are called anew."""
        if (self.alarm.process, Trigger.REOPEN) not in PROCESS:
            self._tell(Trigger.REOPEN, demand.by, demand.reason, "nobody has answered it")
            return
        self._set(round=self.alarm.round + 1, answered_by="")
        self._process(Trigger.REOPEN, demand.by, demand.reason)

    def held(self, given: Held) -> None:
        """What is shown again unanswered is a new round of calls."""
        before = self.alarm
        found = [one.status for one in given.covers]
        hold = max(found, key=HELD.index) if found else None
        self._set(hold=hold, covers=given.covers, look_ms=given.again_ms)
        if hold is None:
            if before.hold is not None:
                if self.alarm.calls:
                    self._set(round=before.round + 1)
                self._tell(Trigger.RELEASE, "", _ended(before, self.now_ms))
        elif (hold, _names(given.covers)) != (before.hold, _names(before.covers)):
            who = ", ".join(dict.fromkeys(one.by for one in given.covers))
            why = "; ".join(dict.fromkeys(one.reason for one in given.covers))
            self._tell(Trigger.HOLD, who, why)

    def settle(self, rule: Rule) -> None:
        """Follow what the sources say."""
        self._follow(rule)
        alarm = self.alarm
        active = [name for name, one in alarm.sources.items() if one.level is not None]
        # Until a fall counts, it still stands by what was found before it.
        before = () if alarm.lower_since_ms is None else alarm.behind
        behind = tuple(dict.fromkeys((*before, *active))) or alarm.behind
        if behind != alarm.behind:
            self._set(behind=behind)

    def _follow(self, rule: Rule) -> None:
        alarm = self.alarm
        level, stage = _worst(alarm.sources)
        before = (alarm.level or 0, alarm.stage.rank)
        raw = (level or 0, stage.rank)
        if level is not None and (raw[0] > before[0] or raw[1] > before[1]):
            self._rise(level, stage)
            raised = (self.alarm.level or 0, self.alarm.stage.rank)
            self._set(lower_since_ms=None if raw == raised else self.at_ms)
        elif raw == before:
            if alarm.lower_since_ms is not None:
                self._set(lower_since_ms=None, flaps=alarm.flaps + 1)
        elif alarm.lower_since_ms is None:
            self._set(lower_since_ms=self.at_ms)
        elif self.at_ms - alarm.lower_since_ms >= rule.off_delay_ms:
            self._set(level=level, stage=stage, lower_since_ms=None)
            if level is None:
                self._process(Trigger.RETURN)
            elif raw[0] < before[0]:
                self._process(Trigger.FALL)

    def _rise(self, level: Level, stage: Stage) -> None:
        alarm = self.alarm
        if alarm.process is Status.NORMAL:
            began = max(
                # Later than the episode before, even if a late reading begins this one.
                0 if alarm.began_ms is None else alarm.began_ms + 1,
                *(one.at_ms for one in alarm.sources.values() if one.level is not None),
            )
            self._set(
                alert=f"{alarm.site}.{alarm.hazard}.{began}{'.exercise' * alarm.exercise}",
                began_ms=began,
                flaps=0,
                answered_by="",
                behind=(),
                through=self.through,
            )
        higher = level if alarm.level is None else max(level, alarm.level)
        nearer = max(stage, alarm.stage, key=lambda one: one.rank)
        self._set(level=higher, stage=nearer, round=alarm.round + 1)
        self._process(Trigger.RISE)

    def _process(self, trigger: Trigger, by: str = "", reason: str = "") -> None:
        self._set(process=PROCESS[self.alarm.process, trigger])
        self._tell(trigger, by, reason)

    def _tell(self, kind: Trigger, by: str = "", reason: str = "", refused: str = "") -> None:
        alarm = self.alarm
        self.events.append(
            Event(
                kind,
                alarm.alert,
                self.now_ms,
                alarm.level,
                alarm.stage,
                alarm.status,
                alarm.round,
                by,
                reason,
                refused,
            )
        )

    def _set(self, **changes: object) -> None:
        self.alarm = msgspec.structs.replace(self.alarm, **changes)


def _worst(sources: dict[str, Source]) -> tuple[Level | None, Stage]:
    """The worst level and the nearest stage: in doubt, the more urgent of each."""
    active = [(s.level, s.stage) for s in sources.values() if s.level is not None]
    if not active:
        return None, Stage.TREND
    return max(level for level, _ in active), max(
        (stage for _, stage in active), key=lambda one: one.rank
    )


def _names(covers: tuple[Cover, ...]) -> tuple[str, ...]:
    return tuple(one.name for one in covers)


def _ended(alarm: Alarm, now_ms: int) -> str:
    """Why nothing holds the alarm back any more, as far as it can be seen from it."""
    if alarm.level is None:
        return "it is over"
    above = [one.up_to for one in alarm.covers if alarm.level > one.up_to]
    if above:
        return f"it has risen above {min(above).name.lower()}"
    if any(one.until_ms is not None and one.until_ms <= now_ms for one in alarm.covers):
        return "the time of the hold is over"
    return ""
