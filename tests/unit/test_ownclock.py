"""Our own clock is set while we run: no reading is refused for it, and nothing is let go."""

import asyncio
import time
from pathlib import Path

import pytest

from cloud import ownclock, upkeep
from cloud.ownclock import OwnClock, Shown
from cloud.upkeep import Chore
from tests.rules import rule
from tests.taking import NOW_MS, Flow, flowing, message, takes_all
from tests.waiting import until
from wire.ranges import Intervals

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
YEAR_MS = 365 * DAY_MS


class Clocks:
    """A wall clock that a test sets, and the monotonic one."""

    def __init__(self) -> None:
        self.wall, self.steady_s = NOW_MS, 5.0

    def wall_ms(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.steady_s

    def wait(self, seconds: float) -> None:
        self.wall += round(1000 * seconds)
        self.steady_s += seconds


def test_for_a_day_both_times_count() -> None:
    clocks = Clocks()
    clock = OwnClock(clocks.wall_ms, clocks.monotonic)
    clocks.wait(10)
    assert clock.look() == Shown(NOW_MS + 10_000, NOW_MS + 10_000, NOW_MS + 10_000)
    clocks.wall -= HOUR_MS
    clocks.wait(10)
    right = NOW_MS + 20_000
    assert clock.look() == Shown(right - HOUR_MS, right - HOUR_MS, right)
    clocks.wall += HOUR_MS + 2 * DAY_MS
    clocks.wait(10)
    right += 10_000
    assert clock.look() == Shown(right + 2 * DAY_MS, right - HOUR_MS, right + 2 * DAY_MS)
    clocks.wait(ownclock.KEPT_S)
    shown = clock.look()
    assert len(set(shown)) == 1


def test_what_no_clock_shows_counts_only_as_now() -> None:
    clocks = Clocks()
    clocks.wall = 0
    clock = OwnClock(clocks.wall_ms, clocks.monotonic)
    clocks.wait(1)
    assert clock.look().now_ms == 1000
    clocks.wall = NOW_MS
    assert clock.look() == Shown(NOW_MS, NOW_MS, NOW_MS)


def test_a_clock_that_is_adjusted_was_not_set() -> None:
    clocks = Clocks()
    clock = OwnClock(clocks.wall_ms, clocks.monotonic)
    for _ in range(50):
        clocks.wait(1)
        clocks.wall -= 400
        assert len(set(clock.look())) == 1


DEPTH = rule("threshold", quantity="depth", red={"over_cm": 30, "clear_cm": 27})


async def levels(flow: Flow) -> list[str | None]:
    return [one["level"] for one in await flow.table("alert_change")]


@pytest.mark.parametrize("step_ms", [-DAY_MS, -2 * HOUR_MS, 2 * YEAR_MS, 2 * HOUR_MS])
async def test_water_is_seen_whatever_our_clock_was_set_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_ms: int
) -> None:
    real = time.time_ns
    async with flowing(tmp_path, [DEPTH]) as flow:
        flow.store.judge = takes_all
        flow.send(message(1))
        await until(lambda: flow.session.acks == Intervals([1]))
        monkeypatch.setattr(time, "time_ns", lambda: real() + 1_000_000 * step_ms)
        flow.send(message(2, depth=0.4))
        await until(lambda: flow.session.acks == Intervals([1, 2]))
        assert await levels(flow) == ["red"]
        assert await flow.table("quarantine") == []
        said = {one.name: one.active for one in flow.ingest._admission.conditions(NOW_MS)}
        assert said["clock_implausible"], "it was set by more than what is refused"


async def test_nothing_is_let_go_by_a_clock_that_was_set_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocks = Clocks()
    given: list[int] = []
    shown: list[int] = []

    async def work(now_ms: int, earliest_ms: int) -> None:
        shown.append(now_ms)
        given.append(earliest_ms)

    class Over(Exception):
        pass

    steps = iter([
        lambda: clocks.wait(30),
        lambda: clocks.wait(upkeep.SETTLED_S),
        lambda: setattr(clocks, "wall", clocks.wall + 20 * YEAR_MS),
        lambda: clocks.wait(30),
        lambda: setattr(clocks, "wall", NOW_MS + 100 * YEAR_MS),
    ])  # fmt: skip

    async def sleep(_: float) -> None:
        for step in steps:
            step()
            return
        raise Over

    monkeypatch.setattr(upkeep, "OwnClock", lambda: OwnClock(clocks.wall_ms, clocks.monotonic))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(Over):
        await upkeep.run(Chore("retention", work))
    right = NOW_MS + 30_000 + round(1000 * upkeep.SETTLED_S)
    assert given == [0, 0, right, right, right + 30_000, right + 30_000]
    assert shown[:3] == [NOW_MS, NOW_MS + 30_000, right]  # rollups wait for nobody
    assert shown[-1] == 0  # a clock that shows what cannot be
