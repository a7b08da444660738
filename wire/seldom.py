"""Says often what happens often, but not each time: what repeats is held back and counted."""

import time
from collections.abc import Callable, Hashable, Iterator
from typing import Final

MOST_KINDS: Final = 256
"""Kinds that are told apart; beyond them all others count as one."""


class Seldom:
    """Lets the first of a kind through and then one in `every_s`, with the number of those that
    were held back since. Its memory is bounded, whatever the kinds are."""

    def __init__(self, every_s: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._now = now
        self._kinds: dict[Hashable, tuple[float, int]] = {}  # said at, held back since

    def says(self, kind: Hashable = None) -> int | None:
        """None: hold it back. Otherwise say it, and that so many more were held back before."""
        now = self._now()
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            self._drop_quiet(now)
            if len(self._kinds) >= MOST_KINDS:
                kind = _OTHERS
        said_at, held = self._kinds.get(kind, (float("-inf"), 0))
        if now - said_at < self._every_s:
            self._kinds[kind] = said_at, held + 1
            return None
        self._kinds[kind] = now, 0
        return held

    def due(self) -> Iterator[tuple[Hashable, int]]:
        """The kinds of which some were held back, and whose time has come: how many those were."""
        now = self._now()
        for kind, (said_at, held) in [*self._kinds.items()]:
            if held and now - said_at >= self._every_s:
                self._kinds[kind] = now, 0
                yield kind, held

    def _drop_quiet(self, now: float) -> None:
        self._kinds = {
            kind: (said_at, held)
            for kind, (said_at, held) in self._kinds.items()
            if held or now - said_at < self._every_s
        }


_OTHERS: Final = "others"
