"""A config that a command changes stays what it was for everybody else who reads it."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tomlkit
from click.testing import CliRunner

from configs import tomlfile
from configs.loader import ConfigError, Fault
from edge import config
from edge.provision import gateway, port, sensor

GATEWAY = """\
# Ours.
[gateway]
id = "gw-1"
site = "here"

[port.bus]
kind = "serial"
device = "/dev/ttyUSB0"
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "gateway.toml").write_text(GATEWAY)
    return tmp_path / "gateway.toml"


def add(file, name="rain-1", unit="7"):
    given = [name, "--port", "bus", "--profile", "rain-sen0575", "--unit", unit]
    done = CliRunner().invoke(sensor, ["add", *given, "--config", str(file)])
    assert done.exit_code == 0, (done.output, done.exception)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
@pytest.mark.parametrize("mode", [0o640, 0o600, 0o664])
def test_the_mode_stays_whatever_the_umask(file, mode, umask):
    file.chmod(mode)
    before = os.umask(umask)
    try:
        add(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert names(file.parent) == ["gateway.toml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group_stay(file):
    os.chown(file, 12345, 23456)
    add(file)
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 23456)


def test_an_owner_who_cannot_be_kept_is_told_and_the_file_stays(file, monkeypatch):
    def refuse(*_):
        raise PermissionError

    info = file.stat()
    other = os.stat_result((info.st_mode, *info[1:4], info.st_uid + 1, *info[5:]))
    stat_of = Path.stat
    monkeypatch.setattr(os, "chown", refuse)
    monkeypatch.setattr(
        Path, "stat", lambda path, **kw: other if path == file else stat_of(path, **kw)
    )
    with pytest.raises(ConfigError, match="which you may not set: change it as its owner or as"):
        tomlfile.save(file, tomlfile.load(file), config.read, dry_run=False)
    assert file.read_text() == GATEWAY
    assert names(file.parent) == ["gateway.toml"]


def test_a_link_stays_a_link_and_what_it_leads_to_is_changed(tmp_path):
    (tmp_path / "etc").mkdir()
    real, link = tmp_path / "etc" / "real.toml", tmp_path / "gateway.toml"
    real.write_text(GATEWAY.replace("rain", "mine"))
    link.symlink_to("etc/real.toml")
    # The profile lies beside the link, as it does for the gateway that reads the link.
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "rain-sen0575.toml").write_text(
        'title = "mine"\nsource = "me"\n[[measure]]\nquantity = "depth"\naddress = 1\nunit = "mm"\n'
    )
    add(link)
    assert link.is_symlink()
    assert "[sensor.rain-1]" in real.read_text()
    assert names(tmp_path / "etc") == ["real.toml"]
    assert names(tmp_path) == ["etc", "gateway.toml", "profiles"]


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_stay(file, end, bom):
    file.write_bytes((bom + GATEWAY.replace("\n", end)).encode())
    assert config.read(file).config.gateway.id == "gw-1"
    add(file)
    after = file.read_bytes().decode()
    assert after.startswith(bom + GATEWAY.replace("\n", end))
    assert after.count(end) == after.count("\n")
    assert after.count("\r\n") == (after.count("\n") if end == "\r\n" else 0)
    assert "rain-1" in config.read(file).config.sensor


def test_what_fails_leaves_nothing_behind(file):
    def refuse(draft):
        assert "rain-1" in draft.read_text()
        raise ConfigError(draft, [Fault("sensor", "no")])

    document = tomlfile.load(file)
    document["sensor"] = {"rain-1": {}}
    with pytest.raises(ConfigError, match=r"gateway.toml \(unchanged\): sensor: no"):
        tomlfile.save(file, document, refuse, dry_run=False)
    assert file.read_text() == GATEWAY
    assert names(file.parent) == ["gateway.toml"]


EIGHT = """
import os, sys, shuichi
try:
    shuichi.cli(["sensor", "add", "--help"], "shuichi")
except SystemExit:
    pass
from edge import config
given, ends = sys.argv[1:], []
for n in range(1, 9):
    if (pid := os.fork()) == 0:
        sys.argv = ["shuichi", "sensor", "add", f"s-{n}", "--unit", str(n), *given]
        shuichi.main()
        os._exit(0)
    ends.append(pid)
sys.exit(sum(os.waitpid(pid, 0)[1] for pid in ends) != 0)
"""


def test_eight_at_once_are_eight(file):
    """Processes, because that is what is locked out; they part once all is imported, since eight
    that import the same take five seconds for it."""
    given = ["--port", "bus", "--profile", "rain-sen0575", "--config", str(file)]
    adding = subprocess.run(
        [sys.executable, "-c", EIGHT, *given], stdout=subprocess.DEVNULL, check=False
    )
    assert adding.returncode == 0
    assert sorted(config.read(file).config.sensor) == [f"s-{n}" for n in range(1, 9)]


def test_a_lock_that_is_never_let_go_of_is_told(file, monkeypatch):
    monkeypatch.setattr(tomlfile, "LOCK_WITHIN_S", 0.0)
    with (
        tomlfile.locked(file),
        pytest.raises(ConfigError, match="another command has been changing it"),
        tomlfile.locked(file),
    ):
        pass


def test_of_a_first_config_no_value_is_toml(tmp_path):
    file = str(tmp_path / "gateway.toml")
    evil = 'a"\nid = "b'
    with pytest.raises(ConfigError, match=r"gateway\.site"):
        CliRunner().invoke(
            gateway,
            ["init", "--id", "gw-1", "--site", evil, "--config", file],
            catch_exceptions=False,
        )
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("broker", "host", "number", "tls"),
    [
        ("[::1]:1883", "::1", 1883, False),
        ("::1", "::1", 1883, False),
        ("mqtts://h", "h", 8883, True),
        ("mqtt://10.0.0.1:77", "10.0.0.1", 77, False),
        ("broker", "broker", 1883, False),
    ],
)
def test_brokers_are_named_as_people_name_them(tmp_path, broker, host, number, tls):
    file = tmp_path / "gateway.toml"
    given = ["init", "--id", "gw-1", "--site", "here", "--broker", broker, "--config", str(file)]
    done = CliRunner().invoke(gateway, given)
    assert done.exit_code == 0, (done.output, done.exception)
    found = config.read(file).config.uplink.broker
    assert (found.host, found.port, found.tls) == (host, number, tls)


@pytest.mark.parametrize("broker", ["h:99999", "h:x", "ftp://h", "a b", "[::1"])
def test_what_is_no_broker_is_refused(tmp_path, broker):
    given = ["init", "--id", "gw-1", "--site", "here", "--broker", broker]
    done = CliRunner().invoke(gateway, [*given, "--config", str(tmp_path / "gateway.toml")])
    assert done.exit_code == 2
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("place", "table"),
    [
        ("[::1]:502", {"kind": "tcp", "host": "::1", "port": 502}),
        ("10.0.0.2:502", {"kind": "tcp", "host": "10.0.0.2", "port": 502}),
        (
            "/dev/serial/by-path/pci:1:2",
            {"kind": "serial", "device": "/dev/serial/by-path/pci:1:2"},
        ),
    ],
)
def test_ports_are_named_as_people_name_them(file, place, table):
    done = CliRunner().invoke(port, ["add", "new", place, "--config", str(file)])
    assert done.exit_code == 0, (done.output, done.exception)
    found = config.read(file).config.port["new"]
    assert {key: getattr(found, key) for key in table} == table


def test_a_broken_profile_hides_no_other_and_keeps_its_key(file):
    folder = file.parent / "profiles"
    folder.mkdir()
    (folder / "mine.toml").write_text(
        'title = "mine"\nsource = "me"\n[[measure]]\nquantity = "depth"\naddress = 1\n'
        'unit = "furlong"\ncolour = 2\n'
    )
    (folder / "torn.toml").write_text("[[measure")
    (folder / "folder.toml").mkdir()
    done = CliRunner().invoke(sensor, ["profiles", "--config", str(file)], env={"COLUMNS": "150"})
    assert done.exit_code == 0, (done.output, done.exception)
    assert "ruler-cm-9600" in done.stdout
    assert "cannot be used: 2 faults" in done.stdout
    assert "mine.toml: measure.0.colour: is not a key here" in done.stderr
    assert "mine.toml: measure.0: unit 'furlong' does not measure depth: use" in done.stderr
    assert "torn.toml: is not TOML" in done.stderr
    file.write_text(f'{GATEWAY}[sensor.a]\nport = "bus"\nprofile = "mine"\n')
    with pytest.raises(ConfigError) as caught:
        config.read(file)
    assert [str(fault.problem) for fault in caught.value.faults] == [
        "'mine': measure.0.colour: is not a key here",
        *[f.problem for f in caught.value.faults[1:]],
    ]
    assert {fault.key for fault in caught.value.faults} == {"sensor.a.profile"}
    file.write_text(file.read_text() + '[sensor.b]\nport = "bus"\nprofile = "mine"\nunit_id = 9\n')
    with pytest.raises(ConfigError) as again:
        config.read(file)
    assert again.value.faults == caught.value.faults  # told once


def test_a_profile_name_that_no_file_can_have(file):
    file.write_text(f'{GATEWAY}[sensor.a]\nport = "bus"\nprofile = "{"x" * 5000}"\n')
    with pytest.raises(ConfigError, match=r"sensor\.a\.profile: .* there is no such profile"):
        config.read(file)


def test_what_is_no_ordinary_file_is_not_replaced(tmp_path):
    """As `--config /dev/null` would be, by root."""
    link = tmp_path / "gateway.toml"
    link.symlink_to("/dev/null")
    document = tomlkit.parse(GATEWAY)
    with pytest.raises(ConfigError, match="is no ordinary file: name another"):
        tomlfile.save(link, document, lambda _: None, dry_run=False)
    assert link.is_symlink()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert names(tmp_path) == ["gateway.toml"]


def test_a_folder_that_takes_no_file_is_named(file, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(ConfigError, match=f"you may not make files in {file.parent}: change it as"):
        tomlfile.save(file, tomlfile.load(file), config.read, dry_run=False)
    assert file.read_text() == GATEWAY


@pytest.mark.parametrize("kind", ["loop", "dangling"])
def test_links_that_lead_nowhere(tmp_path, kind):
    link = tmp_path / "gateway.toml"
    link.symlink_to("gateway.toml" if kind == "loop" else "nowhere.toml")
    for group, words in ((sensor, ["list"]), (sensor, ["remove", "x"]), (port, ["add", "a", "/b"])):
        with pytest.raises(ConfigError) as caught:
            CliRunner().invoke(group, [*words, "--config", str(link)], catch_exceptions=False)
        assert len(str(caught.value).splitlines()) == 1
    given = ["init", "--id", "gw-1", "--site", "here", "--config", str(link)]
    with pytest.raises(ConfigError, match="exists already"):
        CliRunner().invoke(gateway, given, catch_exceptions=False)
    assert link.is_symlink()
