"""A mail as a page: the order and the value first, below them one button that leads to the answer
page. Pure.

Made for the programs that people read mail with: tables and inline styles, since some of them drop
all others; nothing that is loaded from elsewhere; by night dark, where the program says that it is
night. Everything that comes from a message is escaped. The button opens the page, and answers
nothing: programs that look through mail follow links.
"""

import html
from typing import Final, NamedTuple

from cloud.channels import Language, Message


class _Colours(NamedTuple):
    """Of the bar with the title: its ground and its letters."""

    ground: str
    letters: str


_LEVELS: Final = {
    "red": _Colours("#b3261e", "#ffffff"),
    "orange": _Colours("#b45309", "#ffffff"),
    "yellow": _Colours("#fde047", "#1f1f1f"),
    "blue": _Colours("#1d4ed8", "#ffffff"),
}
_NO_LEVEL: Final = _Colours("#374151", "#ffffff")
_OVER: Final = _Colours("#0b6b34", "#ffffff")
_CLEAR: Final = "clear"
"""The kind of a message that says that it is over: nothing in it is red."""

BUTTON: Final[dict[Language, str]] = {"zh": "查看并应答", "en": "Open and answer"}
_OR: Final[dict[Language, str]] = {
    "zh": "按钮打不开时，请复制此链接到浏览器：",
    "en": "If the button does not work, open this address:",
}
NO_REPLY: Final[dict[Language, str]] = {
    "zh": "请勿回复本邮件，回复无人查看。",
    "en": "Do not answer this mail: nobody reads what is sent back.",
}

_FONT: Final = "font-family:-apple-system,'PingFang SC','Microsoft YaHei',Roboto,Arial,sans-serif"
_DARK: Final = (
    "@media (prefers-color-scheme:dark){"
    ".page{background:#111418!important}"
    ".card{background:#1d2126!important}"
    ".order,.line{color:#f3f4f6!important}"
    ".small{color:#b6bcc6!important}"
    ".address{color:#9cc2ff!important}"
    "}"
)


def page(message: Message) -> str:
    """The whole page of a message."""
    link = message.link if message.link and message.link.startswith(("https://", "http://")) else ""
    colours = _LEVELS.get(message.level or "", _NO_LEVEL)
    colours = _OVER if message.kind == _CLEAR else colours
    first, *rest = message.text_without_link.splitlines() or [""]
    body = [
        _row(
            f"background:{colours.ground};color:{colours.letters};padding:16px 20px;"
            f"font-size:21px;line-height:1.35;font-weight:700;{_FONT}",
            html.escape(message.title),
            colour=colours.ground,
        ),
        _row(
            f"padding:20px 20px 8px;font-size:20px;line-height:1.5;font-weight:700;"
            f"color:#1f1f1f;{_FONT}",
            html.escape(first),
            name="order",
        ),
        *(
            _row(
                f"padding:4px 20px;font-size:17px;line-height:1.55;color:#1f1f1f;{_FONT}",
                html.escape(line),
                name="line",
            )
            for line in rest
            if line.strip()
        ),
        *(_button(link, message.language) if link else ()),
        _row(
            f"padding:16px 20px 20px;font-size:13px;line-height:1.5;color:#565c66;{_FONT}",
            NO_REPLY[message.language],
            name="small",
        ),
    ]
    rows = "\n".join(body)
    return (
        f'<!DOCTYPE html>\n<html lang="{message.language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="supported-color-schemes" content="light dark">\n'
        f"<title>{html.escape(message.title)}</title>\n<style>{_DARK}</style>\n</head>\n"
        '<body class="page" style="margin:0;padding:0;background:#eef0f3">\n'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" class="page"'
        ' style="background:#eef0f3"><tr><td align="center" style="padding:12px">\n'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" class="card"'
        ' style="max-width:600px;background:#ffffff;border-radius:8px;overflow:hidden">\n'
        f"{rows}\n</table>\n</td></tr></table>\n</body>\n</html>\n"
    )


def _row(style: str, content: str, *, name: str = "title", colour: str = "") -> str:
    ground = f' bgcolor="{colour}"' if colour else ""
    return (
        f'<tr><td class="{name}"{ground} '
        f'style="{style};word-break:break-word;overflow-wrap:anywhere">{content}</td></tr>'
    )


def _button(link: str, language: Language) -> tuple[str, str]:
    """It is as wide as the page: a thumb finds it. Below it the address, for programs that show no
    buttons."""
    safe = html.escape(link)
    style = (
        "display:block;padding:16px 12px;font-size:19px;line-height:1.3;font-weight:700;"
        f"text-align:center;text-decoration:none;color:#ffffff;{_FONT}"
    )
    return (
        '<tr><td style="padding:20px 20px 4px">'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr>'
        '<td bgcolor="#0b6b34" style="border-radius:8px;background:#0b6b34">'
        f'<a href="{safe}" target="_blank" style="{style}">{BUTTON[language]}</a>'
        "</td></tr></table></td></tr>",
        _row(
            f"padding:8px 20px 0;font-size:13px;line-height:1.5;color:#565c66;{_FONT}",
            f'{_OR[language]}<br><span class="address" style="color:#1d4ed8">{safe}</span>',
            name="small",
        ),
    )
