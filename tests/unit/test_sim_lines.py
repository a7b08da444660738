"""Simulated lines: parity as often as one likes, and a value for every quantity."""

import asyncio

import pytest

from configs.loader import ConfigError
from drivers.device import Device
from drivers.ports import serial
from drivers.protocols.modbus import Master
from firmware_sim import config as sim
from firmware_sim import truth
from firmware_sim.scenario import underpass_storm
from firmware_sim.simulation import simulate
from wire.reading import UNITS, Quantity

PROFILE = """
title = "all that there is"
source = "this test"
line = { parity = "even", unit_id = 9 }
"""
UNIT_OF = {"Hz": "Hz", "Cel": "Cel", "V": "mV", "m": "mm", "m/s": "mm/h"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "profiles").mkdir()
    measures = "".join(
        f'[[measure]]\nquantity = "{quantity}"\naddress = {2 * n}\ntype = "i32"\n'
        f'unit = "{UNIT_OF[UNITS[quantity]]}"\n'
        for n, quantity in enumerate(Quantity)
    )
    (tmp_path / "profiles" / "all.toml").write_text(PROFILE + measures)
    return tmp_path


LINE = {"kind": "pty", "link": "ttyA", "baud": 9600, "answer_ms": 0}


def config(folder, parity="even"):
    profile = folder / "profiles" / "all.toml"
    profile.write_text(profile.read_text().replace('parity = "even"', f'parity = "{parity}"'))
    tables = {"line": {"a": LINE}, "device": {"x": {"line": "a", "profile": "all"}}}
    return sim.parse(tables, folder)


async def read(bench, folder, parity, times=1):
    """All that the device says, from a line that is opened anew."""
    settings = serial.Config(kind="serial", device=bench.terminal("a"), parity=parity)
    said = {}
    async with serial.open("a", settings) as port:
        await port.open()
        device = Device(Master(port), sim.find_profile("all", folder), 9)
        for _ in range(times):
            for block in device.profile.blocks():
                for value in await device.read(block, within_s=5):
                    said[value.quantity] = value.value
    return said


@pytest.mark.parametrize("parity", ["none", "even", "odd"])
def test_a_line_with_parity_is_opened_again_and_again(folder, parity):
    async def main():
        async with simulate(config(folder, parity), folder, scenario=underpass_storm()) as bench:
            for _ in range(3):
                assert await read(bench, folder, parity)

    asyncio.run(main())


def test_every_quantity_has_a_value_in_a_scenario(folder):
    async def main():
        async with simulate(config(folder), folder, scenario=underpass_storm()) as bench:
            said = await read(bench, folder, "even")
            assert set(said) == set(Quantity)
            assert all(value is not None for value in said.values())
            assert said[Quantity.VOLTAGE] == pytest.approx(12.6)
            bench.values["voltage"] = 11.0
            assert (await read(bench, folder, "even"))[Quantity.VOLTAGE] == pytest.approx(11.0)

    asyncio.run(main())


def test_every_signal_that_a_quantity_shows_is_one_that_a_scenario_has():
    played = {**sim.STEADY, **underpass_storm().at(0.0)}
    assert set(sim.SIGNAL_OF.values()) <= set(played)
    assert set(sim.SIGNAL_OF) == set(Quantity)


MODULE = """
title = "four inputs"
source = "this test"
line = { unit_id = 4 }
[[measure]]
quantity = "level"
function = 4
address = 0
channels = 4
scale = 0.001
unit = "m"
"""


def test_each_channel_of_a_simulated_module_may_show_something_else(folder):
    (folder / "profiles" / "module.toml").write_text(MODULE)
    signal = {"level.4": "crack"}
    tables = {
        "line": {"a": LINE},
        "device": {"m": {"line": "a", "profile": "module", "signal": signal}},
    }

    async def main():
        facts: list[truth.Fact] = []
        config = sim.parse(tables, folder)
        async with simulate(config, folder, tell=facts.append) as bench:
            bench.values |= {"river_level": 1.0, "level.3": 2.5, "crack": 0.25}
            settings = serial.Config(kind="serial", device=bench.terminal("a"))
            async with serial.open("a", settings) as port:
                device = Device(Master(port), sim.find_profile("module", folder), 4)
                (block,) = device.profile.blocks()
                values = await device.read(block, within_s=5)
        assert [value.value for value in values] == [1.0, 1.0, 2.5, 0.25]
        answered = [fact for fact in facts if isinstance(fact, truth.Answered)]
        assert [(fact.channel, fact.value) for fact in answered] == [
            (1, 1.0),
            (2, 1.0),
            (3, 2.5),
            (4, 0.25),
        ]

    asyncio.run(main())


@pytest.mark.parametrize("signal", [{"level.9": "crack"}, {"depth": "crack"}])
def test_a_channel_that_is_not_there_shows_nothing(folder, signal):
    (folder / "profiles" / "module.toml").write_text(MODULE)
    device = {"line": "a", "profile": "module", "signal": signal}
    with pytest.raises(ConfigError, match="'module' does not measure it"):
        sim.parse({"line": {"a": LINE}, "device": {"m": device}}, folder)
