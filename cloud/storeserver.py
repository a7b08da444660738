"""Who keeps the readings: looked at while we run, for a server may be upgraded meanwhile."""

import asyncio
import logging
from typing import Final

from cloud.errors import Rejected, Unavailable
from cloud.store import Server, Store

log: Final = logging.getLogger("shuichi.store")

EVERY_S: Final = 30.0


class StoreServer:
    """`found` is what the store last said that it is, None before it has said so; `answers`:
    whether it did when it was asked last."""

    def __init__(self, store: Store) -> None:
        self.found: Server | None = None
        self.answers = False
        self._store = store

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Ask once; what is new is logged. That it does not answer is told by those who need it."""
        try:
            found = await self._store.server()
        except (Unavailable, Rejected):
            self.answers = False
            return
        self.answers = True
        if found != self.found:
            if self.found is None:
                log.info("the store is %s", found)
            else:
                log.warning("the store is %s now, and was %s", found, self.found)
        self.found = found
