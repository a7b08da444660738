"""A plan rehearsed in virtual time: who would be told what, by which channel, and when. Pure.

It is the real alarm, escalation and digest that run, with a clock of their own; only the sending is
left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from cloud.alerts import alarm as alarms
from cloud.alerts import compose, digest, escalation, facts, inhibition, wording
from cloud.alerts.actions import Note, Send, Withdraw, newest
from cloud.alerts.alarm import Acknowledge, Alarm, Condition
from cloud.alerts.compose import Fact
from cloud.alerts.digest import Mailbox, Parcel
from cloud.alerts.dutychanges import AS_PLANNED, Duty
from cloud.alerts.escalation import Answer, Escalation
from cloud.alerts.figures import LANGUAGES
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Inhibit, Tier
from cloud.channels import Language
from wire.messages import Level

MINUTE_MS: Final = 60_000

_MEASURED: Final = {"cause", "link"}.union(
    *(names for hazard, names in wording.VALUES.items() if hazard is not None)
)
"""Placeholders of which a plan knows nothing."""


_AT_ONCE: Final = alarms.Rule(off_delay_ms=0)


class Answering(NamedTuple):
    """Somebody of a tier answers, so many ms after the alert."""

    tier: Tier
    after_ms: int


class Change(NamedTuple):
    """From so many ms after the alert on it has another level; None ends it."""

    after_ms: int
    level: Level | None
    stage: Stage = Stage.NOW


class Line(NamedTuple):
    """Something that happens. `contact`, `channel` and `text` are "" for what is only noted."""

    after_ms: int
    kind: str
    area: str
    contact: str
    channel: str
    title: str
    text: str
    answer_by_ms: int | None = None
    off_duty: bool = False


def run(
    plan: Plan,
    site: str,
    hazard: Hazard,
    level: Level,
    *,
    at_ms: int,
    stage: Stage = Stage.NOW,
    answers: Iterable[Answering] = (),
    lasts_ms: int = 30 * MINUTE_MS,
    values: Mapping[str, str] | None = None,
    changes: Iterable[Change] = (),
    duty: Duty = AS_PLANNED,
) -> list[Line]:
    """What happens in `lasts_ms` after an alert at `at_ms` (UTC), in order of time. `duty` has what
    has been changed of the plan's."""
    rehearsal = _Rehearsal(plan, hazard, at_ms, values or {})
    rehearsal.duty = duty
    rehearsal.alarm, _ = alarms.step(
        Alarm(site, hazard), Condition("rehearsal", level, at_ms, stage), at_ms
    )
    rehearsal.state = escalation.begin(rehearsal.alarm, plan)
    for rule in inhibition.could_inhibit(plan.inhibit, hazard, level):
        rehearsal.lines.append(_inhibited(rule))
    rehearsal.feed(escalation.situation(rehearsal.alarm), at_ms)
    waiting = sorted(answers, key=lambda one: one.after_ms)
    later = sorted(changes, key=lambda one: one.after_ms)
    while True:
        answer_ms = at_ms + waiting[0].after_ms if waiting else None
        change_ms = at_ms + later[0].after_ms if later else None
        due = [at for at in (rehearsal.due_ms(), answer_ms, change_ms) if at is not None]
        now_ms = min(due, default=at_ms + lasts_ms + 1)
        if now_ms > at_ms + lasts_ms:
            return rehearsal.lines
        if now_ms == change_ms:
            rehearsal.change(later.pop(0), now_ms)
        elif now_ms == answer_ms:
            rehearsal.answer(waiting.pop(0).tier, now_ms)
        else:
            rehearsal.tick(now_ms)


class _Rehearsal:
    alarm: Alarm
    state: Escalation
    duty: Duty = AS_PLANNED

    def __init__(self, plan: Plan, hazard: Hazard, at_ms: int, values: Mapping[str, str]) -> None:
        self.lines: list[Line] = []
        self._plan = plan
        self._at_ms = at_ms
        # What only a sensor could say stands there by its name.
        names = {*wording.VALUES[None], *wording.VALUES[hazard]}
        self._values = {name: f"{{{name}}}" for name in names & _MEASURED} | dict(values)
        self._window_ms = round(plan.digest_window_s * 1000)
        self._boxes: dict[str, Mailbox] = {}
        self._kept: dict[str, list[Send]] = {}
        self._underway: list[Parcel] = []

    def due_ms(self) -> int | None:
        """When something happens by itself."""
        due = [escalation.next_due_ms(self.state)]
        due += [digest.next_due_ms(box) for box in self._boxes.values()]
        due += [parcel.not_before_ms for parcel in self._underway]
        return min((at for at in due if at is not None), default=None)

    def tick(self, now_ms: int) -> None:
        for contact, box in [*self._boxes.items()]:
            due_ms = digest.next_due_ms(box)
            if due_ms is not None and due_ms <= now_ms:
                self._post(contact, [], now_ms)
        if (due := escalation.next_due_ms(self.state)) is not None and due <= now_ms:
            self.feed(escalation.Tick(), now_ms)
        self._deliver(now_ms)

    def feed(self, given: escalation.Input, now_ms: int) -> None:
        self.state, actions = escalation.step(self.state, given, now_ms, self._plan, self.duty)
        sends: dict[str, list[Send]] = {}
        for action in actions:
            match action:
                case Send():
                    sends.setdefault(action.contact, []).append(action)
                case Withdraw():
                    self._withdraw(action)
                case Note():
                    self._note(action, now_ms)
        for contact, of_contact in sends.items():
            self._post(contact, of_contact, now_ms)
        self._deliver(now_ms)

    def change(self, change: Change, now_ms: int) -> None:
        """It has another level, at once."""
        given = Condition("rehearsal", change.level, now_ms, change.stage)
        for one in (given, alarms.Tick()):
            self.alarm, _ = alarms.step(self.alarm, one, now_ms, _AT_ONCE)
        self.feed(escalation.situation(self.alarm), now_ms)

    def answer(self, tier: Tier, now_ms: int) -> None:
        """The first who was called in an area of this kind answers."""
        by = next(
            (
                rung.contacts[0]
                for rung in self.state.rungs
                if self._plan.area[rung.area].kind is tier and rung.contacts
            ),
            None,
        )
        if by is None:
            nobody = f"nobody of the {tier} is being called"
            self.lines.append(Line(now_ms - self._at_ms, "no answer", "", "", "", nobody, ""))
            return
        self.feed(Answer(by, now_ms, "link", round=self.state.round), now_ms)
        self.alarm, _ = alarms.step(self.alarm, Acknowledge(by, self.state.round), now_ms)
        self.feed(escalation.situation(self.alarm), now_ms)

    def _post(self, contact: str, sends: Sequence[Send], now_ms: int) -> None:
        box = self._boxes.get(contact, Mailbox(contact))
        kept = self._kept.pop(contact, [])
        if sends and not digest.opens(box, sends, now_ms):
            self._boxes[contact] = digest.keep(box, sends, now_ms)
            self._kept[contact] = [*kept, *sends]
            return
        box, messages, stays = digest.empty(box, kept, sends, now_ms, self._window_ms)
        for message in messages:
            box, parcels = digest.parcels(box, message, now_ms)
            self._underway += parcels
        if stays:
            self._kept[contact] = [*stays]
        self._boxes[contact] = box

    def _withdraw(self, what: Withdraw) -> None:
        self._kept = {
            contact: [send for send in sends if not what.ends(send.part, contact)]
            for contact, sends in self._kept.items()
        }
        self._underway = [
            parcel
            for parcel in self._underway
            if not all(what.ends(send.part, parcel.contact) for send in parcel.sends)
        ]

    def _deliver(self, now_ms: int) -> None:
        ready = [parcel for parcel in self._underway if parcel.not_before_ms <= now_ms]
        self._underway = [parcel for parcel in self._underway if parcel.not_before_ms > now_ms]
        for parcel in ready:
            found = [self._fact(send) for send in newest(parcel.sends).values()]
            head = max(found, key=lambda one: (one.is_call, one.send.level))
            compose_it = (
                compose.whole(self._plan, head, now_ms)
                if len(found) == 1
                else (compose.digest(self._plan, found, now_ms))
            )
            self.lines.append(
                Line(
                    now_ms - self._at_ms,
                    str(head.send.kind) if len(found) == 1 else "digest",
                    head.send.area,
                    parcel.contact,
                    parcel.channel,
                    compose_it.title,
                    compose_it.text,
                    head.send.answer_by_ms,
                    head.send.off_duty,
                )
            )

    def _fact(self, send: Send) -> Fact:
        """How the alert stands, as far as a rehearsal knows."""
        state = self.state
        cause: dict[Language, str] = {tongue: self._values.get("cause", "") for tongue in LANGUAGES}
        return Fact(
            send,
            cause=cause,
            since_ms=send.at_ms,
            figures=self._values,
            deadline_ms=send.answer_by_ms,
            below=facts.below(self._plan, send, state),
            answered=None if state.answer is None else (state.answer.by, state.answer.at_ms),
        )

    def _note(self, note: Note, now_ms: int) -> None:
        self.lines.append(Line(now_ms - self._at_ms, note.kind, note.area, "", "", note.text, ""))


def _inhibited(rule: Inhibit) -> Line:
    """By which rule nobody might be called."""
    levels = ", ".join(one.name.lower() for one in rule.source.levels)
    hazards = ", ".join(rule.source.hazards)
    words = f"nobody is called while {hazards} at {levels} stands, same {rule.same}"
    return Line(0, "inhibited", "", "", "", f"{words}: {rule.reason}", "")
