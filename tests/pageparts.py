"""What a page is made of, for those who do not see it: screen readers, and tests without a browser;
and the contrast of the colours of a stylesheet."""

import re
from html.parser import HTMLParser
from typing import Final

_EMPTY: Final = frozenset({"meta", "input", "br", "link", "img", "hr", "circle", "line", "path"})


class Parts(HTMLParser):
    """Tags with their attributes, in order, and the words between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another"

    def handle_data(self, data: str) -> None:
        if data.strip() and "style" not in self._open and "title" not in self._open:
            self.words.append(data.strip())

    def all(self, *names: str) -> list[dict[str, str]]:
        """The attributes of each element of these names."""
        return [attributes for tag, attributes in self.tags if tag in names]

    @property
    def text(self) -> str:
        return "\n".join(self.words)


def colours(style: str, *, dark: bool) -> dict[str, str]:
    """The colours that a stylesheet names, by day or by night."""
    day, night = style.split("prefers-color-scheme: dark", 1)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", day))
    named = re.search(r":root \{(.*?)\}", night, re.S)
    assert named is not None
    return found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", named[1])) if dark else found


def contrast(one: str, other: str) -> float:
    """Of two colours such as #17202a, by WCAG 2.1."""
    lighter, darker = sorted((_light(one), _light(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _light(colour: str) -> float:
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * one for one in digits)
    parts = (int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4))
    red, green, blue = (
        one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
