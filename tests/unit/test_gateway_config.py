"""`gateway.toml`: every fault in one message, and nothing but faults."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloud.alerts import plan
from configs.loader import ConfigError
from edge import config, crosscheck
from edge.cli import edge

RIGHT = """
[gateway]
id = "gw-1"
site = "here"

[port.bus]
kind = "serial"
device = "/dev/ttyUSB0"

[sensor.ruler-1]
port = "bus"
profile = "ruler-cm-9600"
interval_s = 1

[interlock.here]
rulers = ["ruler-1"]
second_path = "a float switch in the lamp's own circuit"
[interlock.here.signal]
kind = "modbus_relay"
port = "bus"
hold = "latch"
channels = { green = [0], amber = [1], red = [] }
"""


def faults(tmp_path, text):
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.read(file)
    assert all(line.startswith(f"{file}: ") for line in str(caught.value).splitlines())
    return [f"{fault.key}: {fault.problem}" for fault in caught.value.faults]


def changed(old, new):
    assert RIGHT.count(old) == 1
    return RIGHT.replace(old, new)


def test_a_right_config_has_no_faults(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(RIGHT)
    setup = config.read(file)
    assert setup.unit("ruler-1") == 2
    assert setup.site("ruler-1") == "here"
    assert setup.config.interlock["here"].rule.rulers.red_m == 0.30


def test_the_shipped_site_is_right():
    here = Path(config.__file__).parent.parent / "configs" / "sites"
    files = sorted(here.glob("*/gateway.toml"))
    assert files
    for file in files:
        config.read(file)


def test_all_faults_come_in_one_message(tmp_path):
    text = """
[gateway]
id = "Not A Name"
site = "here"
colour = "red"

[port.bus]
kind = "serial"
device = "/dev/ttyUSB0"
baud = 9601

[port.fast]
kind = "carrier-pigeon"

[sensor.ruler-1]
port = "bus"
profile = "ruler-cm-9600"
interval_s = 1

[sensor.ruler-2]
port = "bus"
profile = "ruler-cm-9600"
intervall_s = 1

[sensor.lost]
port = "buss"
profile = "ruler-cm-960"

[interlock.here]
rulers = ["ruler-1"]
amber_depth_cm = 40
[interlock.here.signal]
kind = "modbus_relay"
port = "bus"
channels = { green = [0], amber = [1], red = [] }
"""
    found = "\n".join(faults(tmp_path, text))
    for part in (
        "gateway.id: 'Not A Name'",
        "gateway.colour: is not a key here",
        "port.bus.baud: 9601",
        "port.fast.kind: 'carrier-pigeon' is not one of 'serial', 'tcp'",
        "sensor.ruler-2.intervall_s: is not a key here (did you mean 'interval_s'?)",
        "sensor.ruler-2.unit_id: 2 on port 'bus' belongs to sensor.ruler-1 already",
        "sensor.lost.port: there is no [port.buss] (did you mean 'bus'?)",
        "sensor.lost.profile: 'ruler-cm-960': there is no such profile",
        "interlock.here: amber_depth_cm 40 is not below red_depth_cm 30",
    ):
        assert part in found, found
    assert len(found.splitlines()) == 9


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('kind = "serial"', "", "port.bus.kind: is missing"),
        ('rulers = ["ruler-1"]', 'rulers = ["ruler-9"]', "there is no [sensor.ruler-9]"),
        ('rulers = ["ruler-1"]', "rulers = []", "interlock.here.rulers"),
        ("interval_s = 1", "interval_s = 8", "less than two intervals"),
        ('profile = "ruler-cm-9600"', 'profile = "rain-sen0575"', "does not measure depth"),
        ('profile = "ruler-cm-9600"', 'profile = "relay-lctech-8ch"', "measures nothing"),
        ("red = []", "red = [2]", "at rest the board shows nothing"),
        ("red = []", "red = [0]", "are the same"),
        ("green = [0]", "green = []", "are the same"),
        ('rulers = ["ruler-1"]', 'rulers = ["ruler-1"]\nsafe_aspect = "green"', "warns nobody"),
        ("interval_s = 1", "interval_s = 1\nunit_id = 1", "unit_id: 1 on port 'bus' belongs"),
        ("interval_s = 1", "interval_s = 1\nunit_id = 256", "sensor.ruler-1.unit_id: 256"),
        ("[gateway]", "[gateway", "is not TOML"),
    ],
)
def test_each_fault_is_named(tmp_path, old, new, fault):
    assert fault in "\n".join(faults(tmp_path, changed(old, new)))


def test_a_bus_that_is_too_slow_is_refused(tmp_path):
    slow = changed('device = "/dev/ttyUSB0"', 'device = "/dev/ttyUSB0"\nbaud = 1200')
    (fault,) = faults(tmp_path, slow.replace("interval_s = 1", "interval_s = 0.1"))
    assert fault.startswith("port.bus: the bus cannot keep these intervals: polling would take 192")


def test_a_lamp_that_would_come_too_late(tmp_path):
    few = changed('rulers = ["ruler-1"]', 'rulers = ["ruler-1"]\nlamp_within_s = 2')
    (fault,) = faults(tmp_path, few)
    assert fault == (
        "interlock.here.lamp_within_s: the lamp cannot be shown within 2 s of the depth: by "
        "'ruler-1' it may take 2.3 s with a device dead on the bus; shorten interval_s of "
        "'ruler-1', lower rise_samples, or allow more"
    )


def test_an_absent_file_is_a_fault(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        config.read(tmp_path / "gateway.toml")


def test_a_profile_beside_the_config_comes_first(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "ruler-cm-9600.toml").write_text(
        'title = "mine"\nsource = "me"\n[line]\nunit_id = 77\n'
        '[[measure]]\nquantity = "depth"\naddress = 1\nunit = "mm"\n'
    )
    file = tmp_path / "gateway.toml"
    file.write_text(RIGHT)
    assert config.read(file).unit("ruler-1") == 77


def test_files_of_the_broker_lie_beside_the_config(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text(f'{RIGHT}\n[uplink.broker]\npassword_file = "secret"\n')
    (tmp_path / "secret").write_text("open sesame\n")
    assert config.read(file).config.uplink.broker.password() == "open sesame"


OTHER = '\n[port.other]\nkind = "serial"\ndevice = "{}"\n'


def test_one_device_has_one_port_by_whatever_name(tmp_path):
    ours, theirs = os.openpty()
    try:
        path = os.ttyname(theirs)
        link = tmp_path / "by-id"
        link.symlink_to(path)
        text = RIGHT.replace("/dev/ttyUSB0", path)
        for other in (path, str(link), f"/dev/../{path}"):
            (fault,) = faults(tmp_path, text + OTHER.format(other))
            assert fault.startswith(f"port.other.device: {other} is the device of [port.bus] alr")
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_device_that_is_not_there_yet_has_one_port_too(tmp_path):
    for other in ("/dev/ttyUSB0", "/dev/./ttyUSB0"):
        (fault,) = faults(tmp_path, RIGHT + OTHER.format(other))
        assert fault.startswith(f"port.other.device: {other} is the device of [port.bus] already")
    file = tmp_path / "gateway.toml"
    file.write_text(RIGHT + OTHER.format("/dev/ttyUSB1"))
    config.read(file)


SERVER = 'kind = "tcp"\nhost = "10.0.0.2"\nframing = "{}"'


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("interval_s = 1", "interval_s = 1\nunit_id = 0", "sensor.ruler-1.unit_id"),
        (
            "[interlock.here.signal]",
            "[interlock.here.signal]\nunit_id = 0",
            "interlock.here.signal.",
        ),
        (
            "[interlock.here.signal]",
            '[interlock.here.local_switch]\nport = "bus"\nunit_id = 0\n[interlock.here.signal]',
            "interlock.here.local_switch.unit_id",
        ),
    ],
)
def test_nobody_answers_a_broadcast(tmp_path, old, new, key):
    serial = 'kind = "serial"\ndevice = "/dev/ttyUSB0"'
    text = changed(old, new)
    for line in (serial, SERVER.format("rtu")):
        (fault,) = faults(tmp_path, text.replace(serial, line))
        assert fault.startswith(key)
        assert "0 is the broadcast address" in fault
    # Over Modbus TCP it is the device itself.
    file = tmp_path / "gateway.toml"
    file.write_text(text.replace(serial, SERVER.format("tcp")))
    config.read(file)


def test_unit_0_of_a_profile_is_a_broadcast_too(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "ruler-cm-9600.toml").write_text(
        'title = "mine"\nsource = "me"\n[line]\nunit_id = 0\n'
        '[[measure]]\nquantity = "depth"\naddress = 1\nunit = "mm"\n'
    )
    (fault,) = faults(tmp_path, RIGHT)
    assert fault.startswith("sensor.ruler-1.unit_id: 0 is the broadcast address")


@pytest.mark.parametrize(
    ("line", "doubted", "here"),
    [
        ("", [], ""),
        ("baud = 115200", ["ruler-1", "here"], "115200 8N1"),
        ('parity = "even"', ["ruler-1", "here"], "9600 8E1"),
        ("stop_bits = 2", ["ruler-1", "here"], "9600 8N2"),
    ],
)
def test_a_line_on_which_a_device_cannot_answer(tmp_path, line, doubted, here):
    file = tmp_path / "gateway.toml"
    file.write_text(changed('device = "/dev/ttyUSB0"', f'device = "/dev/ttyUSB0"\n{line}'))
    found = list(crosscheck.line_faults(config.read(file)))  # a gateway that runs goes on
    keys = {"ruler-1": "sensor.ruler-1.port", "here": "interlock.here.signal.port"}
    assert [fault.key for fault in found] == [keys[name] for name in doubted]
    for fault in found:
        assert f"with 9600 8N1 and [port.bus] has {here}: it cannot answer; change" in fault.problem
    command = ["check", "--config", str(file)]
    if not doubted:
        assert CliRunner().invoke(edge, command).exit_code == 0
        return
    with pytest.raises(ConfigError, match="it cannot answer"):
        CliRunner().invoke(edge, command, catch_exceptions=False)
    file.write_text(file.read_text().replace(line, f"{line}\ndevices_set = true"))
    assert CliRunner().invoke(edge, command).exit_code == 0


@pytest.mark.parametrize(
    ("baud", "doubted"), [("", False), ("baud = 9600", False), ("baud = 4800", True)]
)
def test_so_is_the_line_behind_a_serial_server(tmp_path, baud, doubted):
    file = tmp_path / "gateway.toml"
    text = RIGHT.replace('kind = "serial"\ndevice = "/dev/ttyUSB0"', SERVER.format("rtu"))
    file.write_text(text.replace('framing = "rtu"', f'framing = "rtu"\n{baud}'))
    assert bool(list(crosscheck.line_faults(config.read(file)))) == doubted


def test_one_key_has_one_name(tmp_path):
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    other = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9="  # the same bytes, spelled otherwise
    for second in (key, other):
        text = RIGHT + f'\n[command]\nkeys = {{ "ops" = "{key}", "night" = "{second}" }}\n'
        (fault,) = faults(tmp_path, text)
        assert "'ops' and 'night' are the same key" in fault
    (fault,) = faults(tmp_path, RIGHT + "\n[command]\nfresh_for_s = 1\n")
    assert "fresh_for_s" in fault


FOLLOWERS = (
    RIGHT
    + """
[sensor.ruler-2]
port = "bus"
profile = "ruler-cm-9600"
unit_id = 9
interval_s = 1
"""
)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        # A sensor that is wrong is there all the same, for those that name it.
        (
            'profile = "ruler-cm-9600"\ninterval_s = 1\n\n[inter',
            "interval_s = 1\n\n[inter",
            "profile",
        ),
        (
            'port = "bus"\nprofile = "ruler-cm-9600"\ninterval_s = 1\n\n[inter',
            "profile = 3\n\n[inter",
            "",
        ),
        ("interval_s = 1\n\n[inter", 'interval_s = "1"\n\n[inter', "sensor.ruler-1.interval_s"),
        ("interval_s = 1\n\n[inter", "intervall_s = 1\n\n[inter", "sensor.ruler-1.intervall_s"),
        ("interval_s = 1\n\n[inter", "interval_s = nan\n\n[inter", "sensor.ruler-1.interval_s"),
        ("interval_s = 1\n\n[inter", "channel = 3\n\n[inter", "sensor.ruler-1.channel"),
        # So is a port.
        ('kind = "serial"', 'kind = "serail"', "port.bus.kind"),
        ('device = "/dev/ttyUSB0"', "device = 3", "port.bus.device"),
        ('device = "/dev/ttyUSB0"', 'device = "/dev/ttyUSB0"\nbaud = 1201', "port.bus.baud"),
        # Rules between keys do not judge a default that stands in place of what was wrong.
        (
            'rulers = ["ruler-1"]',
            'rulers = ["ruler-1"]\nred_depth_cm = 12\namber_depth_cm = "9"',
            "amb",
        ),
        ('rulers = ["ruler-1"]', 'rulers = ["ruler-1"]\nstale_after_s = 1\nhold_s = -1', "hold_s"),
        ("[interlock.here.signal]", "[interlock.here.signal]\nunit_id = 300", "signal.unit_id"),
        # A profile that is broken is told once.
        (
            'profile = "ruler-cm-9600"\ninterval_s = 1\n\n[inter',
            'profile = "nix"\n\n[inter',
            "profile",
        ),
    ],
)
def test_one_mistake_is_one_fault(tmp_path, old, new, key):
    assert FOLLOWERS.count(old) == 1, old
    found = faults(tmp_path, FOLLOWERS.replace(old, new))
    wanted = 2 if new.startswith("profile = 3") else 1  # that one has two: there is no port
    assert len(found) == wanted, found
    assert key in found[0]


def test_a_plan_without_its_main_table_is_a_fault_and_no_crash(tmp_path):
    """A check between tables meets None where a required one had to be cut away."""
    file = tmp_path / "plan.toml"
    for text in ("", "area = 3", "[area]", "[area.x]\nnope = 1", "[gateway]\nid = 'x'"):
        file.write_text(text)
        with pytest.raises(ConfigError):
            plan.read(file)
