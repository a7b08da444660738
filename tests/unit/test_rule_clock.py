"""The cloud's clock is set back: what rules remember of the future silences nobody."""

from pathlib import Path
from typing import Any

import pytest

from cloud import state
from cloud.alerts.moments import not_after
from cloud.alerts.rule import Finding, Rule
from cloud.alerts.watch import Watch
from cloud.ledger import Key, Stream
from tests.rules import HOUR, NOW, reading, rule, rules
from wire.aspect import Aspect
from wire.messages import Batch, GatewayState, InterlockState, Level, Status

DEPTH = rule("threshold", quantity="depth", red={"over_cm": 30, "clear_cm": 27})
DEAD, STALE = rule("gateway_dead", silent_s=100), rule("stale", silent_s=100)
HOLES = rules("ledger_gap", missing_s=100)
LAMP = rules("interlock", unconfirmed_s=100)


def hear(
    watch: Watch, number: int, now_ms: int, depth: float | None = 0.1, **more: Any
) -> list[Finding]:
    readings = () if depth is None else (reading(depth, now_ms - 1),)
    said: dict[str, Any] = {"statuses": (), "interlocks": (), "streams": {}} | more
    findings = watch.examine([Batch("g", "s", number, readings)], **said, now_ms=now_ms)
    watch.adopt(findings)
    return [one.finding for one in findings.changes]


def ticks(watch: Watch, since_ms: int, until_ms: int) -> list[Finding]:
    found: list[Finding] = []
    for now_ms in range(since_ms, until_ms, 5000):
        findings = watch.tick(now_ms, 0)
        watch.adopt(findings)
        found += [one.finding for one in findings.changes]
    return found


async def again(watch: Watch, rules: list[Rule[Any]], folder: Path) -> Watch:
    """The watch of the next process, which knows what the state has."""
    del watch
    async with state.opened(folder / "state.db") as database:
        made = Watch(rules)
        await database.run(made.load)
        return made


@pytest.mark.parametrize("back_ms", [10_000, HOUR, 400 * 24 * HOUR])
def test_a_gateway_that_falls_silent_after_the_step_is_told(back_ms: int) -> None:
    watch = Watch([DEAD])
    hear(watch, 1, NOW)
    now = NOW - back_ms
    hear(watch, 2, now)
    (found,) = ticks(watch, now + 5000, now + 300_000)
    assert found.level is Level.ORANGE
    assert found.at_ms - now <= 110_000


def test_a_gateway_that_is_silent_since_before_the_step_is_told() -> None:
    watch = Watch([DEAD])
    hear(watch, 1, NOW)
    now = NOW - HOUR
    assert len(ticks(watch, now, now + 300_000)) == 1


def test_a_sensor_that_falls_silent_after_the_step_is_told() -> None:
    watch = Watch([STALE])
    hear(watch, 1, NOW)
    now = NOW - HOUR
    found: list[Finding] = []
    for second in range(1, 300, 5):
        found += hear(watch, second, now + 1000 * second, None)
        found += ticks(watch, now + 1000 * second, now + 1000 * second + 1)
    assert len(found) == 1


def test_water_that_rises_after_the_step_is_told() -> None:
    watch = Watch([DEPTH])
    hear(watch, 1, NOW)
    now = NOW - HOUR  # gateway and cloud had the same wrong clock
    assert hear(watch, 2, now, 0.5) + hear(watch, 3, now + 1000, 0.5)


def test_a_signal_that_is_unconfirmed_since_before_the_step_is_told() -> None:
    watch = Watch(LAMP)
    wrong = InterlockState("here", Aspect.RED, Aspect.GREEN, 0.5, "", NOW)
    hear(watch, 1, NOW, interlocks=[("g", wrong)])
    now = NOW - HOUR
    assert len(ticks(watch, now, now + 300_000)) == 1


def test_a_hole_since_before_the_step_is_told() -> None:
    watch, stream = Watch(HOLES), Stream()
    stream.received.add(2)
    stream.look_for_hole(NOW)
    hear(watch, 1, NOW, streams={Key("g", "s"): stream})
    now = NOW - HOUR
    stream.look_for_hole(now)
    assert stream.hole_since_ms == now
    hear(watch, 2, now, streams={Key("g", "s"): stream})
    assert len(ticks(watch, now, now + 300_000)) == 1


async def test_a_wrong_clock_before_the_last_start_silences_nobody(tmp_path: Path) -> None:
    ahead = NOW + 40 * 365 * 24 * HOUR  # of any machine that runs this
    watch = Watch([DEAD])
    findings = watch.examine([Batch("g", "s", 1, ())], (), (), {}, ahead)
    async with state.opened(tmp_path / "state.db") as database:
        await database.run(lambda connection: watch.save(connection, findings, ahead))
    watch = await again(watch, [DEAD], tmp_path)
    hear(watch, 2, ahead - 3 * HOUR, None, statuses=[Status("g", GatewayState.LOST, 1)])
    assert len(watch.tick(ahead - HOUR, NOW).changes) == 1


def test_what_is_not_of_the_future_stays_as_it_is() -> None:
    watch = Watch([DEAD, STALE, DEPTH, *HOLES, *LAMP])
    status = Status("g", GatewayState.ONLINE, NOW, "s", 3)
    hear(watch, 1, NOW, 0.5, statuses=[status])
    for memory in watch._states.values():
        assert not_after(memory, NOW) is memory
