"""The page behind an answer link: readable on any phone, without scripts or anything from afar.

The order comes first, the buttons stay in sight, and what to do stays after the answer. Colour is
never the only sign of anything.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from cloud.channels import Language
from cloud.web.pagestyle import STYLE
from cloud.web.pagewords import WORDS

HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}

RESULTS: Final = ("closed", "evacuated", "done", "false-alarm", "acting", "cannot-act")
"""What a reader can say of the work: values of the buttons, and keys of our words."""

_WARNINGS: Final = ("tick_first", "press", "late", "again")

_FORM: Final = '<form method="post"><button disabled hidden></button>'
"""The first button is what the Enter key presses: it answers nothing."""


class Answered(NamedTuple):
    """Who has answered, and when (local time)."""

    by: str
    at: str


class Item(NamedTuple):
    """One alert of several: how it stands now, who has answered it, and what they report. `late`:
    this link is from before a change, and cannot answer it."""

    alert: str
    title: str
    text: str
    level: str
    answered_by: str = ""
    reported: str = ""
    late: bool = False


class CallPage(NamedTuple):
    """What the page of a call shows; `told` are names, `sent` the local time. Where it is over
    `level` is None and `text` "". `answered`: by whom. `is_over`: the danger has gone, and nobody
    has answered. `items` are its alerts where they are several. `wants_result`: the reader has
    answered, and is asked what was done; `reported` is what they have said of it. `phone` is that
    of the duty room."""

    language: Language
    title: str
    text: str
    level: str | None
    sent: str
    told: Sequence[str]
    answered: Answered | None = None
    is_over: bool = False
    items: Sequence[Item] = ()
    wants_result: bool = False
    phone: str = ""
    reported: str = ""
    exercise: bool = False


def call(page: CallPage, *, notice: str = "") -> str:
    """The page of a call that waits for an answer or a result; `notice` is a key of our words."""
    page = page._replace(title=_title(page))
    if page.wants_result:
        body = _result(page)
    elif page.items:
        body = _several(page)
    elif page.is_over:
        body = _returned(page)
    else:
        body = _open(page)
    words = WORDS[page.language]
    said = _notice(page.language, notice)
    title = f"{words[notice]}{words['colon']}{page.title}" if notice else page.title
    return _page(page, title, said + body + _phone(page))


def closed(page: CallPage, head: str, text: str = "", *, newer: str = "") -> str:
    """The page of a call that this link cannot answer: `head` says why and `text` what to do, keys
    of our words; and how it stands now. `newer` is the path of the page that can answer."""
    words = WORDS[page.language]
    kind = ' class="warn"' if head in _WARNINGS else ""
    body = f"<h1{kind}>{words[head]}</h1>{_paragraph(words[text] if text else '')}"
    if newer:
        body += f'<a class="button accept" href="{escape(newer)}">{words["newer"]}</a>'
    if page.answered is not None:
        body += f"<p>{_who(page.language, 'by', page.answered)}</p>"
    if page.items:
        body += "".join(
            f'<div class="item">{_standing(page.language, one)}</div>' for one in page.items
        )
    else:
        body += f"<h2>{escape(page.title)}</h2>{_words(page.text)}{_good(page.reported)}"
    return _page(page, words[head], body + _phone(page))


def noted(page: CallPage, head: str, path: str) -> str:
    """Something was recorded that ends nothing: `head`, a key of our words. `path` leads back."""
    words = WORDS[page.language]
    body = (
        f'<h1 class="good" role="status">{words[head]}</h1><p>{escape(page.title)}</p>'
        f'<a class="button" href="{escape(path)}">{words["back"]}</a>'
    )
    return _page(page, words[head], body + _phone(page))


def message(language: Language, key: str, phone: str = "") -> str:
    """A page that belongs to no call: `key` of our words is its head, `key`_text what to do."""
    words = WORDS[language]
    page = CallPage(language, words[key], "", None, "", (), phone=phone)
    body = f"<h1>{words[key]}</h1><p>{words[f'{key}_text']}</p>"
    return _page(page, words[key], body + _phone(page))


# Kinds of pages


def _open(page: CallPage) -> str:
    """One alert that waits for an answer."""
    words = WORDS[page.language]
    answered = ""
    if page.answered is not None:
        answered = f'<p class="good">{_who(page.language, "answered", page.answered)}</p>'
    return f"""{_FORM}
{_level(page)}<h1>{escape(page.title)}</h1>{_words(page.text)}{_good(page.reported)}{answered}
<div class="bar">{_button("yes", words["accept"], "accept")}
{_button("no", words["decline"])}</div>
{_fields(page.language, "said", "by")}</form>{_facts(page)}"""


def _returned(page: CallPage) -> str:
    """The danger has gone, and nobody has answered: whether somebody has acted is still asked. What
    the message ordered then is no order any more."""
    words = WORDS[page.language]
    return f"""{_FORM}
<h1>{words["returned"]}</h1><p class="order">{words["returned_text"]}</p>
<div class="bar">{_button("yes", words["acted"], "accept")}</div>
{_fields(page.language, "said", "by")}</form>
<div class="quote"><h2>{words["as_sent"]}</h2><p><b>{escape(page.title)}</b></p>
{_paragraph(page.text)}</div>{_facts(page)}"""


def _several(page: CallPage) -> str:
    """Several alerts: each is ticked by itself."""
    words = WORDS[page.language]
    return f"""{_FORM}
<h1>{escape(page.title)}</h1><p>{words["tick"]}</p>
{_ticks(page)}
<div class="bar">{_button("yes", words["accept_some"], "accept")}
{_button("no", words["decline_some"])}</div>
{_fields(page.language, "said", "by")}</form>{_facts(page)}"""


def _result(page: CallPage) -> str:
    """The page of whoever has answered: what to do stays, and what was done is asked."""
    words = WORDS[page.language]
    by = "" if page.answered is None else f"<p>{_who(page.language, 'by', page.answered)}</p>"
    if page.items:
        what, cannot = f"<p>{words['tick_done']}</p>{_ticks(page)}", "cannot_some"
    else:
        what, cannot = f"{_words(page.text)}{_good(page.reported)}", "cannot-act"
    # Where the buttons are out of sight, something in sight leads to them.
    down = f'<a class="button accept" href="#report">{words["report"]} ↓</a>'
    what += f'<div class="bar{"" if page.items else " jump"}">{down}</div>'
    reported = page.reported or any(one.reported for one in page.items)
    return f"""{_FORM}
{_level(page)}<h1>{escape(page.title)}</h1>{what}{by}
<h2 id="report">{words["report_again" if reported else "report"]}</h2>
{_button("closed", words["closed"], "accept")}
<div class="people">{_button("evacuated", words["evacuated"])}
<label for="people">{words["people"]}<input id="people" name="people" inputmode="numeric"
 maxlength="20" autocomplete="off"></label></div>
{"".join(_button(one, words[one]) for one in ("done", "false-alarm", "acting"))}
<div class="apart">{_button("cannot-act", words[cannot])}</div>
{_fields(page.language, "said")}</form>"""


# Parts of pages


def _title(page: CallPage) -> str:
    """Of several alerts it says how many wait now: not how many did when the message was sent."""
    if not page.items:
        return page.title
    words = WORDS[page.language]
    waiting = [one for one in page.items if not one.answered_by]
    if not waiting:
        return words["none_waits"].format(count=len(page.items))
    reds = sum(one.level == "red" for one in waiting)
    more = words["of_them_red"].format(reds=reds) if reds else ""
    return words["some_wait"].format(count=len(waiting)) + more


def _level(page: CallPage) -> str:
    if page.level is None or page.items:
        return ""
    words = WORDS[page.language]
    return f'<span class="level {page.level}">{words["level"]} {words[page.level]}</span>'


def _words(text: str) -> str:
    """The order, which comes first on a line of its own, and the rest."""
    order, _, rest = text.partition("\n")
    return (f'<p class="order">{escape(order)}</p>' if order else "") + _paragraph(rest)


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _good(text: str) -> str:
    return f'<p class="good">{escape(text)}</p>' if text else ""


def _ticks(page: CallPage) -> str:
    """A list with a tick each; what this link cannot answer has none."""
    rows = []
    for number, one in enumerate(page.items):
        standing = _standing(page.language, one)
        if one.late:
            rows.append(f'<div class="item">{standing}</div>')
            continue
        rows.append(
            f'<label class="item" for="alert-{number}"><input type="checkbox" id="alert-{number}" '
            f'name="alert" value="{escape(one.alert)}">{standing}</label>'
        )
    return f'<div role="group" aria-label="{escape(page.title)}">{"".join(rows)}</div>'


def _standing(language: Language, one: Item) -> str:
    words = WORDS[language]
    after = ""
    if one.reported:
        after = f'<b class="good">{escape(one.reported)}</b>'
    elif one.answered_by:
        who = f"{words['answered']}{words['colon']}{escape(one.answered_by)}"
        after = f'<b class="good">{who}</b>'
    if one.late:
        after += f'<b class="warn">{words["late_item"]}</b>'
    title = f'<b class="{one.level}">{escape(one.title)}</b>'
    return f"<span>{title}{escape(one.text)}{after}</span>"


def _button(value: str, label: str, kind: str = "plain") -> str:
    return f'<button class="{kind}" name="answer" value="{value}">{label}</button>'


def _fields(language: Language, *names: str) -> str:
    """What may be said besides."""
    words = WORDS[language]
    made = {
        "said": f'<label for="said">{words["said"]} ({words["optional"]})</label>'
        '<textarea id="said" name="said" rows="2" maxlength="500"></textarea>',
        "by": f'<label for="by">{words["who"]}</label>'
        '<input id="by" name="by" maxlength="80" autocomplete="name">',
    }
    return "\n".join(made[name] for name in names)


def _facts(page: CallPage) -> str:
    words = WORDS[page.language]
    told = escape(words["and"].join(page.told)) or "-"
    return (
        f"<dl><dt>{words['sent']}</dt><dd>{escape(page.sent)}</dd>"
        f"<dt>{words['told']}</dt><dd>{told}</dd></dl>"
    )


def _notice(language: Language, key: str) -> str:
    if not key:
        return ""
    kind, role = ("warn", "alert") if key in _WARNINGS else ("good", "status")
    return f'<p class="{kind}" role="{role}">{WORDS[language][key]}</p>'


def _phone(page: CallPage) -> str:
    if not page.phone:
        return ""
    words = WORDS[page.language]
    # The zero in brackets is not dialled from abroad.
    dialled = re.sub(r"\(0\)", "", page.phone) if page.phone.startswith("+") else page.phone
    number = re.sub(r"[^0-9+]", "", dialled)
    return (
        f"<footer>{words['phone']}{words['colon']}"
        f'<a href="tel:{number}">{escape(page.phone)}</a></footer>'
    )


def _who(language: Language, key: str, who: Answered) -> str:
    words = WORDS[language]
    return f"{words[key]}{words['colon']}{escape(who.by)}{words['comma']}{escape(who.at)}"


def _page(page: CallPage, title: str, body: str) -> str:
    words = WORDS[page.language]
    mark = f'<p class="mark">{words["exercise"]}</p>' if page.exercise else ""
    return f"""<!doctype html>
<html lang="{"zh-CN" if page.language == "zh" else "en"}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">
<meta name="format-detection" content="telephone=no,date=no,address=no">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main>{mark}{body}</main></body></html>
"""
