"""Whom of the plan an event of a calendar means. Pure."""

import re
from collections.abc import Iterable
from typing import Final

from cloud.alerts.plan import Plan
from configs.text import clean

_LONGEST: Final = 500
"""Characters of a summary in which somebody is looked for."""

_BETWEEN: Final = re.compile(r"\s*(?:[,，、;；/&+]|\band\b|和|与)\s*")


class People:
    """The contacts of a plan by what a calendar calls them."""

    def __init__(self, plan: Plan) -> None:
        self._ids: dict[str, str] = {}
        self._named: dict[str, set[str]] = {}
        self._mailed: dict[str, set[str]] = {}
        for key, one in plan.contact.items():
            if one.public:
                continue
            self._ids[key.casefold()] = key
            for name in {_plain(one.name), _plain(one.name_en)} - {""}:
                self._named.setdefault(name, set()).add(key)
            for address in one.address.values():
                if "@" in address:
                    self._mailed.setdefault(_plain(address), set()).add(key)

    def by_id(self, text: str) -> str:
        """The contact with this id, "" for none."""
        return self._ids.get(_plain(text), "")

    def by_mail(self, address: str) -> list[str]:
        """Those with this mail address, `mailto:` before it or not."""
        plain = _plain(address)
        return sorted(self._mailed.get(plain.removeprefix("mailto:"), ()))

    def by_name(self, text: str) -> list[str]:
        """Those whose id or name the whole text is. Raises ValueError if a name has several."""
        plain = _plain(text[:_LONGEST])
        found = [self._ids[plain]] if plain in self._ids else sorted(self._named.get(plain, ()))
        if len(found) > 1:
            raise ValueError(f"{clean(text, 60)!r} is the name of {', '.join(found)}: use the id")
        return found

    def in_words(self, text: str) -> list[str]:
        """Those whom a summary names: "Zhang San", "张三、李四", "夜班 张三". Raises ValueError for
        a name that several have."""
        if whole := self.by_name(text):
            return whole
        parts = [one for one in _BETWEEN.split(text[:_LONGEST]) if one.strip()]
        each = [self.by_name(one) for one in parts]
        if len(parts) > 1 and all(each):
            return list(dict.fromkeys(one for some in each for one in some))
        plain = _plain(text[:_LONGEST])
        names = [one for one in (*self._named, *self._ids) if len(one) > 1 and _has(plain, one)]
        # 何岚 does not stand in a summary that names 何岚岚.
        longest = [one for one in names if not any(one != two and one in two for two in names)]
        return list(dict.fromkeys(one for name in longest for one in self.by_name(name)))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _has(text: str, name: str) -> bool:
    """Whether a name stands in a text: a Latin one as words of their own."""
    if name not in text:
        return False
    if not name.isascii():
        return True
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def shown(names: Iterable[str]) -> str:
    """A few of what somebody wrote, for a line."""
    return ", ".join(repr(clean(one, 60)) for one in list(names)[:3])
