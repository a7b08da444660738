"""Text that somebody else wrote, made fit to be stored, shown and sent on. The only place that
knows which characters do something where they should only be read.

A control character can move the cursor of a terminal or set its title (ECMA-48), a direction mark
can turn a line round (Unicode UAX 9), a character without a shape can hide in a name, and an
address in a message invites a click.
"""

import re
import unicodedata
from typing import Any, Final

LONGEST: Final = 500
"""Characters of a text that a gateway sends."""

LONGEST_LINE: Final = 2000
"""Characters of one line of a log or of a terminal's table."""

_SHAPELESS: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # fillers, letters to Unicode
)

_MOST_MARKS: Final = 2
"""Accents on one letter: more of them grow over the lines above and below."""

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

_PLAIN: Final = re.compile(r"[ -~]*")

_SCHEME: Final = re.compile(r"\b([a-z][a-z0-9+.-]{0,30})(:(?://|\\\\)|:(?=[^\s\d]))", re.IGNORECASE)
_CLICKED: Final = frozenset(
    ("data", "file", "geo", "javascript", "magnet", "mailto", "sip", "sms", "tel", "vbscript")
)
"""Schemes that need no slashes (RFC 3986, 3)."""

_HOST: Final = re.compile(
    r"(?<![\w.-])((?:[\w-]{1,63}[.\uff0e\uff61])+)([^\W\d_]{2,24})(?![\w-])", re.IGNORECASE
)
_FILES: Final = frozenset(("csv", "db", "gz", "json", "jsonl", "log", "py", "toml", "txt", "wal"))
"""What may stand behind the dot of a file of ours, and is no domain that a mail client knows."""

_DOTS: Final = re.compile(r"[.\uff0e\uff61]")


def clean(text: str, most: int = LONGEST) -> str:
    """`text` on one line of at most `most` characters. What would do something else than be read
    is replaced by a sign that is seen, what is too long by how much it was."""
    if len(text) <= most and _PLAIN.fullmatch(text):
        return text
    if len(text) > most:
        tail = f"… ({len(text)} characters)"
        text = text[: max(0, most - len(tail))] + tail
    return "".join(_seen(text))


def clean_foreign(text: str, most: int = LONGEST) -> str:
    """The same without an address that somebody could click: for words of a gateway, which may go
    into messages and reports."""
    return defang(clean(text, most))


def defang(text: str) -> str:
    """`text` with its addresses made such as no program makes a link of: "http[:]//a[.]b"."""
    if ":" in text:
        text = _SCHEME.sub(_break_scheme, text)
    if _DOTS.search(text):
        text = _HOST.sub(_break_host, text)
    return text


def for_terminal(text: object, most: int = LONGEST_LINE) -> str:
    """Anything that somebody else may have written, as a terminal may be given it."""
    return clean(str(text), most)


def clean_detail(detail: dict[str, Any], most: int = LONGEST) -> dict[str, Any]:
    """The figures of an event: its texts cleaned, keys too."""
    if all(
        _PLAIN.fullmatch(key) and not isinstance(value, str) and len(key) <= most
        for key, value in detail.items()
    ):
        return detail
    return {
        clean_foreign(key, 64): clean_foreign(value, most) if isinstance(value, str) else value
        for key, value in detail.items()
    }


def is_visible_name(text: str) -> bool:
    """Whether a person can be called so: a letter or a digit that is seen, and nothing in it that
    `clean` would replace."""
    return clean(text) == text and any(
        unicodedata.category(one)[0] in "LN" and one not in _SHAPELESS for one in text
    )


def _seen(text: str) -> list[str]:
    shown: list[str] = []
    marks = 0
    for one in text:
        category = unicodedata.category(one)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category == "Cc":
            shown.append(_picture(one))
        elif (
            category in ("Cf", "Cs", "Co", "Cn", "Zl", "Zp")
            or one in _SHAPELESS
            or marks > _MOST_MARKS
            or 0xFE00 <= ord(one) <= 0xFE0F
            or 0xE0100 <= ord(one) <= 0xE01EF
        ):
            shown.append(_REPLACEMENT)
        else:
            shown.append(one)
    return shown


def _picture(control: str) -> str:
    """The sign that Unicode has for a control character (U+2400 and on)."""
    code = ord(control)
    if code < 0x20:
        return chr(0x2400 + code)
    return "\N{SYMBOL FOR DELETE}" if code == 0x7F else _REPLACEMENT


def _break_scheme(found: re.Match[str]) -> str:
    scheme, rest = found[1], found[2]
    if rest == ":" and scheme.lower() not in _CLICKED:
        return found[0]
    return f"{scheme}[:]{rest[1:]}"


def _break_host(found: re.Match[str]) -> str:
    if found[2].lower() in _FILES:
        return found[0]
    return _DOTS.sub("[.]", found[1]) + found[2]
