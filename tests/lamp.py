"""A lamp of which one may have doubts, and a keeper that runs."""

import asyncio
import contextlib
from typing import Any

from edge.signal import SignalKeeper
from tests import virtual

LAMP_S = 0.06
REFRESH_S = 10.0


class Lamp:
    """A signal: `error` breaks its line, `stuck` its relay."""

    def __init__(self):
        self.shows: Any = None  # an aspect, or None for none of ours
        self.error = None
        self.stuck = False
        self.asked = []

    async def show(self, aspect):
        self.asked.append((virtual.now(), aspect))
        await asyncio.sleep(LAMP_S / 2)
        if self.error is not None:
            raise self.error
        if not self.stuck:
            self.shows = aspect

    async def read_back(self):
        await asyncio.sleep(LAMP_S / 2)
        if self.error is not None:
            raise self.error
        return self.shows


class Keeper:
    """A running keeper with its lamp, and all that it has told."""

    def __init__(self, bus=None, turns_within_s=0.0):
        self.lamp = Lamp()
        self.events = []
        self.seen: list[Any] = []
        self.keeper = SignalKeeper(
            "here", self.lamp, bus, REFRESH_S, self.tell, turns_within_s=turns_within_s
        )
        self.keeper.on_seen = lambda: self.seen.append(self.confirmed)

    @property
    def confirmed(self) -> Any:
        return self.keeper.confirmed

    def tell(self, kind, text, detail):
        self.events.append((kind, detail))

    async def settled(self) -> Any:
        """What the lamp shows once it is seen to show what is wanted."""
        await self.keeper.obeyed()
        return self.lamp.shows

    def want(self, aspect):
        self.keeper.want(aspect, virtual.now(), "water rises")

    def kinds(self):
        return [kind for kind, _ in self.events]

    def told(self, kind):
        return [detail for told, detail in self.events if told == kind]


@contextlib.asynccontextmanager
async def running(*coroutines):
    tasks = [asyncio.create_task(one, name="running") for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
