"""What a dead device costs those that live: 1 of 4 on a serial line of 9600 baud, and 1 of 100
Modbus TCP units behind one connection, all read every second.

The dead ones are unit ids at which nobody answers. Each is given the time to be found out, which is
told beside, and then watched over at least one probe a run. So is a serial line that polls without
a pause, against the same line without the dead device.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final, NamedTuple

import tomlkit

from bench.figure import MARGIN, Figure, Goal, Part, Progress, Result, spread, worst
from bench.fleet import address
from bench.programs import Program
from configs.loader import UserError
from drivers.device import Device
from drivers.ports import Port, serial, tcp
from drivers.profiles import find
from drivers.protocols.modbus import Master
from edge.agenda import Job
from edge.health import State
from edge.poller import Bus, Heard

RUNS: Final = 5
RUN_S: Final = 16.0
"""A probe of a silent device comes every 15 s."""

SHORT_RUN_S: Final = 4.0
NOBODY: Final = 240
SERIAL_UNITS: Final = 4
TCP_UNITS: Final = 100
INTERVAL_S: Final = 1.0
WITHOUT_PAUSE_S: Final = 0.05
FOUND_OUT_WITHIN_S: Final = 20.0

FIGURE: Final = Figure(
    "cycle with 1 of 4 RTU devices dead / all alive, and reads/s with 1 of 100 TCP units dead / "
    "nominal: the worse margin",
    "margin",
    MARGIN,
)


class _Field(NamedTuple):
    """The devices of a port, by unit id, and how often they are read."""

    port: Port
    units: tuple[int, ...]
    interval_s: float


class _Seen(NamedTuple):
    """Of each run: the time from read to read of the devices that live, s, and their reads per s.
    And how long it took to find out that one is dead, s."""

    cycles_s: list[float]
    reads_per_s: list[float]
    found_out_s: float


async def measure(progress: Progress) -> Result:
    """About 110 s."""
    logging.getLogger("shuichi").addHandler(logging.NullHandler())  # the dead are expected
    alive = tuple(range(2, 2 + SERIAL_UNITS))
    one_dead = (*alive[1:], NOBODY)
    fleet = (*range(2, 1 + TCP_UNITS), NOBODY)
    with _simulated() as (folder, tcp_port):
        async with _serial(folder, "A") as a, _serial(folder, "B") as b, _tcp(tcp_port) as far:
            all_alive, alone, _ = await asyncio.gather(
                _watch(_Field(a, alive, INTERVAL_S), SHORT_RUN_S),
                _watch(_Field(b, alive[1:], WITHOUT_PAUSE_S), SHORT_RUN_S),
                _tell(lambda share: progress(share / 8, "all alive"), RUNS * SHORT_RUN_S),
            )
            dead, crowded, far_dead, _ = await asyncio.gather(
                _watch(_Field(a, one_dead, INTERVAL_S), RUN_S),
                _watch(_Field(b, one_dead, WITHOUT_PAUSE_S), RUN_S),
                _watch(_Field(far, fleet, INTERVAL_S), RUN_S),
                _tell(lambda share: progress((1 + 7 * share) / 8, "one dead"), RUNS * RUN_S),
            )
    cycle = median(dead.cycles_s) / median(all_alive.cycles_s)
    rate = median(far_dead.reads_per_s) / (TCP_UNITS / INTERVAL_S)
    parts = {
        "1 of 4 RTU devices dead, cycle ratio": Part(cycle, Goal("<=", 1.05)),
        "1 of 100 TCP units dead, reads/s ratio": Part(rate, Goal(">=", 0.95)),
    }
    return worst(
        parts,
        {
            "RTU cycle, all alive, s": spread(all_alive.cycles_s),
            "RTU cycle, 1 of 4 dead, s": spread(dead.cycles_s),
            "RTU without a pause, cycle with a dead one / without it": (
                median(crowded.cycles_s) / median(alone.cycles_s)
            ),
            "TCP reads/s, 1 of 100 dead": spread(far_dead.reads_per_s),
            "RTU, until it was found out, s": dead.found_out_s,
            "TCP, until it was found out, s": far_dead.found_out_s,
        },
    )


async def _tell(tell: Callable[[float], None], lasts_s: float) -> None:
    for second in range(int(lasts_s)):
        tell(second / lasts_s)
        await asyncio.sleep(1)


async def _watch(field: _Field, run_s: float) -> _Seen:
    profile = find("ruler-cm-9600")
    (block,) = profile.blocks()
    master = Master(field.port)
    heard: dict[str, list[float]] = {}

    def hear(one: Heard) -> None:
        if one.values[0].value is not None:
            heard.setdefault(one.sensor, []).append(one.at)

    jobs = [
        Job(str(unit), Device(master, profile, unit), block, field.interval_s, urgent=False)
        for unit in field.units
    ]
    bus = Bus("bus", jobs, hear)
    living = {str(unit) for unit in field.units if unit != NOBODY}
    begin = time.monotonic()
    task = asyncio.create_task(bus.run(), name="bus")
    try:
        while not (heard.keys() >= living and _is_found_out(bus)):
            if time.monotonic() > begin + FOUND_OUT_WITHIN_S:
                raise UserError(f"{len(heard)} of {len(living)} devices answered")
            await asyncio.sleep(0.05)
        found_out_s = time.monotonic() - begin
        cycles_s, reads_per_s = [], []
        for _ in range(RUNS):
            heard.clear()
            await asyncio.sleep(run_s)
            if heard.keys() != living or min(map(len, heard.values())) < 2:
                raise UserError(
                    f"{len(heard)} of {len(living)} devices answered twice in {run_s:g} s"
                )
            cycles_s.append(fmean((at[-1] - at[0]) / (len(at) - 1) for at in heard.values()))
            reads_per_s.append(sum(map(len, heard.values())) / run_s)
        return _Seen(cycles_s, reads_per_s, found_out_s)
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _is_found_out(bus: Bus) -> bool:
    """Whether the dead one, if there is one, is known to be silent."""
    return all(
        device.breaker is not State.CLOSED
        for device in bus.state().devices
        if device.unit == NOBODY
    )


@asynccontextmanager
async def _serial(folder: Path, name: str) -> AsyncIterator[Port]:
    config = serial.Config(kind="serial", device=str(folder / f"tty{name}"), baud=9600)
    async with serial.open(name, config) as port:
        yield port


@asynccontextmanager
async def _tcp(number: int) -> AsyncIterator[Port]:
    async with tcp.open("far", tcp.Config(kind="tcp", host="127.0.0.1", port=number)) as port:
        yield port


@contextmanager
def _simulated() -> Iterator[tuple[Path, int]]:
    """Two serial lines with the living rulers each, `ttyA` and `ttyB`, and a TCP port with as many
    as it has; in a process of their own."""
    lines: dict[str, dict[str, Any]] = {
        "A": {"kind": "pty", "link": "ttyA", "baud": 9600},
        "B": {"kind": "pty", "link": "ttyB", "baud": 9600},
        "far": {"kind": "tcp", "port": 0},
    }
    units = {"A": SERIAL_UNITS, "B": SERIAL_UNITS, "far": TCP_UNITS - 1}
    devices = {
        f"{line}-{unit}": {"line": line, "profile": "ruler-cm-9600", "unit_id": unit}
        for line, count in units.items()
        for unit in range(2, 2 + count)
    }
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder, facts = Path(name), Path(name) / "truth.jsonl"
        sim = {"line": lines, "device": devices}
        (folder / "sim.toml").write_text(tomlkit.dumps(sim), encoding="utf-8")
        with Program("sim", folder, "sim", "run", "sim.toml", "--truth", facts.name) as program:
            program.wait_until(lambda: address(facts, "far"))
            yield folder, address(facts, "far")
