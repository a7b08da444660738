"""Somebody else uses the name of our session at the broker: what to do about it."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from wire.mqtt.terms import HUNG_UP, TAKEN_OVER
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.ingest")

CUTS: Final = 3
WITHIN_S: Final = 180.0
"""After so many connections that the broker has cut within so long, without a word, there may be
another of our name: some brokers do not say why they throw the older one out."""


class Watcher:
    """For `keep_connected`: says once a minute that `session` is taken over, with the remedy."""

    def __init__(self, session: str, now: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._now = now
        self._seldom = Seldom(60.0, now=now)
        self._cuts = deque[float](maxlen=CUTS)
        self._taken = deque[float](maxlen=CUTS)

    @property
    def trouble(self) -> str:
        """That it is taken over again and again, "" if it is not: once may be an old connection of
        our own."""
        times = self._taken
        if len(times) < CUTS or self._now() - times[0] > WITHIN_S:
            return ""
        return f"another client takes the session {self._session} of the broker again and again"

    def __call__(self, reason: str) -> None:
        """A connection has ended, or did not come about."""
        now = self._now()
        if HUNG_UP in reason:
            self._cuts.append(now)
        is_cut = len(self._cuts) == CUTS and now - self._cuts[0] < WITHIN_S
        if TAKEN_OVER not in reason and not (is_cut and HUNG_UP in reason):
            return
        self._taken.append(now)
        if self._seldom.says() is None:
            return
        log.error(
            "another client %s as %s and takes our session: a second cloud with another state, a "
            "copy of ours, or an intruder; give each cloud a broker or shards of its own, and "
            "bind names to users at the broker (docs/broker.md)",
            "connects" if TAKEN_OVER in reason else "may connect",
            self._session,
        )
