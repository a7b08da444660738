"""From the first reading over red to the lamp that is seen to show red, on the demo's own site.

The gateway runs as a process of its own with the demo's config; a paced pty carries ruler, rain
gauge and relay at 9600 baud; the water rises and falls in a triangle whose period fits no number
of polls, so that it crosses the threshold at every phase of them. There is no broker, for the lamp
needs none: the events stay in the gateway's outbox, from which they are read. What the gateway's
stopwatch says is held against what the simulator saw on the line.
"""

import json
import socket
import sqlite3
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import tomlkit

from bench.figure import Figure, Goal, Progress, Result, percentile, spread
from bench.programs import Program
from configs import loader
from configs.loader import UserError
from drivers.profiles import find
from wire.aspect import Aspect
from wire.codec import decode_batch
from wire.messages import Event

POLL_S: Final = 0.5
CROSSINGS: Final = 24
PERIOD_S: Final = 2.87  # every crossing comes 0.37 s later in the poll than the one before
DRY_S: Final = 5.0  # for the gateway to start
LOWEST_M: Final = 0.02
HIGHEST_M: Final = 0.58  # over red half of the time: two or three readings

FEWEST: Final = 20
CLOCKS_AGREE_MS: Final = 100.0

SITE: Final = loader.HERE / "sites" / "underpass"
RULER: Final = "ruler-1"
RELAY: Final = "relay-1"

FIGURE: Final = Figure(
    "first reading over red to lamp confirmed by read-back, p99, the demo's site",
    "ms",
    Goal("<=", POLL_S * 1000 + 250),
)


class Crossing(NamedTuple):
    """One time over red: UTC in ms of what the gateway told, and its own stopwatch in ms."""

    over_ms: int
    wanted_ms: int
    confirmed_ms: int
    latency_ms: float


class Seen(NamedTuple):
    """The same on the line, UTC in ms: the first reading over red left the ruler, the relay
    switched."""

    answered_ms: int
    switched_ms: int


def measure(progress: Progress) -> Result:
    """About 80 s. Raises UserError if a program fails, or if the two stopwatches disagree."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: a broker that refuses
        folder = Path(name)
        _write_wave(folder / "wave.csv")
        _write_sim(folder)
        facts = folder / "truth.jsonl"
        replay = ("--replay", "wave.csv", "--column", "depth_m", "--time-column", "t_s")
        with Program(
            "sim", folder, "sim", "run", "sim.toml", *replay, "--truth", facts.name
        ) as sim:
            sim.wait_until(lambda: any(fact["kind"] == "ready" for fact in _facts(facts)))
            red_m = _write_gateway(folder, nobody.getsockname()[1], _river_port(facts))
            with Program("edge", folder, "edge", "run", "--unattended") as edge:
                _wait(progress, sim, edge)
        crossings = list(_crossings(_events(folder / "outbox.db")))
        return _judge(crossings, list(_seen(facts, red_m)))


def _write_wave(file: Path) -> None:
    turns = [(DRY_S + i * PERIOD_S / 2, i % 2) for i in range(2 * CROSSINGS + 1)]
    rows = [(0.0, 0), *turns, (turns[-1][0] + 1, 0)]
    lines = [f"{t:.3f},{HIGHEST_M if high else LOWEST_M}" for t, high in rows]
    file.write_text("\n".join(("t_s,depth_m", *lines)) + "\n", encoding="utf-8")


def _write_sim(folder: Path) -> None:
    sim = _read("sim")
    sim["line"]["field"]["port"] = 0  # a free one
    for device in sim["device"].values():  # a gauge without a signal would be a dead one
        device["signal"] = {m.quantity.value: "depth" for m in find(device["profile"]).measure}
    (folder / "sim.toml").write_text(tomlkit.dumps(sim), encoding="utf-8")


def _write_gateway(folder: Path, broker_port: int, river_port: int) -> float:
    """The demo's gateway, told to let the lamp down at once; returns the depth of red, m."""
    gateway = _read("gateway")
    gateway["uplink"]["broker"]["port"] = broker_port
    gateway["uplink"]["drain_at_stop_s"] = 0
    gateway["port"]["river"]["port"] = river_port
    gateway["sensor"][RULER]["interval_s"] = POLL_S
    (interlock,) = gateway["interlock"].values()
    interlock["hold_s"] = 0
    (folder / "gateway.toml").write_text(tomlkit.dumps(gateway), encoding="utf-8")
    return float(interlock["red_depth_cm"]) / 100


def _read(name: str) -> Any:
    return tomllib.loads((SITE / f"{name}.toml").read_text(encoding="utf-8"))


def _facts(file: Path) -> Iterator[Any]:
    if file.exists():
        for line in file.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)


def _river_port(facts: Path) -> int:
    (address,) = [
        f["address"] for f in _facts(facts) if f["kind"] == "line" and f["line"] == "field"
    ]
    return int(address.rpartition(":")[2])


def _wait(progress: Progress, *programs: Program) -> None:
    lasts_s = DRY_S + CROSSINGS * PERIOD_S + 1
    start_s = time.monotonic()
    while (spent_s := time.monotonic() - start_s) < lasts_s:
        for program in programs:
            program.look()
        crossed = max(0, int((spent_s - DRY_S) / PERIOD_S))
        progress(spent_s / lasts_s, f"{crossed} of {CROSSINGS} crossings")
        time.sleep(0.2)


def _events(outbox: Path) -> Iterator[Event]:
    """What the gateway has told, in order; without a broker nothing has left its outbox."""
    with closing(sqlite3.connect(f"{outbox.as_uri()}?mode=ro", uri=True)) as database:
        for (payload,) in database.execute("SELECT payload FROM batch ORDER BY number"):
            yield from decode_batch(payload).events


def _crossings(events: Iterator[Event]) -> Iterator[Crossing]:
    over_ms = wanted_ms = 0
    for event in events:
        said = event.detail
        match event.kind:
            case "over_threshold" if said["threshold"] == Aspect.RED:
                over_ms = event.at_ms
            case "aspect_wanted" if said["to"] == Aspect.RED:
                wanted_ms = event.at_ms
            case "aspect_confirmed" if said["aspect"] == Aspect.RED:
                if said["cause"] == "water rises":
                    latency_ms = said["latency_ms"]
                    assert isinstance(latency_ms, float | int)
                    yield Crossing(over_ms, wanted_ms, event.at_ms, latency_ms)


def _seen(facts: Path, red_m: float) -> Iterator[Seen]:
    """Red is the relay at rest: no channel on."""
    answered_ms, was_over = 0, False
    for fact in _facts(facts):
        if fact["kind"] == "answer" and fact["device"] == RULER:
            is_over = fact["value"] is not None and fact["value"] >= red_m
            if is_over and not was_over:
                answered_ms = fact["at_ms"]
            was_over = is_over
        elif fact["kind"] == "outputs" and fact["device"] == RELAY and not fact["on"]:
            yield Seen(answered_ms, fact["at_ms"])


def _judge(crossings: Sequence[Crossing], seen: Sequence[Seen]) -> Result:
    if len(crossings) < FEWEST or len(crossings) != len(seen):
        raise UserError(
            f"the gateway confirmed red {len(crossings)} times, the relay switched to it "
            f"{len(seen)} times; {CROSSINGS} were played, {FEWEST} are needed"
        )
    pairs = list(zip(crossings, seen, strict=True))
    apart_ms = [abs(c.confirmed_ms - c.latency_ms - s.answered_ms) for c, s in pairs]
    if max(apart_ms) > CLOCKS_AGREE_MS or any(s.switched_ms > c.confirmed_ms for c, s in pairs):
        raise UserError(
            f"the gateway's stopwatch started up to {max(apart_ms):.0f} ms from the answer that "
            "the simulator sent, or stopped before the relay had switched"
        )
    latencies = [c.latency_ms for c in crossings]
    return Result(
        percentile(latencies, 99),  # of fewer than 100: the slowest
        {
            "latency, ms": spread(latencies),
            "latency: wait for the second reading, ms": spread(
                [c.wanted_ms - c.over_ms for c in crossings]
            ),
            "latency: bus and lamp, ms": spread([c.confirmed_ms - c.wanted_ms for c in crossings]),
            "on the line, reading left to relay switched, ms": spread(
                [s.switched_ms - s.answered_ms for s in seen]
            ),
            "on the line, reading left to stopwatch started, ms": spread(apart_ms),
            "poll interval, ms": POLL_S * 1000,
        },
    )
