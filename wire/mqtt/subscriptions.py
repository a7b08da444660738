"""What we listen to, beside a broker that does not let us listen to all of it.

Without one topic we are hard of hearing; what comes on the others is heard all the same. Some
brokers say no in their SUBACK, others hang up, or say nothing: a topic over which connections end
is asked for last, while the connection is in use already, and each time later.
"""

import asyncio
import logging
from typing import Final, Protocol

from wire.mqtt.terms import TAKEN_OVER, Disconnected, Refused

log: Final = logging.getLogger("shuichi.mqtt")

CUTS: Final = 3
"""So many connections in a row end over the same topic by accident."""

FIRST_WAIT_S: Final = 10.0
"""After it has begun a connection lasts: the next one is begun at once."""

LONGEST_WAIT_S: Final = 60.0
"""Whoever can cut connections keeps us from a topic for no longer; and in such a time a broker may
have been given other rules."""


class Subscribing(Protocol):
    """What is asked of a session."""

    async def subscribe(self, *filters: str) -> None: ...


class Subscriptions:
    """Those of one client, over all its connections. `denied` are the topics that it does not hear,
    each with the reason; it stays the same dictionary."""

    def __init__(self, *filters: str) -> None:
        self.denied: dict[str, str] = {}
        self._filters = filters
        self._ended: dict[str, int] = {}  # connections in a row, while this was asked for
        self._told: dict[str, str] = {}

    async def begin(self, session: Subscribing) -> None:
        """Subscribe to all that does not end connections. What the broker refuses is logged once.
        Raises Disconnected."""
        for one in self._filters:
            if self._wait_s(one):
                self._deny(one, f"the broker ends the connection when we subscribe to {one}")
            else:
                await self._ask(session, one)

    async def keep(self, session: Subscribing) -> None:
        """Ask again and again for what was denied, until the connection ends."""
        clock = asyncio.get_running_loop().time
        asked_at = dict.fromkeys(self._filters, clock())
        while True:
            await asyncio.sleep(FIRST_WAIT_S)
            for one in [*self.denied]:
                if clock() - asked_at[one] < (self._wait_s(one) or LONGEST_WAIT_S):
                    continue
                asked_at[one] = clock()
                try:
                    await self._ask(session, one)
                except Disconnected:
                    return  # whoever uses it sees that too

    async def _ask(self, session: Subscribing, one: str) -> None:
        try:
            await session.subscribe(one)
        except Refused as error:
            self._ended.pop(one, None)
            self._deny(one, str(error))
        except Disconnected as error:
            if TAKEN_OVER not in str(error):
                self._ended[one] = self._ended.get(one, 0) + 1
            raise
        else:
            self._ended.pop(one, None)
            self.denied.pop(one, None)
            if self._told.pop(one, None) is not None:
                log.info("the broker lets us subscribe to %s again", one)

    def _wait_s(self, one: str) -> float:
        """How long after the begin of a connection a topic is asked for."""
        if (more := self._ended.get(one, 0) - CUTS) < 0:
            return 0.0
        return min(FIRST_WAIT_S * 2.0 ** min(more, 10), LONGEST_WAIT_S)

    def _deny(self, one: str, why: str) -> None:
        if self._told.get(one) != why:
            log.error("%s", why)
            self._told[one] = why
        self.denied[one] = why
