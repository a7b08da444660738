"""A line on which not all is well: a value is what the device held, or it is missing."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drivers.device import Device
from drivers.errors import DriverError
from drivers.protocols.modbus import Master
from edge.agenda import Job
from edge.poller import Bus, Heard
from firmware_sim.config import find_profile
from firmware_sim.faults import Fault, Noisy
from firmware_sim.framing import Request, Rtu
from firmware_sim.simulation import Bench, simulate
from tests.buses import LINES, config, opened
from tests.waiting import until
from wire.reading import Quantity

OLDEST_S = 0.5
"""An answer and its way through the line take less."""


class Watched:
    """A device whose two registers change all the time, and what our bus hears of them."""

    def __init__(self, bench: Bench, bus_of: Any) -> None:
        self.heard: list[Heard] = []
        self._bench = bench
        self._held: list[tuple[float, int]] = []
        self.bus: Bus = bus_of(self.heard.append)

    async def change(self) -> None:
        """Depth and level are never the same, and never what they were."""
        number = 0
        while True:
            number += 1
            self._bench.values |= {"depth": number / 100, "river_level": 200 + number / 100}
            self._held.append((asyncio.get_running_loop().time(), number))
            await asyncio.sleep(0.1)

    def values(self) -> list[float]:
        """All that was heard; fails for one that the device did not hold just before."""
        values = []
        for heard in self.heard:
            for quantity, value, _ in heard.values:
                if value is None:
                    continue
                number = round((value - (0 if quantity is Quantity.DEPTH else 200)) * 100)
                since = {n: at for at, n in self._held}
                assert number in since, f"{quantity} was never {value}"
                until_s = since.get(number + 1, heard.at)
                assert since[number] <= heard.at <= until_s + OLDEST_S, f"{quantity} {value} is old"
                values.append(value)
        return values

    @property
    def missing(self) -> set[str]:
        """Why values are missing."""
        return {v.reason for heard in self.heard for v in heard.values if v.value is None}


@asynccontextmanager
async def watched(
    folder: Path, fault: Fault | None = None, *, line_has_echo: bool = False, **settings: Any
) -> AsyncIterator[tuple[Watched, Bench]]:
    line = LINES["pty"] | {"echo": line_has_echo}
    sim = config(line, folder, two=("two-registers", 7), other=("two-registers", 8))
    async with simulate(sim, folder) as bench, opened(bench, folder, **settings) as port:
        profile = find_profile("two-registers", folder)
        master = Master(port)
        if fault is not None:
            bench.device("two").fault = bench.device("other").fault = fault

        def bus(hear: Any) -> Bus:
            jobs = [
                Job(name, Device(master, profile, unit), block, 0.1, urgent=False)
                for name, unit in (("two", 7), ("other", 8))
                for block in profile.blocks()
            ]
            return Bus("bus", jobs, hear)

        one = Watched(bench, bus)
        tasks = [
            asyncio.create_task(one.bus.run(), name="bus"),
            asyncio.create_task(one.change(), name="change"),
        ]
        try:
            yield one, bench
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def test_flipped_bits_cut_frames_and_junk(tmp_path: Path) -> None:
    async with watched(tmp_path, Noisy(0.25, seed=20)) as (one, _):
        await until(lambda: len(one.heard) >= 40 and len(one.missing) == 2)
    assert len(one.values()) >= 10
    assert one.missing == {"no answer", "bad reply"}


async def test_another_master_on_the_line(tmp_path: Path) -> None:
    """It reads both registers of both devices, at any moment of our own exchanges."""
    rng = random.Random(3)
    async with watched(tmp_path) as (one, bench):
        await until(lambda: one.heard)
        for i in itertools.count():
            if i >= 12 and one.missing and len(one.values()) >= 4:
                break
            pdu = bytes((3, 0, rng.choice((0, 5)), 0, 1))
            bench.asks["bus"](Rtu().wrap(Request(rng.choice((7, 8)), b""), pdu))
            await asyncio.sleep(rng.uniform(0.05, 0.6))
    one.values()
    assert one.missing <= {"no answer", "bad reply"}


async def test_an_adapter_that_hears_itself(tmp_path: Path) -> None:
    async with watched(tmp_path, line_has_echo=True, echo=True) as (one, _):
        await until(lambda: len(one.values()) >= 19)
    assert one.missing <= {"no answer"}  # a busy machine


async def test_an_adapter_that_hears_itself_unbeknown_to_us(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(tmp_path, line_has_echo=True) as (one, _):
        await until(lambda: len(one.heard) >= 4 and "bad reply" in one.missing)
    assert one.values() == []
    assert one.missing <= {"bad reply", "no answer"}  # the latter on a busy machine
    assert "set echo = true for this port" in caplog.text


async def test_a_port_that_should_echo_and_does_not(tmp_path: Path) -> None:
    async with watched(tmp_path, echo=True) as (one, _):
        await until(lambda: len(one.heard) >= 4 and "bad reply" in one.missing)
    assert one.values() == []
    assert one.missing <= {"bad reply", "no answer"}  # the latter on a busy machine


async def test_a_lamp_on_a_noisy_line_is_switched_by_repeats(tmp_path: Path) -> None:
    sim = config(LINES["pty"], tmp_path, relay=("relay-waveshare-8ch", 1))
    async with simulate(sim, tmp_path) as bench, opened(bench, tmp_path) as port:
        bench.device("relay").fault = Noisy(0.3, seed=5)
        lamp = Master(port).for_lamps()
        for on in (True, False, True):
            await until(partial(_switched, lamp, on))
            assert bench.device("relay").outputs == ({0} if on else set())


async def _switched(lamp: Master, on: bool) -> bool:
    try:
        await lamp.write_coil(1, 0, on, within_s=0.2)
        return await lamp.read_coils(1, 0, 1, within_s=0.2) == [on]
    except DriverError:
        return False
