"""The gateway's outbox at work, without the rest of an agent."""

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge.batches import Sealed
from edge.clock import Clock, Source
from edge.config import OutboxConfig
from edge.keeper import Keeper
from edge.outbox import Outbox, open_outbox
from edge.sealer import Sealer
from edge.shelf import Key
from tests.machine import FakeMachine
from wire.codec import decode_batch
from wire.messages import Event
from wire.reading import Quality, Quantity, Reading

pytestmark = pytest.mark.asyncio


class Gateway:
    """Outbox, sealer, keeper and clock, without the rest of an agent."""

    def __init__(self, outbox: Outbox, machine: FakeMachine, source: Source, **settings) -> None:
        self.dice = random.Random(1)
        self.machine = machine
        self.outbox = outbox
        self.clock = Clock(machine, source)
        self.settings = OutboxConfig(**{"reserve_mb": 1} | settings)
        self.offered: list[Sealed] = []
        self.told: list[str] = []
        self.sealer = Sealer(outbox, self.settings, self.offered.append, self.clock, {"ruler"})
        self.keeper = Keeper(
            outbox, self.sealer, self.clock, self.settings, self.tell, self.offered.append
        )

    def tell(self, notice) -> None:
        self.told.append(notice.kind)
        event = Event(self.clock.now(), "s", notice.kind, notice.text, notice.detail)
        self.sealer.tell(event)

    def add(self, n: int = 1, sensor: str = "rain") -> None:
        """Readings, each a second after the other."""
        for _ in range(n):
            self.machine.wait(1)
            self.add_now(sensor)

    def add_now(self, sensor: str) -> None:
        """A reading at this moment."""
        at_ms = self.clock.stamp(self.machine.monotonic())
        value = self.dice.random()  # takes much room
        self.sealer.add(Reading("s", sensor, Quantity.DEPTH, value, at_ms, Quality.GOOD))

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            try:
                await self.keeper._look()
            except sqlite3.Error as error:
                await self.outbox.mend(error)
            while self.outbox.notices:
                self.keeper._pass_on(self.outbox.notices.popleft())

    async def content(self):
        """All batches in the outbox, decoded, by key."""
        rows = await self.outbox.pending(-1, 2**63 - 1, 10**6)
        return {
            Key.unpack(row.key): decode_batch(row.payload, relative=row.is_local) for row in rows
        }

    async def readings(self):
        found = [r for batch in (await self.content()).values() for r in batch.readings]
        return sorted(found, key=lambda r: r.at_ms)

    async def gaps(self):
        return [gap for batch in (await self.content()).values() for gap in batch.gaps]


@asynccontextmanager
async def gateway(path, machine=None, source=Source.TRUSTED, **settings) -> AsyncIterator[Gateway]:
    machine = machine or FakeMachine()
    async with open_outbox(path, "gw", machine.boot) as outbox:
        one = Gateway(outbox, machine, source, **settings)
        await one.keeper.start()
        yield one


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr("edge.keeper.PAUSE_S", 0)
