"""Names of gateways, sites and sensors as a store may hold them. What comes by the wire has
narrower ones (`wire.topics.NAME_PATTERN`); what lies in a store may come from anybody."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from cloud.errors import Rejected
from configs.text import clean

_KNOWN: Final = 32768
"""Names that are remembered, at 150 bytes each."""

_MOST_SHOWN: Final = 200

UNSEEN: Final = "is empty, or has characters that do something other than be read"


@lru_cache(_KNOWN)
def is_readable(name: str) -> bool:
    """Whether nothing in a name does something other than be read: no control character, no end of
    a line (U+2028 too), no mark of direction, nothing without a shape."""
    return name != "" and clean(name, len(name)) == name


def demand(names: Iterable[str]) -> None:
    """Raise Rejected for one that is not."""
    for name in names:
        if not is_readable(name):
            raise Rejected(f"the name {shown(name)} {UNSEEN}")


def shown(name: str) -> str:
    """Such a name as people may be shown it."""
    return clean(repr(name), _MOST_SHOWN)
