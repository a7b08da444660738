"""Answer pages in every state, with few and with many sites, with short and with long names."""

from typing import Final, NamedTuple

from cloud.channels import Language
from cloud.web import pages
from cloud.web.pages import Answered, CallPage, Item

PHONE: Final = "023-6300 0000"

_NAMES: Final[dict[Language, tuple[str, str, str]]] = {
    "zh": ("大坪下穿道", "何岚", "积水"),
    "en": ("Daping underpass", "He Lan", "underpass flooding"),
}
_LONG: Final[dict[Language, tuple[str, str, str]]] = {
    "zh": (
        "沪渝高速公路渝涪段太洪长江大桥南岸连接线三号隧道出口下穿通道（K1789+400至K1790+120段）",
        "欧阳阿依古丽·买买提江·阿卜杜热合曼",
        "积水",
    ),
    "en": (
        "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch-Donaudampfschifffahrtsstraße",
        "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh",
        "underpass flooding",
    ),
}


class Kind(NamedTuple):
    """`sites` on the page, names that are `long` or not."""

    language: Language = "zh"
    sites: int = 1
    is_long: bool = False


def states(kind: Kind) -> dict[str, str]:
    """The page in each state, by its name."""
    page = _call(kind)
    tongue = kind.language
    by = Answered(page.told[0], "2026-11-30 19:48")
    mine = page._replace(
        wants_result=True,
        answered=by,
        text=_without_deadline(page.text),
        items=tuple(
            one._replace(answered_by=by.by, text=_without_deadline(one.text)) for one in page.items
        ),
    )
    reported = f"{by.by}报告：已封路（19:55）。" if tongue == "zh" else f"{by.by} has closed it."
    told = mine._replace(
        reported="" if mine.items else reported,
        items=tuple(one._replace(reported=reported) for one in mine.items),
    )
    over = page._replace(level=None, text="", items=(), answered=by)
    mixed = page._replace(
        items=tuple(
            one._replace(answered_by=by.by if place % 3 == 1 else "", late=place % 3 == 2)
            for place, one in enumerate(page.items)
        )
    )
    return {
        "open": pages.call(page),
        "open, exercise": pages.call(page._replace(exercise=True)),
        "open, some answered": pages.call(mixed._replace(answered=by)),
        "nothing ticked": pages.call(page, notice="tick_first"),
        "nothing pressed": pages.call(page, notice="press"),
        "some recorded": pages.call(mixed, notice="thanks_some"),
        "answered now": pages.call(mine, notice="thanks"),
        "result": pages.call(mine),
        "result given": pages.call(told, notice="reported"),
        "result again": pages.call(told),
        "answered before": pages.closed(page._replace(answered=by), "answered_already"),
        "returned": pages.call(page._replace(is_over=True, items=(), level=None)),
        "over": pages.closed(over, "over"),
        "worse": pages.closed(page, "late", "late_text", newer="/a/0123.456"),
        "worse, no call yet": pages.closed(page, "late", "late_alone"),
        "called again": pages.closed(page, "again", "again_text", newer="/a/0123.456"),
        "declined": pages.noted(page, "declined", "/a/0123.456"),
        "cannot after all": pages.noted(mine, "declined", "/a/0123.456"),
        "unknown": pages.message(tongue, "unknown", PHONE),
        "unreadable": pages.message(tongue, "unreadable", PHONE),
        "later": pages.message(tongue, "later", PHONE),
        "unseen": pages.message(tongue, "unseen", PHONE),
    }


def _without_deadline(text: str) -> str:
    return text.rpartition("\n")[0]


def _call(kind: Kind) -> CallPage:
    site, who, hazard = (_LONG if kind.is_long else _NAMES)[kind.language]
    if kind.language == "zh":
        title = f"红色预警：{site}{hazard}"
        order = f"请{who}立即封闭{site}两端，引导车辆绕行石桥北路，确认道内无人无车。"
        rest = "积水约35厘米（红色标准30厘米），仍在上涨（19:46）。\n请在19:51前应答。"
    else:
        title = f"Red alert: {hazard}, {site}"
        order = f"{who}: close {site} at both ends now, send traffic by Shiqiao North Road."
        rest = "35 cm of water (limit 30 cm), still rising (19:46).\nPlease answer by 19:51."
    text = f"{order}\n{rest}"
    items = tuple(
        Item(f"site-{n}.underpass.1750000000000", title, text, ("red", "orange")[n % 2])
        for n in range(kind.sites if kind.sites > 1 else 0)
    )
    if items:
        several = {"zh": f"{kind.sites}处预警待应答", "en": f"{kind.sites} alerts wait"}
        title = several[kind.language]
    told = (who, "陆明" if kind.language == "zh" else "Lu Ming")
    return CallPage(
        *(kind.language, title, text, "red", "2026-11-30 19:46", told), items=items, phone=PHONE
    )
