"""An engineer's first hour with a gateway: find the devices, write them down, check; and what the
commands say when something is wrong."""

import json
import os
import pty
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from firmware_sim.demo import programs
from firmware_sim.demo.programs import Program
from firmware_sim.demo.stage import SITE
from tests import services
from tests.services import Service, free_port
from tests.waiting import PATIENCE_S

NOBODY = free_port()
PATIENT = ("--wait-ms", "500")
"""A device that is there answers in a tenth of it; a machine may be busy."""


class Desk:
    """A folder in which somebody types commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "gateway.toml"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`shuichi ARGUMENTS`, whatever comes of it."""
        return subprocess.run(
            programs.shuichi(*arguments),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )

    def does(self, *arguments: str) -> str:
        """What a command says that goes well."""
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def refuses(self, *arguments: str) -> list[str]:
        """The lines that a command says to the user who must mend something."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
        lines = done.stderr.splitlines()
        assert lines, done
        assert all(line.startswith("shuichi: ") for line in lines), done
        return [line.removeprefix("shuichi: ") for line in lines]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def underpass(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a simulator that runs: `ttyBus`, and a river gauge at the port in `field`."""
    folder = tmp_path_factory.mktemp("underpass")
    port = str(free_port())
    text = (SITE / "sim.toml").read_text("utf-8").replace("port = 5020", f"port = {port}")
    (folder / "sim.toml").write_text(text, "utf-8")
    (folder / "field").write_text(port)
    with running("sim", programs.shuichi("sim", "run", "sim.toml"), folder) as sim:
        sim.wait_until((folder / "ttyBus").exists)
        yield folder


@contextmanager
def running(name: str, command: list[str], folder: Path) -> Iterator[Program]:
    program = Program(name, command, folder)
    try:
        yield program
    finally:
        program.stop()


def begin(desk: Desk, broker_port: int, line: Path) -> None:
    """A gateway with one line, one ruler, and comments."""
    desk.config.write_text(
        f"""\
[gateway]
id = "gw-1"
site = "underpass"

[uplink.broker]
port = {broker_port}

[port.bus] # the RS-485 line under the bridge
kind = "serial"
device = "{line}"

[sensor.ruler-1]
port = "bus"
profile = "ruler-cm-9600"
interval_s = 1 # agreed with the police
""",
        "utf-8",
    )


def test_from_an_empty_folder_to_a_gateway_that_reads(
    desk: Desk, underpass: Path, shared_mosquitto: Service
) -> None:
    broker = f"127.0.0.1:{shared_mosquitto.port}"
    said = desk.does("gateway", "init", "--id", "gw-1", "--site", "underpass", "--broker", broker)
    assert '+id = "gw-1"' in said
    assert f"+port = {shared_mosquitto.port}" in said
    assert "exists already" in desk.refuses("gateway", "init", "--id", "a", "--site", "b")[0]

    desk.does("port", "add", "bus", str(underpass / "ttyBus"), "--baud", "9600")
    found = json.loads(desk.does("sensor", "scan", "bus", "--units", "1-3,192", *PATIENT, "--json"))
    assert {device["unit"]: device["fits"][0] for device in found} == {
        1: "relay-waveshare-8ch",
        2: "ruler-cm-9600",
        192: "rain-sen0575",
    }
    ruler = ("--port", "bus", "--profile", "ruler-cm-9600", "--interval", "0.5")
    assert '+profile = "ruler-cm-9600"' in desk.does("sensor", "add", "ruler-1", *ruler)
    desk.does("sensor", "add", "rain-1", "--port", "bus", "--profile", "rain-sen0575")
    listed = json.loads(desk.does("sensor", "list", "--json"))
    assert [(one["sensor"], one["unit_id"], one["interval_s"]) for one in listed] == [
        ("ruler-1", 2, 0.5),
        ("rain-1", 192, 60),
    ]
    (reading,) = map(json.loads, desk.does("sensor", "read", "ruler-1", "--json").splitlines())
    assert reading == {
        "sensor": "ruler-1",
        "quantity": "depth",
        "value": 0.0,
        "unit": "m",
        "quality": 1,
        "reason": "",
    }
    assert "rain-1 rain_total: " in desk.does("sensor", "read", "rain-1")

    assert "no faults" in desk.does("edge", "check", "--online")
    (bus,) = json.loads(desk.does("edge", "check", "--json"))["loads"][0]["ports"]
    assert bus["port"] == "bus"
    assert 0 < bus["share"] < 0.2
    with running("edge", programs.shuichi("edge", "run"), desk.folder) as edge:
        edge.wait_until(lambda: "gateway gw-1 runs" in edge.log.read_text())
        edge.wait_until(lambda: has_sealed(desk.folder / "outbox.db"))  # so it has the port
        (line,) = desk.refuses("sensor", "read", "ruler-1")
        assert "in use by another program" in line
        edge.kill()  # asked to stop, it would wait for a cloud that is not there


def has_sealed(outbox: Path) -> bool:
    """Whether a gateway has measured anything."""
    try:
        with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT 1 FROM outbox WHERE sealed > 0").fetchall())
    except sqlite3.OperationalError:  # there is no such file yet, or no table in it
        return False


def test_what_comes_and_goes_leaves_the_rest_as_it_was(desk: Desk, underpass: Path) -> None:
    begin(desk, NOBODY, underpass / "ttyBus")
    before = desk.config.read_text()
    rain = ("--port", "bus", "--profile", "rain-sen0575")
    diff = desk.does("sensor", "add", "rain-1", *rain, "--dry-run")
    assert desk.config.read_text() == before
    assert desk.does("sensor", "add", "rain-1", *rain) == diff
    added = [line[1:] for line in diff.splitlines() if re.match(r"\+(?!\+\+)", line)]
    assert added == ["", "[sensor.rain-1]", 'port = "bus"', 'profile = "rain-sen0575"']
    assert desk.config.read_text() == before + "\n".join([*added, ""])
    assert "-[sensor.rain-1]" in desk.does("sensor", "remove", "rain-1")
    assert desk.config.read_text().rstrip() == before.rstrip()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("ruler-2", "--profile", "ruler-cm-9600"), "2 on port 'bus' belongs to sensor.ruler-1"),
        (("rain-1", "--profile", "rain-sen057"), "did you mean 'rain-sen0575'?"),
        (("rain-1", "--profile", "rain-sen0575", "--port", "buss"), "did you mean 'bus'?"),
        (("ruler-1", "--profile", "rain-sen0575"), "there is a [sensor.ruler-1] already"),
        (("Rain 1", "--profile", "rain-sen0575"), "Rain 1"),
    ],
)
def test_a_faulty_addition_leaves_the_file_untouched(
    arguments: tuple[str, ...], complaint: str, desk: Desk
) -> None:
    begin(desk, NOBODY, desk.folder / "ttyBus")
    before = desk.config.read_bytes()
    (line,) = desk.refuses("sensor", "add", "--port", "bus", *arguments)
    assert "gateway.toml" in line
    assert complaint in line
    assert desk.config.read_bytes() == before
    assert [file.name for file in desk.folder.iterdir()] == ["gateway.toml"]


def test_a_scan_shows_its_progress_on_a_terminal(desk: Desk, underpass: Path) -> None:
    place = str(underpass / "ttyBus")
    command = programs.shuichi("sensor", "scan", place, "--units", "2-3", *PATIENT)
    master, slave = pty.openpty()
    try:
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
        with subprocess.Popen(
            command, cwd=desk.folder, env=environment, stdin=slave, stdout=slave, stderr=slave
        ) as scan:
            os.close(slave)
            said = everything(master)
        assert scan.returncode == 0, said
    finally:
        os.close(master)
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)  # colours and movements
    assert re.search(r"asking unit [23] ━+ [0-2]/2 [01] found", said)
    assert re.search(r"│ 2 +│ ruler-cm-9600 +│ depth ", said)


def everything(terminal: int) -> str:
    """All that is written to a terminal until nobody has it open any more."""
    said = b""
    while True:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # EIO: the other end is closed
            return said.decode("utf-8", "replace")


def test_a_scan_of_a_gateway_behind_the_network(desk: Desk, underpass: Path) -> None:
    place = f"127.0.0.1:{(underpass / 'field').read_text()}"
    found = json.loads(desk.does("sensor", "scan", place, "--units", "1-2", *PATIENT, "--json"))
    assert [(device["unit"], device["fits"][0]) for device in found] == [(1, "level-qdy30a")]


def test_all_faults_of_a_config_are_told_at_once_and_nothing_starts(desk: Desk) -> None:
    desk.config.write_text(
        """\
[gateway]
id = "gw-1"
site = "underpass"
colour = "red"

[port.bus]
kind = "serial"
device = "ttyBus"
baud = 1200

[sensor.ruler-1]
port = "bus"
profile = "ruler-cm-9600"
interval_s = 0.1

[sensor.ruler-2]
port = "bus"
profile = "ruler-cm-9600"

[interlock.underpass]
rulers = ["ruler-1"]
amber_depth_cm = 30
red_depth_cm = 15

[interlock.underpass.signal]
kind = "modbus_relay"
port = "bus"
channels = { green = [0], amber = [1], red = [] }
"""
    )
    wanted = {
        "gateway.colour": "is not a key here",
        "sensor.ruler-2.unit_id": "2 on port 'bus' belongs to sensor.ruler-1 already",
        "port.bus": "the bus cannot keep these intervals",
        "interlock.underpass": "amber_depth_cm 30 is not below red_depth_cm 15",
    }
    for command in (("edge", "check"), ("edge", "run"), ("edge", "run", "--unattended")):
        lines = desk.refuses(*command)
        told = {line.split(": ")[1]: line for line in lines}
        assert len(lines) == len(told) == len(wanted), lines
        for key, problem in wanted.items():
            assert told[key].startswith("gateway.toml: ")
            assert problem in told[key]
        assert [file.name for file in desk.folder.iterdir()] == ["gateway.toml"]


@pytest.mark.parametrize("command", [("edge", "run"), ("edge", "check", "--online")])
def test_a_port_that_does_not_exist_and_nobody_at_the_broker(
    command: tuple[str, ...], desk: Desk
) -> None:
    begin(desk, NOBODY, desk.folder / "ttyNone")
    port, broker = desk.refuses(*command)
    assert port.startswith(f"[port.bus] {desk.folder}/ttyNone: no such port")
    refused = f"broker 127.0.0.1:{NOBODY} cannot be reached: connection refused"
    assert broker == f"[uplink.broker] {refused}"
    assert not (desk.folder / "outbox.db").exists()


def test_a_broker_that_refuses_us(desk: Desk, underpass: Path) -> None:
    begin(desk, free_port(), underpass / "ttyBus")
    with services.mosquitto(desk.folder / "broker", users={"gw-1": "s3cret"}) as broker:
        begin(desk, broker.port, underpass / "ttyBus")
        (line,) = desk.refuses("edge", "run")
        assert line.startswith(f"[uplink.broker] broker 127.0.0.1:{broker.port} refuses us as ")
        assert line.endswith("not authorized")
        assert not (desk.folder / "outbox.db").exists()

        (desk.folder / "password").write_text("s3cret\n")
        secret = f'[uplink.broker]\nusername = "gw-1"\npassword_file = "{desk.folder}/password"'
        text = desk.config.read_text().replace("[uplink.broker]", secret)
        desk.config.write_text(text)
        assert "no faults" in desk.does("edge", "check", "--online")


def test_a_sensor_that_nobody_knows(desk: Desk) -> None:
    begin(desk, NOBODY, desk.folder / "ttyBus")
    for command in ("read", "remove"):
        (line,) = desk.refuses("sensor", command, "ruler")
        assert line == "gateway.toml: there is no [sensor.ruler] (did you mean 'ruler-1'?)"


def test_nobody_on_the_line(desk: Desk, underpass: Path) -> None:
    begin(desk, NOBODY, underpass / "ttyBus")
    scan = ("sensor", "scan", "bus", "--units", "77-78", "--wait-ms", "50")
    (line,) = desk.refuses(*scan)
    assert line.startswith(f"{underpass}/ttyBus: nobody answers; check power, ")
    assert json.loads(desk.does(*scan, "--json")) == []
    desk.config.write_text(desk.config.read_text() + "unit_id = 77\n")
    (line,) = desk.refuses("sensor", "read", "ruler-1")
    assert line == "ruler-1: bus: no answer within 300 ms"


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        (("ttyNone",), "ttyNone: no such port; is the adapter plugged in?"),
        (("127.0.0.1:NOBODY",), "127.0.0.1:NOBODY: connection refused"),
        (("bux",), "gateway.toml: there is no [port.bux] (did you mean 'bus'?)"),
        (("bus", "--units", "1-a"), "--units '1-a': '1-a' is not a number or a range"),
        (("bus", "--units", "250-300"), "--units '250-300': '250-300' is not within 0 to 255"),
        (("./tty", "--baud", "9601"), "./tty: baud: 9601: "),
    ],
)
def test_a_scan_that_cannot_be_made(place: tuple[str, ...], complaint: str, desk: Desk) -> None:
    if place[0].startswith("bu"):
        begin(desk, NOBODY, desk.folder / "ttyBus")
    words = (word.replace("NOBODY", str(NOBODY)) for word in place)
    (line,) = desk.refuses("sensor", "scan", *words)
    assert line.startswith(complaint.replace("NOBODY", str(NOBODY)))
