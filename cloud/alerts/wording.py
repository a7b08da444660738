"""What a contact reads: a title, and a text with the plan's instruction in it. Pure.

Placeholders are plain names in braces. `VALUES` says which there are; a site adds its own in
`[site.<name>.values]`. A value that is not known at the moment is said to be so: a message with a
gap is better than none.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from cloud.alerts.actions import CALLS, Kind, Send
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier
from cloud.alerts.records import Known
from cloud.channels import Language
from wire.messages import Level

VALUES: Final[dict[Hazard | None, dict[str, str]]] = {
    None: {  # of every hazard
        "site": "name of the site",
        "area": "name of the area that is called",
        "hazard": "underpass flooding, river flood ...",
        "level": "blue, yellow, orange or red",
        "stage": "trend of 24 h, within 6 h, within 2 h, now",
        "tier": "village, township ...",
        "contact": "name of the person who reads it",
        "time": "hour and minute of the message",
        "deadline": "until when an answer is awaited, hour and minute",
        "cause": "what was found, as the rule says it",
        "link": "where to answer",
    },
    Hazard.UNDERPASS: {"depth_cm": "water on the road", "lamp": "what the lamp shows"},
    Hazard.RIVER: {
        "stage_m": "water level",
        "warning_m": "warning level 警戒水位",
        "guarantee_m": "guarantee level 保证水位",
    },
    Hazard.RAINSTORM: {"rain_mm": "sum of rain", "window_h": "the hours of that sum"},
    Hazard.LANDSLIDE: {"crack_mm": "opening of the crack", "rate_mm_d": "its rate, mm a day"},
    Hazard.EQUIPMENT: {"device": "what has failed"},
}
"""The placeholders and what they stand for, by hazard."""

UNKNOWN: Final = "-"

PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")

_LEVEL: Final = {
    "zh": {Level.BLUE: "蓝色", Level.YELLOW: "黄色", Level.ORANGE: "橙色", Level.RED: "红色"},
    "en": {level: level.name.lower() for level in Level},
}
HAZARD: Final[dict[Language, dict[Hazard, str]]] = {
    "zh": {
        Hazard.UNDERPASS: "积水",
        Hazard.RIVER: "河道洪水",
        Hazard.RAINSTORM: "暴雨",
        Hazard.LANDSLIDE: "滑坡",
        Hazard.EQUIPMENT: "设备故障",
    },
    "en": {
        Hazard.UNDERPASS: "underpass flooding",
        Hazard.RIVER: "river flood",
        Hazard.RAINSTORM: "rainstorm",
        Hazard.LANDSLIDE: "landslide",
        Hazard.EQUIPMENT: "equipment failure",
    },
}
_STAGE: Final = {
    "zh": {
        Stage.TREND: "未来24小时趋势",
        Stage.SOON: "预计6小时内",
        Stage.IMMINENT: "预计2小时内",
        Stage.NOW: "正在发生",
    },
    "en": {
        Stage.TREND: "trend of the next 24 h",
        Stage.SOON: "expected within 6 h",
        Stage.IMMINENT: "expected within 2 h",
        Stage.NOW: "happening now",
    },
}
_TIER: Final = {
    "zh": {
        Tier.GRID: "网格",
        Tier.VILLAGE: "村社区",
        Tier.TOWNSHIP: "镇街",
        Tier.DISTRICT: "区县",
        Tier.CITY: "市级",
    },
    "en": {tier: tier.value for tier in Tier},
}
_TITLE: Final = {
    "zh": {
        Kind.RAISE: "{level}预警：{site}{hazard}",
        Kind.CLIMB: "{level}预警，下级未应答：{site}{hazard}",
        Kind.RISE: "升级为{level}预警：{site}{hazard}",
        Kind.AGAIN: "{level}预警，请立即应答：{site}{hazard}",
        Kind.FALL: "降为{level}预警：{site}{hazard}",
        Kind.HAND_BACK: "降为{level}预警，交回下级处置：{site}{hazard}",
        Kind.ANSWERED: "已有人应答：{site}{hazard}",
        Kind.CLEAR: "预警解除：{site}{hazard}",
        Kind.COPY: "{level}预警（知会）：{site}{hazard}",
    },
    "en": {
        Kind.RAISE: "{level} alert: {hazard}, {site}",
        Kind.CLIMB: "{level} alert, no answer below you: {hazard}, {site}",
        Kind.RISE: "Now {level}: {hazard}, {site}",
        Kind.AGAIN: "{level} alert, please answer now: {hazard}, {site}",
        Kind.FALL: "Down to {level}: {hazard}, {site}",
        Kind.HAND_BACK: "Down to {level}, handed back to the tiers below: {hazard}, {site}",
        Kind.ANSWERED: "Somebody has answered: {hazard}, {site}",
        Kind.CLEAR: "Over: {hazard}, {site}",
        Kind.COPY: "{level} alert, for your information: {hazard}, {site}",
    },
}
_CALL: Final = {
    "zh": "{stage}，{time}。{cause}{instruction}{answer}{link}",
    "en": "{stage}, {time}. {cause} {instruction} {answer} {link}",
}
_ANSWER: Final = {"zh": "请在{deadline}前应答。", "en": "Please answer by {deadline}."}
_NO_ANSWER: Final = {"zh": "无需应答。", "en": "No answer is needed."}
_AT_ONCE: Final = {"zh": "请立即应答。", "en": "Please answer at once."}
_INFORM: Final = {
    "zh": "{stage}，{time}。{cause}无需应答。",
    "en": "{stage}, {time}. {cause} No answer is needed.",
}
_OVER: Final = {
    "zh": "{site}{hazard}预警已于{time}解除。无需应答。",
    "en": "{hazard}, {site}: over since {time}. No answer is needed.",
}
_ANSWERED: Final = {
    "zh": "{who}已于{time}应答，呼叫停止。您无需再应答。",
    "en": "{who} answered at {time}, and the calls have ended. No answer is needed.",
}
_UNKNOWN: Final = {"zh": "未知", "en": "unknown"}
_SOMEBODY: Final = {"zh": "有人", "en": "somebody"}
_NEWS: Final = {"zh": "{stage}，{time}。{cause}", "en": "{stage}, {time}. {cause}"}
_ENDED: Final = {"zh": "{time}，已解除。", "en": "Over since {time}."}
_DIGEST_TITLE: Final = {
    "zh": "{count}条预警（最高{level}）",
    "en": "{count} alerts, the worst {level}",
}
_NEWS_TITLE: Final = {"zh": "{count}条预警动态", "en": "{count} alerts have changed"}
_DIGEST: Final = {
    "zh": "{counts}：{names}{rest}。{answer}{link}",
    "en": "{counts}: {names}{rest}. {answer} {link}",
}
_DIGEST_ITEM: Final = {"zh": "{site}{hazard}（{state}）", "en": "{hazard}, {site} ({state})"}
_STATE: Final = {
    "zh": {
        Kind.FALL: "降为{level}",
        Kind.HAND_BACK: "降为{level}",
        Kind.ANSWERED: "{level}，已应答",
        Kind.CLEAR: "已解除",
    },
    "en": {
        Kind.FALL: "down to {level}",
        Kind.HAND_BACK: "down to {level}",
        Kind.ANSWERED: "{level}, answered",
        Kind.CLEAR: "over",
    },
}
"""How an alert stands that is not called for; else its level says it."""

_DIGEST_SITES: Final = 5
_OF_NOW_MS: Final = 120_000


class Wording(NamedTuple):
    title: str
    text: str


def language(plan: Plan, contact: str) -> Language:
    """That of the contact, else that of the plan."""
    return plan.contact[contact].language or plan.language


def write(plan: Plan, send: Send, now_ms: int, known: Mapping[str, str]) -> Wording:
    """What `send` says. `known` has what rules and senders know, by the names in `VALUES`."""
    tongue = language(plan, send.contact)
    unknown = dict.fromkeys(VALUES[send.hazard], _UNKNOWN[tongue])
    values = {**unknown, "who": _SOMEBODY[tongue], **_values(plan, send, now_ms, tongue), **known}
    instruction = instruct(plan, send, tongue, values) if send.kind in CALLS else ""
    cause = known.get("cause", "")
    in_time = send.answer_by_ms is not None and send.answer_by_ms > now_ms
    full = values | {
        "answer": fill((_ANSWER if in_time else _AT_ONCE)[tongue], values),
        "instruction": instruction,
        "cause": _joined(cause, tongue),
        "link": known.get("link", ""),
    }
    if send.kind in CALLS:
        form = _CALL
    elif send.kind is Kind.CLEAR:
        form = _OVER
    elif send.kind is Kind.ANSWERED:
        form = _ANSWERED
    else:
        form = _INFORM
    title = fill(_TITLE[tongue][send.kind], full)
    return Wording(_capital(title), _capital(_tidy(fill(form[tongue], full))))


def instruct(plan: Plan, send: Send, tongue: Language, values: Mapping[str, str]) -> str:
    """The plan's instruction for hazard, level and tier; "" if it has none."""
    found = plan.instructions(send.hazard, send.level, plan.area[send.area].kind)
    return fill(getattr(found[0], tongue), values) if found else ""


class News(NamedTuple):
    """What is to be told of a site to everybody. `cause` is what was found, in each language."""

    kind: Kind
    site: str
    hazard: Hazard
    level: Level
    stage: Stage
    at_ms: int
    cause: Mapping[Language, str]


def public(plan: Plan, news: News, tongue: Language) -> Wording:
    """What everybody may read: no names, and no instructions, which are for those on duty."""
    cause = news.cause.get(tongue, "")
    values = {
        "site": site_name(plan, news.site, tongue),
        "hazard": HAZARD[tongue][news.hazard],
        "level": _LEVEL[tongue][news.level],
        "stage": _STAGE[tongue][news.stage],
        "time": _clock(plan, news.at_ms),
        "cause": _joined(cause, tongue),
    }
    title = fill(_TITLE[tongue][news.kind], values)
    form = _ENDED if news.kind is Kind.CLEAR else _NEWS
    return Wording(_capital(title), _capital(fill(form[tongue], values).strip()))


def newest(sends: Iterable[Send]) -> list[Send]:
    """Of each hazard of a site the latest: who is told of the end need not hear of the beginning.
    A call that has only fallen is still a call, at the lower level."""
    latest: dict[tuple[str, Hazard], Send] = {}
    for send in sends:
        key = (send.site, send.hazard)
        before = latest.get(key)
        if before is not None and before.kind in CALLS and send.kind in (Kind.FALL, Kind.COPY):
            send = msgspec.structs.replace(before, level=send.level, stage=send.stage)
        latest[key] = send
    return [*latest.values()]


def digest(plan: Plan, contact: str, sends: Iterable[Send], link: str = "") -> Wording:
    """Many at once: how many of which level, and the worst sites by name. Calls come before all
    else; news stands there as news."""
    tongue = language(plan, contact)
    latest = newest(sends)
    calls = [send for send in latest if send.kind in CALLS]
    told = sorted(calls or latest, key=lambda send: -send.level)
    counts = Counter(send.level for send in told)
    more = len(told) - _DIGEST_SITES
    comma, semicolon = ("，", "；") if tongue == "zh" else (", ", "; ")
    values = {
        "count": str(len(told)),
        "level": _LEVEL[tongue][told[0].level],
        "counts": comma.join(
            f"{_LEVEL[tongue][level]} {counts[level]}" for level in sorted(counts, reverse=True)
        ),
        "names": semicolon.join(_item(plan, send, tongue) for send in told[:_DIGEST_SITES]),
        "rest": {"zh": f"，另有{more}条", "en": f", and {more} more"}[tongue] if more > 0 else "",
        "answer": (_AT_ONCE if calls else _NO_ANSWER)[tongue],
        "link": link,
    }
    title = fill((_DIGEST_TITLE if calls else _NEWS_TITLE)[tongue], values)
    return Wording(title, _capital(_tidy(fill(_DIGEST[tongue], values))))


def _item(plan: Plan, send: Send, tongue: Language) -> str:
    level = _LEVEL[tongue][send.level]
    values = {
        "site": site_name(plan, send.site, tongue),
        "hazard": HAZARD[tongue][send.hazard],
        "state": _STATE[tongue].get(send.kind, "{level}").format(level=level),
    }
    return fill(_DIGEST_ITEM[tongue], values)


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders filled in; only plain names, so that nothing can be reached
    through them."""
    return PLACEHOLDER.sub(lambda found: values.get(found[1]) or _nothing(found[1]), text)


def placeholders(text: str) -> Iterator[str]:
    """The names in braces, and, in braces, what is none: `{Depth}`, a single brace."""
    yield from (found[1] for found in PLACEHOLDER.finditer(text))
    yield from re.findall(r"\{[^{}]*\}?|\}", PLACEHOLDER.sub("", text))


def dated(plan: Plan, known: Known, now_ms: int, tongue: Language) -> str:
    """The cause, with its time if it is not of now: a call that is repeated says the same again."""
    cause = known.cause.get(tongue, "")
    if not cause or known.measured is None or now_ms - known.measured.at_ms < _OF_NOW_MS:
        return cause
    at = _clock(plan, known.measured.at_ms)
    return f"{cause}（{at}）" if tongue == "zh" else f"{cause} (at {at})"


def _joined(cause: str, tongue: Language) -> str:
    """As it stands behind the time; it may begin with the name of a sensor."""
    return cause and cause + ("。" if tongue == "zh" else ".")


def _tidy(text: str) -> str:
    """Without the gaps that empty parts leave."""
    return re.sub(" {2,}", " ", text).strip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _nothing(name: str) -> str:
    return "" if name in ("instruction", "cause", "link", "rest", "answer") else UNKNOWN


def _values(plan: Plan, send: Send, now_ms: int, tongue: Language) -> dict[str, str]:
    area, contact = plan.area[send.area], plan.contact[send.contact]
    site = plan.site.get(send.site)
    return {
        **({name: one.of(tongue) for name, one in site.values.items()} if site else {}),
        "site": site_name(plan, send.site, tongue),
        "area": named(area.name, area.name_en, tongue),
        "contact": named(contact.name, contact.name_en, tongue),
        "hazard": HAZARD[tongue][send.hazard],
        "level": _LEVEL[tongue][send.level],
        "stage": _STAGE[tongue][send.stage],
        "tier": _TIER[tongue][area.kind],
        "time": _clock(plan, now_ms),
        "deadline": _clock(plan, max(send.answer_by_ms or 0, now_ms)),
    }


def site_name(plan: Plan, name: str, tongue: Language) -> str:
    """As the plan calls it; a site that it does not know by the gateway's own name."""
    site = plan.site.get(name)
    return named(site.name, site.name_en, tongue) if site else name


def contact_name(plan: Plan, name: str, tongue: Language) -> str:
    """As the plan calls somebody; whoever is none of its contacts, by the name they gave."""
    one = plan.contact.get(name)
    return named(one.name, one.name_en, tongue) if one else name


def named(name: str, english: str, tongue: Language) -> str:
    return english if tongue == "en" and english else name


def _clock(plan: Plan, at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(plan.zone):%H:%M}"
