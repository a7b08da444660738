"""How the alerts of a month were answered: by tier, by person, and in all; exercises apart.

An alert may call people more than once: when it rises after an answer, or when an answer does not
stand. Each such time is a round, which somebody has to answer, and is counted by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Connection, func, select

from cloud import tables
from cloud.alerts import keptplans
from cloud.alerts.escalation import Escalation
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier
from cloud.alerts.records import read_parts

UNKNOWN: Final = "none of the plan"
"""The tier of people of whom no plan knows any more."""

_CLIMBS: Final = ("climbed", "top")
_LINES: Final = ("opened", "answer", "result", "declined", *_CLIMBS)


_FALSE: Final = ("false alarm", "false-alarm")
_CANNOT: Final = ("cannot act", "cannot-act")


class Figures(NamedTuple):
    """Of a person, a tier, or all: in how many rounds they were called (`called`), answered first
    (`answered`) and declined; in how many they let their time pass (`silent`); medians of the time
    from their first call to the answer, and from the answer to the result, s, and of how many; and
    messages. None: there is none to judge by. `relieved`: somebody else was quicker, and their time
    had not passed, or they answered too. `false_alarms`: alerts that they answered and reported as
    such. `contact` is the person's name in the plan, and `left` says that the plan has it no more.
    """

    name: str
    called: int
    answered: int
    declined: int
    silent: int
    to_answer_s: float | None
    to_result_s: float | None
    messages: int
    contact: str = ""
    left: bool = False
    relieved: int = 0
    answers: int = 0
    worst_answer_s: float | None = None
    results: int = 0
    worst_result_s: float | None = None
    false_alarms: int = 0

    @property
    def silent_share(self) -> float | None:
        """Of the rounds in which they were called."""
        return self.silent / self.called if self.called else None


class Month(NamedTuple):
    """`alerts` began in it; `unanswered` of them nobody ever answered; `false_alarms` were reported
    as such; `messages` are those that channels took, of all kinds."""

    month: str
    alerts: int
    unanswered: int
    false_alarms: int
    messages: int
    total: Figures
    tiers: list[Figures]
    people: list[Figures]

    @property
    def messages_per_alert(self) -> float | None:
        return self.messages / self.alerts if self.alerts else None


class _Round(NamedTuple):
    """One time at which an alert called people: when each contact was called first, who answered
    first, who answered at all, when that was done, and when the calls climbed."""

    called_ms: Mapping[str, int]
    answered_by: str | None
    answered_ms: int | None
    spoke: frozenset[str]
    declined: frozenset[str]
    result_ms: int | None
    is_false: bool
    climbs_ms: tuple[int, ...]


class _Alert(NamedTuple):
    """`messages` that were delivered: key and contact. `tiers` are those of its contacts, by the
    plan that it kept to."""

    rounds: tuple[_Round, ...]
    messages: frozenset[tuple[str, str]]
    tiers: Mapping[str, str]
    names: Mapping[str, str]


def bounds(month: str, zone: ZoneInfo) -> tuple[int, int]:
    """The month `2026-11` as UTC ms, its end excluded. Raises ValueError."""
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=zone)
    except ValueError:
        raise ValueError(f"{month!r} is not a month such as 2026-11") from None
    year, number = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)
    after = first.replace(year=year, month=number)
    return round(first.timestamp() * 1000), round(after.timestamp() * 1000)


def of_month(connection: Connection, plan: Plan, month: str, *, exercises: bool = False) -> Month:
    """What is on record of a month, by the plan's time zone: of real alerts, or of `exercises`.
    Raises ValueError for no month."""
    begin_ms, end_ms = bounds(month, plan.zone)
    alerts = [*_alerts(connection, plan, (begin_ms, end_ms), exercises)]
    called = {who: one for one in alerts for r in one.rounds for who in r.called_ms}
    tiers = {tier for one in alerts for r in one.rounds for tier in _tiers(one, r)}
    people = sorted(called, key=lambda who: (_rank(called[who].tiers.get(who, UNKNOWN)), who))
    return Month(
        month,
        len(alerts),
        sum(all(r.answered_ms is None for r in one.rounds) for one in alerts),
        sum(any(r.is_false for r in one.rounds) for one in alerts),
        len({key for one in alerts for key, _ in one.messages}),
        _figures("all", alerts, lambda alert, who: True),
        [_figures(tier, alerts, partial(_is_of_tier, tier)) for tier in sorted(tiers, key=_rank)],
        [_person(plan, called[who], who, alerts) for who in people],
    )


def _tiers(alert: _Alert, one: _Round) -> Iterator[str]:
    return (alert.tiers.get(who, UNKNOWN) for who in one.called_ms)


def _is_of_tier(tier: str, alert: _Alert, who: str) -> bool:
    return alert.tiers.get(who, UNKNOWN) == tier


def _rank(tier: str) -> int:
    """From the nearest tier up."""
    known = [str(one) for one in Tier]
    return known.index(tier) if tier in known else len(known)


def _person(plan: Plan, alert: _Alert, contact: str, alerts: Sequence[_Alert]) -> Figures:
    known = plan.contact.get(contact)
    name = alert.names.get(contact, contact) if known is None else known.name
    found = _figures(name, alerts, lambda _, who: who == contact)
    # Where there is no plan nobody has left it.
    return found._replace(contact=contact, left=known is None and bool(plan.contact))


def _figures(
    name: str, alerts: Sequence[_Alert], is_ours: Callable[[_Alert, str], bool]
) -> Figures:
    called = answered = declined = silent = relieved = false_alarms = 0
    to_answer: list[float] = []
    to_result: list[float] = []
    for alert in alerts:
        is_false = False
        for one in alert.rounds:
            declined += sum(is_ours(alert, who) for who in one.declined)
            times = [at_ms for who, at_ms in one.called_ms.items() if is_ours(alert, who)]
            if not times:
                continue
            called += 1
            if one.answered_by is not None and _answers(alert, one, is_ours):
                assert one.answered_ms is not None
                answered += 1
                is_false |= one.is_false
                to_answer.append(max(one.answered_ms - min(times), 0) / 1000)
                if one.result_ms is not None:
                    to_result.append((one.result_ms - one.answered_ms) / 1000)
            elif any(is_ours(alert, who) for who in one.spoke):
                relieved += 1
            elif any(is_ours(alert, who) for who in one.declined):
                pass
            elif one.answered_ms is None or any(
                min(times) <= at_ms <= one.answered_ms for at_ms in one.climbs_ms
            ):
                silent += 1
            else:
                relieved += 1
        false_alarms += is_false
    keys = {key for one in alerts for key, who in one.messages if is_ours(one, who)}
    return Figures(
        *(name, called, answered, declined, silent),
        *(_median(to_answer), _median(to_result), len(keys)),
        relieved=relieved,
        answers=len(to_answer),
        worst_answer_s=max(to_answer, default=None),
        results=len(to_result),
        worst_result_s=max(to_result, default=None),
        false_alarms=false_alarms,
    )


def _answers(alert: _Alert, one: _Round, is_ours: Callable[[_Alert, str], bool]) -> bool:
    """Whether it was one of them who answered first; a stranger is one of all, and of no tier."""
    by = one.answered_by
    return by is not None and is_ours(alert, by)


def _alerts(
    connection: Connection, plan: Plan, within_ms: tuple[int, int], exercises: bool
) -> Iterator[_Alert]:
    line, out = tables.timeline, tables.outgoing
    first = func.min(line.c.at_ms)
    begun = connection.execute(
        select(line.c.alert, line.c.incident)
        .where(line.c.kind == "opened")
        .group_by(line.c.alert, line.c.incident)
        .having(first >= within_ms[0], first < within_ms[1])
        .order_by(first)
    ).all()
    plans: dict[str, Plan] = {}
    for alert, incident in begun:
        content = connection.execute(
            select(tables.escalation.c.state).filter_by(alert=alert)
        ).scalar_one_or_none()
        if content is None:
            continue
        state = msgspec.json.decode(content, type=Escalation)
        if state.exercise is not exercises:
            continue
        lines = connection.execute(
            select(line).where(line.c.alert == alert, line.c.kind.in_(_LINES)).order_by(line.c.id)
        ).all()
        sent = [
            (row, any(part.asks for part in parts))
            for row in connection.execute(select(out).where(out.c.incident == incident))
            if row.outcome == "delivered"
            and (parts := [part for part in read_parts(row.parts) if part.alert == alert])
        ]
        own = _plan(connection, plans, state.plan, plan)
        people = {row.contact for row, _ in sent} | {row.who for row in lines}
        yield _Alert(
            tuple(_rounds(lines, [row for row, asks in sent if asks])),
            frozenset((row.key, row.contact) for row, _ in sent),
            {who: tier for who in people if (tier := _tier(own, who) or _tier(plan, who))},
            {who: own.contact[who].name for who in people if who in own.contact},
        )


def _plan(connection: Connection, known: dict[str, Plan], version: str, now: Plan) -> Plan:
    """The plan to which an alert kept, which may know people who have left since."""
    if version not in known:
        known[version] = now
        with suppress(ValueError):
            known[version] = keptplans.of_version(connection, version)
    return known[version]


def _tier(plan: Plan, contact: str) -> str:
    found = plan.contact.get(contact)
    area = None if found is None else plan.area.get(found.area)
    return "" if area is None else area.kind.value


def _rounds(lines: Sequence[Any], asked: Sequence[Any]) -> Iterator[_Round]:
    """The rounds of one alert: each lasts until people are called anew."""
    begins = [place for place, row in enumerate(lines) if row.kind == "opened"]
    for place, after in pairwise([*begins, len(lines)]):
        own = lines[place:after]
        until_ms = lines[after].at_ms if after < len(lines) else None
        yield _round(own, [row for row in asked if _is_within(row, own[0].at_ms, until_ms)])


def _is_within(row: Any, since_ms: int, until_ms: int | None) -> bool:
    return bool(row.made_ms >= since_ms and (until_ms is None or row.made_ms < until_ms))


def _round(lines: Sequence[Any], asked: Iterable[Any]) -> _Round:
    called: dict[str, int] = {}
    for row in asked:
        called[row.contact] = min(row.done_ms, called.get(row.contact, row.done_ms))
    answers = [row for row in lines if row.kind == "answer"]
    first = next((row for row in answers if not _detail(row, "refused")), None)
    results = [
        row
        for row in lines
        if row.kind == "result" and first is not None and row.at_ms >= first.at_ms
    ]
    done = [row.at_ms for row in results if _detail(row, "result") not in _CANNOT]
    return _Round(
        called,
        None if first is None else (_detail(first, "contact") or first.who),
        None if first is None else first.at_ms,
        frozenset(_detail(row, "contact") or row.who for row in answers),
        frozenset(_detail(row, "contact") or row.who for row in lines if row.kind == "declined"),
        done[0] if done else None,
        any(_detail(row, "result") in _FALSE for row in results),
        tuple(row.at_ms for row in lines if row.kind in _CLIMBS),
    )


def _detail(row: Any, key: str) -> Any:
    return msgspec.json.decode(row.detail).get(key)


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def this_month(now_ms: int, zone: ZoneInfo) -> str:
    """The month in which `now_ms` lies."""
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone):%Y-%m}"
