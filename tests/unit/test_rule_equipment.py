"""Rules about gateways, sensors, lamps and the ledger: what time and silence bring about."""

from typing import Any

import msgspec
import pytest

from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import Finding, Heard, Hole, Place, Rule, Said, Tick
from tests.rules import HOUR, MINUTE, NOW, follow, levels, reading, rule, rules
from wire.aspect import Aspect
from wire.messages import Event, Gap, GatewayState, InterlockState, Level, Status
from wire.reading import Quality, Quantity, Reading

SECOND = 1000


def at(second: float, said: Said) -> tuple[Said, int]:
    return said, NOW + round(second * SECOND)


def tick(second: float, heard: float | None = None, listening: float = 0) -> tuple[Said, int]:
    """A tick; the gateway was heard just now unless it says when."""
    heard_ms = NOW + round(SECOND * (second if heard is None else heard))
    return at(second, Tick(heard_ms, NOW + round(SECOND * listening)))


def timed(findings: list[Finding]) -> list[tuple[float, Level | None]]:
    return [((one.at_ms - NOW) / SECOND, one.level) for one in findings]


# A sensor

STALE = rule("stale", silent_s=100)


def test_a_silent_sensor_is_told_once_with_the_time_since_when() -> None:
    said = [
        at(0, reading(0.1, NOW)),
        tick(99),
        tick(101),
        tick(102),
        at(150, reading(0.1, NOW + 150_000)),
    ]
    state, found = follow(STALE, said)
    assert timed(found) == [(101, Level.YELLOW), (150, None)]
    assert found[0].text == (
        "the water gauge has given no reading, and nothing measures the water on the road"
    )
    assert found[0].parts["since_ms"] == NOW
    assert found[0].value == 101
    assert follow(STALE, said, restart=True) == (state, found)


def test_missing_and_bad_readings_are_no_delivery_and_their_reason_is_told() -> None:
    bad = Reading("here", "s", Quantity.DEPTH, None, NOW + 50_000, Quality.MISSING, "no answer")
    said = [at(0, reading(0.1, NOW)), at(50, bad), tick(101)]
    _, found = follow(STALE, said)
    assert levels(found) == [Level.YELLOW]
    assert found[0].parts["reason"] == "no answer"
    never = [at(0, bad), at(90, reading(9, NOW + 90_000, Quality.BAD)), tick(99), tick(100)]
    assert timed(follow(STALE, never)[1]) == [(100, Level.YELLOW)]


def test_a_gateway_that_is_silent_makes_no_sensor_stale() -> None:
    said = [at(0, reading(0.1, NOW)), tick(500, heard=10), tick(1000, heard=0)]
    assert follow(STALE, said)[1] == []
    said += [tick(1005, heard=1004)]
    assert levels(follow(STALE, said)[1]) == [Level.YELLOW]


def test_a_backlog_is_no_sign_of_life() -> None:
    said = [
        at(0, reading(0.1, NOW)),
        at(1, reading(0.1, NOW - HOUR)),
        at(90, reading(0.1, NOW - MINUTE)),
        tick(101),
    ]
    assert levels(follow(STALE, said)[1]) == [Level.YELLOW]


def test_a_steady_sensor_does_not_write_its_state_with_each_reading() -> None:
    states = set()
    state: Any = STALE.memory()
    for n in range(100):
        state, _ = STALE.step(state, reading(0.1, NOW + n * SECOND), NOW + n * SECOND)
        states.add(msgspec.json.encode(state))
    assert len(states) == 20


# A gateway

DEAD = rule("gateway_dead", silent_s=300, lost_s=60)


def status(
    second: float, state: GatewayState = GatewayState.ONLINE, *, trusted: bool = True
) -> tuple[Said, int]:
    said = Status("g", state, NOW + round(second * SECOND), "s", clock_trusted=trusted)
    return at(second, said)


def test_a_gateway_of_which_nothing_is_heard_is_dead() -> None:
    said = [status(0), tick(299), tick(300), tick(400), at(401, Heard())]
    state, found = follow(DEAD, said)
    assert timed(found) == [(300, Level.ORANGE), (401, None)]
    assert "the equipment has not been heard" in found[0].text
    assert found[0].parts["since_ms"] == NOW
    assert follow(DEAD, said, restart=True) == (state, found)


def test_one_that_the_broker_has_lost_is_dead_sooner_and_one_that_is_back_at_once_is_not() -> None:
    lost = status(10, GatewayState.LOST)
    assert timed(follow(DEAD, [status(0), lost, tick(69), tick(70)])[1]) == [(70, Level.ORANGE)]
    assert follow(DEAD, [status(0), lost, status(40), tick(71)])[1] == []


def test_what_the_broker_repeats_is_no_sign_of_life() -> None:
    said = [status(0), tick(300), at(310, status(0)[0])]
    assert levels(follow(DEAD, said)[1]) == [Level.ORANGE]
    lost = status(10, GatewayState.LOST)
    said = [status(0), lost, tick(70), at(80, lost[0]), tick(90)]
    assert levels(follow(DEAD, said)[1]) == [Level.ORANGE]


def test_a_status_that_the_broker_kept_while_we_were_away_is_no_sign_of_life() -> None:
    newer = status(2000)[0]  # its gateway died soon after, and we come back long after that
    said = [status(0), tick(300), at(3600, newer), tick(3605, listening=3300)]
    assert levels(follow(DEAD, said)[1]) == [Level.ORANGE]


def test_what_we_could_not_hear_is_nobodys_silence() -> None:
    said = [status(0), tick(3600, listening=3500), tick(3800, listening=3500)]
    assert timed(follow(DEAD, said)[1]) == [(3800, Level.ORANGE)]


def test_a_clock_that_is_not_trusted_for_long_is_told() -> None:
    clock = rule("clock_untrusted", after_s=60)
    said = [status(0, trusted=False), tick(59), status(61, trusted=False), tick(70), status(80)]
    _, found = follow(clock, said)
    assert timed(found) == [(61, Level.YELLOW), (80, None)]
    said = [status(0, trusted=False), status(50), status(55, trusted=False), tick(100)]
    assert follow(clock, said)[1] == []


# The ledger


def test_batches_that_are_missing_for_long_are_told_with_their_number() -> None:
    missing, _ = rules("ledger_gap", missing_s=100)
    said = [
        at(0, Hole("a", 3, NOW)),
        at(50, Hole("b", 2, NOW + 50_000)),
        tick(99),
        tick(100),
        at(110, Hole("a", 0, None)),
        tick(120),
        at(130, Hole("b", 0, None)),
    ]
    state, found = follow(missing, said)
    assert timed(found) == [(100, Level.YELLOW), (130, None)]
    assert found[0].parts == {"batches": 5, "device": "all", "since_ms": NOW}
    assert state.streams == {}
    assert follow(missing, said, restart=True) == (state, found)


def test_a_declared_loss_is_told_for_a_while() -> None:
    _, lost = rules("ledger_gap", lost_for_s=60)
    said = [
        at(0, Gap("disk full", NOW, NOW + 1, 7)),
        at(30, Gap("disk full", NOW, NOW + 1, 5)),
        tick(89),
        tick(90),
    ]
    _, found = follow(lost, said)
    assert timed(found) == [(0, Level.YELLOW), (90, None)]
    assert found[0].text == "the equipment has lost readings for good: its storage is full"
    assert [one.value for one in found] == [7, 12]


# The lamp

PARTS = {one.part: one for one in rules("interlock", latched_below_cm=10, latched_s=60)}


def event(second: float, kind: str, **detail: Any) -> tuple[Said, int]:
    said = Event(NOW + round(second * SECOND), "here", kind, f"{kind} happened", detail)
    return at(second, said)


def lamp(
    second: float, wanted: Aspect, shown: Aspect | None, cause: str = "water rises"
) -> tuple[Said, int]:
    said = InterlockState("here", wanted, shown, 0.2, cause, NOW + round(second * SECOND))
    return at(second, said)


def test_a_lamp_that_is_not_confirmed_is_red() -> None:
    said = [
        lamp(0, Aspect.RED, Aspect.GREEN),
        tick(9),
        event(9.5, "signal_unconfirmed", wanted="red"),
        tick(10),
        event(20, "aspect_confirmed", aspect="red"),
    ]
    state, found = follow(PARTS["lamp"], said)
    assert timed(found) == [(10, Level.RED), (20, None)]
    assert follow(PARTS["lamp"], said, restart=True) == (state, found)
    quick = [lamp(0, Aspect.RED, Aspect.GREEN), lamp(0.2, Aspect.RED, Aspect.RED), tick(30)]
    assert follow(PARTS["lamp"], quick)[1] == []


def test_old_news_of_a_lamp_count_for_nothing() -> None:
    said = [
        lamp(100, Aspect.RED, Aspect.RED),
        (event(50, "signal_unconfirmed")[0], NOW + 101_000),
        tick(200),
    ]
    assert follow(PARTS["lamp"], said)[1] == []


@pytest.mark.parametrize(
    ("part", "begins", "ends", "level"),
    [
        (
            "ruler",
            event(1, "ruler_lost", ruler="ruler-1"),
            event(2, "ruler_back", ruler="ruler-1"),
            Level.ORANGE,
        ),
        (
            "disagreement",
            event(1, "rulers_disagree", apart_m=0.2),
            event(2, "rulers_agree"),
            Level.YELLOW,
        ),
        (
            "override",
            event(1, "aspect_wanted", to="red", cause="local switch"),
            event(2, "aspect_wanted", to="green", cause="water falls"),
            Level.BLUE,
        ),
        (
            "override",
            lamp(1, Aspect.GREEN, Aspect.GREEN, cause="order of Li Wei"),
            lamp(2, Aspect.RED, Aspect.RED),
            Level.BLUE,
        ),
    ],
)
def test_what_the_gateway_tells_of_an_interlock(
    part: str, begins: tuple[Said, int], ends: tuple[Said, int], level: Level
) -> None:
    one = PARTS[part]
    _, found = follow(one, [begins, begins, ends, ends])
    assert timed(found) == [(1, level), (2, None)]
    place = Place("g", "here", "ruler-1" if part == "ruler" else "")
    assert one.place("g", begins[0]) == one.place("g", ends[0]) == place
    assert one.place("g", event(1, "config_taken")[0]) is None
    assert one.hazard is Hazard.EQUIPMENT


def test_a_red_that_holds_over_a_dry_road_is_told() -> None:
    latch = PARTS["latched"]
    dry = [at(n, reading(0.02, NOW + n * SECOND)) for n in range(20, 90, 10)]
    said = [at(0, reading(0.4, NOW)), lamp(1, Aspect.RED, Aspect.RED), *dry, tick(95)]
    _, found = follow(latch, [*said, lamp(100, Aspect.GREEN, Aspect.GREEN)])
    assert timed(found) == [(80, Level.YELLOW), (100, None)]
    wet = [at(n, reading(0.12, NOW + n * SECOND)) for n in range(20, 90, 10)]
    assert follow(latch, [lamp(1, Aspect.RED, Aspect.RED), *wet, tick(95)])[1] == []


# Blind

BLIND = rule("blind", site="here", rain_site="hill", silent_s=60, over_mm=5, window_min=30)


def rain(second: float, mm: float, sensor: str = "gauge") -> tuple[Said, int]:
    one = reading(mm / 1000, NOW + round(second * SECOND), sensor=sensor, site="hill")
    return at(second, msgspec.structs.replace(one, quantity=Quantity.RAIN_TOTAL))


def downpour(until: int, mm_per_min: float = 1.0) -> list[tuple[Said, int]]:
    return [rain(60 * n, mm_per_min * n) for n in range(until + 1)]


def run(one: Rule[Any], *said: tuple[Said, int]) -> list[tuple[float, Level | None]]:
    ordered = sorted(said, key=lambda pair: pair[1])
    state, found = follow(one, ordered)
    assert follow(one, ordered, restart=True) == (state, found)
    return timed(found)


def test_a_site_that_sees_nothing_in_a_storm_is_told_and_ends_when_it_sees() -> None:
    ticks = [tick(60 * n + 1) for n in range(20)]
    seen = [at(n, reading(0.0, NOW + n * SECOND)) for n in range(0, 200, 10)]
    again = at(900, reading(0.3, NOW + 900 * SECOND))
    assert run(BLIND, *downpour(19), *ticks, *seen, again) == [
        (301, Level.RED),
        (900, None),
        (961, Level.RED),
    ]
    bad = [at(n, reading(9, NOW + n * SECOND, Quality.BAD)) for n in range(200, 900, 10)]
    assert run(BLIND, *downpour(14), *ticks[:14], *seen, *bad) == [(301, Level.RED)]


def test_one_ruler_that_sees_is_enough_unless_one_is_named() -> None:
    ticks = [tick(60 * n + 1) for n in range(20)]
    other = [at(n, reading(0, NOW + n * SECOND, sensor="b")) for n in range(0, 1200, 10)]
    assert run(BLIND, *downpour(19), *ticks, *other) == []
    named = rule(
        "blind", site="here", sensor="a", rain_site="hill", silent_s=60, over_mm=5, window_min=30
    )
    said = [pair for pair in [*downpour(19), *other] if named.place("g", pair[0]) is not None]
    assert len(said) == 20
    assert run(named, *said, *ticks) == [(301, Level.RED)]


def test_without_rain_nobody_is_called_and_a_gauge_that_falls_silent_ends_nothing() -> None:
    ticks = [tick(60 * n + 1) for n in range(90)]
    assert run(BLIND, *downpour(89, 0.1), *ticks) == []
    assert run(BLIND, *downpour(10), *ticks) == [(301, Level.RED)]
    dry = [rain(60 * n, 10) for n in range(11, 90)]
    found = run(BLIND, *downpour(10), *ticks, *dry)
    assert [level for _, level in found] == [Level.RED, None]


def test_a_backlog_does_not_show_that_the_site_sees() -> None:
    ticks = [tick(60 * n + 1) for n in range(20)]
    old = [at(n, reading(0, NOW - HOUR + n * SECOND)) for n in range(0, 1200, 10)]
    assert run(BLIND, *downpour(19), *ticks, *old) == [(301, Level.RED)]


def test_gaps_of_impossible_amounts_can_still_be_written() -> None:
    _, lost = rules("ledger_gap")
    gap = Gap("disk full", 0, 1, 2**53)
    state, _ = follow(lost, [at(0, gap)] * 2000)
    assert msgspec.json.decode(msgspec.json.encode(state), type=lost.memory) == state


def test_a_gateway_of_very_many_streams_costs_a_step_no_more() -> None:
    missing, _ = rules("ledger_gap", missing_s=10)
    holes = [at(0, Hole(f"s{n}", 2**53, NOW)) for n in range(3000)]
    state, found = follow(missing, [*holes, tick(11)])
    assert len(found) == 1
    assert len(state.streams) == 100
    assert msgspec.json.decode(msgspec.json.encode(state), type=missing.memory) == state
    ends = [at(12, Hole(f"s{n}", 0, None)) for n in range(3000)]
    assert levels(follow(missing, [*holes, tick(11), *ends])[1])[-1] is None
