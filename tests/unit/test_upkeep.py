"""The task that keeps the store tidy: it goes on whatever the store says, and says so once."""

import asyncio
import logging
from typing import cast

import pytest

from cloud import upkeep
from cloud.errors import Rejected, Unavailable
from cloud.store import Store
from tests import virtual


class Failing:
    """A store that fails at some of its turns."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults = list(faults)
        self.turns: list[int] = []

    async def upkeep(self, now_ms: int) -> None:
        self.turns.append(now_ms)
        if self.faults and (fault := self.faults.pop(0)):
            raise fault


def test_a_failure_and_the_recovery_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Failing(None, Unavailable("gone"), Rejected("no"), Unavailable("gone"))

    async def main() -> None:
        task = asyncio.create_task(upkeep.run(cast(Store, store)), name="upkeep")
        await asyncio.sleep(5.5 * upkeep.EVERY_S)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    with caplog.at_level(logging.INFO):
        virtual.run(main())
    assert len(store.turns) == 6
    assert [record.message for record in caplog.records] == [
        "rollups and retention must wait: gone",
        "rollups and retention go on",
    ]
