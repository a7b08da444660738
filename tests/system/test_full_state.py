"""The disk of the cloud's state is full to the last block: alerts go on in their room."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from cloud import reserve, state
from cloud.errors import Unavailable
from cloud.store import Points, sqlite
from tests.rules import rule
from tests.system.test_full_disk import fill, small_disk
from tests.taking import NOW_MS, Flow, flowing, message, takes_all
from tests.waiting import until
from wire.ranges import Intervals
from wire.reading import Quality, Quantity, Reading

__all__ = ["small_disk"]

DEPTH = rule("threshold", quantity="depth", red={"over_cm": 30, "clear_cm": 27})


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "ROW_BYTES", 2 << 20)
    monkeypatch.setattr(reserve, "PLENTY", 1)


@asynccontextmanager
async def keeping(folder: Path) -> AsyncIterator[Flow]:
    async with flowing(folder, [DEPTH], release_after_s=0.1) as flow:
        flow.store.judge = takes_all
        await flow.database.keep_reserve()
        yield flow


async def levels(flow: Flow) -> list[str | None]:
    return [one["level"] for one in await flow.table("alert_change")]


async def test_water_is_found_on_a_full_disk_also_after_a_restart(
    small_disk: Path,
) -> None:
    async with keeping(small_disk) as flow:
        flow.send(message(1))
        await until(lambda: flow.session.acks == Intervals([1]))
        ballast = fill(small_disk)
        for number in range(2, 40):
            flow.send(message(number, depth=0.4 if number % 2 == 0 else 0.1))
            await until(partial(flow.session.acks.__contains__, number))
        assert await levels(flow) == ["red", None] * 19
    async with flowing(small_disk, [DEPTH]) as flow:  # nobody has made room
        flow.store.judge = takes_all
        await flow.database.keep_reserve()
        flow.send(message(100, depth=0.4))
        await until(lambda: 100 in flow.session.acks)
        assert (await levels(flow))[-1] == "red"
        ballast.unlink()


async def test_the_embedded_store_leaves_the_room_to_alerts_until_there_is_more(
    small_disk: Path,
) -> None:
    points = [Points("g", (Reading("s", "r", Quantity.DEPTH, 1.0, NOW_MS, Quality.GOOD),))]

    def also(_: object) -> None:
        pass

    async with state.opened(small_disk / "cloud.db") as database:
        config = sqlite.Config(kind="sqlite")
        async with sqlite.open(config, small_disk, database) as store:
            await database.keep_reserve()
            await store.write(points, also)
            ballast = fill(small_disk)
            many = [
                Reading("s", "r", Quantity.DEPTH, 1.0, NOW_MS + n, Quality.GOOD)
                for n in range(40_000)
            ]
            with suppress(Unavailable):
                for _ in range(9):
                    await store.write([Points("g", tuple(many))], also)
            with pytest.raises(Unavailable, match="what is left is for alerts"):
                await store.write(points, also)
            assert "make room" in database.trouble
            await database.keep_reserve()
            assert database.trouble, "nobody has made room"
            ballast.unlink()
            await database.keep_reserve()
            assert not database.trouble
            await store.write(points, also)
