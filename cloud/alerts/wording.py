"""What a contact reads: a title, and a text with the plan's instruction in it. Pure.

Placeholders are plain names in braces. `VALUES` says which there are; a site adds its own in
`[site.<name>.values]`. A value that is not known at the moment is said to be so: a message with a
gap is better than none.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cloud.alerts.actions import Kind, Send
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.plan import Plan
from cloud.alerts.plantables import Tier
from cloud.alerts.records import Known
from cloud.alerts.rule import SERVICE
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
    Hazard.EQUIPMENT: {"device": "what has failed: the water gauge, the lamp ..."},
}
"""The placeholders and what they stand for, by hazard."""

UNKNOWN: Final = "-"

PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")

LEVEL: Final = {
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
AT: Final[dict[Language, dict[Hazard, str]]] = {
    "zh": {
        Hazard.UNDERPASS: "{site}积水",
        Hazard.RIVER: "{site}洪水",
        Hazard.RAINSTORM: "{site}暴雨",
        Hazard.LANDSLIDE: "{site}滑坡险情",
        Hazard.EQUIPMENT: "{site}设备故障",
    },
    "en": {
        Hazard.UNDERPASS: "flooding at {site}",
        Hazard.RIVER: "river flood at {site}",
        Hazard.RAINSTORM: "heavy rain at {site}",
        Hazard.LANDSLIDE: "landslide danger at {site}",
        Hazard.EQUIPMENT: "equipment failure at {site}",
    },
}
"""What happens where, as it stands in a title."""

OF_SERVICE: Final[dict[Language, str]] = {
    "zh": "预警平台故障",
    "en": "failure of the warning service",
}

OVER: Final[dict[Language, dict[Hazard, str]]] = {
    "zh": {
        Hazard.UNDERPASS: "{site}积水险情已于{at}解除。",
        Hazard.RIVER: "{site}洪水险情已于{at}解除。",
        Hazard.RAINSTORM: "{site}暴雨预警已于{at}解除。",
        Hazard.LANDSLIDE: "{site}滑坡险情已于{at}解除。",
        Hazard.EQUIPMENT: "{site}设备已于{at}恢复正常。",
    },
    "en": {
        Hazard.UNDERPASS: "The danger at {site} ended at {at}.",
        Hazard.RIVER: "The danger at {site} ended at {at}.",
        Hazard.RAINSTORM: "The warning of heavy rain at {site} ended at {at}.",
        Hazard.LANDSLIDE: "The danger at {site} ended at {at}.",
        Hazard.EQUIPMENT: "The equipment at {site} has worked again since {at}.",
    },
}
STAGE: Final = {
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
TIER: Final = {
    "zh": {
        Tier.GRID: "网格",
        Tier.VILLAGE: "村社区",
        Tier.TOWNSHIP: "镇街",
        Tier.DISTRICT: "区县",
        Tier.CITY: "市级",
    },
    "en": {tier: tier.value for tier in Tier},
}
_PUBLIC_TITLE: Final[dict[Language, dict[Kind, str]]] = {
    "zh": {
        Kind.RAISE: "{level}预警：{what}",
        Kind.RISE: "升级为{level}预警：{what}",
        Kind.FALL: "降为{level}预警：{what}",
        Kind.CLEAR: "预警解除：{what}",
    },
    "en": {
        Kind.RAISE: "{level} alert: {what}",
        Kind.RISE: "now {level}: {what}",
        Kind.FALL: "down to {level}: {what}",
        Kind.CLEAR: "over: {what}",
    },
}
_SERVICE: Final[dict[Language, str]] = {"zh": "预警平台", "en": "the warning service"}
_UNKNOWN: Final[dict[Language, str]] = {"zh": "未知", "en": "unknown"}
AHEAD: Final[dict[Language, dict[Stage, str]]] = {
    "zh": {
        Stage.TREND: "未来24小时可能发生。",
        Stage.SOON: "预计6小时内发生。",
        Stage.IMMINENT: "预计2小时内发生。",
    },
    "en": {
        Stage.TREND: "Possible within 24 hours.",
        Stage.SOON: "Expected within 6 hours.",
        Stage.IMMINENT: "Expected within 2 hours.",
    },
}
"""How near it is, unless it is happening."""

_HAPPENING: Final[dict[Language, str]] = {"zh": "正在发生。", "en": "It is happening now."}
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_DAY: Final = timedelta(days=1)
_LATER_THAN: Final = timedelta(hours=12)


class Wording(NamedTuple):
    title: str
    text: str


def language(plan: Plan, contact: str) -> Language:
    """That of the contact, else that of the plan."""
    return plan.contact[contact].language or plan.language


def instruct(plan: Plan, send: Send, tongue: Language, values: Mapping[str, str]) -> str:
    """The plan's instruction for hazard, level and tier, filled in; "" if it has none. No plan has
    one for the service itself: its faults say what to do."""
    if send.site == SERVICE:
        return ""
    found = plan.instructions(send.hazard, send.level, plan.area[send.area].kind)
    unknown = dict.fromkeys(VALUES[send.hazard], _UNKNOWN[tongue])
    return fill(getattr(found[0], tongue), unknown | dict(values)) if found else ""


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
    values = {
        "site": site_name(plan, news.site, tongue),
        "level": LEVEL[tongue][news.level],
        "at": clock(plan, news.at_ms),
    }
    what = fill(AT[tongue][news.hazard], values)
    title = capital(fill(_PUBLIC_TITLE[tongue][news.kind], {**values, "what": what}))
    if news.kind is Kind.CLEAR:
        return Wording(title, fill(OVER[tongue][news.hazard], values))
    cause = capital(news.cause.get(tongue, ""))
    if cause:
        cause += "。" if tongue == "zh" else "."
    ahead = AHEAD[tongue].get(news.stage, "")
    said = filter(None, (ahead, cause)) if cause or ahead else (_HAPPENING[tongue],)
    return Wording(title, ("" if tongue == "zh" else " ").join(said))


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders filled in; only plain names, so that nothing can be reached
    through them."""
    return PLACEHOLDER.sub(lambda found: values.get(found[1]) or _nothing(found[1]), text)


def placeholders(text: str) -> Iterator[str]:
    """The names in braces, and, in braces, what is none: `{Depth}`, a single brace."""
    yield from (found[1] for found in PLACEHOLDER.finditer(text))
    yield from re.findall(r"\{[^{}]*\}?|\}", PLACEHOLDER.sub("", text))


def dated(plan: Plan, known: Known, now_ms: int, tongue: Language) -> str:
    """The cause, with the time of what was measured."""
    cause = known.cause.get(tongue, "")
    if not cause or known.measured is None:
        return cause
    at = moment(plan, known.measured.at_ms, now_ms, tongue)
    return f"{at}{cause}" if tongue == "zh" else f"at {at}, {cause[:1].lower()}{cause[1:]}"


def capital(text: str) -> str:
    """With a capital letter at the beginning."""
    return text[:1].upper() + text[1:]


def _nothing(name: str) -> str:
    return "" if name in ("instruction", "cause", "link", "rest", "answer") else UNKNOWN


def values_of(plan: Plan, send: Send, now_ms: int, tongue: Language) -> dict[str, str]:
    """What a plan knows of the placeholders of a message."""
    area, contact = plan.area[send.area], plan.contact[send.contact]
    site = plan.site.get(send.site)
    return {
        **({name: one.of(tongue) for name, one in site.values.items()} if site else {}),
        "site": site_name(plan, send.site, tongue),
        "area": named(area.name, area.name_en, tongue),
        "contact": named(contact.name, contact.name_en, tongue),
        "hazard": HAZARD[tongue][send.hazard],
        "level": LEVEL[tongue][send.level],
        "stage": STAGE[tongue][send.stage],
        "tier": TIER[tongue][area.kind],
        "time": clock(plan, now_ms),
        "deadline": clock(plan, max(send.answer_by_ms or 0, now_ms)),
    }


def at(site: str, hazard: Hazard, name: str, tongue: Language) -> str:
    """What happens at a site that people call by `name`."""
    if site == SERVICE:
        return OF_SERVICE[tongue]
    return fill(AT[tongue][hazard], {"site": name})


def site_name(plan: Plan, name: str, tongue: Language) -> str:
    """As the plan calls it; what it does not know by the name that the gateway has or gives."""
    if name == SERVICE:
        return _SERVICE[tongue]
    site = plan.site.get(name)
    return named(site.name, site.name_en, tongue) if site else name


def contact_name(plan: Plan, name: str, tongue: Language) -> str:
    """As the plan calls somebody; whoever is none of its contacts, by the name they gave."""
    one = plan.contact.get(name)
    return named(one.name, one.name_en, tongue) if one else name


def named(name: str, english: str, tongue: Language) -> str:
    return english if tongue == "en" and english else name


def clock(plan: Plan, at_ms: int) -> str:
    """Hour and minute where the plan is."""
    return f"{_local(plan, at_ms):%H:%M}"


def _local(plan: Plan, at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(plan.zone)


def moment(plan: Plan, at_ms: int, now_ms: int, tongue: Language) -> str:
    """Hour and minute, and the day if it is not that of `now_ms`. What comes within half a day
    needs none: nobody takes 00:05 for yesterday's when it is to come. Where clocks are put forward
    or back in between, the name of the time."""
    at, now = (_local(plan, one) for one in (at_ms, now_ms))
    said = f"{at:%H:%M}" if at.utcoffset() == now.utcoffset() else f"{at:%H:%M %Z}"
    if at.date() == now.date() or timedelta() < at - now < _LATER_THAN:
        return said
    near = {now.date() - _DAY: ("昨日", "yesterday"), now.date() + _DAY: ("明日", "tomorrow")}
    if at.date() in near:
        day = near[at.date()]
        return f"{day[0]}{said}" if tongue == "zh" else f"{said} {day[1]}"
    year = "" if at.year == now.year else str(at.year)
    if tongue == "zh":
        return f"{year}{'年' if year else ''}{at.month}月{at.day}日{said}"
    return f"{said} on {at.day} {_MONTHS[at.month - 1]}{' ' if year else ''}{year}"
