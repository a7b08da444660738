"""What a gateway's config can get wrong about its signals, and the line that says so."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from configs import loader
from configs.loader import ConfigError, UserError
from drivers import profiles
from drivers.measures import Measure
from drivers.signals import Wiring
from edge import config
from wire import signing
from wire.reading import Quantity

BASE = """
[gateway]
id = "gw-1"
site = "here"

[port.bus]
kind = "serial"
device = "/dev/ttyUSB0"

[port.junction]
kind = "udp"
host = "192.168.1.20"
port = 161

[sensor.ruler-1]
port = "bus"
profile = "ruler-cm-9600"
interval_s = 1

[interlock.here]
rulers = ["ruler-1"]
refresh_every_s = {every}
{site}
[interlock.here.signal]
"""

RELAY = """
kind = "modbus_relay"
port = "bus"
channels = { green = [0], amber = [1], red = [] }
hold = "pulse"
pulse_ms = 4000
"""

NTCIP = """
kind = "ntcip1202"
port = "junction"
backup_time_s = 4
[interlock.here.signal.aspects]
green = { special_functions = [1] }
amber = {}
red = { preempts = [1] }
"""

GBT = """
kind = "gbt20999"
port = "junction"
second_path = "a float switch"
falls_back_after_s = 4
"""

MQTT = """
kind = "mqtt"
topic = "lamp/lease"
shown_topic = "lamp/shown"
key = "gw-1"
key_file = "lamp.key"
lease_s = 4
"""


def faults(folder: Path, signal: str, every: float = 2, site: str = "") -> list[str]:
    file = folder / "gateway.toml"
    file.write_text(BASE.format(every=every, site=site) + signal)
    try:
        config.read(file)
    except ConfigError as error:
        return [f"{fault.key}: {fault.problem}" for fault in error.faults]
    return []


@pytest.mark.parametrize("signal", [RELAY, NTCIP, GBT, MQTT])
def test_a_right_config_has_no_faults(signal: str, tmp_path: Path) -> None:
    assert faults(tmp_path, signal) == []


@pytest.mark.parametrize(
    ("signal", "key"),
    [
        (RELAY, "pulse_ms"),
        (NTCIP, "backup_time_s"),
        (GBT, "falls_back_after_s"),
        (MQTT, "lease_s"),
    ],
)
def test_a_refresh_that_comes_too_late_is_a_fault_that_names_both(
    signal: str, key: str, tmp_path: Path
) -> None:
    (fault,) = faults(tmp_path, signal, every=2.1)
    assert fault.startswith("interlock.here.refresh_every_s: 2.1 is more than half of the 4 s")
    assert f"(signal.{key})" in fault


HOLDS_FOR_EVER = [
    RELAY.replace('hold = "pulse"\npulse_ms = 4000', 'hold = "latch"'),
    NTCIP.replace("backup_time_s = 4", "backup_time_s = 0"),
]


@pytest.mark.parametrize("signal", HOLDS_FOR_EVER)
@pytest.mark.parametrize("words", ["", 'second_path = "   "', 'second_path = ""'])
def test_a_signal_that_holds_for_ever_is_refused(signal: str, words: str, tmp_path: Path) -> None:
    found = faults(tmp_path, signal, every=3600, site=words)
    assert any(fault.startswith("interlock.here.second_path: ") for fault in found)


@pytest.mark.parametrize("signal", HOLDS_FOR_EVER)
def test_a_signal_that_holds_for_ever_needs_a_second_path(signal: str, tmp_path: Path) -> None:
    words = 'second_path = "a float switch opens the lamp\'s circuit"'
    assert faults(tmp_path, signal, every=3600, site=words) == []
    # That of a controller may stand in its own table.
    assert faults(tmp_path, GBT.replace("falls_back_after_s = 4", ""), every=3600) == []


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (
            NTCIP.replace("junction", "bus"),
            "interlock.here.signal.port: 'bus' is of kind 'serial'; ntcip1202 needs a port of kind "
            "'udp'",
        ),
        (NTCIP.replace("junction", "junktion"), "there is no [port.junktion] (did you mean"),
        (NTCIP.replace("red = { preempts = [1] }", ""), "red is missing"),
        (NTCIP + "flashing_amber = { preempts = [0, 2] }", "preempts.0"),
        (NTCIP.replace("[inter", 'oids = { preempt_state = "x" }\n[inter'), "oids.preempt_state"),
        (NTCIP.replace("[inter", "phases = [2]\n[inter"), "go together"),
        (NTCIP.replace("[inter", "preempt_active = [2]\n[inter"), "the state of an idle preempt"),
        (
            NTCIP.replace("[inter", 'read_back = "phases"\nphases = [2]\n[inter')
            + "flashing_amber = { preempts = [2] }",
            "cannot tell flashing_amber",
        ),
        (GBT + 'run_mode = "13.2.2.0"', "run_mode"),
        (GBT + 'checksum = "crc"', "checksum"),
        (GBT + 'commands = { green = "cancel", amber = "all_red" }', "red is missing"),
        (
            GBT + 'commands = { green = "cancel", amber = "all_red", red = "yellow_flash" }',
            "red cannot be shown by yellow_flash",
        ),
        (
            GBT + 'commands = { green = "yellow_flash", amber = "lamps_off", red = "all_red" }',
            "green by yellow_flash",
        ),
        (
            GBT + 'commands = { green = "cancel", amber = "lamps_off", red = "all_red" }',
            "amber by lamps_off would show no lamp, which warns nobody",
        ),
        (
            GBT + 'commands = { green = "lamps_off", amber = "cancel", red = "all_red" }',
            "amber by cancel would show its own program, which warns nobody",
        ),
        (MQTT.replace("lamp/lease", "lamp/+"), "interlock.here.signal.topic"),
        (MQTT + 'port = "bus"', "interlock.here.signal.port"),
        (MQTT + "within_ms = 60000", "interlock.here.signal.within_ms"),
        (RELAY.replace("4000", "4050"), "in steps of 100 ms, not 4050"),
    ],
)
def test_each_fault_is_one_line(signal: str, says: str, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, signal)
    assert says in fault


@pytest.mark.parametrize("text", ["0.9", "1.1", "14.7", "27.3", "30.1", "57.9"])
def test_a_reading_of_the_threshold_itself_counts_as_over(text: str, tmp_path: Path) -> None:
    amber = "0.5" if float(text) < 10 else "10"
    clear = f"amber_depth_cm = {amber}\nred_depth_cm = {text}\nclear_lower_cm = 0.3\n"
    assert faults(tmp_path, RELAY, site=clear) == []
    rule = config.read(tmp_path / "gateway.toml").config.interlock["here"].rule
    device = Measure(quantity=Quantity.DEPTH, function=3, address=0, type="u16", unit="mm")
    depth_m = device.decode({0: round(float(text) * 10)})
    assert depth_m is not None
    assert depth_m >= rule.rulers.red_m


def test_the_safe_aspect_is_one_that_the_signal_can_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = BASE.replace("refresh_every_s", 'safe_aspect = "flashing_amber"\nrefresh_every_s')
    monkeypatch.setitem(globals(), "BASE", base)
    for signal in (RELAY, NTCIP):
        (fault,) = faults(tmp_path, signal)
        assert fault.startswith("interlock.here: safe_aspect 'flashing_amber': its signal can only")
    for signal in (GBT, MQTT):
        assert faults(tmp_path, signal) == []


def test_amber_and_flashing_amber_may_share_the_flash_of_a_controller(tmp_path: Path) -> None:
    commands = 'commands = { green = "cancel", amber = "yellow_flash", red = "all_red", %s }'
    assert faults(tmp_path, GBT + commands % 'flashing_amber = "yellow_flash"') == []
    (fault,) = faults(tmp_path, GBT + commands % 'flashing_amber = "all_red"')
    assert "commands of flashing_amber and red are the same" in fault


GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text("utf-8")
EXAMPLES = [
    block
    for block in re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    if "[interlock.north-underpass.signal]" in block
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_guide_are_right(example: str, tmp_path: Path) -> None:
    own_port = "[port.junction]" in example
    base = re.sub(r"\[port.junction\].*?\n\n", "", BASE, flags=re.DOTALL) if own_port else BASE
    file = tmp_path / "gateway.toml"
    base = base.replace("[interlock.here.signal]\n", "").replace("here", "north-underpass")
    file.write_text(base.format(every=10, site="") + example)
    assert config.read(file).config.interlock["north-underpass"].signal.kind in example


def test_the_guide_has_an_example_of_every_kind() -> None:
    for kind in loader.plugins("drivers.signals"):
        assert any(f'kind = "{kind}"' in example for example in EXAMPLES), kind


def opened(kind: str, folder: Path, table: dict[str, Any]) -> Any:
    made = loader.parse({"kind": kind, **table}, loader.plugins("drivers.signals")[kind], "test")
    wiring = Wiring("here", folder, {}, {}, profiles.find)
    return loader.plugin("drivers.signals", kind).open(made, wiring)


LEASE = {"topic": "a", "shown_topic": "b", "key": "gw-1", "key_file": "lamp.key"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("not base64!", "the private key is not base64"),
        ("c2hvcnQ=", "32 bytes"),
        ("schlüssel", "the private key is not base64"),
    ],
)
async def test_a_key_that_cannot_be_used_is_one_line(
    content: str | None, says: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "lamp.key").write_text(content, "utf-8")
    with pytest.raises(UserError, match=f"interlock.here.signal.key_file: .*lamp.key: .*{says}"):
        async with opened("mqtt", tmp_path, LEASE):
            pass


async def test_a_key_needs_no_broker_to_be_right(tmp_path: Path) -> None:
    (tmp_path / "lamp.key").write_text(signing.generate()[0])
    broker = {"host": "127.0.0.1", "port": 1}
    async with opened("mqtt", tmp_path, {**LEASE, "broker": broker}) as signal:
        assert signal is not None


async def test_a_library_that_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pysnmp", "pyasn1")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "drivers.protocols.snmp", raising=False)
    monkeypatch.setitem(sys.modules, "pysnmp", None)
    aspects = {"green": {"special_functions": [1]}, "amber": {}, "red": {"preempts": [1]}}
    table = {"port": "p", "backup_time_s": 5, "aspects": aspects}
    with pytest.raises(UserError, match=r"needs pysnmp.*pip install 'shuichi\[ntcip\]'") as caught:
        async with opened("ntcip1202", tmp_path, table):
            pass
    assert len(str(caught.value).splitlines()) == 1
