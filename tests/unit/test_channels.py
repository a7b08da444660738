"""Several sensors on one device: its channels and quantities, read together, told apart."""

import asyncio
import json
import tomllib

import pytest
from click.testing import CliRunner

from configs import loader
from configs.loader import ConfigError
from drivers.device import Device
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from edge import config, load, reads
from edge.agenda import Job
from edge.health import State
from edge.poller import Bus, Heard
from edge.provision import sensor as sensor_group
from firmware_sim.modbus_device import ModbusDevice
from tests import virtual
from tests.scripted_line import ScriptedLine, crc

MODULE = """
title = "eight inputs of 4 to 20 mA, probes of 5 m"
source = "this test"
[line]
unit_id = 4
[[measure]]
quantity = "level"
function = 4
address = 0
channels = 8
scale = 0.0003125
offset = -1.25
unit = "m"
valid_min = 0
valid_max = 5
[[measure]]
quantity = "voltage"
function = 4
address = 8
scale = 0.01
unit = "V"
"""
GATEWAY = """
[gateway]
id = "gw-1"
site = "here"

[port.bus]
kind = "serial"
device = "/dev/ttyUSB0"
"""
RULER = """
[interlock.here]
rulers = ["ch-2"]
stale_after_s = 20
lamp_within_s = 60
[interlock.here.signal]
kind = "modbus_relay"
port = "bus"
channels = { green = [0], amber = [1], red = [] }
"""


def sensor(name, *lines, profile="module"):
    return "\n".join((f"[sensor.{name}]", 'port = "bus"', f'profile = "{profile}"', *lines, ""))


def channels(*numbers, interval_s=10):
    each = (f"channel = {n}\ninterval_s = {interval_s}" for n in numbers)
    return "".join(sensor(f"ch-{n}", lines) for n, lines in zip(numbers, each, strict=True))


def read(folder, text, module=MODULE):
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "module.toml").write_text(module)
    (folder / "gateway.toml").write_text(GATEWAY + text)
    return config.read(folder / "gateway.toml")


def faults(folder, text):
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return [f"{fault.key}: {fault.problem}" for fault in caught.value.faults]


def profile(text):
    return loader.parse(tomllib.loads(text), Profile, "module.toml")


def test_one_entry_describes_all_channels():
    module = profile(MODULE)
    assert [(m.key, m.address) for m in module.measure] == [
        *((f"level.{n}", n - 1) for n in range(1, 9)),
        ("voltage", 8),
    ]
    assert module.channels == tuple(range(1, 9))
    assert [(b.address, b.words) for b in module.blocks()] == [(0, 9)]


def test_channels_of_two_registers_lie_side_by_side():
    wide = profile(MODULE.replace("channels = 8", 'channels = 3\ntype = "f32"'))
    assert [m.address for m in wide.measure if m.channel] == [0, 2, 4]
    spaced = profile(MODULE.replace("channels = 8", "channels = 3\nchannel_step = 20"))
    assert [m.address for m in spaced.measure if m.channel] == [0, 20, 40]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("channels = 8", "channel = 1\nchannels = 8", "one entry describes one channel, or all"),
        ("channels = 8", "channel_step = 2", "channel_step goes with channels"),
        ("channels = 8", 'type = "u32"\nchannels = 8\nchannel_step = 1', "a u32 takes 2"),
        ("channels = 8", "channels = 0", "channels: 0"),
        ("address = 0\n", "address = 65530\n", "at 0x10001 ends beyond register 0xffff"),
        ('"voltage"', '"level"\nchannel = 3', "unit 'V' does not measure level"),
    ],
)
def test_a_map_of_channels_that_contradicts_itself(old, new, fault):
    assert MODULE.count(old) == 1
    with pytest.raises(ConfigError, match=fault):
        profile(MODULE.replace(old, new))


def test_a_quantity_is_measured_twice_only_by_two_channels():
    twice = '[[measure]]\nquantity = "depth"\naddress = {}\nunit = "cm"\n{}\n'
    head = 'title = "two"\nsource = "this test"\n'
    with pytest.raises(ConfigError, match="measures depth twice; give each of them a `channel`"):
        profile(head + twice.format(0, "") + twice.format(1, ""))
    with pytest.raises(ConfigError, match=r"measures depth\.1 twice"):
        profile(head + twice.format(0, "channel = 1") + twice.format(1, "channel = 1"))
    two = profile(head + twice.format(0, "channel = 1") + twice.format(1, "channel = 2"))
    assert [m.key for m in two.measure] == ["depth.1", "depth.2"]


def test_eight_sensors_on_one_device_are_one_read(tmp_path):
    setup = read(tmp_path, channels(*range(1, 9)) + sensor("supply", "interval_s = 10"))
    (device,) = reads.of(setup, "bus")
    (one,) = device.reads
    assert (device.unit, one.block.address, one.block.words) == (4, 0, 9)
    assert one.sensors["level.3"] == "ch-3"
    assert one.sensors["voltage"] == "supply"
    assert [m.key for m in setup.profiles["ch-3"].measure] == ["level.3"]


def test_other_intervals_are_other_reads_of_the_same_device(tmp_path):
    setup = read(tmp_path, channels(1, 2) + channels(7, 8, interval_s=60))
    (device,) = reads.of(setup, "bus")
    assert [(r.interval_s, r.block.address, r.names) for r in device.reads] == [
        (10, 0, ("ch-1", "ch-2")),
        (60, 6, ("ch-7", "ch-8")),
    ]


def test_a_sensor_may_be_some_quantities_of_a_device(tmp_path):
    weather = MODULE.replace('"voltage"', '"temperature"').replace('"V"', '"Cel"')
    weather = weather.replace("channels = 8", "")
    text = sensor("river", 'measure = ["level"]') + sensor("box", 'measure = ["temperature"]')
    setup = read(tmp_path, text, weather)
    assert [m.key for m in setup.profiles["river"].measure] == ["level"]
    assert [m.key for m in setup.profiles["box"].measure] == ["temperature"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (sensor("a", "channel = 9"), "sensor.a.channel: 9 is none of 'module', which has 1, 2"),
        (
            sensor("a", "channel = 1", profile="ruler-cm-9600"),
            "sensor.a.channel: 'ruler-cm-9600' has no channels: leave it out",
        ),
        (
            sensor("a", "channel = 1", 'measure = ["voltage"]'),
            "sensor.a.measure: 'module' does not measure voltage there; it measures level",
        ),
        (sensor("a", "measure = []"), "sensor.a.measure: "),
        (
            channels(1) + sensor("a", "channel = 1"),
            "sensor.a.unit_id: 4 on port 'bus' belongs to sensor.ch-1 already, which reads level.1",
        ),
        (
            channels(1) + sensor("a", "unit_id = 4", profile="ruler-cm-9600"),
            "sensor.a.unit_id: 4 on port 'bus' belongs to sensor.ch-1 already: two devices would",
        ),
    ],
)
def test_what_is_wrong_with_a_choice_of_measures(tmp_path, text, fault):
    (found,) = faults(tmp_path, text)
    assert found.startswith(fault)


def test_a_channel_must_be_named_where_all_measures_have_one(tmp_path):
    only = MODULE[: MODULE.rindex("[[measure]]")]
    with pytest.raises(
        ConfigError, match=r"sensor\.a\.channel: is missing; 'module' has the chann"
    ):
        read(tmp_path, sensor("a"), only)


def test_a_dead_module_is_one_dead_device(tmp_path):
    text = channels(*range(1, 9)) + sensor("ruler", profile="ruler-cm-9600")
    setup = read(tmp_path, text)
    (alive,), (dead,) = load.of(setup).ports, load.of(setup, dead=1).ports
    reads_s = [load.block_s(setup.config.port["bus"], p, b) for p, b in blocks(setup)]
    assert len(reads_s) == 2
    assert alive.cycle_s == pytest.approx(sum(reads_s))
    # Of two devices one is dead, and the other is still read.
    assert dead.cycle_s > min(reads_s)
    assert set(alive.busiest) <= set(setup.config.sensor)


def blocks(setup):
    return [(d.profile, read.block) for d in reads.of(setup, "bus") for read in d.reads]


def test_a_ruler_among_the_channels_makes_their_read_urgent(tmp_path):
    depth = MODULE.replace('"level"', '"depth"')
    text = channels(1, 2) + channels(3, interval_s=60) + RULER
    setup = read(tmp_path, text, depth)
    (device,) = reads.of(setup, "bus")
    assert [(r.names, r.urgent) for r in device.reads] == [
        (("ch-1", "ch-2"), True),
        (("ch-3",), False),
    ]
    (lamp,) = load.of(setup).lamps
    assert lamp.ruler == "ch-2"
    assert 20 < lamp.depth_to_lamp_s < 21


class Module(ScriptedLine):
    """Answers any read with 100 for the first register, 101 for the next, and so on."""

    is_silent = False

    def write(self, data):
        first, count = (int.from_bytes(data[i : i + 2], "big") for i in (2, 4))
        words = b"".join((100 + first + i).to_bytes(2, "big") for i in range(count))
        body = bytes((data[0], data[1], 2 * count)) + words
        self.answers = [] if self.is_silent else [[(0.03, body + crc(body))]]
        super().write(data)


def jobs(setup, wire):
    return [
        Job(r.names[0], device, r.block, r.interval_s, urgent=r.urgent, sensors=r.sensors)
        for found in reads.of(setup, "bus")
        for device in [Device(Master(wire), found.profile, found.unit)]
        for r in found.reads
    ]


PLAIN = MODULE.replace("scale = 0.0003125\noffset = -1.25\n", "").replace("valid_max = 5", "")


def test_each_channel_is_told_to_its_own_sensor(tmp_path):
    setup = read(tmp_path, channels(1, 2, interval_s=1) + channels(4, interval_s=2), PLAIN)

    async def main():
        heard: list[Heard] = []
        bus = Bus("bus", jobs(setup, Module()), heard.append)
        task = asyncio.create_task(bus.run())
        await asyncio.sleep(10)
        task.cancel()
        await asyncio.wait((task,))
        said = {one.sensor: [value.value for value in one.values] for one in heard}
        assert said == {"ch-1": [100.0], "ch-2": [101.0], "ch-4": [103.0]}
        (device,) = bus.state().devices
        assert device.sensors == ("ch-1", "ch-2", "ch-4")

    virtual.run(main())


def test_a_silent_module_says_so_to_all_its_sensors_and_has_one_breaker(tmp_path):
    setup = read(tmp_path, channels(1, 2, interval_s=1) + channels(4, interval_s=2), PLAIN)

    async def main():
        heard: list[Heard] = []
        wire = Module()
        wire.is_silent = True
        bus = Bus("bus", jobs(setup, wire), heard.append)
        task = asyncio.create_task(bus.run())
        await asyncio.sleep(5)
        assert {one.sensor for one in heard if one.values[0].reason == "no answer"} >= {
            "ch-1",
            "ch-2",
        }
        (device,) = bus.state().devices
        assert device.breaker is State.OPEN
        # A channel that is added meanwhile is on the same silent device.
        more = read(
            tmp_path,
            channels(1, 2, interval_s=1) + channels(4, interval_s=2) + channels(5, interval_s=3),
            PLAIN,
        )
        bus.change(jobs(more, wire))
        (device,) = bus.state().devices
        assert device.breaker is State.OPEN
        wire.is_silent, heard[:] = False, []
        await asyncio.sleep(60)
        (device,) = bus.state().devices
        assert device.breaker is State.CLOSED
        assert {one.sensor for one in heard if one.values[0].value} == {
            *("ch-1", "ch-2", "ch-4", "ch-5")
        }
        task.cancel()
        await asyncio.wait((task,))

    virtual.run(main())


@pytest.mark.parametrize("gone", [1, 4, 7])
def test_a_channel_whose_neighbour_is_removed_in_doubt_is_still_read(tmp_path, gone):
    def three(*numbers):
        # Three reads of their own: the intervals differ.
        return "".join(channels(n, interval_s=n) for n in numbers)

    setup = read(tmp_path, three(1, 4, 7), PLAIN)

    async def main():
        heard: list[Heard] = []
        wire = Module()
        wire.is_silent = True
        bus = Bus("bus", jobs(setup, wire), heard.append)
        task = asyncio.create_task(bus.run())
        await asyncio.sleep(30)
        kept = [n for n in (1, 4, 7) if n != gone]
        bus.change(jobs(read(tmp_path, three(*kept), PLAIN), wire))
        wire.is_silent, heard[:] = False, []
        await asyncio.sleep(60)
        assert {one.sensor for one in heard if one.values[0].value} == {f"ch-{n}" for n in kept}
        task.cancel()
        await asyncio.wait((task,))

    virtual.run(main())


def test_the_simulated_module_has_a_value_for_each_channel():
    module = ModbusDevice(profile(MODULE))
    answer = module.answer(bytes.fromhex("0400000008"), {"level": 1.0, "level.3": 2.5}, 0.0)
    assert answer is not None
    assert answer.said == {
        **{f"level.{n}": pytest.approx(1.0) for n in range(1, 9)},
        "level.3": pytest.approx(2.5),
    }


def test_sensors_of_one_device_are_added_by_command(tmp_path):
    read(tmp_path, "")
    file = ["--config", str(tmp_path / "gateway.toml")]
    runner = CliRunner()
    for number in ("1", "2"):
        given = ["add", f"ch-{number}", "--port", "bus", "--profile", "module", "--channel", number]
        done = runner.invoke(sensor_group, [*given, "--measure", "level", *file])
        assert done.exit_code == 0, done.output
    listed = json.loads(runner.invoke(sensor_group, ["list", "--json", *file]).output)
    assert [(row["sensor"], row["unit_id"], row["channel"]) for row in listed] == [
        ("ch-1", 4, 1),
        ("ch-2", 4, 2),
    ]
    again = ["add", "ch-3", "--port", "bus", "--profile", "module", "--channel", "2", *file]
    with pytest.raises(ConfigError, match=r"sensor\.ch-3\.unit_id: 4 on port 'bus' belongs to"):
        runner.invoke(sensor_group, again, catch_exceptions=False)
    shown = runner.invoke(sensor_group, ["profiles", *file], env={"COLUMNS": "120"}).output
    assert "level of 8 channels" in shown
