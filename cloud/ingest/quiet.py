"""That nothing comes from any gateway though the broker is there: all of them are away, or the
broker does not let us read. mosquitto grants a subscription that its access list denies, and takes
one away without a word: then it sends nothing, and no answer of its own says so."""

import logging
import time
from collections.abc import Callable
from typing import Final

log: Final = logging.getLogger("shuichi.ingest")

QUIET_S: Final = 300.0
"""A gateway says how it is once a minute."""


class Quiet:
    """Of one shard. Logged once, and once when it ends."""

    def __init__(self, shard: str, now: Callable[[], float] = time.monotonic) -> None:
        self._shard = shard
        self._now = now
        self._since = now()
        self._is_told = False

    def begin(self) -> None:
        """We listen on a new connection."""
        self._since = self._now()

    def hear(self) -> None:
        """Something has come."""
        self._since = self._now()
        if self._is_told:
            log.info("shard %s: messages come again", self._shard)
            self._is_told = False

    def look(self) -> None:
        """Time has passed, and we are connected."""
        if not self._is_told and self._now() - self._since >= QUIET_S:
            log.error(
                "shard %s: nothing has come from any gateway for %.0f s, and the broker is "
                "connected: are they all away, or does its access list no longer let us read "
                "(docs/broker.md)?",
                self._shard,
                QUIET_S,
            )
            self._is_told = True
