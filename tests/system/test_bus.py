"""Our master on real lines, a pty that takes a serial line's time and TCP; and the bus above it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.device import Device
from drivers.errors import Misconfigured, Unavailable
from drivers.ports import Port
from drivers.profiles import find
from drivers.protocols.modbus import Master
from edge.agenda import DEAD_SHARE, Job
from edge.health import State
from edge.poller import Bus, Heard
from edge.signal import SignalKeeper
from firmware_sim.config import SimConfig, parse
from firmware_sim.faults import NoFault, Silent
from firmware_sim.simulation import simulate
from tests.buses import LINES, opened
from tests.waiting import PATIENCE_S, until
from wire.aspect import Aspect
from wire.reading import Quantity

WITHIN_S = 1.0
"""A good deal more than a device takes: a busy machine must not look like a silent device."""

DEAD, DEAD_WITHIN_S = "dead", 0.06
"""The device that falls silent, and how long it is waited for."""


def config(line: dict[str, Any], **units: int) -> SimConfig:
    """A ruler, a rain gauge and a relay on a line, and a further ruler for each of `units`."""
    devices: dict[str, Any] = {
        "ruler": {"line": "bus", "profile": "ruler-cm-9600"},
        "rain": {"line": "bus", "profile": "rain-sen0575"},
        "relay": {"line": "bus", "profile": "relay-waveshare-8ch"},
    }
    for name, unit in units.items():
        devices[name] = {"line": "bus", "profile": "ruler-cm-9600", "unit_id": unit}
    return parse({"line": {"bus": line}, "device": devices}, Path())


@pytest.mark.parametrize("line", LINES)
async def test_registers_and_coils(line: str, tmp_path: Path) -> None:
    async with simulate(config(LINES[line]), tmp_path) as bench, opened(bench, tmp_path) as port:
        master = Master(port)
        bench.values |= {"depth": 0.57, "rain_total": 0.0203}
        assert await master.read_registers(2, 3, 0, 1, within_s=WITHIN_S) == [57]
        words = await master.read_registers(192, 4, 8, 2, within_s=WITHIN_S)
        assert words[0] | words[1] << 16 == 203_000  # 20.3 mm, ÷10000, low word first

        pattern = [True, False, True, True, False, False, False, True]
        await master.write_coils(1, 0, pattern, within_s=WITHIN_S)
        assert await master.read_coils(1, 0, 8, within_s=WITHIN_S) == pattern
        await master.write_coil(1, 1, on=True, within_s=WITHIN_S)
        await master.write_coil(1, 0, on=False, within_s=WITHIN_S)
        assert bench.device("relay").outputs == {1, 2, 3, 7}

        with pytest.raises(Misconfigured, match="bus: unit 2 has no such register"):
            await master.read_registers(2, 3, 500, 1, within_s=WITHIN_S)
        assert await master.read_registers(2, 3, 0, 1, within_s=WITHIN_S) == [57]


@pytest.mark.parametrize("line", LINES)
async def test_many_masters_on_one_port_wait_for_each_other(line: str, tmp_path: Path) -> None:
    sim = config(LINES[line], r3=3, r4=4)
    async with simulate(sim, tmp_path) as bench, opened(bench, tmp_path) as port:
        bench.values["depth"] = 0.31
        asked = (Master(port).read_registers(u, 3, 0, 1, within_s=WITHIN_S) for u in (2, 3, 4) * 5)
        assert await asyncio.gather(*asked) == [[31]] * 15


async def test_a_port_has_one_owner(tmp_path: Path) -> None:
    async with (
        simulate(config(LINES["pty"]), tmp_path) as bench,
        opened(bench, tmp_path) as ours,
        opened(bench, tmp_path) as theirs,
    ):
        await ours.open()
        with pytest.raises(Unavailable, match=rf"{tmp_path}/ttyBus: in use by another program"):
            await theirs.open()
        await ours.close()
        await theirs.open()


@pytest.mark.parametrize("line", ["pty", "tcp"])
async def test_a_line_that_vanishes_works_again_when_it_is_back(line: str, tmp_path: Path) -> None:
    settings = LINES[line]
    async with contextlib.AsyncExitStack() as stack:
        async with simulate(config(settings), tmp_path) as bench:
            port = await stack.enter_async_context(opened(bench, tmp_path))
            master = Master(port)
            bench.values["depth"] = 0.15
            assert await master.read_registers(2, 3, 0, 1, within_s=WITHIN_S) == [15]
            if line == "tcp":  # it must come back at the same place
                settings = settings | {"port": bench.endpoint("bus")[1]}
        for _ in range(3):
            with pytest.raises(Unavailable, match="bus: "):
                await master.read_registers(2, 3, 0, 1, within_s=WITHIN_S)
        async with simulate(config(settings), tmp_path) as bench:
            bench.values["depth"] = 0.30
            assert await again(master) == [30]


async def again(master: Master) -> list[int]:
    """A reading, as soon as there is one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(Unavailable):
                return await master.read_registers(2, 3, 0, 1, within_s=WITHIN_S)
            await asyncio.sleep(0.1)


class Polling:
    """A bus that polls rulers, and what it has heard: sensor → the times at which it spoke, s, and
    those at which it did not."""

    def __init__(self, port: Port, units: dict[str, int], interval_s: float, urgent: str) -> None:
        self.on_heard: Callable[[Heard], None] = lambda _: None
        self.spoke: dict[str, list[float]] = {name: [] for name in units}
        self.kept_silent: dict[str, list[float]] = {name: [] for name in units}
        self.master = Master(port)
        jobs = [self._job(*one, interval_s, urgent) for one in units.items()]
        self.bus = Bus("bus", jobs, self._hear)

    def _job(self, name: str, unit: int, interval_s: float, urgent: str) -> Job:
        profile = find("ruler-cm-9600", ())
        # The wait for an answer is what a silent device costs.
        within_s = DEAD_WITHIN_S if name == DEAD else WITHIN_S
        line = profile.line.model_copy(update={"reply_within_ms": within_s * 1000})
        profile = profile.model_copy(update={"line": line})
        (block,) = profile.blocks()
        return Job(
            name, Device(self.master, profile, unit), block, interval_s, urgent=name == urgent
        )

    def breaker(self, name: str) -> State:
        return next(one.breaker for one in self.bus.state().devices if one.sensor == name)

    def _hear(self, heard: Heard) -> None:
        (value,) = heard.values
        assert value.quantity is Quantity.DEPTH
        (self.kept_silent if value.value is None else self.spoke)[heard.sensor].append(heard.at)
        self.on_heard(heard)


@asynccontextmanager
async def polling(
    port: Port, units: dict[str, int], interval_s: float, urgent: str = ""
) -> AsyncIterator[Polling]:
    polling = Polling(port, units, interval_s, urgent)
    async with meanwhile("bus", polling.bus.run()):
        yield polling


@asynccontextmanager
async def meanwhile(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have something done that has no end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()


async def test_a_silent_device_costs_no_more_than_a_probe(tmp_path: Path) -> None:
    units = {"ruler": 2, "r3": 3, "r4": 4, DEAD: 5}
    sim = config(LINES["pty"], r3=3, r4=4, dead=5)
    async with simulate(sim, tmp_path) as bench, opened(bench, tmp_path) as port:
        bench.values["depth"] = 0.0
        async with polling(port, units, interval_s=0.2) as heard:
            await until(lambda: min(map(len, heard.spoke.values())) >= 3)
            silent = heard.kept_silent[DEAD]
            bench.device(DEAD).fault = Silent()
            await until(lambda: heard.breaker(DEAD) is not State.CLOSED)
            probed_from = len(silent)
            await until(lambda: len(silent) > probed_from)

            # Each probe costs its wait and as long a rest: together DEAD_SHARE of the time at most.
            for before, probe in itertools.pairwise(silent[probed_from - 1 :]):
                assert probe - before >= 2 * DEAD_WITHIN_S / DEAD_SHARE
                for name in ("ruler", "r3", "r4"):  # twelve rounds, if nothing else disturbs
                    assert sum(before < at < probe for at in heard.spoke[name]) >= 4

            bench.device(DEAD).fault = NoFault()
            spoke = len(heard.spoke[DEAD])
            await until(lambda: len(heard.spoke[DEAD]) >= spoke + 3)


async def test_the_lamp_overtakes_the_reads_that_wait(tmp_path: Path) -> None:
    # Four rulers that want more than the line can give: somebody always waits.
    units = {"ruler": 2, "r3": 3, "r4": 4, "r5": 5}
    sim = config(LINES["pty"], r3=3, r4=4, r5=5)
    async with simulate(sim, tmp_path) as bench, opened(bench, tmp_path) as port:
        bench.values["depth"] = 0.0
        async with polling(port, units, interval_s=0.05) as heard:

            def reads() -> int:
                return sum(len(times) for times in heard.spoke.values())

            async def reads_reach(number: int) -> None:
                await until(lambda: reads() >= number)

            await reads_reach(20)
            for on in itertools.islice(itertools.cycle((True, False)), 10):
                before = reads()
                await heard.bus.first(write(heard.master, on))
                assert reads() - before <= 1  # the one that was under way
                assert (0 in bench.device("relay").outputs) is on
                await reads_reach(reads() + 4)
            assert all(job.overruns for job in heard.bus.jobs)


class Lamp:
    """A lamp on the relay's first coil, which writes down when it is switched."""

    def __init__(self, master: Master, order: list[str]) -> None:
        self._master = master
        self._order = order

    async def show(self, aspect: Aspect) -> None:
        self._order.append("lamp")
        await self._master.write_coil(1, 0, aspect is Aspect.RED, within_s=WITHIN_S)

    async def read_back(self) -> Aspect:
        (red,) = await self._master.read_coils(1, 0, 1, within_s=WITHIN_S)
        return Aspect.RED if red else Aspect.AMBER


async def test_nothing_is_read_between_the_reading_that_decides_and_the_lamp(
    tmp_path: Path,
) -> None:
    units = {"ruler": 2, "r3": 3, "r4": 4}
    sim = config(LINES["pty"], r3=3, r4=4)
    async with simulate(sim, tmp_path) as bench, opened(bench, tmp_path) as port:
        bench.values["depth"] = 0.0
        # The next one is always due.
        async with polling(port, units, interval_s=0.05, urgent="ruler") as heard:
            order: list[str] = []
            lamp = Lamp(heard.master, order)
            keeper = SignalKeeper("underpass", lamp, heard.bus, 60, lambda *_: None)
            aspects = itertools.cycle((Aspect.RED, Aspect.AMBER))

            def decide(one: Heard) -> None:
                order.append("read")
                if one.sensor == "ruler" and order[-5:] == ["read"] * 5:
                    order.append("decision")
                    keeper.want(next(aspects), one.at, "water rises")

            heard.on_heard = decide
            async with meanwhile("signal", keeper.run()):
                await until(lambda: order.count("lamp") >= 10)
            followed = [
                after for before, after in itertools.pairwise(order) if before == "decision"
            ]
            assert set(followed) == {"lamp"}, order


def write(master: Master, on: bool) -> Callable[[], Any]:
    async def action() -> None:
        await master.write_coil(1, 0, on, within_s=WITHIN_S)

    return action
