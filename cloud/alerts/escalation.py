"""Call the tiers, nearest first, until a human answers (叫应). Pure.

    state, actions = step(state, given, now_ms, plan)

A *rung* is an area of the site's ladder that is being called. The rules:

- The nearest area is called first: all who are on duty, each by their channels in order. It has
  until its deadline; then the next is called too, while those below go on being called: often
  before their deadline, at a bounded rate after it, and so at the top, for ever.
- An area has its whole time from the moment at which it was called in fact. After an hour without
  power the overdue climb happens at once, and only that one: no tier is passed over.
- What asks for no answer (copies, falls, the end) goes by a contact's first channel only.
- Only an answer stops it, and it stops all of it at once. An answer to an earlier round is noted.
- A rise begins a new round. While people are being called, they are told of it and the climb goes
  on; after an answer it begins again with the nearest area, and whoever else knows is told.
- A fall is told to those who were told. Areas that the lower level does not climb to are let go.
- The end is told to all who were told, and to whom the plan names, if on duty. If nobody has
  answered by then, the alarm still knows.

A plan that is edited has another version; a running escalation goes on with its own.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from cloud.alerts.actions import CALLS, Action, Kind, Note, Send, Withdraw
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plan import Plan
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


class Tick(msgspec.Struct, frozen=True, tag=True):
    """Time has passed."""


Input = Situation | Answer | Tick


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


class Escalation(msgspec.Struct, frozen=True, gc=False):
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


NEVER: Final = 2**53
"""The next call of an area that has nobody to call."""
_HELD: Final = frozenset({Status.SHELVED, Status.SUPPRESSED, Status.OUT_OF_SERVICE})


def begin(alarm: Alarm, plan: Plan, *, exercise: bool = False) -> Escalation:
    """The escalation of an alarm's present episode, before its first step. It keeps to `plan`."""
    return Escalation(alarm.alert, alarm.site, alarm.hazard, plan.version, exercise)


def situation(alarm: Alarm) -> Situation:
    """What an alarm means for its escalation. Feed it after every step of the alarm."""
    return Situation(alarm.level, alarm.stage, alarm.round, alarm.status)


def next_due_ms(state: Escalation) -> int | None:
    """When a Tick will change something; None if only an input can."""
    if state.phase is not Phase.RINGING:
        return None
    due = NEVER if state.at_top else state.rungs[-1].deadline_ms
    for rung in state.rungs:
        if rung.next_ms < due:
            due = rung.next_ms
    return None if due == NEVER else due


def step(
    state: Escalation, given: Input, now_ms: int, plan: Plan
) -> tuple[Escalation, tuple[Action, ...]]:
    """The state after `given`, and what is to be done, in order.

    Raises ValueError if `plan` is not the version with which the escalation began.
    """
    if plan.version != state.plan:
        raise ValueError(f"{state.alert} keeps to plan {state.plan}, this is {plan.version}")
    change = _Change(state, now_ms, plan)
    match given:
        case Situation():
            change.follow(given)
        case Answer():
            change.answered(given)
        case Tick():
            pass
    if change.state.phase is Phase.RINGING:
        change.ring()
        change.climb()
    return change.state, tuple(change.actions)


class _Change:
    """One step on its way; nothing of it lasts longer than the step."""

    def __init__(self, state: Escalation, now_ms: int, plan: Plan) -> None:
        self.state = state
        self.now_ms = now_ms
        self.plan = plan
        self.actions: list[Action] = []

    def follow(self, seen: Situation) -> None:
        """Do what the alarm's state demands, whatever was missed in between."""
        before = self.state
        if seen.level is None:
            if before.level is not None:
                self._over()
            return
        if seen.status in _HELD:
            if before.phase is not Phase.HELD:
                self._quiet(Phase.HELD, "held", seen.status)
            self._set(level=seen.level, stage=seen.stage)
        elif seen.round > before.round and seen.status is Status.UNACKNOWLEDGED:
            self._worse(seen)
        else:
            if before.level is not None and seen.level < before.level:
                self._fall(seen.level)
            self._set(level=seen.level, stage=seen.stage)
            if seen.status is Status.ACKNOWLEDGED and before.phase is not Phase.ANSWERED:
                by = before.answer.by if before.answer else "the alarm itself was acknowledged"
                self._quiet(Phase.ANSWERED, "answered", by)

    def answered(self, answer: Answer) -> None:
        state = self.state
        if answer.round is not None and answer.round < state.round:
            self._note("late answer", text=f"{answer.by} by {answer.how}: it has risen since")
            return
        if state.phase is not Phase.RINGING:
            self._note("late answer", text=f"{answer.by} by {answer.how}: nobody was being called")
            return
        called = {one: rung.area for rung in state.rungs for one in rung.contacts}
        self._quiet(Phase.ANSWERED, "answered", f"{answer.by} by {answer.how}")
        self._set(answer=answer)
        called.pop(answer.by, None)
        self._inform(Kind.ANSWERED, called)

    def ring(self) -> None:
        """Call again whose time has come. Calls that were missed are not made up for."""
        for place, rung in enumerate(self.state.rungs):
            if rung.next_ms <= self.now_ms:
                self._call(place, Kind.AGAIN)

    def climb(self) -> None:
        """Call the next area if the topmost has let its deadline pass."""
        state = self.state
        while state.rungs[-1].deadline_ms <= self.now_ms and state.level is not None:
            ladder = self.plan.called(state.site, state.hazard, state.level)
            if len(state.rungs) >= len(ladder):
                if not state.at_top:
                    self._note("top", state.rungs[-1].area, "nobody has answered, up to the top")
                    self._set(at_top=True)
                return
            self._note("climbed", ladder[len(state.rungs)])
            self._open(ladder[len(state.rungs)], Kind.CLIMB)
            self._copy("climb")
            state = self.state

    def _worse(self, seen: Situation) -> None:
        """A new round: on from where it stands if people are being called, else from the start."""
        ringing = self.state.phase is Phase.RINGING
        self._withdraw()
        self._set(level=seen.level, stage=seen.stage, round=seen.round)
        if ringing:
            self._let_go()
            for place, rung in enumerate(self.state.rungs):
                answer_ms = self.plan.deadlines(rung.area, seen.stage).answer
                sooner = min(rung.deadline_ms, self.now_ms + answer_ms)
                self._replace(place, deadline_ms=sooner)
                self._call(place, Kind.RISE)
            self._set(at_top=False)
            return
        known = self.state.told
        self._set(phase=Phase.RINGING, rungs=(), at_top=False, answer=None)
        first = self.plan.called(self.state.site, self.state.hazard, seen.level or Level.RED)[0]
        if self.state.site not in self.plan.site:
            self._note("opened", first, "the plan does not know this site: its top is called")
        else:
            self._note("opened", first)
        self._open(first, Kind.RAISE)
        self._copy("raise", also=known)

    def _open(self, area: str, kind: Kind) -> None:
        """Call an area for the first time in this round. One without contacts has no time either:
        there is nobody to wait for."""
        if not self.plan.members(area):
            self._note("empty", area, "has no contacts")
            rung = Rung(area, self.now_ms, self.now_ms, NEVER, 0, ())
            self._set(rungs=(*self.state.rungs, rung))
            return
        times = self.plan.deadlines(area, self.state.stage)
        rung = Rung(area, self.now_ms, self.now_ms + times.answer, self.now_ms, 0, ())
        self._set(rungs=(*self.state.rungs, rung))
        self._call(len(self.state.rungs) - 1, kind)

    def _call(self, place: int, kind: Kind) -> None:
        """Call all who are on duty in an area; if nobody is, everyone of it."""
        rung = self.state.rungs[place]
        on_duty = self.plan.on_duty(rung.area, self.now_ms)
        contacts = on_duty or self.plan.members(rung.area)
        if not contacts:
            return
        times = self.plan.deadlines(rung.area, self.state.stage)
        early = self.now_ms < rung.deadline_ms
        for contact in contacts:
            self._send(
                kind, rung.area, contact, rung.tries, max(rung.deadline_ms, self.now_ms), on_duty
            )
        self._replace(
            place,
            next_ms=self.now_ms + (times.retry if early else times.ring),
            tries=rung.tries + 1,
            contacts=rung.contacts + tuple(one for one in contacts if one not in rung.contacts),
        )

    def _fall(self, level: Level) -> None:
        """Tell of it, and let go of the areas that the lower level does not climb to."""
        before = self.state
        self._set(level=level)
        kept = set(self.plan.called(before.site, before.hazard, level))
        areas = {one: self.plan.contact[one].area for one in before.told}
        self._note("fell", text=f"to {level.name.lower()}")
        self._let_go()
        self._inform(Kind.FALL, {one: area for one, area in areas.items() if area in kept})
        self._inform(Kind.HAND_BACK, {one: area for one, area in areas.items() if area not in kept})

    def _let_go(self) -> None:
        """Stop calling areas that the level does not climb to."""
        state = self.state
        if state.level is None:
            return
        kept = self.plan.called(state.site, state.hazard, state.level)
        for rung in state.rungs[len(kept) :]:
            self._withdraw(rung.area)
        self._set(rungs=state.rungs[: len(kept)])

    def _over(self) -> None:
        state = self.state
        level = state.level or Level.RED
        self._quiet(Phase.IDLE, "cleared", "")
        areas = {one: self.plan.contact[one].area for one in state.told}
        areas |= self._on_duty(self.plan.told("clear", state.site, state.hazard, level))
        # Before the level is forgotten: those who are told must know which one is over.
        self._inform(Kind.CLEAR, areas)
        self._set(level=None, stage=Stage.TREND, told=(), answer=None)

    def _quiet(self, phase: Phase, kind: str, text: str) -> None:
        """Call nobody any more, from this step on."""
        self._withdraw()
        self._note(kind, text=text)
        self._set(phase=phase, rungs=(), at_top=False)

    def _copy(self, at: str, also: tuple[str, ...] = ()) -> None:
        """Tell those whom the plan names, and those who know of it already, if they are on duty and
        not being called."""
        state = self.state
        if state.level is None:
            return
        named = self.plan.told(at, state.site, state.hazard, state.level)
        copies = dict.fromkeys((*named, *also))
        called = {one for rung in state.rungs for one in rung.contacts}
        self._inform(Kind.COPY, self._on_duty(one for one in copies if one not in called))

    def _on_duty(self, contacts: Iterable[str]) -> dict[str, str]:
        """Those of them who are on duty, with their areas."""
        areas = {one: self.plan.contact[one].area for one in contacts}
        return {
            one: area for one, area in areas.items() if one in self.plan.on_duty(area, self.now_ms)
        }

    def _inform(self, kind: Kind, contacts: dict[str, str]) -> None:
        """Tell contacts something that needs no answer."""
        for contact, area in contacts.items():
            self._send(kind, area, contact, self.state.infos, None, (contact,))
        if contacts:
            self._set(infos=self.state.infos + 1)

    def _send(
        self,
        kind: Kind,
        area: str,
        contact: str,
        number: int,
        answer_by_ms: int | None,
        on_duty: Iterable[str],
    ) -> None:
        state, ways = self.state, self.plan.ways[contact]
        if ways:
            self.actions.append(
                Send(
                    state.alert,
                    state.site,
                    state.hazard,
                    state.level or Level.RED,
                    state.stage,
                    state.round,
                    kind,
                    area,
                    contact,
                    number,
                    self.now_ms,
                    # Nobody's phone needs to ring at night for what needs no answer.
                    ways if kind in CALLS else ways[:1],
                    answer_by_ms if kind in CALLS else None,
                    not on_duty,
                    state.exercise,
                )
            )
        if contact not in state.told:
            self._set(told=(*state.told, contact))

    def _withdraw(self, area: str | None = None) -> None:
        if self.state.round and self.state.rungs:
            self.actions.append(Withdraw(self.state.alert, self.state.round, area))

    def _note(self, kind: str, area: str = "", text: str = "") -> None:
        self.actions.append(Note(self.state.alert, self.state.round, kind, area, text))

    def _replace(self, place: int, **changes: object) -> None:
        rungs = list(self.state.rungs)
        rungs[place] = msgspec.structs.replace(rungs[place], **changes)
        self._set(rungs=tuple(rungs))

    def _set(self, **changes: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
