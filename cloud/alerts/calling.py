"""Who is called and told in one step of an escalation: areas of the ladder, their contacts, loud-
speakers, copies. Pure; `escalation` has the rules by which it is done."""

from collections.abc import Iterable
from typing import Final

import msgspec

from cloud.alerts.actions import CALLS, Action, Kind, Note, Send, Way, Withdraw
from cloud.alerts.dutychanges import Duty
from cloud.alerts.escalationstate import Escalation, Phase, Rung
from cloud.alerts.plan import Plan
from wire.messages import Level

NEVER: Final = 2**53
"""The next call where a plan has nobody to call."""


class Calling:
    """One step on its way; nothing of it lasts longer than the step."""

    def __init__(self, state: Escalation, now_ms: int, plan: Plan, duty: Duty) -> None:
        self.state = state
        self.now_ms = now_ms
        self.plan = plan
        self.duty = duty
        self.actions: list[Action] = []
        self.fresh: set[str] = set()
        """Contacts that a person has had called in this step."""

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

    def _open(self, area: str, kind: Kind) -> None:
        """Call an area for the first time in this round. One without contacts has no time either:
        there is nobody to wait for."""
        self._announce(area)
        if not self._in_area(area):
            self._note("empty", area, "has no contacts")
            rung = Rung(area, self.now_ms, self.now_ms, self._look_ms(area), 0, ())
            self._set(rungs=(*self.state.rungs, rung))
            return
        times = self.plan.deadlines(area, self.state.stage)
        rung = Rung(area, self.now_ms, self.now_ms + times.answer, self.now_ms, 0, ())
        self._set(rungs=(*self.state.rungs, rung))
        self._call(len(self.state.rungs) - 1, kind)

    def _call(self, place: int, kind: Kind) -> None:
        """Call all who are on duty in an area; if nobody is, everyone of it. Who has declined is
        left alone, but at the top, where nobody else is left."""
        state, now_ms = self.state, self.now_ms
        rung = state.rungs[place]
        on_duty = self.duty.on_duty(self.plan, rung.area, now_ms)
        wanted = on_duty or self.duty.everyone(self.plan, rung.area, now_ms)
        if state.added and place == len(state.rungs) - 1:
            wanted += tuple(
                one for one in state.added if one not in wanted and one not in self.fresh
            )
        if not wanted:
            self._replace(place, next_ms=self._look_ms(rung.area))
            return
        times = self.plan.deadlines(rung.area, state.stage)
        contacts = wanted
        if state.declined:
            contacts = tuple(one for one in wanted if one not in state.declined)
        if not contacts:
            if not self._is_top(place):
                ended_ms = min(rung.deadline_ms, now_ms)
                again_ms = self._look_ms(rung.area)
                self._replace(place, next_ms=again_ms, deadline_ms=ended_ms)
                return
            contacts = wanted
        early = now_ms < rung.deadline_ms
        answer_by_ms = max(rung.deadline_ms, now_ms)
        for contact in contacts:
            self._send(kind, rung.area, contact, rung.tries, answer_by_ms, on_duty)
        called = rung.contacts
        if contacts != called:  # nearly always the same are called again
            called += tuple(one for one in contacts if one not in called)
        self._replace(
            place,
            next_ms=now_ms + (times.retry if early else times.ring),
            tries=rung.tries + 1,
            contacts=called,
        )

    def _look_ms(self, area: str) -> int:
        """When to look whether somebody has come on duty in an area that has nobody to call."""
        if not self.plan.contact:
            return NEVER
        return self.now_ms + self.plan.deadlines(area, self.state.stage).ring

    def _is_top(self, place: int) -> bool:
        """Whether nobody is called above this rung."""
        state = self.state
        ladder = self.plan.called(state.site, state.hazard, state.level or Level.RED)
        return place >= len(ladder) - 1

    def _announce(self, area: str) -> None:
        """Have the loudspeakers and boards of an area tell the public."""
        for contact in self.plan.announcers(area):
            self._send(Kind.PUBLIC, area, contact, self.state.infos, None, (contact,))
        if self.plan.announcers(area):
            self._set(infos=self.state.infos + 1)

    def _let_go(self) -> None:
        """Stop calling areas that the level does not climb to."""
        state = self.state
        if state.level is None:
            return
        kept = self.plan.called(state.site, state.hazard, state.level)
        for rung in state.rungs[len(kept) :]:
            self._withdraw(rung.area)
        self._set(rungs=state.rungs[: len(kept)])

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
        copies = dict.fromkeys(one for one in (*named, *also) if self._asks(one))
        called = {one for rung in state.rungs for one in rung.contacts}
        found = self._on_duty(copies)
        self._inform(Kind.COPY, {one: area for one, area in found.items() if one not in called})

    def _in_area(self, area: str) -> tuple[str, ...]:
        """Whom a call to an area reaches now."""
        on_duty = self.duty.on_duty(self.plan, area, self.now_ms)
        return on_duty or self.duty.everyone(self.plan, area, self.now_ms)

    def _on_duty(self, contacts: Iterable[str]) -> dict[str, str]:
        """Those of them who are on duty, or who covers them, with their areas."""
        found: dict[str, str] = {}
        for one in contacts:
            found |= self.duty.in_place_of(self.plan, one, self.now_ms)
        return found

    def _remind(self, *, public: bool = False) -> None:
        """Tell those who believe that it is over how it stands, without calling them; `public`: the
        loudspeakers among them, else the people."""
        areas = {
            one: self.plan.contact[one].area
            for one in self.state.heard
            if one in self.plan.contact and self._asks(one) is not public
        }
        self._inform(Kind.PUBLIC if public else Kind.COPY, areas)

    def _asks(self, contact: str) -> bool:
        return not self.plan.contact[contact].public

    def _nobody_left(self, rung: Rung) -> bool:
        return all(
            one in self.state.declined or self.duty.absence(one, self.now_ms) is not None
            for one in rung.contacts
        )

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
            asks = kind in CALLS
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
                    ways if asks or kind is Kind.PUBLIC else _first(ways),
                    answer_by_ms if asks else None,
                    not on_duty,
                    state.exercise,
                )
            )
        if contact not in state.told:
            self._set(told=(*state.told, contact))
        if contact in state.heard:
            self._set(heard=tuple(one for one in state.heard if one != contact))

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


def _first(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    """The first channel alone, which then waits for no other."""
    return (ways[0]._replace(after_ms=0),)
