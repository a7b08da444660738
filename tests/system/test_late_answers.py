"""A device that answers late: its answers never become another register's value.

Beside our bus, masters as others use them read the same device, and show what is avoided here:
pymodbus with its retries, libmodbus. See decision record 0003.
"""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from bench import libmodbus
from drivers.device import Device
from drivers.errors import Unavailable
from drivers.ports import Port
from drivers.protocols.modbus import Master
from edge.agenda import Job
from edge.health import State
from edge.poller import Bus, Heard
from firmware_sim.config import find_profile
from firmware_sim.faults import Late, NoFault, Silent
from firmware_sim.simulation import Bench, simulate
from tests import calm
from tests.buses import LINES, config, opened
from tests.waiting import until
from wire.reading import Quantity

HELD = {Quantity.DEPTH: 0.11, Quantity.LEVEL: 2.22}
RAW = {0: 11, 5: 222}
LATE_S = 0.15
"""Later than any master here waits, sooner than the 250 ms of the profile."""

WITHIN_PROFILE_S = 0.25 - 0.04
"""What the profile allows, without the answer's own time on the wire."""

WITHIN_RULER_S = 0.1 - 0.04
"""The same of the ruler's profile."""

WITHIN_S = 0.08
"""How long the other masters wait; an answer in time takes 25 ms at 9600 baud."""


@asynccontextmanager
async def device(line: str, folder: Path) -> AsyncIterator[Bench]:
    """`two` with two registers, and a ruler, on one line."""
    settings = LINES[line] | ({"answer_ms": 20} if line == "tcp" else {})
    sim = config(settings, folder, two=("two-registers", 7), ruler=("ruler-cm-9600", 2))
    async with simulate(sim, folder) as bench:
        bench.values |= {"depth": HELD[Quantity.DEPTH], "river_level": HELD[Quantity.LEVEL]}
        yield bench


class Ours:
    """Our bus, and what it has heard of each sensor."""

    def __init__(self, port: Port, folder: Path, **units: int) -> None:
        self.heard: dict[str, list[Heard]] = {name: [] for name in units}
        profiles = {"two": "two-registers", "ruler": "ruler-cm-9600"}
        jobs = []
        for name, unit in units.items():
            profile = find_profile(profiles[name], folder)
            one = Device(Master(port), profile, unit)
            jobs += [Job(name, one, block, 0.05, urgent=False) for block in profile.blocks()]
        self.bus = Bus("bus", jobs, lambda one: self.heard[one.sensor].append(one))

    def values(self, name: str) -> Counter[tuple[Quantity, float | None]]:
        """How often which value was heard."""
        return Counter((v.quantity, v.value) for one in self.heard[name] for v in one.values)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.bus.run(), name="bus")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def by_pymodbus(line: str, bench: Bench, reads: int) -> list[tuple[int, int | None]]:
    """Address and value of so many reads; None where it gave none."""
    client: AsyncModbusSerialClient | AsyncModbusTcpClient
    if line == "pty":
        client = AsyncModbusSerialClient(
            bench.terminal("bus"), baudrate=9600, timeout=WITHIN_S, retries=3
        )
    else:
        host, port = bench.endpoint("bus")
        framer = FramerType.SOCKET if line == "tcp" else FramerType.RTU
        client = AsyncModbusTcpClient(
            host, port=port, framer=framer, timeout=WITHIN_S, retries=3, reconnect_delay=0
        )
    try:
        assert await client.connect()
        got: list[tuple[int, int | None]] = []
        for address in itertools.islice(itertools.cycle(RAW), reads):
            try:
                answer = await client.read_holding_registers(address, count=1, device_id=7)
                got.append((address, None if answer.isError() else answer.registers[0]))
            except ModbusException:
                got.append((address, None))
        return got
    finally:
        client.close()


def by_libmodbus(line: str, bench: Bench, reads: int) -> list[tuple[int, int | None]]:
    """The same. RTU over TCP it does not speak."""
    open_it = (
        libmodbus.rtu(bench.terminal("bus"), 9600, WITHIN_S)
        if line == "pty"
        else libmodbus.tcp(*bench.endpoint("bus"), WITHIN_S)
    )
    got: list[tuple[int, int | None]] = []
    with open_it as context:
        for address in itertools.islice(itertools.cycle(RAW), reads):
            try:
                got.append((address, context.read_registers(7, address, 1)[0]))
            except libmodbus.ModbusError:
                got.append((address, None))
    return got


def wrong(got: list[tuple[int, int | None]]) -> int:
    """Values of another register."""
    return sum(value not in (RAW[address], None) for address, value in got)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("line", LINES)
async def test_no_value_of_another_register(line: str, every: int, tmp_path: Path) -> None:
    for n in range(calm.TRIES):
        (folder := tmp_path / str(n)).mkdir()
        values, stood_still_s = await _values(line, every, folder)
        strange = values.keys() - {*HELD.items(), *((quantity, None) for quantity in HELD)}
        if strange and LATE_S + stood_still_s > WITHIN_PROFILE_S:
            continue  # the device was later than its profile says: nobody can know its answers
        assert strange == set()
        assert sum(values[quantity, None] for quantity in HELD) >= 3
        return
    pytest.skip("the machine stood still too often for too long")


async def _values(line: str, every: int, folder: Path) -> tuple[Counter[Any], float]:
    """What our bus hears of a device that is late, and how long the machine stood still at most."""
    async with device(line, folder) as bench, opened(bench, folder) as port, calm.watched() as seen:
        ours = Ours(port, folder, two=7)
        bench.device("two").fault = Late(LATE_S, every)
        async with ours.running():
            await until(lambda: len(ours.heard["two"]) >= (8 if every == 1 else 24))
            bench.device("two").fault = NoFault()
            await until(lambda: ours.values("two").keys() >= HELD.items())
            await asyncio.sleep(0.3)
        return ours.values("two"), seen.longest_s


@pytest.mark.parametrize("line", ["pty", "rtu over tcp"])
async def test_what_others_take_for_the_value_of_a_register(line: str, tmp_path: Path) -> None:
    async def is_fooled(read: Callable[[], Awaitable[list[tuple[int, int | None]]]]) -> bool:
        # It takes a late one at its worst; which that is depends on the machine too.
        for late_s in (0.1, 0.11, 0.12, 0.13, 0.14, 0.15) * 5:
            bench.device("two").fault = Late(late_s, every=3)
            if wrong(await read()):
                return True
            await asyncio.sleep(2 * LATE_S)
        return False

    async with device(line, tmp_path) as bench:
        assert await is_fooled(lambda: by_pymodbus(line, bench, 12))
        if line == "pty":
            await asyncio.sleep(2 * LATE_S)
            assert await is_fooled(lambda: asyncio.to_thread(by_libmodbus, line, bench, 12))


async def test_over_tcp_a_late_answer_costs_others_those_that_follow(tmp_path: Path) -> None:
    """Transaction numbers keep wrong values out; what is late must still be read past."""
    async with device("tcp", tmp_path) as bench, opened(bench, tmp_path) as port:
        bench.device("two").fault = Late(LATE_S, every=8)
        assert wrong(await by_pymodbus("tcp", bench, 24)) == 0
        theirs = await asyncio.to_thread(by_libmodbus, "tcp", bench, 24)
        assert wrong(theirs) == 0
        lost = sum(value is None for _, value in theirs)

        master = Master(port)
        bench.device("two").fault = Late(1.0, every=8)
        missing = 0
        for address in itertools.islice(itertools.cycle(RAW), 24):
            try:
                words = await master.read_registers(7, 3, address, 1, within_s=0.5)
                assert words == [RAW[address]]
            except Unavailable:
                missing += 1
        assert 3 <= missing < lost  # more than the three where the machine was too busy


async def test_later_than_the_profile_says_it_is_still_the_register_that_was_asked(
    tmp_path: Path,
) -> None:
    """No master can tell such an RTU answer by looking at it. But a device in doubt is asked the
    same again, so that one such answer says what was asked; and where it is seen to come, the line
    rests longer from then on."""
    profile_says_s = 0.25
    async with device("pty", tmp_path) as bench, opened(bench, tmp_path) as port:
        ours = Ours(port, tmp_path, two=7)
        async with ours.running():
            await until(lambda: ours.values("two").keys() >= HELD.items())
            for _ in range(3):
                bench.device("two").fault = Late(profile_says_s + 0.1)
                await until(lambda: ours.bus.state().devices[0].breaker is not State.CLOSED)
                bench.device("two").fault = NoFault()
                await until(lambda: ours.bus.state().devices[0].breaker is State.CLOSED)
                await asyncio.sleep(0.5)
        assert ours.values("two").keys() <= {*HELD.items(), *((q, None) for q in HELD)}


async def test_behind_a_serial_server_a_silent_unit_does_not_take_the_others_with_it(
    tmp_path: Path,
) -> None:
    async with device("rtu over tcp", tmp_path) as bench, opened(bench, tmp_path) as port:
        bench.device("two").fault = Silent()
        ours = Ours(port, tmp_path, two=7, ruler=2)
        async with ours.running(), calm.watched() as seen:
            await until(lambda: ours.values("two")[Quantity.DEPTH, None] >= 3)
            begin = len(ours.heard["ruler"])
            silent = len(ours.heard["two"])
            await until(lambda: len(ours.heard["ruler"]) >= begin + 20)
            heard = ours.heard["ruler"][begin:]
            assert len(ours.heard["two"]) - silent < 20 / 2
        values = {one.values[0].value for one in heard}
        assert values <= {HELD[Quantity.DEPTH], None}
        # An answer is missing only where the machine stood still for as long as the ruler may take.
        assert None not in values or seen.longest_s > WITHIN_RULER_S

        host, number = bench.endpoint("bus")
        client = AsyncModbusTcpClient(
            host, port=number, framer=FramerType.RTU, timeout=WITHIN_S, retries=0, reconnect_delay=0
        )
        try:
            assert await client.connect()
            for _ in range(5):
                with contextlib.suppress(ModbusException):
                    await client.read_holding_registers(0, count=1, device_id=7)
            assert not client.connected
        finally:
            client.close()
