"""Call the tiers, nearest first, until a human answers (叫应). Pure.

    state, actions = step(state, given, now_ms, plan, duty)

A *rung* is an area of the site's ladder that is being called. The rules:

- The nearest area is called first: all who are on duty, each by their channels in order. It has
  until its deadline; then the next is called too, while those below go on being called: often
  before their deadline, at a bounded rate after it, and so at the top, for ever.
- An area has its whole time from the moment at which it was called in fact. After an hour without
  power the overdue climb happens at once, and only that one: no tier is passed over.
- What asks for no answer (copies, falls, the end) goes by a contact's first channel only.
- Only an answer stops it, and it stops all of it at once. An answer to an earlier round is noted.
- Whoever declines, or cannot be reached by any channel, is not waited for: when that is so for all
  who were called in the topmost area, the next one is called at once.
- After an answer the result is awaited: what was done. Whoever answered is asked for it by the
  follow-up deadline, `FOLLOW_UPS` times; without one, or if it is that they cannot act, people are
  called again from the nearest area.
- Loudspeakers and boards tell the public, and nobody waits for them.
- A rise begins a new round. While people are being called, they are told of it and the climb goes
  on; after an answer it begins again with the nearest area, and whoever else knows is told.
- While the alarm is held back nobody is called, and who was being called, or has answered, is told
  so. What stands afterwards, and is unanswered, begins anew with the nearest area.
- A fall is told to those who were told. Areas that the lower level does not climb to are let go.
- The end is told to all who were told, and to whom the plan names, if on duty. If nobody has
  answered by then, the alarm still knows.
- Who was told of an end is told when the danger is back: loudspeakers at once, people when it is
  answered below them, without being called. So nobody goes on believing that it is over.

A plan that is edited has another version; a running escalation goes on with its own. A change of
duty (`dutychanges`) counts at its next call.
"""

from typing import Final

from cloud.alerts.actions import Action, Kind, Reopen, Withdraw
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.calling import NEVER, Calling
from cloud.alerts.dutychanges import AS_PLANNED, Duty
from cloud.alerts.escalationstate import (
    Add,
    Answer,
    Climb,
    Decline,
    Escalation,
    Input,
    Outcome,
    Phase,
    Report,
    Rung,
    Situation,
    Tick,
)
from cloud.alerts.hazard import Stage
from cloud.alerts.plan import Plan
from wire.messages import Level

__all__ = [
    "NEVER",
    "Add",
    "Answer",
    "Climb",
    "Decline",
    "Escalation",
    "Input",
    "Outcome",
    "Phase",
    "Report",
    "Rung",
    "Situation",
    "Tick",
    "begin",
    "next_due_ms",
    "situation",
    "step",
]

FOLLOW_UPS: Final = 2
"""How often whoever answered is asked for the result before others are called."""

_ADDED: Final = 1_000_000
"""Where the numbers of calls to added contacts begin: their area may call them too."""

_HELD: Final = frozenset({Status.SHELVED, Status.SUPPRESSED, Status.OUT_OF_SERVICE})


def begin(
    alarm: Alarm, plan: Plan, *, exercise: bool = False, heard: tuple[str, ...] = ()
) -> Escalation:
    """The escalation of an alarm's present episode, before its first step. It keeps to `plan`.
    `heard` were told that the episode before it, of the same incident, is over."""
    return Escalation(alarm.alert, alarm.site, alarm.hazard, plan.version, exercise, heard=heard)


def situation(alarm: Alarm) -> Situation:
    """What an alarm means for its escalation. Feed it after every step of the alarm."""
    return Situation(alarm.level, alarm.stage, alarm.round, alarm.status)


def next_due_ms(state: Escalation) -> int | None:
    """When a Tick will change something; None if only an input can."""
    if state.phase is Phase.ANSWERED:
        return state.follow_ms
    if state.phase is not Phase.RINGING:
        return None
    due = NEVER if state.at_top else state.rungs[-1].deadline_ms
    for rung in state.rungs:
        if rung.next_ms < due:
            due = rung.next_ms
    return None if due == NEVER else due


def step(
    state: Escalation, given: Input, now_ms: int, plan: Plan, duty: Duty = AS_PLANNED
) -> tuple[Escalation, tuple[Action, ...]]:
    """The state after `given`, and what is to be done, in order. `duty` has what has been changed
    of the plan's duty; it counts at each call.

    Raises ValueError if `plan` is not the version with which the escalation began.
    """
    if plan.version != state.plan:
        raise ValueError(f"{state.alert} keeps to plan {state.plan}, this is {plan.version}")
    change = _Change(state, now_ms, plan, duty)
    match given:
        case Tick():  # nearly always
            change.follow_up()
        case Situation():
            change.follow(given)
        case Answer():
            change.answered(given)
        case Decline():
            change.declined(given)
        case Report():
            change.reported(given)
        case Climb():
            change.climbs(given)
        case Add():
            change.added(given)
    if change.state.phase is Phase.RINGING:
        change.ring()
        change.climb()
    return change.state, tuple(change.actions)


class _Change(Calling):
    """The rules."""

    def follow(self, seen: Situation) -> None:
        """Do what the alarm's state demands, whatever was missed in between."""
        before = self.state
        if seen.level is None:
            if before.level is not None:
                self._over()
            return
        if seen.status in _HELD:
            concerned = self._concerned()
            was_held = before.phase is Phase.HELD
            # Nobody hears of a fall while it is held back: they do when it is let go.
            highest = max(seen.level, before.level or seen.level) if was_held else seen.level
            self._set(level=highest, stage=seen.stage)
            if not was_held:
                self._quiet(Phase.HELD, "held", seen.status)
                self._inform(Kind.HELD, concerned)
        elif seen.round > before.round and seen.status is Status.UNACKNOWLEDGED:
            self._worse(seen)
        else:
            if before.level is not None and seen.level < before.level:
                self._fall(seen.level)
            self._set(level=seen.level, stage=seen.stage)
            if seen.status is Status.ACKNOWLEDGED and before.phase is not Phase.ANSWERED:
                by = before.answer.by if before.answer else "the alarm itself was acknowledged"
                self._quiet(Phase.ANSWERED, "answered", by)
                self._remind()

    def _concerned(self) -> dict[str, str]:
        """Who is being called, or has answered, with their areas."""
        state = self.state
        found = {one: rung.area for rung in state.rungs for one in rung.contacts}
        if state.phase is Phase.ANSWERED and state.answer is not None:
            found |= {one: state.area for one in (state.answer.by,) if one in self.plan.contact}
        return found

    def answered(self, answer: Answer) -> None:
        state = self.state
        if answer.round is not None and answer.round < state.round:
            self._note("late answer", text=f"{answer.by} by {answer.how}: it has risen since")
            return
        if state.phase is Phase.HELD and state.level is not None:
            # Nobody is called; who acts all the same is asked for the result when the hold ends.
            contact = self.plan.contact.get(answer.by)
            self._note("answer while held", text=f"{answer.by} by {answer.how}")
            self._set(answer=answer, area=contact.area if contact else state.area)
            self._set(report=None, follow_ups=0, follow_ms=self._follow_up_ms())
            return
        if state.phase is not Phase.RINGING:
            if state.phase is Phase.ANSWERED and answer.by in state.added:
                self._taken_over(answer)
                return
            if state.phase is Phase.ANSWERED and state.follow_ups:
                self._set(follow_ups=0, follow_ms=self._follow_up_ms())  # they are at it
            self._note("late answer", text=f"{answer.by} by {answer.how}: nobody was being called")
            return
        called = {one: rung.area for rung in state.rungs for one in rung.contacts}
        self._quiet(Phase.ANSWERED, "answered", f"{answer.by} by {answer.how}")
        area = called.pop(answer.by, state.rungs[0].area)
        self._set(answer=answer, report=None, area=area, follow_ups=0)
        self._set(follow_ms=self._follow_up_ms())
        self._inform(Kind.ANSWERED, called)
        self._remind()

    def _taken_over(self, answer: Answer) -> None:
        before = self.state.answer
        area = self.plan.contact[answer.by].area
        self._note("taken over", area, answer.by)
        self._set(answer=answer, area=area, report=None, follow_ups=0, added=())
        self._set(follow_ms=self._follow_up_ms())
        if before is not None and before.by in self.plan.contact:
            self._inform(Kind.ANSWERED, {before.by: self.plan.contact[before.by].area})

    def declined(self, given: Decline) -> None:
        """Do not wait for a contact any more; climb if nobody is left to wait for."""
        state = self.state
        if state.phase is not Phase.RINGING:
            return
        if given.round < state.round or given.contact in state.declined:
            return
        self.actions.append(Withdraw(state.alert, state.round, contact=given.contact))
        self._set(declined=(*state.declined, given.contact))
        if given.unreached:
            self._set(unreached=(*state.unreached, given.contact))
        for place, rung in enumerate(self.state.rungs):
            if rung.contacts and self._nobody_left(rung):
                self._replace(place, deadline_ms=min(rung.deadline_ms, self.now_ms))

    def reported(self, given: Report) -> None:
        """Keep what came of it. Whoever reports without having answered answers by it."""
        state = self.state
        if given.round is not None and given.round < state.round:
            self._note("late answer", text=f"{given.by} by {given.how}: it has risen since")
            return
        if given.outcome is Outcome.CANNOT_ACT:
            if state.phase is Phase.ANSWERED:
                if state.answer is None or state.answer.by != given.by:
                    return  # whoever has answered acts
                reason = f"{given.by} cannot act"
                self._set(declined=(*state.declined, given.by), report=given, follow_ms=None)
                self.actions.append(Reopen(state.alert, given.by, reason))
            else:
                self.declined(Decline(given.by, state.round))
            return
        if state.phase is Phase.RINGING:
            self.answered(Answer(given.by, given.at_ms, given.how, given.said, given.round))
        if self.state.phase is not Phase.ANSWERED:
            self._note("late answer", text=f"{given.by} by {given.how}: nobody was being called")
            return
        self._set(report=given, follow_ups=0)
        if given.outcome is Outcome.ACTING:
            self._set(follow_ms=self._follow_up_ms())
            return
        self._set(follow_ms=None)
        areas = {one: self.plan.contact[one].area for one in self.state.told}
        areas.pop(given.by, None)
        self._inform(Kind.RESULT, {one: area for one, area in areas.items() if self._asks(one)})

    def follow_up(self) -> None:
        """Ask whoever answered for the result, and reopen if they keep silent."""
        state = self.state
        if state.phase is not Phase.ANSWERED or state.answer is None:
            return
        if state.follow_ms is None or state.follow_ms > self.now_ms:
            return
        by = state.answer.by
        if state.follow_ups >= FOLLOW_UPS or (
            by not in self.plan.contact and not self._in_area(state.area)
        ):
            self._set(follow_ms=None, declined=(*state.declined, by))
            self.actions.append(Reopen(state.alert, by, f"{by} has reported no result"))
            return
        self._note("follow-up", state.area, f"{by} has reported no result yet")
        deadline_ms = self.now_ms + self._again_ms()
        # Of somebody who is none of the plan only their area is known.
        asked = (by,) if by in self.plan.contact else self._in_area(state.area)
        for contact in asked:
            area = self.plan.contact[contact].area
            self._send(Kind.FOLLOW_UP, area, contact, state.infos, deadline_ms, (contact,))
        self._set(
            follow_ups=state.follow_ups + 1, follow_ms=deadline_ms, infos=self.state.infos + 1
        )

    def climbs(self, given: Climb) -> None:
        """The next area is called now, whatever time the topmost has left."""
        if self.state.phase is not Phase.RINGING:
            return
        place = len(self.state.rungs) - 1
        self._note("escalated", self.state.rungs[place].area, given.by)
        deadline_ms = min(self.state.rungs[place].deadline_ms, self.now_ms)
        self._replace(place, deadline_ms=deadline_ms)

    def added(self, given: Add) -> None:
        """One more contact is called, and again with the topmost area. Once somebody has answered
        it is a handover: their answer takes the place of that one."""
        state, contact = self.state, given.contact
        if state.level is None or state.phase not in (Phase.RINGING, Phase.ANSWERED):
            return
        area = self.plan.contact[contact].area
        kind = "added" if state.phase is Phase.RINGING else "handed over"
        self._note(kind, area, f"{contact}, by {given.by}")
        declined = tuple(one for one in state.declined if one != contact)
        self._set(added=(*(one for one in state.added if one != contact), contact))
        unreached = tuple(one for one in state.unreached if one != contact)
        self._set(declined=declined, unreached=unreached)
        self.fresh.add(contact)
        deadline_ms = self.now_ms + self.plan.deadlines(area, state.stage).answer
        self._send(Kind.RAISE, area, contact, _ADDED + state.infos, deadline_ms, (contact,))
        self._set(infos=state.infos + 1)

    def _follow_up_ms(self) -> int | None:
        """When the result is asked for, None if the plan asks for none."""
        state = self.state
        if state.level is None:
            return None
        within_ms = self.plan.follow_up_ms(state.hazard, state.level)
        return None if within_ms is None else self.now_ms + within_ms

    def _again_ms(self) -> int:
        """Between two follow-ups."""
        state = self.state
        within_ms = self.plan.follow_up_ms(state.hazard, state.level or Level.RED)
        return max(60_000, (within_ms or 0) // 2)

    def _worse(self, seen: Situation) -> None:
        """A new round: on from where it stands if people are being called, else from the start."""
        ringing = self.state.phase is Phase.RINGING
        before = self.state
        rose = (
            before.level is None
            or seen.level is None
            or (seen.level, seen.stage.rank)
            > (
                before.level,
                before.stage.rank,
            )
        )
        self._withdraw()
        self._set(level=seen.level, stage=seen.stage, round=seen.round, follow_ms=None)
        if rose or ringing or before.phase is Phase.HELD:
            self._set(declined=(), unreached=())  # who could not act on less may act on more
        if ringing:
            self._let_go()
            for place, rung in enumerate(self.state.rungs):
                answer_ms = self.plan.deadlines(rung.area, seen.stage).answer
                sooner = min(rung.deadline_ms, self.now_ms + answer_ms)
                self._replace(place, deadline_ms=sooner)
                self._call(place, Kind.RISE)
                self._announce(rung.area)
            self._set(at_top=False)
            self._copy("raise", also=self.state.told)
            return
        known = self.state.told
        self._set(phase=Phase.RINGING, rungs=(), at_top=False, answer=None)
        self._set(follow_ups=0, report=None)
        first = self.plan.called(self.state.site, self.state.hazard, seen.level or Level.RED)[0]
        if self.state.site not in self.plan.site:
            self._note("opened", first, "the plan does not know this site: its top is called")
        else:
            self._note("opened", first)
        again = before.phase is Phase.ANSWERED and not rose
        self._open(first, Kind.REOPEN if again else Kind.RAISE)
        self._copy("raise", also=known)
        self._remind(public=True)

    def _fall(self, level: Level) -> None:
        """Tell of it, and let go of the areas that the lower level does not climb to."""
        before = self.state
        self._set(level=level)
        kept = set(self.plan.called(before.site, before.hazard, level))
        areas = {one: self.plan.contact[one].area for one in before.told}
        self._note("fell", text=f"to {level.name.lower()}")
        self._let_go()
        asked = {one: area for one, area in areas.items() if self._asks(one)}
        self._inform(Kind.FALL, {one: area for one, area in asked.items() if area in kept})
        self._inform(Kind.HAND_BACK, {one: area for one, area in asked.items() if area not in kept})
        # What the public is to do now.
        self._inform(Kind.PUBLIC, {one: areas[one] for one in areas if one not in asked})

    def _over(self) -> None:
        state = self.state
        level = state.level or Level.RED
        self._quiet(Phase.IDLE, "cleared", "")
        areas = {one: self.plan.contact[one].area for one in state.told}
        areas |= self._on_duty(self.plan.told("clear", state.site, state.hazard, level))
        # Before the level is forgotten: those who are told must know which one is over.
        self._inform(Kind.CLEAR, areas)
        self._set(heard=tuple(dict.fromkeys((*self.state.heard, *areas))))
        self._set(level=None, stage=Stage.TREND, told=(), answer=None, report=None)
        self._set(declined=(), unreached=(), follow_ms=None, follow_ups=0, added=())
