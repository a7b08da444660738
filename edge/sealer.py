"""Collects readings and events until it is time to seal them."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Final

from edge.config import OutboxConfig
from edge.outbox import Outbox, Sealed
from wire.messages import Event
from wire.reading import Reading

log: Final = logging.getLogger("shuichi.outbox")

RETRY_AFTER_S: Final = 1.0
MOST_UNSEALED: Final = 50_000
"""Readings kept in memory while the disk refuses; beyond it the oldest go, and are counted."""


class Sealer:
    """Readings wait for at most `seal_every_s`; an event is sealed at once, with what waits."""

    def __init__(
        self, outbox: Outbox, settings: OutboxConfig, on_sealed: Callable[[Sealed], None]
    ) -> None:
        self.lost_unsealed = 0
        self._outbox = outbox
        self._settings = settings
        self._on_sealed = on_sealed
        self._readings: list[Reading] = []
        self._events: list[Event] = []
        self._now = asyncio.Event()
        self._failing = False

    def add(self, reading: Reading) -> None:
        """Take a reading; it is sealed soon."""
        self._readings.append(reading)
        if len(self._readings) >= self._settings.seal_at_readings:
            self._now.set()

    def tell(self, event: Event) -> None:
        """Take an event; it is sealed now."""
        self._events.append(event)
        self._now.set()

    async def run(self) -> None:
        """Seal for ever. A disk that refuses is asked again; nothing is dropped for it."""
        while True:
            try:
                async with asyncio.timeout(self._settings.seal_every_s):
                    await self._now.wait()
            except TimeoutError:
                pass
            self._now.clear()
            if not await self.seal():
                await asyncio.sleep(RETRY_AFTER_S)
                self._now.set()

    async def seal(self) -> bool:
        """Seal what waits; False if the disk refused."""
        readings, events = self._readings, self._events
        if not readings and not events:
            return True
        self._readings, self._events = [], []
        try:
            batch = await self._outbox.seal(readings, events)
        except sqlite3.Error as error:
            if not self._failing:
                log.error("nothing can be sealed: %s; readings wait in memory", error)
            self._failing = True
            self._put_back(readings, events)
            return False
        if self._failing:
            log.info("sealing works again")
            self._failing = False
        self._on_sealed(batch)
        return True

    def _put_back(self, readings: list[Reading], events: list[Event]) -> None:
        self._events = events + self._events
        self._readings = readings + self._readings
        if (excess := len(self._readings) - MOST_UNSEALED) > 0:
            del self._readings[:excess]
            self.lost_unsealed += excess
