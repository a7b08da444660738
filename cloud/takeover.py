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


def teller(session: str, now: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """For `keep_connected`: says once a minute that `session` is taken over, with the remedy."""
    seldom = Seldom(60.0, now=now)
    cuts = deque[float](maxlen=CUTS)

    def tell(reason: str) -> None:
        if HUNG_UP in reason:
            cuts.append(now())
        is_cut = len(cuts) == CUTS and now() - cuts[0] < WITHIN_S
        if TAKEN_OVER not in reason and not (is_cut and HUNG_UP in reason):
            return
        if seldom.says() is None:
            return
        log.error(
            "another client %s as %s and takes our session: a second cloud with another state, a "
            "copy of ours, or an intruder; give each cloud a broker or shards of its own, and "
            "bind names to users at the broker (docs/broker.md)",
            "connects" if TAKEN_OVER in reason else "may connect",
            session,
        )

    return tell
