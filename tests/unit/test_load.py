"""What a bus can keep, against figures worked out by hand."""

import io
import json

import pytest
from rich.console import Console

from edge import config, load, loadtable
from edge.agenda import DEAD_SHARE

BYTE_S = 10 / 9600
GAP_S = 3.5 * BYTE_S
READ_S = (8 + 7) * BYTE_S + 2 * GAP_S + 0.005
"""One register: 8 bytes out, 7 back, two silences, 5 ms for the device."""

RAIN_S = (8 + 9) * BYTE_S + 2 * GAP_S + 0.005
SHOW_S = (10 + 8 + 8 + 6) * BYTE_S + 4 * GAP_S + 0.010
"""Write 8 coils and read them: 10 bytes, echo 8, 8 bytes, answer 6."""

RELAY_WAIT_S = 0.12
SITE = """
[gateway]
id = "gw-1"
site = "here"

[port.bus]
kind = "serial"
device = "/dev/ttyUSB0"

[port.lamps]
kind = "serial"
device = "/dev/ttyUSB1"

[port.far]
kind = "tcp"
host = "10.0.0.2"

[sensor.ruler-1]
port = "bus"
profile = "ruler-cm-9600"
interval_s = 1

[sensor.ruler-2]
port = "bus"
profile = "ruler-cm-9600"
unit_id = 3
interval_s = 0.5

[sensor.rain-1]
port = "bus"
profile = "rain-sen0575"
interval_s = 10

[sensor.river-1]
port = "far"
profile = "level-qdy30a"
interval_s = 2

[interlock.here]
rulers = ["ruler-1", "ruler-2"]
rise_samples = 3
refresh_every_s = 5
second_path = "a float switch"
[interlock.here.signal]
kind = "modbus_relay"
hold = "latch"
port = "LAMP-PORT"
channels = { green = [0], amber = [1], red = [] }
"""


def setup_with(tmp_path, lamp_port="bus", **changes):
    text = SITE.replace("LAMP-PORT", lamp_port)
    for old, new in changes.items():
        text = text.replace(old, new)
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return config.read(file)


def port(loads, name):
    return next(bus for bus in loads.ports if bus.port == name)


def test_a_sound_bus(tmp_path):
    sound = load.of(setup_with(tmp_path))
    bus = port(sound, "bus")
    assert bus.cycle_s == pytest.approx(2 * READ_S + RAIN_S)
    assert bus.share == pytest.approx(READ_S / 1 + READ_S / 0.5 + RAIN_S / 10 + SHOW_S / 5)
    assert bus.longest_s == pytest.approx(RAIN_S)
    assert bus.lamp_s == pytest.approx(RAIN_S + SHOW_S)
    assert bus.busiest == ("ruler-2", "ruler-1", "rain-1")
    assert [bus.port for bus in sound.ports] == ["bus", "far"]


def test_from_the_depth_to_the_lamp(tmp_path):
    """Three samples of the slower ruler; before its last one the rain gauge, the lamp's refresh
    and both rulers; then the lamp at once, for nothing else is under way."""
    (lamp,) = load.of(setup_with(tmp_path)).lamps
    assert (lamp.site, lamp.ruler, lamp.allowed_s) == ("here", "ruler-1", 10)
    read_s = RAIN_S + SHOW_S + 2 * READ_S
    assert lamp.depth_to_lamp_s == pytest.approx(3 * 1.0 + read_s + SHOW_S)


def test_a_lamp_on_a_line_of_its_own(tmp_path):
    sound = load.of(setup_with(tmp_path, lamp_port="lamps"))
    (lamp,) = sound.lamps
    assert lamp.depth_to_lamp_s == pytest.approx(3 * 1.0 + RAIN_S + 2 * READ_S + SHOW_S)
    assert port(sound, "lamps").lamp_s == pytest.approx(SHOW_S)
    assert port(sound, "lamps").share == pytest.approx(SHOW_S / 5)
    assert port(sound, "bus").lamp_s is None


def test_with_a_dead_device(tmp_path):
    loads = load.of(setup_with(tmp_path), dead=1)
    bus = port(loads, "bus")
    wait_s, silence_s = 17 * BYTE_S + 0.3, 17 * BYTE_S + 0.6  # the rain gauge's frames are longest
    assert bus.longest_s == pytest.approx(wait_s)
    assert bus.cycle_s == pytest.approx(2 * READ_S + silence_s)
    assert bus.share == pytest.approx(3 * READ_S + SHOW_S / 5 + DEAD_SHARE)
    # Its late answer may collide with the lamp's: then the relay is asked again.
    assert bus.lamp_s == pytest.approx(wait_s + SHOW_S + RELAY_WAIT_S + SHOW_S)
    (lamp,) = loads.lamps
    read_s = wait_s + SHOW_S + 2 * READ_S
    assert lamp.depth_to_lamp_s == pytest.approx(3.0 + read_s + SHOW_S + RELAY_WAIT_S + SHOW_S)


def test_where_there_is_no_wire_a_dead_device_costs_its_wait_only(tmp_path):
    far = port(load.of(setup_with(tmp_path), dead=1), "far")
    assert far.cycle_s == pytest.approx(0.3)
    assert far.share == DEAD_SHARE


def test_a_switch_beside_the_road_takes_its_share(tmp_path):
    switch = "[interlock.here.local_switch]\nport = 'bus'\nunit_id = 9\nevery_s = 2\n"
    signal = "[interlock.here.signal]"
    setup = setup_with(tmp_path, **{signal: switch + signal})
    read_s = (8 + 6) * BYTE_S + 2 * GAP_S
    alone = port(load.of(setup_with(tmp_path)), "bus")
    bus = port(load.of(setup), "bus")
    assert bus.share - alone.share == pytest.approx(read_s / 2)
    assert bus.lamp_s is not None
    assert alone.lamp_s is not None
    assert bus.lamp_s - alone.lamp_s == pytest.approx(read_s)


def test_more_dead_devices_than_there_are(tmp_path):
    bus = port(load.of(setup_with(tmp_path), dead=7), "bus")
    assert bus.busiest == ()
    assert bus.cycle_s == pytest.approx(17 * BYTE_S + 0.6)


def test_it_is_printed_at_80_columns_and_as_json(tmp_path):
    setup = setup_with(tmp_path)
    loads = [load.of(setup, dead) for dead in (0, 1)]
    out = io.StringIO()
    loadtable.show(Console(file=out, width=80), loads)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[:2] for line in lines if line.split()[:1] == ["bus"]] == [
        ["bus", "0"],
        ["bus", "1"],
    ]
    (row,) = [line.split() for line in lines if line.split()[:2] == ["here", "0"]]
    assert row[2:] == [f"{loads[0].lamps[0].depth_to_lamp_s:.2f}", "10", "ruler-1"]
    told = json.loads(json.dumps(loadtable.as_dicts(loads)))
    assert [one["dead"] for one in told] == [0, 1]
    assert told[1]["ports"][0]["longest_s"] == loads[1].ports[0].longest_s
    assert told[0]["lamps"][0]["site"] == "here"
