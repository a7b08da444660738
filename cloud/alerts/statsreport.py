"""The statistics of a month as a document, in both languages. Pure."""

from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

from cloud.alerts.document import Cell, Document, Section, Table
from cloud.alerts.plantables import Tier
from cloud.alerts.statistics import UNKNOWN, Figures, Month
from cloud.alerts.wording import TIER, capital
from cloud.channels import Language, marked

_WORDS: Final[dict[Language, dict[str, str]]] = {
    "zh": {
        "title": "预警应答统计：{month}",
        "overview": "概况",
        "tiers": "各级",
        "people": "各人",
        "alerts": "预警",
        "unanswered": "始终无人应答",
        "false": "误报",
        "messages": "消息",
        "per alert": "每次预警消息",
        "to answer": "首次呼叫→应答",
        "to result": "应答→处置结果",
        "tier": "层级",
        "who": "姓名",
        "called": "被呼叫",
        "answered": "首先应答",
        "relieved": "他人先应答",
        "declined": "无法处置",
        "silent": "未应答",
        "times": "中位 {median}，最长 {worst}（n={count}）",
        "share": "{number}/{of} ({share})",
        "none": "无",
        "no alerts": "本月没有预警。",
        "left": "{name}（已不在预案中）",
        "unknown": "预案以外",
        "rule": (
            "预警再次呼叫（应答后升级、应答未落实）另计一轮。“未应答”：呼叫已升级或始终无人应答，"
            "而本人未作任何答复。时间从首条送达算起。n 为计入的次数。"
        ),
        "s": "{s} 秒",
        "min": "{m} 分 {s} 秒",
        "h": "{h} 小时 {m} 分",
    },
    "en": {
        "title": "How alerts were answered: {month}",
        "overview": "Overview",
        "tiers": "Tiers",
        "people": "People",
        "alerts": "Alerts",
        "unanswered": "Never answered",
        "false": "False alarms",
        "messages": "Messages",
        "per alert": "Messages per alert",
        "to answer": "First call to answer",
        "to result": "Answer to result",
        "tier": "Tier",
        "who": "Who",
        "called": "Called",
        "answered": "Answered first",
        "relieved": "Another was first",
        "declined": "Could not act",
        "silent": "No answer",
        "times": "median {median}, worst {worst} (n={count})",
        "share": "{number} of {of} ({share})",
        "none": "none",
        "no alerts": "There was no alert in this month.",
        "left": "{name} (left the plan)",
        "unknown": "none of the plan",
        "rule": (
            "When an alert calls people again (it rose after an answer, or the answer did not "
            "stand) that is one more round. “No answer”: the calls climbed or were never answered, "
            "and they said nothing. Times begin with the first message delivered. n is how many "
            "were counted."
        ),
        "s": "{s} s",
        "min": "{m} min {s} s",
        "h": "{h} h {m} min",
    },
}


def build(found: Month, language: Language, zone: ZoneInfo, *, exercises: bool = False) -> Document:
    """The document of a month; a month without alerts has one too."""
    words = _WORDS[language]
    title = words["title"].format(month=found.month)
    if exercises:
        title = marked(title, language)
    sections = [Section(words["overview"], tuple(_overview(found, language)))]
    for key, names, rows in (
        ("tiers", "tier", found.tiers),
        ("people", "who", found.people),
    ):
        if rows:
            table = _table(names, rows, language)
            sections.append(Section(words[key], (table,)))
    if found.alerts:
        sections[-1] = sections[-1]._replace(parts=(*sections[-1].parts, words["rule"]))
    return Document(language, title, tuple(sections), zone)


def _overview(found: Month, language: Language) -> Iterator[Table | str]:
    words = _WORDS[language]
    each = found.messages_per_alert
    rows = {
        "alerts": str(found.alerts),
        "unanswered": _share(found.unanswered, found.alerts, language),
        "false": _share(found.false_alarms, found.alerts, language),
        "messages": str(found.messages),
        "per alert": words["none"] if each is None else f"{each:.1f} (n={found.alerts})",
        "to answer": _answer(found.total, language),
        "to result": _result(found.total, language),
    }
    yield Table(("", ""), tuple((Cell(words[key]), Cell(text)) for key, text in rows.items()))
    if not found.alerts:
        yield words["no alerts"]


def _table(first: str, rows: list[Figures], language: Language) -> Table:
    words = _WORDS[language]
    head = (
        *(first, "called", "answered", "relieved", "declined", "silent"),
        *("to answer", "to result", "false", "messages"),
    )
    return Table(
        tuple(words[key] for key in head),
        tuple(
            (
                Cell(_name(one, language)),
                Cell(str(one.called)),
                Cell(str(one.answered)),
                Cell(str(one.relieved)),
                Cell(str(one.declined)),
                Cell(_share(one.silent, one.called, language)),
                Cell(_answer(one, language)),
                Cell(_result(one, language)),
                Cell(str(one.false_alarms)),
                Cell(str(one.messages)),
            )
            for one in rows
        ),
    )


def _name(one: Figures, language: Language) -> str:
    words = _WORDS[language]
    if one.left:
        return words["left"].format(name=one.name)
    if one.contact:
        return one.name
    if one.name == UNKNOWN:
        return words["unknown"]
    return capital(TIER[language][Tier(one.name)])


def _answer(one: Figures, language: Language) -> str:
    return _times(one.to_answer_s, one.worst_answer_s, one.answers, language)


def _result(one: Figures, language: Language) -> str:
    return _times(one.to_result_s, one.worst_result_s, one.results, language)


def _times(middle: float | None, worst: float | None, count: int, language: Language) -> str:
    words = _WORDS[language]
    if middle is None or worst is None:
        return words["none"]
    return words["times"].format(
        median=_span(middle, language), worst=_span(worst, language), count=count
    )


def _share(number: int, of: int, language: Language) -> str:
    words = _WORDS[language]
    if not of:
        return words["none"]
    return words["share"].format(number=number, of=of, share=f"{number / of:.0%}")


def _span(seconds: float, language: Language) -> str:
    words = _WORDS[language]
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours:
        return words["h"].format(h=hours, m=m)
    return words["min"].format(m=m, s=s) if m else words["s"].format(s=s)
