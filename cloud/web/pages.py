"""The page behind an answer link: readable on any phone, without scripts or anything from afar."""

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from cloud.channels import Language

HEADERS: Final = {
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}

_WORDS: Final[dict[Language, dict[str, str]]] = {
    "zh": {
        "accept": "我已收到，正在处置",
        "accept_some": "已收到勾选的预警，正在处置",
        "decline_some": "勾选的预警我无法处置",
        "tick": "请勾选您能处置的预警，再点下面的按钮。",
        "tick_first": "尚未勾选任何预警，应答未记录。请先勾选。",
        "report": "请报告处置结果",
        "acting": "正在处置",
        "closed": "已封闭道路",
        "evacuated": "已转移人员",
        "people": "转移人数",
        "false-alarm": "现场核实：误报",
        "done_it": "已处置完毕",
        "cannot-act": "我无法处置，请另派人",
        "reported": "结果已记录",
        "newer": "查看最新预警并应答",
        "phone": "值班电话",
        "acted": "我已处置",
        "decline": "我无法处置",
        "said": "说明（可不填）",
        "who": "姓名（如非本人）",
        "told": "此前已通知",
        "sent": "发出时间",
        "level": "等级",
        "red": "红色",
        "orange": "橙色",
        "yellow": "黄色",
        "blue": "蓝色",
        "thanks": "已记录，呼叫已停止",
        "declined": "已记录，将继续呼叫其他责任人",
        "colon": "：",
        "comma": "，",
        "and": "、",
        "done": "此呼叫已有应答",
        "answered": "已有人应答",
        "returned": "险情已解除，但至今无人应答。请补报：您是否已处置？",
        "by": "应答人",
        "unknown": "此链接无效",
        "unknown_text": "请检查链接是否完整，或致电值班室。",
        "late": "情况已升级",
        "late_text": "此链接对应的是较早的预警，其后情况已加重。请以最新消息中的链接应答。",
        "over": "此预警已结束",
        "unreadable": "无法识别您的应答",
        "unreadable_text": "您的应答尚未记录。请重新打开链接，或致电值班室。",
        "later": "暂时无法记录",
        "later_text": "您的应答尚未记录，请稍后重试，或致电值班室。",
    },
    "en": {
        "accept": "I have it and am acting",
        "accept_some": "I have the ticked ones and am acting",
        "decline_some": "I cannot act on the ticked ones",
        "tick": "Tick what you can act on, then press a button below.",
        "tick_first": "Nothing was ticked, and nothing is recorded. Tick first.",
        "report": "What was done?",
        "acting": "We are on it",
        "closed": "The road is closed",
        "evacuated": "People were moved",
        "people": "How many",
        "false-alarm": "A false alarm: we have looked",
        "done_it": "It is dealt with",
        "cannot-act": "I cannot act, send somebody else",
        "reported": "The result is recorded",
        "newer": "See the newest warning and answer it",
        "phone": "Duty room",
        "acted": "I have acted",
        "decline": "I cannot act",
        "said": "What you have to say (optional)",
        "who": "Your name, if you are somebody else",
        "told": "Told so far",
        "sent": "Sent",
        "level": "Level",
        "red": "red",
        "orange": "orange",
        "yellow": "yellow",
        "blue": "blue",
        "thanks": "Recorded. The calls have ended",
        "declined": "Recorded. Others will be called",
        "colon": ": ",
        "comma": ", ",
        "and": ", ",
        "done": "This call has been answered",
        "answered": "Somebody has answered",
        "returned": "It is over, and nobody has answered yet. Did you act?",
        "by": "Answered by",
        "unknown": "This link is not valid",
        "unknown_text": "Is it complete? If so, call the duty room.",
        "late": "It has become worse",
        "late_text": "This link is of an earlier warning. Please answer by the newest message.",
        "over": "This alert is over",
        "unreadable": "Your answer cannot be read",
        "unreadable_text": "It is not recorded. Open the link again, or call the duty room.",
        "later": "It cannot be recorded now",
        "later_text": "Your answer is not recorded yet. Try again, or call the duty room.",
    },
}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #17202a; --paper: #fff; --soft: #5b6672;
  --line: #d5dae0; --go: #0b6b3a; --green: #0b6b3a;
  --red: #c62828; --orange: #c75a00; --yellow: #8a6d00; --blue: #1565c0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eef1f4; --paper: #14181c; --soft: #a3adb8; --line: #39424c; --go: #177a48;
    --green: #5fd49a; --red: #ff7a70; --orange: #ffa04d; --yellow: #ffd54a; --blue: #7ab8ff }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.5 system-ui, "Noto Sans CJK SC", sans-serif }
main { max-width: 34rem; margin: 0 auto; padding: 1rem }
.level { display: inline-block; padding: .15rem .6rem; border: 3px solid currentColor;
  border-radius: .3rem; font-weight: 700 }
.red { color: var(--red) } .orange { color: var(--orange) }
.yellow { color: var(--yellow) } .blue { color: var(--blue) }
h1 { font-size: 1.45rem; line-height: 1.25; margin: .7rem 0 .4rem; text-wrap: balance }
.good::before { content: "✓ "; color: var(--green) }
p { margin: .5rem 0; overflow-wrap: anywhere; white-space: pre-line }
.warn { border-left: .3rem solid var(--red); padding-left: .6rem; font-weight: 700 }
.item { display: flex; gap: .7rem; align-items: flex-start; border: 1px solid var(--line);
  border-radius: .5rem; padding: .7rem; margin: .6rem 0; color: inherit; font-size: 1rem }
.item input { width: 1.6rem; height: 1.6rem; flex: none; margin: .15rem 0 0 }
.item b { display: block } .item span { white-space: pre-line; overflow-wrap: anywhere }
.plain { background: transparent; color: inherit; border: 1px solid var(--line) }
.row { display: flex; gap: .6rem; align-items: stretch }
.row input { width: 6rem; margin-top: 1rem } .row button { flex: 1 }
a.button { display: block; text-align: center; text-decoration: none; padding: 1rem;
  border-radius: .5rem; background: var(--go); color: #fff; font-weight: 700; margin-top: 1rem }
footer { border-top: 1px solid var(--line); margin-top: 1rem; padding-top: .6rem }
footer a { color: inherit; font-weight: 700 }
dl { border-top: 1px solid var(--line); margin: 1rem 0; padding-top: .6rem;
  color: var(--soft); font-size: .95rem }
dt { font-weight: 600 }
dd { margin: 0 0 .4rem }
label { display: block; margin: .8rem 0 .2rem; color: var(--soft); font-size: .95rem }
input, textarea { width: 100%; padding: .7rem; border: 1px solid var(--line);
  border-radius: .4rem; background: transparent; color: inherit; font: inherit }
button { width: 100%; padding: 1rem; border: 0; border-radius: .5rem; font: inherit;
  font-weight: 700; margin-top: 1rem; min-height: 3.4rem }
.accept { background: var(--go); color: #fff; font-size: 1.2rem }
.decline { background: transparent; color: inherit; border: 1px solid var(--line) }
"""


class Answered(NamedTuple):
    """Who has answered, and when (local time)."""

    by: str
    at: str


class Item(NamedTuple):
    """One alert of several: how it stands now, and who has answered it."""

    alert: str
    title: str
    text: str
    level: str
    answered_by: str = ""


class CallPage(NamedTuple):
    """What the page of an open call shows; `told` are names, `sent` the local time. `answered`: by
    whom. `is_over`: the danger has gone, and nobody has answered. `items` are its alerts where they
    are several. `wants_result`: the reader has answered, and is asked what was done. `phone` is
    that of the duty room."""

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


def call(page: CallPage, *, warning: str = "") -> str:
    """The page of a call that waits for an answer; `warning` is a key of our words."""
    if page.wants_result:
        return _result(page)
    words = _WORDS[page.language]
    level = ""
    if page.level is not None:
        name = f"{words['level']} {words[page.level]}"
        level = f'<span class="level {page.level}">{name}</span>'
    told = escape(words["and"].join(page.told)) or "-"
    yes = "acted" if page.is_over else "accept"
    no = f'<button class="decline" name="answer" value="no">{words["decline"]}</button>\n'
    if page.is_over:
        no = ""  # nobody else will be called
    already = f"\n<p><b>{words['returned']}</b></p>" if page.is_over else ""
    if page.items:
        return _several(page, warning)
    if page.answered is not None:
        already = f"\n<p><b>{_who(page.language, 'answered', page.answered)}</b></p>"
    return _page(
        page.language,
        page.title,
        f"""{level}
<h1>{escape(page.title)}</h1>
<p>{escape(page.text)}</p>{already}
<form method="post"><button disabled hidden></button>
<button class="accept" name="answer" value="yes">{words[yes]}</button>
<label for="said">{words["said"]}</label>
<textarea id="said" name="said" rows="2" maxlength="500"></textarea>
<label for="by">{words["who"]}</label>
<input id="by" name="by" maxlength="80" autocomplete="name">
{no}</form>
<dl><dt>{words["sent"]}</dt><dd>{escape(page.sent)}</dd>
<dt>{words["told"]}</dt><dd>{told}</dd></dl>{_phone(page.language, page.phone)}""",
    )


def _several(page: CallPage, warning: str) -> str:
    """The page of a call about several alerts: each is ticked by itself."""
    words = _WORDS[page.language]
    warned = f'<p class="warn">{words[warning]}</p>' if warning else ""
    rows = []
    for one in page.items:
        who = ""
        if one.answered_by:
            colon = words["colon"]
            who = f"<b>{words['answered']}{colon}{escape(one.answered_by)}</b>"
        rows.append(
            f'<label class="item"><input type="checkbox" name="alert" value="{escape(one.alert)}">'
            f'<span><b class="{one.level}">{escape(one.title)}</b>{escape(one.text)}{who}</span>'
            "</label>"
        )
    return _page(
        page.language,
        page.title,
        f"""<h1>{escape(page.title)}</h1>{warned}
<p>{words["tick"]}</p>
<form method="post"><button disabled hidden></button>
{"".join(rows)}
<button class="accept" name="answer" value="yes">{words["accept_some"]}</button>
<label for="said">{words["said"]}</label>
<textarea id="said" name="said" rows="2" maxlength="500"></textarea>
<label for="by">{words["who"]}</label>
<input id="by" name="by" maxlength="80" autocomplete="name">
<button class="decline" name="answer" value="no">{words["decline_some"]}</button>
</form>
<dl><dt>{words["sent"]}</dt><dd>{escape(page.sent)}</dd></dl>{_phone(page.language, page.phone)}""",
    )


def _result(page: CallPage) -> str:
    """The page of whoever has answered: what to do stays, and what was done is asked."""
    words = _WORDS[page.language]
    by = "" if page.answered is None else _who(page.language, "by", page.answered)
    return _page(
        page.language,
        page.title,
        f"""<h1 class="good">{escape(page.title)}</h1>
<p>{escape(page.text)}</p>
<p>{by}</p>
<h1>{words["report"]}</h1>
<form method="post"><button disabled hidden></button>
<button class="accept" name="answer" value="closed">{words["closed"]}</button>
<div class="row"><input name="people" inputmode="numeric" maxlength="6" pattern="[0-9]*"
 placeholder="{words["people"]}" aria-label="{words["people"]}">
<button class="plain" name="answer" value="evacuated">{words["evacuated"]}</button></div>
<button class="plain" name="answer" value="done">{words["done_it"]}</button>
<button class="plain" name="answer" value="false-alarm">{words["false-alarm"]}</button>
<button class="plain" name="answer" value="acting">{words["acting"]}</button>
<label for="said">{words["said"]}</label>
<textarea id="said" name="said" rows="2" maxlength="500"></textarea>
<button class="decline" name="answer" value="cannot-act">{words["cannot-act"]}</button>
</form>{_phone(page.language, page.phone)}""",
    )


def _phone(language: Language, phone: str) -> str:
    if not phone:
        return ""
    number = "".join(one for one in phone if one.isdigit() or one == "+")
    label = f"{_WORDS[language]['phone']}{_WORDS[language]['colon']}"
    return f'<footer>{label}<a href="tel:{number}">{escape(phone)}</a></footer>'


class More(NamedTuple):
    """What else a page has: an instruction that is to stay in sight, the path of a page to go on
    to, the duty room's number."""

    text: str = ""
    newer: str = ""
    phone: str = ""


NOTHING: Final = More()


def message(
    language: Language, head: str, text: str, *, good: bool = False, more: More = NOTHING
) -> str:
    """A page that says one thing: `head`, a key of our words; and `text`, a key or words
    themselves. `good`: what was wanted is done."""
    words = _WORDS[language]
    mark = '<h1 class="good">' if good else "<h1>"
    body = f"{mark}{words[head]}</h1><p>{escape(words.get(text, text))}</p>"
    if more.text:
        body += f"<p>{escape(more.text)}</p>"
    if more.newer:
        body += f'<a class="button" href="{escape(more.newer)}">{words["newer"]}</a>'
    return _page(language, words[head], body + _phone(language, more.phone))


def answered(language: Language, page: CallPage, who: Answered) -> str:
    """The call has been answered already."""
    words = _WORDS[language]
    body = f"<h1>{words['done']}</h1><p>{_who(language, 'by', who)}</p><p>{escape(page.title)}</p>"
    return _page(language, words["done"], body + _phone(language, page.phone))


def _who(language: Language, key: str, who: Answered) -> str:
    words = _WORDS[language]
    return f"{words[key]}{words['colon']}{escape(who.by)}{words['comma']}{escape(who.at)}"


def _page(language: Language, title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="{"zh-CN" if language == "zh" else "en"}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex"><title>{escape(title)}</title><style>{_STYLE}</style></head>
<body><main>{body}</main></body></html>
"""
