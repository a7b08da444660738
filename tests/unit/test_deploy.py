"""The unit files: systemd understands them, and they call commands that we have."""

import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest

from cloud.cli import cloud
from configs import loader
from edge.cli import edge

UNITS = sorted((loader.HERE / "deploy").glob("*.service"))
INSTALLED = "/opt/shuichi/bin/shuichi"


def analyze(*arguments):
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("needs systemd-analyze")
    return subprocess.run([command, *arguments], capture_output=True, text=True, check=False)


def test_both_are_there():
    assert [unit.stem for unit in UNITS] == ["shuichi-cloud", "shuichi-edge"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_no_fault(unit, tmp_path):
    # It looks for the program: one that is there stands in for ours.
    text = unit.read_text("utf-8").replace(INSTALLED, sys.executable)
    (tmp_path / unit.name).write_text(text, "utf-8")
    done = analyze("verify", "--man=no", str(tmp_path / unit.name))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_little_is_exposed(unit):
    done = analyze("security", "--offline=true", "--threshold=30", str(unit))
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_commands_exist(unit):
    commands = re.findall(r"^Exec(?:Start|Reload)=(.+)$", unit.read_text("utf-8"), re.MULTILINE)
    assert commands
    for command in commands:
        program, room, verb, *options = shlex.split(command)
        assert program == INSTALLED
        found = {"edge": edge, "cloud": cloud}[room].commands[verb]
        found.make_context(verb, options, parent=click.Context(edge))


def test_the_gateway_may_ask_whether_its_clock_is_synchronised():
    """adjtimex(2), which ProtectClock= and the plain @system-service forbid."""
    unit = (loader.HERE / "deploy" / "shuichi-edge.service").read_text("utf-8")
    assert "\nProtectClock=" not in unit
    assert re.search(r"^SystemCallFilter=.* adjtimex clock_adjtime$", unit, re.MULTILINE)
