"""What a contact reads, composed when it is handed over: a title, and a text. Pure.

The order comes first, on a line of its own; then what is measured, with its time and whether it
rises; then until when an answer is awaited. One number in one unit, no names of sensors. Several
alerts in one message are grouped: calls first, each red site by name, then what has ended.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from cloud.alerts import heldwords, phrases, wording
from cloud.alerts.actions import CALLS, Kind, Send
from cloud.alerts.alarm import Cover
from cloud.alerts.escalation import Outcome
from cloud.alerts.figures import figure_of, trend_in
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.phrases import Silence
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier
from cloud.alerts.trend import Trend
from cloud.alerts.wording import LEVEL, TIER, Wording, capital, moment
from cloud.channels import Language, Measurement
from wire.messages import Level

NEWEST_MS: Final = 300_000
"""A value that is older than this is said to be the last one."""

WHOLE_IN_DIGEST: Final = 5
WHOLE_REDS: Final = 20
"""Calls of a digest that say what to do and what is measured, and so many if they are red; further
red ones are named, the rest is counted."""

_SAYS_LEVEL: Final = frozenset({Kind.RISE, Kind.FALL, Kind.HAND_BACK})
"""Whose title says how the level has changed."""

_MINUTE_MS: Final = 60_000


class Told(NamedTuple):
    """What a contact was told last of an alert; stage None: an earlier release has not kept it."""

    level: Level
    measured: Measurement | None
    stage: Stage | None = None


class Below(NamedTuple):
    """The tier that was called before."""

    tier: Tier
    why: Silence = Silence.NO_ANSWER


class Reported(NamedTuple):
    """What came of it, by whom (a contact or a name), when."""

    by: str
    outcome: Outcome
    people: int | None
    at_ms: int


class Fact(NamedTuple):
    """One alert as it stands, for one contact. `send` is why they are told, at the level and stage
    that hold now. `cause` is what is found, in each language, by `measured`, at `since_ms` (0: no
    time is told), or, if it `lasts`, since then; `other` by another gauge. `figures` fill
    placeholders. `below` is the tier that does not act, if one does not."""

    send: Send
    cause: Mapping[Language, str] = {}
    since_ms: int = 0
    lasts: bool = False
    measured: Measurement | None = None
    trend: Trend | None = None
    other: Measurement | None = None
    figures: Mapping[str, str] = {}
    told: Told | None = None
    deadline_ms: int | None = None
    below: Below | None = None
    answered: tuple[str, int] | None = None
    reported: Reported | None = None
    public: Mapping[Language, str] = {}
    """What everybody is to do, for a loudspeaker."""
    held: Sequence[Cover] = ()
    """What holds it back."""

    @property
    def is_call(self) -> bool:
        return self.send.kind in CALLS


def whole(plan: Plan, fact: Fact, now_ms: int, link: str = "") -> Wording:
    """One alert, with all that its contact needs to know."""
    send = fact.send
    tongue = wording.language(plan, send.contact)
    values = _values(plan, fact, now_ms, tongue, link)
    title = capital(wording.fill(phrases.TITLE[tongue][send.kind], values))
    if plan.contact[send.contact].public:
        return _to_everybody(fact, title, values, tongue)
    match send.kind:
        case Kind.CLEAR:
            lines = [_over(plan, fact, now_ms, tongue), _no_answer(tongue)]
        case Kind.ANSWERED:
            lines = [_answered(plan, fact, now_ms, tongue), _no_answer(tongue)]
        case Kind.RESULT:
            lines = [_reported(plan, fact, now_ms, tongue), _no_answer(tongue)]
        case Kind.HELD:
            lines = [heldwords.of(plan, fact.held, now_ms, tongue), _no_answer(tongue)]
        case Kind.FOLLOW_UP:
            lines = [
                phrases.REPORT[tongue].format(done=phrases.DONE[tongue][send.hazard]),
                _answered(plan, fact, now_ms, tongue),
                _situation(plan, fact, now_ms, tongue),
                _until(plan, fact, now_ms, tongue),
            ]
        case _:
            lines = [_situation(plan, fact, now_ms, tongue)]
            if fact.is_call:
                # The order comes first.
                lines.insert(0, wording.instruct(plan, send, tongue, values))
                lines += [_why(fact, tongue), _until(plan, fact, now_ms, tongue)]
            else:
                lines += [_by_whom(plan, fact, now_ms, tongue), _no_answer(tongue)]
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
    title = capital(wording.fill(phrases.TITLE[tongue][Kind.RAISE], values))
    lines = (
        wording.instruct(plan, fact.send, tongue, values),
        _situation(plan, fact, now_ms, tongue),
    )
    return Wording(title, "\n".join(capital(line) for line in lines if line))


def reported(plan: Plan, fact: Fact, now_ms: int) -> str:
    """What whoever answered says of the work, "" if they have said nothing."""
    if fact.reported is None:
        return ""
    return _reported(plan, fact, now_ms, wording.language(plan, fact.send.contact))


def headline(plan: Plan, send: Send) -> str:
    """What happens and where, or that it is over: by the send alone."""
    tongue = wording.language(plan, send.contact)
    kind = send.kind if send.kind is Kind.CLEAR else Kind.RAISE
    name = wording.site_name(plan, send.site, tongue)
    values = {
        "level": LEVEL[tongue][send.level],
        "what": wording.at(send.site, send.hazard, name, tongue),
    }
    return capital(wording.fill(phrases.TITLE[tongue][kind], values))


def digest(plan: Plan, facts: Sequence[Fact], now_ms: int, link: str = "") -> Wording:
    """Several alerts in one message: the calls, the worst first, then what else has changed. What
    has ended is never left out, nor is the name of a site with a red call."""
    tongue = wording.language(plan, facts[0].send.contact)
    if plan.contact[facts[0].send.contact].public:
        return _announced(plan, facts, now_ms)
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
        title = f"{len(news)}处预警有变化"
        if tongue == "en":
            title = f"News of {_alerts(len(news))}"
    return Wording(title, "\n".join(filter(None, (*lines, link))))


def _announced(plan: Plan, facts: Sequence[Fact], now_ms: int) -> Wording:
    """What a loudspeaker says of several alerts, one after another: the worst first, ends last."""
    in_order = sorted(facts, key=lambda one: (one.send.kind is Kind.CLEAR, -one.send.level))
    first, *rest = (whole(plan, one, now_ms) for one in in_order)
    return Wording(first.title, "\n".join((first.text, *(f"{o.title}\n{o.text}" for o in rest))))


def named(facts: Sequence[Fact]) -> list[Fact]:
    """The calls that `digest` names one by one: an answer by a code can mean these only."""
    calls = sorted((one for one in facts if one.is_call), key=lambda one: -one.send.level)
    whole = _whole(calls)
    return calls[:whole] + [one for one in calls[whole:] if one.send.level is Level.RED]


def _whole(calls: Sequence[Fact]) -> int:
    """How many of the calls, the worst first, say what to do and what is measured: the red ones,
    as long as anybody can read them."""
    reds = sum(one.send.level is Level.RED for one in calls)
    return max(WHOLE_IN_DIGEST, min(reds, WHOLE_REDS))


def _to_everybody(fact: Fact, title: str, values: Mapping[str, str], tongue: Language) -> Wording:
    """For a loudspeaker or a board: what to do, and nothing that is for those on duty."""
    if fact.send.kind is not Kind.CLEAR:
        title = capital(wording.fill(phrases.TITLE[tongue][Kind.PUBLIC], values))
    return Wording(title, fact.public.get(tongue, ""))


def _calls(plan: Plan, calls: Sequence[Fact], now_ms: int, tongue: Language) -> list[str]:
    lines = []
    whole = _whole(calls)
    for one in calls[:whole]:
        level = LEVEL[tongue][one.send.level]
        site = _site(plan, one, tongue)
        what = _situation(plan, one, now_ms, tongue)
        order = wording.instruct(plan, one.send, tongue, _values(plan, one, now_ms, tongue, ""))
        said = [_sentence(one, tongue) for one in (order, what) if one]
        if tongue == "zh":
            lines.append(f"{level}，{site}：{''.join(said)}")
        else:
            lines.append(f"{capital(level)}, {' '.join((f'{site}.', *said))}")
    rest = calls[whole:]
    reds = [one for one in rest if one.send.level is Level.RED]
    if reds:
        names = _list((_site(plan, one, tongue) for one in reds), tongue)
        lines.append(f"另有红色：{names}。" if tongue == "zh" else f"Also red: {names}.")
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


def _sentence(text: str, tongue: Language) -> str:
    """With a capital letter and a full stop: a number behind it must not run into it."""
    text = text.strip() if tongue == "zh" else capital(text.strip())
    if text.endswith(("。", "！", "？", "；", ".", "!", "?", ";")):
        return text
    return text + ("。" if tongue == "zh" else ".")


def _counted(plan: Plan, area: str, level: Level, number: int, tongue: Language) -> str:
    one = plan.area[area]
    name = wording.named(one.name, one.name_en, tongue)
    if tongue == "zh":
        return f"{name}{LEVEL[tongue][level]}{number}处"
    return f"{number} {LEVEL[tongue][level]} in {name}"


def _news(plan: Plan, news: Sequence[Fact], now_ms: int, tongue: Language) -> list[str]:
    """One line for each way in which alerts have changed that ask for nothing."""
    over = [one for one in news if one.send.kind is Kind.CLEAR]
    lines = []
    if over:
        between = "" if tongue == "zh" else " "
        names = (
            f"{moment(plan, one.since_ms, now_ms, tongue)}{between}{_site(plan, one, tongue)}"
            for one in over
        )
        said = _list(names, tongue)
        lines.append(f"已解除：{said}。" if tongue == "zh" else f"Over: {said}.")
    for one in news:
        if one.send.kind is Kind.CLEAR:
            continue
        if one.send.kind is Kind.RESULT:
            text = _reported(plan, one, now_ms, tongue)
        elif one.send.kind is Kind.ANSWERED:
            text = _answered(plan, one, now_ms, tongue)
        elif one.send.kind is Kind.HELD:
            text = heldwords.of(plan, one.held, now_ms, tongue)
        else:
            text = ""
        if not text:
            level = LEVEL[tongue][one.send.level]
            what = _situation(plan, one, now_ms, tongue)
            by = _by_whom(plan, one, now_ms, tongue)
            stop = "。" if tongue == "zh" else "."
            text = ("" if tongue == "zh" else " ").join(filter(None, (level + stop, what, by)))
        site = _site(plan, one, tongue)
        lines.append(f"{site}：{text}" if tongue == "zh" else f"{capital(site)}: {text}")
    return lines


def _count(calls: Sequence[Fact], tongue: Language) -> str:
    number, reds = len(calls), sum(one.send.level is Level.RED for one in calls)
    if tongue == "zh":
        which = "均为红色" if reds == number else f"其中红色{reds}处"
        return f"{number}处预警待应答" + (f"，{which}" if reds else "")
    which = f"{reds} of them red"
    if reds == number:
        which = "both red" if number == 2 else "all of them red"
    return f"{_alerts(number)} to answer" + (f", {which}" if reds else "")


def _alerts(number: int) -> str:
    return f"{number} alert" if number == 1 else f"{number} alerts"


def _values(plan: Plan, fact: Fact, now_ms: int, tongue: Language, link: str) -> dict[str, str]:
    values = {**wording.values_of(plan, fact.send, now_ms, tongue), **fact.figures}
    deadline_ms = max(fact.deadline_ms or 0, _next_minute_ms(now_ms))
    values["deadline"] = moment(plan, deadline_ms, now_ms, tongue)
    below = ""
    if fact.below is not None:
        form = phrases.BELOW[tongue][fact.below.why]
        below = wording.fill(form, {"tier": TIER[tongue][fact.below.tier]})
    elif tongue == "zh":
        below = "下级未应答"
    else:
        below = "nobody below has answered"
    values |= {"below": below, "cause": fact.cause.get(tongue, ""), "link": link}
    send = fact.send
    return values | {"what": wording.at(send.site, send.hazard, values["site"], tongue)}


def _situation(plan: Plan, fact: Fact, now_ms: int, tongue: Language) -> str:
    """When what is measured, and whether it rises; what has changed since the contact was told."""
    cause = fact.cause.get(tongue, "")
    comma = "，" if tongue == "zh" else ", "
    old = fact.measured is not None and now_ms - fact.since_ms > NEWEST_MS
    parts = [cause, "" if old else _trend(fact, tongue), _since_told(fact, tongue)]
    text = comma.join(filter(None, parts))
    ahead = wording.AHEAD[tongue].get(fact.send.stage, "")
    if not text:
        return ahead
    at = "" if not fact.since_ms else moment(plan, fact.since_ms, now_ms, tongue)
    other = _other(plan, fact, now_ms, tongue)
    if tongue == "zh":
        dated = f"{at}起，{text}" if fact.lasts and at else f"{at}{text}"
        where = "该测点" if other else ""
        return f"{ahead}{f'{at}最后测得{text}，此后{where}无读数' if old else dated}。{other}"
    dated = text if not at else f"{'since' if fact.lasts else 'at'} {at}, {text}"
    if old:
        silence = "This gauge has sent nothing" if other else "Nothing has been measured"
        dated = f"last reading, at {at}: {text}. {silence} since"
    return f"{ahead}{' ' if ahead else ''}{capital(dated)}.{' ' if other else ''}{other}"


def _other(plan: Plan, fact: Fact, now_ms: int, tongue: Language) -> str:
    """What another gauge of the site reads, in a sentence; "" if there is no need to say it."""
    one = fact.other
    figure = None if one is None else figure_of(one.quantity)
    if one is None or figure is None:
        return ""
    at, what = moment(plan, one.at_ms, now_ms, tongue), figure.now(one.value, tongue)
    return f"另一测点{at}测得{what}。" if tongue == "zh" else f"Another gauge, at {at}: {what}."


def _trend(fact: Fact, tongue: Language) -> str:
    if fact.trend is None or fact.measured is None:
        return ""
    return trend_in(fact.measured.quantity, fact.trend, tongue)


def _since_told(fact: Fact, tongue: Language) -> str:
    """What has changed since the contact was told of it last: "" if nothing worth a word has."""
    before, now = fact.told, fact.measured
    if before is None:
        return ""
    words = []
    if before.level is not fact.send.level and fact.send.kind not in _SAYS_LEVEL:
        old, new = LEVEL[tongue][before.level], LEVEL[tongue][fact.send.level]
        up = "up" if fact.send.level > before.level else "down"
        words.append(f"由{old}转为{new}" if tongue == "zh" else f"{up} from {old}")
    was = before.measured
    # Two gauges of a site need not agree.
    if now and was and (now.sensor, now.quantity) == (was.sensor, was.quantity):
        figure = figure_of(now.quantity)
        by = now.value - was.value
        if figure is not None and abs(by * figure.per_si) >= figure.worth:
            size = figure.shown(abs(by), tongue)
            if tongue == "zh":
                words.append(f"比上次通知{figure.more if by > 0 else figure.less}{size}")
            else:
                words.append(f"{size} {'more' if by > 0 else 'less'} than you were told")
    return ("，" if tongue == "zh" else ", ").join(words)


def _why(fact: Fact, tongue: Language) -> str:
    send = fact.send
    if send.kind is Kind.REOPEN:
        return {
            "zh": "此前已有人应答，但没有处置结果，现重新呼叫。",
            "en": "Somebody answered before, but no result is known: you are called again.",
        }[tongue]
    if send.off_duty:
        return {
            "zh": "本级当前无人值班，因此呼叫全体责任人。",
            "en": "Nobody in your area is on duty, so everybody is called.",
        }[tongue]
    return ""


def _until(plan: Plan, fact: Fact, now_ms: int, tongue: Language) -> str:
    """Until when an answer is awaited: a time on the clock that has not passed when it is read."""
    deadline_ms, asked = fact.deadline_ms, fact.send.kind is Kind.FOLLOW_UP
    if deadline_ms is None or deadline_ms < _next_minute_ms(now_ms):
        if not asked:
            return _at_once(tongue)
        return {"zh": "请立即报告。", "en": "Please report at once."}[tongue]
    at = moment(plan, deadline_ms, now_ms, tongue)
    if asked:
        return {
            "zh": f"请在{at}前报告，逾期将呼叫其他责任人。",
            "en": f"Please report by {at}, or others will be called.",
        }[tongue]
    return {"zh": f"请在{at}前应答。", "en": f"Please answer by {at}."}[tongue]


def _next_minute_ms(now_ms: int) -> int:
    """The first minute that has not begun when a message of now is read."""
    return ((now_ms + _MINUTE_MS // 2) // _MINUTE_MS + 1) * _MINUTE_MS


def _at_once(tongue: Language) -> str:
    return {"zh": "请立即应答。", "en": "Please answer at once."}[tongue]


def _no_answer(tongue: Language) -> str:
    return {"zh": "无需应答。", "en": "No answer is needed."}[tongue]


def _over(plan: Plan, fact: Fact, now_ms: int, tongue: Language) -> str:
    at = moment(plan, fact.since_ms, now_ms, tongue)
    site = _name(plan, fact, tongue)
    return wording.fill(wording.OVER[tongue][fact.send.hazard], {"site": site, "at": at})


def _answered(plan: Plan, fact: Fact, now_ms: int, tongue: Language) -> str:
    if fact.answered is None:
        return ""
    name, at_ms = fact.answered
    who = wording.contact_name(plan, name, tongue) or phrases.SOMEBODY[tongue]
    if fact.send.kind is Kind.FOLLOW_UP and name == fact.send.contact:
        who = phrases.YOU[tongue]
    at = moment(plan, at_ms, now_ms, tongue)
    if fact.send.kind is Kind.ANSWERED:
        return {
            "zh": f"{who}已于{at}应答，呼叫停止。",
            "en": f"{capital(who)} answered at {at}. The calls have ended.",
        }[tongue]
    return {"zh": f"{who}已于{at}应答。", "en": f"{capital(who)} answered at {at}."}[tongue]


def _reported(plan: Plan, fact: Fact, now_ms: int, tongue: Language) -> str:
    one = fact.reported
    if one is None:
        return _answered(plan, fact, now_ms, tongue)
    who = wording.contact_name(plan, one.by, tongue) or phrases.SOMEBODY[tongue]
    what, at = phrases.SPOKEN[one.outcome][tongue], moment(plan, one.at_ms, now_ms, tongue)
    if one.outcome is Outcome.EVACUATED and one.people is not None:
        what = f"已转移{one.people}人"
        if tongue == "en":
            what = "1 person was moved" if one.people == 1 else f"{one.people} people were moved"
    return f"{at}{who}报告：{what}。" if tongue == "zh" else f"At {at} {who} reported: {what}."


def _by_whom(plan: Plan, fact: Fact, now_ms: int, tongue: Language) -> str:
    """For news: what is known of answer and result."""
    if fact.reported is not None:
        return _reported(plan, fact, now_ms, tongue)
    return _answered(plan, fact, now_ms, tongue) if fact.answered is not None else ""


def _name(plan: Plan, fact: Fact, tongue: Language) -> str:
    return fact.figures.get("site") or wording.site_name(plan, fact.send.site, tongue)


def _site(plan: Plan, fact: Fact, tongue: Language) -> str:
    """In a list of several: of an underpass everybody knows what happens there."""
    name, hazard = _name(plan, fact, tongue), fact.send.hazard
    if hazard is Hazard.UNDERPASS:
        return name
    return wording.at(fact.send.site, hazard, name, tongue)


def _list(names: Iterable[str], tongue: Language) -> str:
    return ("、" if tongue == "zh" else ", ").join(names)
