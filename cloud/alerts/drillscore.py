"""The score of an exercise by script: who answered in what time, and whether that is what was
expected. Worked out from what is on record, at any time; pure but for the reading.

The rule: each thing expected (an answer, a result, a highest tier) counts at each alert that it is
about, and is worth its points. Met: all. Not met: none. What could not be seen, because the
exercise was stopped or a real alert came, or is still open, counts neither way. Without
`[[expect]]` it is what the plan asks for: an answer by the nearest area's deadline, and a result.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from cloud.alerts import drillfacts, keptplans
from cloud.alerts.drillfacts import AlertFacts, CallFacts, Event, Span
from cloud.alerts.drills import Drill, End, next_due_ms
from cloud.alerts.drillscript import Expect, Script
from cloud.alerts.hazard import Hazard
from cloud.alerts.plantables import Tier
from cloud.alerts.views import Line

POINTS: Final = 10
"""Of each thing that the plan asks for, where the script expects nothing."""


class Person(msgspec.Struct, frozen=True):
    """A contact who was called for an alert. `outcome`: "result", "answered", "declined",
    "unreached" (no channel takes their messages), "not answered" (their tier's time has passed),
    "not needed" (somebody else answered, or it ended, before that) or "waiting". Times in s:
    `to_call_s` from the alert to the first call that a channel took; `to_answer_s` from a call to
    their answer, the longest if they were called anew; `to_result_s` from their last answer to
    their result."""

    site: str
    hazard: str
    area: str
    tier: str
    contact: str
    name: str
    outcome: str
    to_call_s: float | None = None
    to_answer_s: float | None = None
    to_result_s: float | None = None
    messages: int = 0


class TierScore(msgspec.Struct, frozen=True):
    """The same of all of a tier; times are medians."""

    tier: str
    called: int
    answered: int
    declined: int
    unreached: int
    not_answered: int
    to_call_s: float | None
    to_answer_s: float | None


class Site(msgspec.Struct, frozen=True):
    """An alert of the exercise. `highest_tier` is as far as it climbed; `left` is why it took no
    further part, "" if it did to the end; `result` is the last one reported."""

    site: str
    name: str
    hazard: str
    alert: str
    incident: str
    level: str
    highest_tier: str
    spans: tuple[Span, ...]
    to_result_s: float | None
    result: str
    left: str


class Check(msgspec.Struct, frozen=True):
    """One thing that was expected. `met` is None while, or if, it cannot be said. `measured_s` is
    the longest time, `measured` the highest tier."""

    site: str
    hazard: str
    what: str
    limit: str
    points: int
    met: bool | None
    measured_s: float | None = None
    measured: str = ""


class Score(msgspec.Struct, frozen=True):
    """An exercise as it stands, or stood at its end. `points` of `most` that could be judged;
    `passed` if it is over, nothing was missed and something was met; something happens by itself
    at `due_ms`."""

    id: str
    title: str
    by: str
    began_ms: int
    ends_by_ms: int
    ended_ms: int | None
    due_ms: int | None
    end: str
    stopped_by: str
    steps_done: int
    steps: int
    left: dict[str, str]
    sites: tuple[Site, ...]
    people: tuple[Person, ...]
    tiers: tuple[TierScore, ...]
    checks: tuple[Check, ...]
    points: int
    most: int
    passed: bool
    events: tuple[Event, ...] = ()
    exercise: bool = True


def of(connection: Connection, drill: Drill, now_ms: int) -> Score:
    """The score of an exercise, as of now."""
    script = drill.read_script()
    plan = keptplans.of_version(connection, drill.plan)
    alerts = [*drillfacts.alerts_of(connection, drill, plan, now_ms)]
    sites = tuple(map(_site, alerts))
    people = tuple(person for one in alerts for person in _people(one))
    checks = tuple(_checks(script, drill, alerts))
    judged = [one for one in checks if one.met is not None]
    points = sum(one.points for one in judged if one.met)
    return Score(
        id=drill.id,
        title=script.title,
        by=drill.by,
        began_ms=drill.began_ms,
        ends_by_ms=drill.base_ms + script.lasts_ms,
        ended_ms=drill.ended_ms,
        due_ms=next_due_ms(drill),
        end="" if drill.end is None else str(drill.end),
        stopped_by=drill.stopped_by,
        steps_done=drill.done,
        steps=len(script.step),
        left=drill.left,
        sites=sites,
        people=people,
        tiers=tuple(_tiers(people)),
        checks=checks,
        points=points,
        most=sum(one.points for one in judged),
        passed=drill.ended_ms is not None and bool(points) and all(one.met for one in judged),
        events=tuple(sorted(drillfacts.events(connection, alerts), key=lambda one: one.at_ms)),
    )


# Judging


def _site(one: AlertFacts) -> Site:
    case, spans = one.case, drillfacts.spans(one)
    answered_ms = spans[-1].answered_ms if spans else None
    result = None if answered_ms is None else drillfacts.result(one, answered_ms)
    site = one.plan.site.get(case.site)
    return Site(
        site=case.site,
        name=case.site if site is None else site.name,
        hazard=str(case.hazard),
        alert=case.alert,
        incident=one.incident,
        level="" if case.level is None else case.level.name.lower(),
        highest_tier=str(drillfacts.highest(one) or ""),
        spans=tuple(spans),
        to_result_s=None
        if result is None or answered_ms is None
        else (result.at_ms - answered_ms) / 1000,
        result="" if result is None else str(result.detail.get("result") or result.text),
        left=one.left,
    )


def _people(one: AlertFacts) -> Iterator[Person]:
    spans = drillfacts.spans(one)
    opened_ms = spans[0].begin_ms if spans else 0
    by_contact: dict[str, list[CallFacts]] = {}
    for call in one.calls:
        by_contact.setdefault(call.contact, []).append(call)
    for name, calls in by_contact.items():
        own = [line for line in one.lines if (line.detail.get("contact") or line.who) == name]
        taken = [call.delivered_ms for call in calls if call.delivered_ms is not None]
        answers = [line for line in own if line.kind == "answer" and not line.detail.get("refused")]
        result = drillfacts.result(one, answers[-1].at_ms) if answers else None
        if result not in own:  # somebody else has reported it
            result = None
        area = one.plan.area.get(calls[0].area)
        yield Person(
            site=one.case.site,
            hazard=str(one.case.hazard),
            area=calls[0].area if area is None else area.name,
            tier="" if area is None else str(area.kind),
            contact=name,
            name=drillfacts.name(one.plan, name),
            outcome=_outcome(one, calls, own),
            to_call_s=(min(taken) - opened_ms) / 1000 if taken else None,
            to_answer_s=_longest_s(spans, taken, answers),
            to_result_s=None if result is None else (result.at_ms - answers[-1].at_ms) / 1000,
            messages=len(taken),
        )


def _longest_s(
    spans: Sequence[Span], taken: Sequence[int], answers: Sequence[Line]
) -> float | None:
    """The longest that somebody took to answer, each time from the first call of theirs that a
    channel took since people were called anew."""
    waits = []
    for answer in answers:
        began_ms = max((one.begin_ms for one in spans if one.begin_ms <= answer.at_ms), default=0)
        if called := [at for at in taken if began_ms <= at <= answer.at_ms]:
            waits.append((answer.at_ms - min(called)) / 1000)
    return max(waits, default=None)


def _outcome(one: AlertFacts, calls: Sequence[CallFacts], own: Sequence[Line]) -> str:
    """What somebody said last counts, unless people were called anew since and they had their
    time."""
    words = [(line.at_ms, word) for line in own if (word := _said(line))]
    at_ms, word = words[-1] if words else (0, "")
    spans = [span for span in drillfacts.spans(one) if span.begin_ms >= at_ms]
    was_silent = any(_was_silent(one, calls, span) for span in spans)
    if not word and any(line.kind == "unreached" for line in own):
        return "unreached"
    if was_silent and word != "declined":
        return "not answered"
    if word:
        return word
    return "not needed" if one.is_over or _answered_since(one, calls[-1]) else "waiting"


def _said(line: Line) -> str:
    if line.kind == "result":
        return "declined" if drillfacts.is_no_result(line) else "result"
    if line.kind == "answer":
        return "" if line.detail.get("refused") else "answered"
    return "declined" if line.kind == "declined" else ""


def _was_silent(one: AlertFacts, calls: Sequence[CallFacts], span: Span) -> bool:
    """Whether they were called for the whole time of their tier, and it went without an answer."""
    end_ms = one.end_ms if span.answered_ms is None else span.answered_ms
    made = [call for call in calls if span.begin_ms <= call.made_ms <= end_ms]
    if not made or made[0].area not in one.plan.area:
        return False
    return end_ms - made[0].made_ms >= one.plan.deadlines(made[0].area, one.case.stage).answer


def _answered_since(one: AlertFacts, call: CallFacts) -> bool:
    return any((span.answered_ms or 0) >= call.made_ms for span in drillfacts.spans(one))


def _tiers(people: Sequence[Person]) -> Iterator[TierScore]:
    for tier in Tier:
        own = [one for one in people if one.tier == tier]
        if not own:
            continue
        count = {outcome: sum(one.outcome == outcome for one in own) for outcome in _OUTCOMES}
        yield TierScore(
            str(tier),
            len(own),
            count["answered"] + count["result"],
            count["declined"],
            count["unreached"],
            count["not answered"],
            _median(one.to_call_s for one in own),
            _median(one.to_answer_s for one in own),
        )


_OUTCOMES: Final = ("answered", "result", "declined", "unreached", "not answered")


def _median(values: Iterable[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return median(known) if known else None


def _checks(script: Script, drill: Drill, alerts: Sequence[AlertFacts]) -> Iterator[Check]:
    was_cut = drill.end in (End.STOPPED, End.AWAY)
    for one in alerts:
        for expected in _expected(script, one):
            judge = _Judge(one, expected, was_cut=was_cut or bool(one.left))
            yield from judge.checks()
    reached = {(one.case.site, one.case.hazard) for one in alerts}
    for site, hazard in script.places:
        if (site, hazard) not in reached:
            for expected in script.expect:
                if _is_about(expected, site, hazard):
                    yield from _not_reached(expected, site, hazard)


def _expected(script: Script, one: AlertFacts) -> Iterator[Expect]:
    if script.expect:
        own = (one.case.site, one.case.hazard)
        yield from (each for each in script.expect if _is_about(each, *own))
        return
    first = one.plan.ladder(one.case.site)[0]
    answer_ms = one.plan.deadlines(first, one.case.stage).answer
    level = one.case.level
    result_ms = None if level is None else one.plan.follow_up_ms(one.case.hazard, level)
    yield Expect.model_construct(
        answer_within_min=answer_ms / 60_000,
        result_within_min=None if result_ms is None else result_ms / 60_000,
        points=POINTS,
    )


def _is_about(expected: Expect, site: str, hazard: Hazard) -> bool:
    return expected.site in (None, site) and expected.hazard in (None, hazard)


def _not_reached(expected: Expect, site: str, hazard: Hazard) -> Iterator[Check]:
    for what, limit in _limits(expected):
        yield Check(site, str(hazard), what, limit, expected.points, None)


def _limits(expected: Expect) -> Iterator[tuple[str, str]]:
    if expected.answer_within_min is not None:
        yield "answer", f"{expected.answer_within_min:g} min"
    if expected.result_within_min is not None:
        yield "result", f"{expected.result_within_min:g} min"
    if expected.highest_tier is not None:
        yield "highest tier", str(expected.highest_tier)


class _Judge:
    """What was expected of one alert; `was_cut` if it did not go to its end."""

    def __init__(self, one: AlertFacts, expected: Expect, *, was_cut: bool) -> None:
        self._one = one
        self._expected = expected
        self._cut = was_cut
        self._spans = drillfacts.spans(one)

    def checks(self) -> Iterator[Check]:
        """Each with what was measured."""
        case = self._one.case
        judged: Mapping[str, Any] = {
            "answer": self._answer,
            "result": self._result,
            "highest tier": self._tier,
        }
        for what, limit in _limits(self._expected):
            met, seconds, words = judged[what]()
            yield Check(
                *(case.site, str(case.hazard), what, limit, self._expected.points, met),
                measured_s=seconds,
                measured=words,
            )

    def _answer(self) -> tuple[bool | None, float | None, str]:
        """The longest that people were called without an answer."""
        limit_ms = (self._expected.answer_within_min or 0) * 60_000
        waits = [
            ((one.answered_ms or self._one.end_ms) - one.begin_ms, one.answered_ms is not None)
            for one in self._spans
        ]
        if not waits:
            return None, None, ""
        longest_ms = max(wait for wait, _ in waits)
        if longest_ms > limit_ms:
            return False, longest_ms / 1000, ""
        if all(is_answered for _, is_answered in waits):
            still = not self._one.is_over
            return None if still else True, longest_ms / 1000, ""
        # Nobody had answered when it ended, before the time was up.
        return None, None, ""

    def _result(self) -> tuple[bool | None, float | None, str]:
        """From the last answer to the first result after it."""
        limit_ms = (self._expected.result_within_min or 0) * 60_000
        if not self._spans:
            return None, None, ""
        answered_ms = self._spans[-1].answered_ms
        if answered_ms is None:
            over = self._one.is_over and not self._cut
            return False if over else None, None, ""
        found = drillfacts.result(self._one, answered_ms)
        took_ms = (self._one.end_ms if found is None else found.at_ms) - answered_ms
        if took_ms > limit_ms:
            return False, took_ms / 1000, ""
        return (None, None, "") if found is None else (True, took_ms / 1000, "")

    def _tier(self) -> tuple[bool | None, float | None, str]:
        """The highest that was called."""
        limit, highest = self._expected.highest_tier, drillfacts.highest(self._one)
        if limit is None or highest is None:
            return None, None, ""
        if highest.rank > limit.rank:
            return False, None, str(highest)
        is_known = self._one.is_over and not self._cut
        return True if is_known else None, None, str(highest)
