"""What a contact reads, composed when it is handed over: a title, and a text. Pure.

The order comes first, on a line of its own; then what is measured, with its time and whether it
rises; then until when an answer is awaited. One number in one unit, no names of sensors. Several
alerts in one message are grouped: calls first, each red site by name, then what has ended.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cloud.alerts import wording
from cloud.alerts.actions import CALLS, Kind, Send
from cloud.alerts.escalation import Outcome
from cloud.alerts.figures import figure_of
from cloud.alerts.hazard import Hazard
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier
from cloud.alerts.trend import Trend
from cloud.alerts.wording import HAZARD, LEVEL, STAGE, TIER, Wording, capital, clock
from cloud.channels import Language, Measurement
from wire.messages import Level

NEWEST_MS: Final = 300_000
"""A value that is older than this is said to be the last one."""

WHOLE_IN_DIGEST: Final = 5
"""Calls of a digest that say what is measured; further red ones are named, the rest is counted."""

_MINUTE_MS: Final = 60_000


class Told(NamedTuple):
    """What a contact was told last of an alert."""

    level: Level
    measured: Measurement | None


class Reported(NamedTuple):
    """What came of it, by whom (a contact or a name), when."""

    by: str
    outcome: Outcome
    people: int | None
    at_ms: int


class Fact(NamedTuple):
    """One alert as it stands, for one contact. `send` is why they are told, at the level and stage
    that hold now. `cause` is what is found, in each language, by `measured`, at `since_ms`.
    `figures` fill placeholders. `below` is the tier that has not answered, if one has not."""

    send: Send
    cause: Mapping[Language, str] = {}
    since_ms: int = 0
    measured: Measurement | None = None
    trend: Trend | None = None
    figures: Mapping[str, str] = {}
    told: Told | None = None
    deadline_ms: int | None = None
    below: Tier | None = None
    answered: tuple[str, int] | None = None
    reported: Reported | None = None
    public: Mapping[Language, str] = {}
    """What everybody is to do, for a loudspeaker."""

    @property
    def is_call(self) -> bool:
        return self.send.kind in CALLS


_TITLE: Final[dict[Language, dict[Kind, str]]] = {
    "zh": {
        Kind.RAISE: "{level}预警：{site}{hazard}",
        Kind.CLIMB: "{level}预警（{below}未应答）：{site}{hazard}",
        Kind.RISE: "升级为{level}预警：{site}{hazard}",
        Kind.REOPEN: "{level}预警（重新呼叫）：{site}{hazard}",
        Kind.AGAIN: "{level}预警（再次呼叫）：{site}{hazard}",
        Kind.FOLLOW_UP: "请报告处置结果：{site}{hazard}（{level}）",
        Kind.FALL: "降为{level}预警：{site}{hazard}",
        Kind.HAND_BACK: "降为{level}预警，由下级处置：{site}{hazard}",
        Kind.ANSWERED: "已有人应答：{site}{hazard}",
        Kind.RESULT: "处置结果：{site}{hazard}",
        Kind.CLEAR: "预警解除：{site}{hazard}",
        Kind.COPY: "{level}预警（知会）：{site}{hazard}",
        Kind.PUBLIC: "{level}预警：{site}{hazard}",
    },
    "en": {
        Kind.RAISE: "{level} alert: {hazard}, {site}",
        Kind.CLIMB: "{level} alert, {below}: {hazard}, {site}",
        Kind.RISE: "Now {level}: {hazard}, {site}",
        Kind.REOPEN: "{level} alert, called again: {hazard}, {site}",
        Kind.AGAIN: "{level} alert, please answer: {hazard}, {site}",
        Kind.FOLLOW_UP: "What was done? {hazard}, {site} ({level})",
        Kind.FALL: "Down to {level}: {hazard}, {site}",
        Kind.HAND_BACK: "Down to {level}, handed back to the tiers below: {hazard}, {site}",
        Kind.ANSWERED: "Answered: {hazard}, {site}",
        Kind.RESULT: "Result: {hazard}, {site}",
        Kind.CLEAR: "Over: {hazard}, {site}",
        Kind.COPY: "{level} alert, for your information: {hazard}, {site}",
        Kind.PUBLIC: "{level} alert: {hazard}, {site}",
    },
}
_BELOW: Final[dict[Language, str]] = {"zh": "下级", "en": "no answer below"}
_TREND: Final[dict[Trend, str]] = {
    Trend.RISING: "still rising",
    Trend.STEADY: "steady",
    Trend.FALLING: "falling",
}
_STEADY_ZH: Final = "目前平稳"
_OUTCOME: Final[dict[Language, dict[Outcome, str]]] = {
    "zh": {
        Outcome.ACTING: "正在处置",
        Outcome.CLOSED: "已封路",
        Outcome.EVACUATED: "已转移人员",
        Outcome.FALSE_ALARM: "现场核实为误报",
        Outcome.DONE: "已处置",
        Outcome.CANNOT_ACT: "无法处置",
    },
    "en": {
        Outcome.ACTING: "is acting",
        Outcome.CLOSED: "has closed the road",
        Outcome.EVACUATED: "has moved people out",
        Outcome.FALSE_ALARM: "reports a false alarm",
        Outcome.DONE: "has dealt with it",
        Outcome.CANNOT_ACT: "cannot act",
    },
}
_SOMEBODY: Final[dict[Language, str]] = {"zh": "有人", "en": "somebody"}
_DONE_BY: Final[dict[Language, str]] = {
    "zh": "请回复处置结果，如“已封路”“已转移20人”“误报”；无法处置请回复“无法处置”。",
    "en": "Please say what was done, such as “road closed”, “20 people moved” or “false alarm”; "
    "if you cannot act, say “cannot act”.",
}


def whole(plan: Plan, fact: Fact, now_ms: int, link: str = "") -> Wording:
    """One alert, with all that its contact needs to know."""
    send = fact.send
    tongue = wording.language(plan, send.contact)
    values = _values(plan, fact, now_ms, tongue, link)
    title = capital(wording.fill(_TITLE[tongue][send.kind], values))
    match send.kind:
        case Kind.CLEAR:
            lines = [_over(plan, fact, values, tongue), _no_answer(tongue)]
        case Kind.ANSWERED:
            lines = [_answered(plan, fact, tongue), _no_answer(tongue)]
        case Kind.RESULT:
            lines = [_reported(plan, fact, tongue), _no_answer(tongue)]
        case Kind.PUBLIC:
            return Wording(title, fact.public.get(tongue) or _situation(plan, fact, now_ms, tongue))
        case Kind.FOLLOW_UP:
            lines = [
                _DONE_BY[tongue],
                _answered(plan, fact, tongue),
                _situation(plan, fact, now_ms, tongue),
                _until(plan, fact, now_ms, tongue),
            ]
        case _:
            lines = [_situation(plan, fact, now_ms, tongue)]
            if fact.is_call:
                # The order comes first.
                lines.insert(0, wording.instruct(plan, send, tongue, values))
                lines += [_why(plan, fact, tongue), _until(plan, fact, now_ms, tongue)]
            else:
                lines += [_by_whom(plan, fact, tongue), _no_answer(tongue)]
    text = [capital(line.strip()) for line in lines if line.strip()]
    if link and not any(link in line for line in text):
        text.append(link)
    return Wording(title, "\n".join(text))


def standing(plan: Plan, fact: Fact, now_ms: int) -> Wording:
    """The same for somebody who looks at it: without a deadline if it has been answered. What was
    reported is `reported`."""
    if fact.answered is None:
        return whole(plan, fact, now_ms)
    tongue = wording.language(plan, fact.send.contact)
    values = _values(plan, fact, now_ms, tongue, "")
    title = capital(wording.fill(_TITLE[tongue][Kind.RAISE], values))
    lines = (
        wording.instruct(plan, fact.send, tongue, values),
        _situation(plan, fact, now_ms, tongue),
    )
    return Wording(title, "\n".join(capital(line) for line in lines if line))


def reported(plan: Plan, fact: Fact) -> str:
    """What whoever answered says of the work, "" if they have said nothing."""
    if fact.reported is None:
        return ""
    return _reported(plan, fact, wording.language(plan, fact.send.contact))


def digest(plan: Plan, facts: Sequence[Fact], now_ms: int, link: str = "") -> Wording:
    """Several alerts in one message: the calls, the worst first, then what else has changed. What
    has ended is never left out, nor is the name of a site with a red call."""
    tongue = wording.language(plan, facts[0].send.contact)
    calls = sorted((one for one in facts if one.is_call), key=lambda one: -one.send.level)
    news = [one for one in facts if not one.is_call]
    if len(calls) == 1:
        head = whole(plan, calls[0], now_ms)
        lines = [head.text, *_news(plan, news, now_ms, tongue)]
        return Wording(head.title, "\n".join(filter(None, (*lines, link))))
    lines = _calls(plan, calls, now_ms, tongue) + _news(plan, news, now_ms, tongue)
    if calls:
        lines.append(_at_once(tongue))
        title = _count(calls, tongue)
    else:
        lines.append(_no_answer(tongue))
        title = {"zh": f"{len(news)}处预警有变化", "en": f"{len(news)} alerts have changed"}[tongue]
    return Wording(title, "\n".join(filter(None, (*lines, link))))


def named(facts: Sequence[Fact]) -> list[Fact]:
    """The calls that `digest` names one by one: an answer by a code can mean these only."""
    calls = sorted((one for one in facts if one.is_call), key=lambda one: -one.send.level)
    reds = [one for one in calls[WHOLE_IN_DIGEST:] if one.send.level is Level.RED]
    return calls[:WHOLE_IN_DIGEST] + reds


def _calls(plan: Plan, calls: Sequence[Fact], now_ms: int, tongue: Language) -> list[str]:
    lines = []
    for one in calls[:WHOLE_IN_DIGEST]:
        level = LEVEL[tongue][one.send.level]
        site = _site(plan, one, tongue)
        what = _situation(plan, one, now_ms, tongue, alone=False)
        order = wording.instruct(plan, one.send, tongue, _values(plan, one, now_ms, tongue, ""))
        colon, stop = ("：", "") if tongue == "zh" else (": ", " ")
        head = f"{level} {site}" if tongue == "zh" else f"{capital(level)}, {site}"
        lines.append(f"{head}{colon}{order}{stop}{capital(what)}")
    rest = calls[WHOLE_IN_DIGEST:]
    reds = [one for one in rest if one.send.level is Level.RED]
    if reds:
        names = _list((_site(plan, one, tongue) for one in reds), tongue)
        lines.append(f"红色：{names}。" if tongue == "zh" else f"Also red: {names}.")
    others = [one for one in rest if one.send.level is not Level.RED]
    if others:
        counted = Counter((one.send.area, one.send.level) for one in others)
        parts = [
            _counted(plan, area, level, number, tongue)
            for (area, level), number in sorted(counted.items(), key=lambda one: -one[0][1])
        ]
        lines.append(
            f"另有{len(others)}处：{_list(parts, tongue)}。"
            if tongue == "zh"
            else f"{len(others)} more: {_list(parts, tongue)}."
        )
    return lines


def _counted(plan: Plan, area: str, level: Level, number: int, tongue: Language) -> str:
    one = plan.area[area]
    name = wording.named(one.name, one.name_en, tongue)
    if tongue == "zh":
        return f"{name}{LEVEL[tongue][level]}{number}处"
    return f"{name} {number} {LEVEL[tongue][level]}"


def _news(plan: Plan, news: Sequence[Fact], now_ms: int, tongue: Language) -> list[str]:
    """One line for each way in which alerts have changed that ask for nothing."""
    over = [one for one in news if one.send.kind is Kind.CLEAR]
    lines = []
    if over:
        names = _list(
            (
                f"{_site(plan, one, tongue)}（{clock(plan, one.since_ms)}）"
                if tongue == "zh"
                else f"{_site(plan, one, tongue)} ({clock(plan, one.since_ms)})"
                for one in over
            ),
            tongue,
        )
        lines.append(f"已解除：{names}。" if tongue == "zh" else f"Over: {names}.")
    for one in news:
        if one.send.kind is Kind.CLEAR:
            continue
        site = _site(plan, one, tongue)
        level = LEVEL[tongue][one.send.level]
        colon = "：" if tongue == "zh" else ": "
        if one.send.kind is Kind.RESULT:
            text = _reported(plan, one, tongue)
        elif one.send.kind is Kind.ANSWERED:
            text = _answered(plan, one, tongue)
        else:
            text = _situation(plan, one, now_ms, tongue, alone=False)
            by = _by_whom(plan, one, tongue)
            text = f"{level}，{text}{by}" if tongue == "zh" else f"{level}, {text} {by}".strip()
        lines.append(f"{site}{colon}{text}")
    return lines


def _count(calls: Sequence[Fact], tongue: Language) -> str:
    reds = sum(one.send.level is Level.RED for one in calls)
    if tongue == "zh":
        return f"{len(calls)}处预警待应答" + (f"，其中红色{reds}处" if reds else "")
    return f"{len(calls)} alerts wait for your answer" + (f", {reds} of them red" if reds else "")


def _values(plan: Plan, fact: Fact, now_ms: int, tongue: Language, link: str) -> dict[str, str]:
    below = _BELOW[tongue]
    if fact.below is not None:
        tier = TIER[tongue][fact.below]
        below = tier if tongue == "zh" else f"the {tier} has not answered"
    return {
        **wording.values_of(plan, fact.send, now_ms, tongue),
        **fact.figures,
        "below": below,
        "cause": fact.cause.get(tongue, ""),
        "link": link,
    }


def _situation(plan: Plan, fact: Fact, now_ms: int, tongue: Language, *, alone: bool = True) -> str:
    """What is measured, when, and whether it rises; what has changed since the contact was told."""
    send = fact.send
    cause = fact.cause.get(tongue, "")
    stage = "" if send.stage.rank == 3 else STAGE[tongue][send.stage]
    parts = [stage, cause, _trend(fact, tongue), _since_told(fact, tongue)]
    comma = "，" if tongue == "zh" else ", "
    text = comma.join(filter(None, parts))
    if not text:
        return ""
    if fact.measured is None:
        at = "" if not fact.since_ms else clock(plan, fact.since_ms)
        when = {"zh": f"（{at}起）", "en": f" (since {at})"}[tongue] if at else ""
    elif now_ms - fact.since_ms > NEWEST_MS:
        at = _day_and_clock(plan, fact.since_ms, now_ms, tongue)
        when = {"zh": f"（{at}最后一次读数）", "en": f" (last reading at {at})"}[tongue]
    else:
        at = clock(plan, fact.since_ms)
        when = {"zh": f"（{at}）", "en": f" ({at})"}[tongue]
    return f"{text}{when}{'。' if tongue == 'zh' else '.'}"


def _trend(fact: Fact, tongue: Language) -> str:
    if fact.trend is None or fact.measured is None:
        return ""
    if tongue == "en":
        return _TREND[fact.trend]
    if fact.trend is Trend.STEADY:
        return _STEADY_ZH
    figure = figure_of(fact.measured.quantity)
    grows, falls = (figure.grows, figure.falls) if figure else ("仍在上升", "正在下降")
    return grows if fact.trend is Trend.RISING else falls


def _since_told(fact: Fact, tongue: Language) -> str:
    """What has changed since the contact was told of it last: "" if nothing worth a word has."""
    before, now = fact.told, fact.measured
    if before is None:
        return ""
    words = []
    if before.level is not fact.send.level:
        old, new = LEVEL[tongue][before.level], LEVEL[tongue][fact.send.level]
        words.append(f"由{old}转为{new}" if tongue == "zh" else f"{old} before")
    was = before.measured
    if now is not None and was is not None and now.quantity == was.quantity:
        figure = figure_of(now.quantity)
        by = now.value - was.value
        if figure is not None and abs(by * figure.per_si) >= 0.5 * 10.0**-figure.digits:
            size = figure.shown(abs(by), tongue)
            if tongue == "zh":
                words.append(f"比上次通知{'高' if by > 0 else '低'}{size}")
            else:
                words.append(f"{size} {'more' if by > 0 else 'less'} than you were told")
    return ("，" if tongue == "zh" else ", ").join(words)


def _why(plan: Plan, fact: Fact, tongue: Language) -> str:
    send = fact.send
    if send.kind is Kind.REOPEN:
        return {
            "zh": "此前应答人未能处置，现重新呼叫。",
            "en": "Whoever answered has not dealt with it, so you are called again.",
        }[tongue]
    if send.off_duty:
        return {
            "zh": "本级当前无人值班，因此呼叫全体责任人。",
            "en": "Nobody of your area is on duty, so all of you are called.",
        }[tongue]
    return ""


def _until(plan: Plan, fact: Fact, now_ms: int, tongue: Language) -> str:
    """Until when an answer is awaited: a time on the clock that has not passed when it is read."""
    deadline_ms = fact.deadline_ms
    if deadline_ms is None or deadline_ms // _MINUTE_MS <= (now_ms + _MINUTE_MS // 2) // _MINUTE_MS:
        return _at_once(tongue)
    at = clock(plan, deadline_ms)
    return {"zh": f"请在{at}前应答。", "en": f"Please answer by {at}."}[tongue]


def _at_once(tongue: Language) -> str:
    return {"zh": "请立即应答。", "en": "Please answer at once."}[tongue]


def _no_answer(tongue: Language) -> str:
    return {"zh": "无需应答。", "en": "No answer is needed."}[tongue]


def _over(plan: Plan, fact: Fact, values: Mapping[str, str], tongue: Language) -> str:
    at = clock(plan, fact.since_ms)
    if tongue == "zh":
        return f"{values['site']}{values['hazard']}险情已于{at}解除。"
    return f"The danger at {values['site']} ended at {at}."


def _answered(plan: Plan, fact: Fact, tongue: Language) -> str:
    if fact.answered is None:
        return ""
    name, at_ms = fact.answered
    who = wording.contact_name(plan, name, tongue) or _SOMEBODY[tongue]
    if fact.send.kind is Kind.FOLLOW_UP and name == fact.send.contact:
        who = "您" if tongue == "zh" else "you"
    at = clock(plan, at_ms)
    if fact.send.kind is Kind.ANSWERED:
        return {
            "zh": f"{who}已于{at}应答，呼叫停止。",
            "en": f"{who} answered at {at}, and the calls have ended.",
        }[tongue]
    return {"zh": f"{who}已于{at}应答。", "en": f"{who} answered at {at}."}[tongue]


def _reported(plan: Plan, fact: Fact, tongue: Language) -> str:
    one = fact.reported
    if one is None:
        return _answered(plan, fact, tongue)
    who = wording.contact_name(plan, one.by, tongue) or _SOMEBODY[tongue]
    what, at = _OUTCOME[tongue][one.outcome], clock(plan, one.at_ms)
    if one.outcome is Outcome.EVACUATED and one.people is not None:
        what = f"已转移{one.people}人" if tongue == "zh" else f"has moved {one.people} people out"
    return f"{who}报告：{what}（{at}）。" if tongue == "zh" else f"{who} {what} ({at})."


def _by_whom(plan: Plan, fact: Fact, tongue: Language) -> str:
    """For news: what is known of answer and result."""
    if fact.reported is not None:
        return _reported(plan, fact, tongue)
    return _answered(plan, fact, tongue) if fact.answered is not None else ""


def _site(plan: Plan, fact: Fact, tongue: Language) -> str:
    site = wording.site_name(plan, fact.send.site, tongue)
    hazard = HAZARD[tongue][fact.send.hazard]
    if fact.send.hazard is Hazard.UNDERPASS:
        return site
    return f"{site}{hazard}" if tongue == "zh" else f"{site} ({hazard})"


def _list(names: Iterable[str], tongue: Language) -> str:
    return ("、" if tongue == "zh" else ", ").join(names)


def _day_and_clock(plan: Plan, at_ms: int, now_ms: int, tongue: Language) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(plan.zone)
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(plan.zone)
    if moment.date() == today.date():
        return f"{moment:%H:%M}"
    if tongue == "zh":
        return f"{moment.month}月{moment.day}日{moment:%H:%M}"
    return f"{moment:%H:%M on %Y-%m-%d}"
