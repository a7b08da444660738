"""Simulated devices, read by masters that are not ours: mbpoll (libmodbus) and pymodbus."""

import asyncio
import os
import select
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient

from configs import loader
from firmware_sim import truth
from firmware_sim.config import DEFAULT, SimConfig, parse
from firmware_sim.faults import Silent
from firmware_sim.framing import Request, Rtu
from firmware_sim.scenario import underpass_storm
from firmware_sim.simulation import Bench, simulate
from tests.mbpoll import BUS, poll
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
READ_RULER = bytes.fromhex("02 03 00 00 00 01 84 39")
READ_RELAY = bytes.fromhex("01 01 00 00 00 08 3D CC")
BITS_8N1, BITS_8N2 = 10, 11


def default_config() -> SimConfig:
    """Ours, with a free TCP port."""
    tables = loader.read(DEFAULT)
    tables["line"]["field"]["port"] = 0
    return parse(tables, DEFAULT.parent)


def small_config(**line: Any) -> SimConfig:
    return parse(
        {
            "line": {"a": line},
            "device": {
                "ruler": {"line": "a", "profile": "ruler-cm-9600"},
                "relay": {"line": "a", "profile": "relay-waveshare-8ch"},
                "rain": {"line": "a", "profile": "rain-sen0575"},
            },
        },
        Path(),
    )


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """The devices of the underpass, with values set by hand."""
    async with simulate(default_config(), tmp_path) as bench:
        yield bench


async def mbpoll(*arguments: str, within_s: float = 5) -> dict[int, int]:
    """The same, while the simulation goes on in this loop."""
    return await asyncio.to_thread(poll, *arguments, within_s=within_s)


def ask_wire(path: str, request: bytes, size: int, within_s: float = 10) -> list[tuple[float, int]]:
    """Write a request at once; seconds since then and bytes so far, whenever some arrive."""
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        start_s = time.monotonic()
        os.write(port, request)
        heard: list[tuple[float, int]] = []
        got = 0
        while got < size:
            left_s = start_s + within_s - time.monotonic()
            if not select.select([port], [], [], max(0.0, left_s))[0]:
                break
            got += len(os.read(port, 256))
            heard.append((time.monotonic() - start_s, got))
        return heard
    finally:
        os.close(port)


def rtu(unit: int, pdu: str) -> bytes:
    return Rtu().wrap(Request(unit, b""), bytes.fromhex(pdu))


async def test_mbpoll_reads_every_device_of_the_underpass(bench: Bench, tmp_path: Path) -> None:
    storm = underpass_storm(seed=1)
    wettest_s = max(range(0, int(storm.duration_s), 60), key=lambda t: storm.at(t)["depth"])
    seen = storm.at(wettest_s)
    bench.values |= seen
    bus, crack = str(tmp_path / "ttyBus"), str(tmp_path / "ttyCrack")
    host, port = bench.endpoint("field")

    ruler = await mbpoll(*BUS, "-a", "2", "-t", "4", "-r", "0", bus)
    assert ruler[0] >= 30  # the storm floods the road
    assert ruler[0] == round(seen["depth"] * 100)
    rain = await mbpoll(*BUS, "-a", "192", "-t", "3:int", "-r", "8", bus)
    assert rain[8] == round(seen["rain_total"] * 1000 * 10000)
    displacement = await mbpoll(
        *("-m", "rtu", "-b", "38400", "-P", "none", "-s", "2"),
        *("-a", "1", "-t", "4:int", "-B", "-r", "0", crack),
    )
    assert displacement[0] == round(seen["crack"] * 1000 * 10000)
    level = await mbpoll(
        "-m", "tcp", "-p", str(port), "-a", "1", "-t", "4", "-r", "2", "-c", "3", host
    )
    assert level == {2: 16, 3: 3, 4: round(seen["river_level"] * 1000)}


async def test_mbpoll_switches_the_relay_and_reads_it_back(bench: Bench, tmp_path: Path) -> None:
    relay = [*BUS, "-a", "1", "-t", "0", str(tmp_path / "ttyBus")]
    await mbpoll(*relay, "-r", "3", "1")  # function 05
    await mbpoll(*relay, "-r", "5", "1", "0", "1")  # function 0F
    assert bench.device("relay-1").outputs == {3, 5, 7}
    coils = await mbpoll(*relay, "-r", "0", "-c", "8")
    assert {channel for channel, on in coils.items() if on} == {3, 5, 7}


async def test_mbpoll_is_told_of_an_illegal_address(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Illegal data address"):
        await mbpoll(*BUS, "-a", "2", "-t", "4", "-r", "7", str(tmp_path / "ttyBus"))


@pytest.mark.parametrize(
    ("framing", "pymodbus_framing"), [("tcp", FramerType.SOCKET), ("rtu", FramerType.RTU)]
)
async def test_pymodbus_reads_over_tcp(framing: str, pymodbus_framing: FramerType) -> None:
    config = small_config(kind="tcp", port=0, framing=framing)
    async with simulate(config, Path()) as bench:
        host, port = bench.endpoint("a")
        clients = [
            AsyncModbusTcpClient(host, port=port, framer=pymodbus_framing, retries=0)
            for _ in range(3)
        ]
        try:
            for i, client in enumerate(clients):
                assert await client.connect()
                bench.values["depth"] = 0.1 * i
                bench.values["rain_total"] = 0.001
                ruler = await client.read_holding_registers(0, count=1, device_id=2)
                assert ruler.registers == [10 * i]
                rain = await client.read_input_registers(8, count=2, device_id=0xC0)
                assert rain.registers == [10000, 0]
                written = await client.write_coil(i, True, device_id=1)
                assert not written.isError()
                assert bench.device("relay").outputs == set(range(i + 1))
        finally:
            for client in clients:
                client.close()


@pytest.mark.parametrize(
    ("line", "device", "request_frame", "size", "byte_s", "gap_s"),
    [
        ("bus", "ruler-1", READ_RULER, 7, BITS_8N1 / 9600, 3.5 * BITS_8N1 / 9600),
        ("bus", "rain-1", rtu(0xC0, "04 0008 0002"), 9, BITS_8N1 / 9600, 3.5 * BITS_8N1 / 9600),
        ("crack", "crack-1", rtu(1, "03 0000 0002"), 9, BITS_8N2 / 38400, 0.00175),
    ],
    ids=["ruler", "rain", "crack"],
)
async def test_a_serial_line_takes_the_time_of_its_wire(
    bench: Bench,
    line: str,
    device: str,
    request_frame: bytes,
    size: int,
    byte_s: float,
    gap_s: float,
) -> None:
    bench.values |= {"depth": 0.3, "rain_total": 0.1, "crack": 0.01}
    turnaround_s = bench.device(device).profile.line.answers_in_ms / 1000
    starts_s = len(request_frame) * byte_s + gap_s + turnaround_s
    whole_s = starts_s + size * byte_s
    taken_s: list[float] = []
    # Most of them may have waited for a busy machine.
    while len(taken_s) < 20 or (min(taken_s) >= 1.5 * whole_s and len(taken_s) < 500):
        heard = await asyncio.to_thread(ask_wire, bench.terminal(line), request_frame, size)
        assert heard
        assert heard[-1][1] == size
        for at_s, bytes_so_far in heard:  # no byte before the wire could have carried it
            assert at_s >= starts_s + bytes_so_far * byte_s - 1e-6
        taken_s.append(heard[-1][0])
    assert min(taken_s) < 1.5 * whole_s


async def test_a_serial_server_carries_one_request_at_a_time() -> None:
    config = small_config(kind="tcp", port=0, framing="rtu", baud=9600, answer_ms=0)
    one_s = (8 + 3.5 + 7) * BITS_8N1 / 9600

    async def read(address: tuple[str, int]) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(READ_RULER)
        answer = await reader.readexactly(7)
        writer.close()
        await writer.wait_closed()
        return answer

    async with simulate(config, Path()) as bench:
        bench.values["depth"] = 0.31
        host, port = bench.endpoint("a")
        start_s = time.monotonic()
        answers = await asyncio.gather(*(read((host, port)) for _ in range(4)))
        assert time.monotonic() - start_s >= 4 * one_s
        assert set(answers) == {bytes.fromhex("02 03 02 00 1F BD 8C")}


@pytest.mark.parametrize(
    "unheard",
    [
        pytest.param(READ_RULER[:-1] + b"\0", id="wrong checksum"),
        pytest.param(READ_RULER[:5], id="half a request"),
        pytest.param(rtu(9, "03 0000 0001"), id="unknown unit"),
        pytest.param(rtu(0, "03 0000 0001"), id="broadcast"),
        pytest.param(bytes(range(100)), id="noise"),
    ],
)
async def test_silence_then_the_next_request_is_heard(bench: Bench, unheard: bytes) -> None:
    bus = bench.terminal("bus")
    assert await asyncio.to_thread(ask_wire, bus, unheard, 1, 0.2) == []
    assert (await asyncio.to_thread(ask_wire, bus, READ_RELAY, 6))[-1][1] == 6


async def test_a_master_at_another_baud_rate_hears_nothing(bench: Bench, tmp_path: Path) -> None:
    relay = ["-a", "1", "-t", "0", "-r", "0", "-c", "8", str(tmp_path / "ttyBus")]
    with pytest.raises(AssertionError, match="timed out"):
        await mbpoll("-m", "rtu", "-b", "19200", "-P", "none", *relay, within_s=0.5)
    assert len(await mbpoll(*BUS, *relay)) == 8


async def test_a_broadcast_is_done_by_all_and_answered_by_none(bench: Bench) -> None:
    bus = bench.terminal("bus")
    write = rtu(0, "0f 0000 0008 01 81")
    assert await asyncio.to_thread(ask_wire, bus, write, 1, 0.1) == []
    await bench.device("relay-1").wait_outputs(lambda on: on == {0, 7}, PATIENCE_S)


async def test_a_dead_device_neither_answers_nor_switches(bench: Bench) -> None:
    bus = bench.terminal("bus")
    relay = bench.device("relay-1")
    relay.fault = Silent()
    switch = rtu(1, "05 0000 ff00")
    assert await asyncio.to_thread(ask_wire, bus, switch, 8, 0.1) == []
    assert await asyncio.to_thread(ask_wire, bus, rtu(2, "03 0000 0001"), 7)  # all was heard by now
    assert relay.outputs == frozenset()
    relay.fault = Silent(from_s=bench.t_s + 3600)
    assert await asyncio.to_thread(ask_wire, bus, switch, 8)
    assert relay.outputs == {0}


async def test_facts_are_told_as_they_happen(tmp_path: Path) -> None:
    facts: list[truth.Fact] = []
    config = small_config(kind="pty", link="ttyA", baud=9600, answer_ms=0)
    async with simulate(config, tmp_path, tell=facts.append) as bench:
        path = bench.terminal("a")
        relay = bench.device("relay")
        bench.values["depth"] = 0.314
        for _ in range(2):
            await asyncio.to_thread(ask_wire, path, READ_RULER, 7)
        bench.values["depth"] = None
        await asyncio.to_thread(ask_wire, path, READ_RULER, 7)
        await asyncio.to_thread(ask_wire, path, rtu(1, "05 0202 0001"), 8)  # 100 ms
        assert relay.outputs == {2}
        assert await relay.wait_outputs(lambda on: not on, PATIENCE_S) == frozenset()
    told = [
        (type(fact).__name__, getattr(fact, "value", getattr(fact, "on", None))) for fact in facts
    ]
    assert told == [
        ("Line", None),
        ("Ready", None),
        ("Answered", 0.31),
        ("Answered", None),
        ("Outputs", (2,)),
        ("Outputs", ()),
    ]
    switched, fell = facts[-2:]
    assert fell.at_ms - switched.at_ms >= 99


async def test_the_scenario_moves_the_devices_and_ends(tmp_path: Path) -> None:
    facts: list[truth.Fact] = []
    over = asyncio.Event()

    def tell(fact: truth.Fact) -> None:
        facts.append(fact)
        if isinstance(fact, truth.End):
            over.set()

    storm = underpass_storm(seed=1)
    ends_in_s = 0.5
    async with simulate(
        default_config(),
        tmp_path,
        scenario=storm,
        speed=storm.duration_s / ends_in_s,
        tell=tell,
    ) as bench:
        async with asyncio.timeout(PATIENCE_S):
            await over.wait()
        assert bench.signals() == storm.at(storm.duration_s)
    assert facts[-1].at_ms - next(f for f in facts if isinstance(f, truth.Begin)).at_ms >= 499


# The command.
