"""Says often what happens often, but not each time: what repeats is held back and counted."""

import time
from collections.abc import Callable, Hashable, Iterator
from typing import Final, NamedTuple

MOST_KINDS: Final = 256
"""Kinds that are told apart; beyond them all others count as one."""

_OTHERS: Final = "others"


class _Said(NamedTuple):
    since: float
    times: int
    held: int


class Seldom:
    """Lets the first `burst` of a kind through in each `every_s`, and counts those that it holds
    back. Its memory is bounded, whatever the kinds are."""

    def __init__(
        self, every_s: float = 60.0, burst: int = 1, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._burst = burst
        self._now = now
        self._kinds: dict[Hashable, _Said] = {}

    def says(self, kind: Hashable = None) -> int | None:
        """None: hold it back. Otherwise say it, and that so many more were held back before."""
        now = self._now()
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            self._drop_quiet(now)
            if len(self._kinds) >= MOST_KINDS:
                kind = _OTHERS
        said = self._kinds.get(kind)
        if said is None or now - said.since >= self._every_s:
            self._kinds[kind] = _Said(now, 1, 0)
            return 0 if said is None else said.held
        if said.times < self._burst:
            self._kinds[kind] = said._replace(times=said.times + 1)
            return 0
        self._kinds[kind] = said._replace(held=said.held + 1)
        return None

    def due(self) -> Iterator[tuple[Hashable, int]]:
        """The kinds of which some were held back, and whose time has come: how many those were."""
        now = self._now()
        for kind, said in [*self._kinds.items()]:
            if said.held and now - said.since >= self._every_s:
                self._kinds[kind] = _Said(now, self._burst, 0)
                yield kind, said.held

    def _drop_quiet(self, now: float) -> None:
        self._kinds = {
            kind: said
            for kind, said in self._kinds.items()
            if said.held or now - said.since < self._every_s
        }
