"""The disk of the cloud's state fails at any one call, or from there on for a while: what is
acknowledged is in the ledger, the alert is raised once, and all goes on when the disk does."""

import asyncio
import math
from pathlib import Path

import pytest

from cloud import reserve
from cloud.ingest import worker, writing
from tests.diskfaults import ERRORS, HAS_SQLITE, Disk, failing_disk
from tests.rules import rule
from tests.taking import flowing, message, takes_all
from tests.waiting import until
from wire.ranges import Intervals

pytestmark = pytest.mark.skipif(not HAS_SQLITE, reason="SQLite's own calls cannot be reached")

DEPTH = rule("threshold", quantity="depth", red={"over_cm": 30, "clear_cm": 27})
ALL = Intervals([1, 2, 3])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(writing, "LONGEST_DELAY_S", 0.002)
    monkeypatch.setattr(worker, "LOOK_S", 0.01)
    monkeypatch.setattr(reserve, "LOG_BYTES", 4096)
    monkeypatch.setattr(reserve, "ROW_BYTES", 8192)


async def taken_in(folder: Path, disk: Disk, at: int, times: float) -> None:
    """Batches come while the disk fails, and again, as gateways send what was not acknowledged."""
    async with flowing(folder, [DEPTH], release_after_s=0.1) as flow:
        await flow.database.keep_reserve()
        flow.store.judge = takes_all
        disk.failed.clear()
        disk.fail(at, ERRORS[at % len(ERRORS)], times)
        flow.send(message(1), message(2, depth=0.4))
        await until(lambda: len(disk.failed) >= min(times, 20))
        await asyncio.sleep(0)
        disk.heal()
        flow.send(message(1), message(2, depth=0.4), message(3, depth=0.5))
        await until(lambda: flow.session.acks == ALL)
        assert await flow.ledgered() == ALL, disk.failed[:5]
        levels = [one["level"] for one in await flow.table("alert_change")]
        assert levels == ["red"], disk.failed[:5]
        assert await flow.table("quarantine") == []


@pytest.mark.parametrize("times", [1, math.inf])
async def test_nothing_is_lost_or_raised_twice(tmp_path: Path, times: float) -> None:
    with failing_disk(tmp_path) as disk:
        for at in range(2, 24, 7):
            (tmp_path / f"{at}").mkdir()
            await taken_in(tmp_path / f"{at}", disk, at, times)
