"""What rules find, each in each of its ways: the facts behind `everyword`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import SERVICE, Finding, Heard, Hole, Said, ServiceFault, Tick
from cloud.alerts.rules.service import FAULTS
from tests.rules import HOUR, MINUTE, reading, rules
from wire.aspect import Aspect
from wire.messages import Event, Gap, GatewayState, InterlockState, Status
from wire.reading import Quantity, Reading

NOW: Final = int(datetime(2026, 6, 30, 21, 0, tzinfo=UTC).timestamp() * 1000)  # 05:00 in Shanghai
LEVELS: Final[dict[str, Any]] = {
    "orange": {"over_cm": 15, "clear_cm": 12},
    "red": {"over_cm": 30, "clear_cm": 27},
}


def last(kind: str, said: list[tuple[Said, int]], part: str = "", **keys: Any) -> Finding:
    """What a rule finds in the end, and by the newest reading if it is one that measures."""
    (one,) = [one for one in rules(kind, **keys) if part in ("", one.part)]
    state: Any = one.memory()
    found = None
    for what, now_ms in said:
        state, finding = one.step(state, what, now_ms)
        found = finding or found
    assert found is not None, kind
    newest = said[-1][0]
    return (isinstance(newest, Reading) and one.now(state, newest)) or found


def water(metres: float, at_ms: int = NOW - MINUTE) -> Finding:
    return last("threshold", [(reading(metres, at_ms), at_ms)], quantity="depth", **LEVELS)


def found_by_hazard() -> Iterator[tuple[str, Hazard, Finding]]:
    """One finding of each rule that measures, at each of its levels."""
    for metres in (0.18, 0.352):
        yield "depth", Hazard.UNDERPASS, water(metres)
    at_ms = NOW - MINUTE
    rising = [(reading(0.02 * n, at_ms - (15 - n) * 20_000), NOW) for n in range(16)]
    yield (
        "rise",
        Hazard.UNDERPASS,
        last("rise", [(one, one.at_ms) for one, _ in rising], orange={"over_cm": 5, "clear_cm": 2}),
    )
    blind: list[tuple[Said, int]] = [
        (reading(mm / 1000, at, quantity=Quantity.RAIN_TOTAL, site="hill"), at)
        for mm, at in ((n, NOW - HOUR + n * MINUTE) for n in range(60))
    ]
    blind.append((Tick(NOW, NOW - HOUR), NOW))
    keys: dict[str, Any] = {"site": "here", "rain_site": "hill"}
    yield "blind", Hazard.UNDERPASS, last("blind", blind, **keys)
    yield "blind, a river", Hazard.RIVER, last("blind", blind, quantity="level", **keys)
    marks: dict[str, Any] = {"datum": "1985国家高程基准", "gauge_zero_m": 158.0}
    marks |= {"fortify_m": 179.0, "warning_m": 180.5, "guarantee_m": 183.5}
    for metres in (21.1, 22.5, 22.8, 25.57):
        one = reading(metres, at_ms, quantity=Quantity.LEVEL)
        yield "stage", Hazard.RIVER, last("stage", [(one, at_ms)], **marks)
    for mm, hours in ((52, 11), (55, 5), (61, 2), (104, 2)):
        steps = range(hours * 12 + 1)
        begin = at_ms - hours * HOUR
        rain: list[tuple[Said, int]] = [
            (reading(0, begin - n * 5 * MINUTE, quantity=Quantity.RAIN_TOTAL), NOW)
            for n in range(145, 0, -1)
        ]
        rain += [
            (
                reading(
                    mm * n / steps[-1] / 1000,
                    begin + n * 5 * MINUTE,
                    quantity=Quantity.RAIN_TOTAL,
                ),
                NOW,
            )
            for n in steps
        ]
        yield "rain_sum", Hazard.RAINSTORM, last("rain_sum", rain)
    gap: list[tuple[Said, int]] = [
        (reading(m, at_ms + ms, quantity=Quantity.RAIN_TOTAL), NOW)
        for m, ms in ((0, -2 * HOUR), (0.06, 0))
    ]
    yield "rain_sum, data missing", Hazard.RAINSTORM, last("rain_sum", gap)
    for speed in (0.6, 2.7, 7.3):
        opening: list[tuple[Said, int]] = [
            (
                reading(speed / 24000 * n, at_ms - (80 - n) * HOUR, quantity=Quantity.DISPLACEMENT),
                NOW,
            )
            for n in range(81)
        ]
        yield "crack", Hazard.LANDSLIDE, last("crack", opening, v0_mm_day=0.5)
    hot = reading(62.14, at_ms, quantity=Quantity.TEMPERATURE)
    yield (
        "temperature",
        Hazard.EQUIPMENT,
        last(
            "threshold",
            [(hot, at_ms)],
            quantity="temperature",
            yellow={"over_c": 60, "clear_c": 55},
        ),
    )


def found_of_equipment() -> Iterator[tuple[str, Finding]]:
    """What each rule of equipment finds."""
    since = NOW - 48 * MINUTE
    for quantity in (
        Quantity.DEPTH,
        Quantity.LEVEL,
        Quantity.RAIN_TOTAL,
        Quantity.DISPLACEMENT,
        Quantity.TEMPERATURE,
    ):
        silent: list[tuple[Said, int]] = [
            (reading(0.1, since, quantity=quantity), since),
            (Tick(NOW, since), NOW),
        ]
        yield f"stale, {quantity}", last("stale", silent)
    online = Status("gw-1", GatewayState.ONLINE, since, "s", clock_trusted=True)
    lost = Status("gw-1", GatewayState.LOST, since + 1, "s")
    stopped = Status("gw-1", GatewayState.STOPPED, since, "s", clock_trusted=True)
    tick: tuple[Said, int] = (Tick(NOW, since), NOW)
    yield "gateway_dead, silent", last("gateway_dead", [(Heard(), since), tick])
    yield "gateway_dead, lost", last("gateway_dead", [(online, since), (lost, since), tick])
    yield "gateway_dead, stopped", last("gateway_dead", [(stopped, since), tick])
    wrong = Status("gw-1", GatewayState.ONLINE, since, "s", clock_trusted=False)
    yield "clock_untrusted", last("clock_untrusted", [(wrong, since), tick])
    for part, said in _of_the_lamp(since):
        keys = {"latched_below_cm": 10} if part == "latched" else {}
        yield f"interlock, {part}", last("interlock", said, part, **keys)
    yield "ledger_gap, missing", last("ledger_gap", [(Hole("s", 3, since), since), tick], "missing",
                                      missing_s=60)  # fmt: skip
    for reason in ("disk full", "disk refused", "outbox full", "too old", "outbox damaged"):
        gap = Gap(reason, since, since + 1, 7)
        yield f"ledger_gap, lost, {reason}", last("ledger_gap", [(gap, since)], "lost")
    turns: list[tuple[Said, int]] = [
        (
            Status("gw-1", GatewayState.ONLINE, since + n * MINUTE, name, machine=f"serial-{name}"),
            since + n * MINUTE,
        )
        for n, name in enumerate("ababab")
    ]
    yield "twin_gateway", last("twin_gateway", turns)
    detail = {"error": "no answer", "quota": "readings", "reason": "of the future"}
    for name in FAULTS:
        subject = {"channel_failing": "channel sms", "shard_without_worker": "shard-0"}.get(
            name, ""
        )
        fault = ServiceFault(name, True, SERVICE, subject, detail)
        yield f"service, {name}", last("service", [(fault, since)], name)


def _of_the_lamp(since: int) -> Iterator[tuple[str, list[tuple[Said, int]]]]:
    tick: tuple[Said, int] = (Tick(NOW, since), NOW)

    def event(kind: str, **detail: Any) -> tuple[Said, int]:
        return Event(since, "here", kind, "it happened", detail), since

    def shows(wanted: Aspect, shown: Aspect | None, cause: str) -> tuple[Said, int]:
        return InterlockState("here", wanted, shown, 0.2, cause, since), since

    yield "lamp", [shows(Aspect.RED, Aspect.FLASHING_AMBER, "water rises"), tick]
    yield "lamp", [event("signal_unconfirmed", wanted="red"), tick]
    yield "ruler", [event("ruler_lost", ruler="ruler-1", silent_s=12.0), tick]
    yield "disagreement", [event("rulers_disagree", apart_m=0.1234)]
    yield "override", [shows(Aspect.GREEN, Aspect.GREEN, "local switch"), tick]
    yield "override", [shows(Aspect.RED, Aspect.RED, "order of ops-1"), tick]
    dry: list[tuple[Said, int]] = [
        (reading(0.02, since + n * MINUTE), since + n * MINUTE) for n in range(1, 30)
    ]
    yield "latched", [shows(Aspect.RED, Aspect.RED, "water rises"), *dry, tick]


# What is said
