"""The task that keeps things tidy: it goes on whatever happens, and says so once."""

import asyncio
import logging

import pytest

from cloud import upkeep
from cloud.errors import Rejected, Unavailable
from cloud.upkeep import Chore
from tests import virtual


class Failing:
    """Work that fails at some of its turns."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.turns: list[int] = []

    async def work(self, now_ms: int, earliest_ms: int) -> None:
        self.turns.append(now_ms)
        if self.faults and (fault := self.faults.pop(0)):
            raise fault


def test_a_failure_and_the_recovery_are_told_once_and_hold_up_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, other = (
        Failing(None, Unavailable("gone"), Rejected("no"), Unavailable("gone")),
        Failing(),
    )

    async def main() -> None:
        chores = Chore("rollups", store.work), Chore("another", other.work)
        task = asyncio.create_task(upkeep.run(*chores), name="upkeep")
        await asyncio.sleep(5.5 * upkeep.EVERY_S)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    with caplog.at_level(logging.INFO):
        virtual.run(main())
    assert len(store.turns) == len(other.turns) == 6
    assert [record.message for record in caplog.records] == [
        "rollups must wait: gone",
        "rollups: going on",
    ]
