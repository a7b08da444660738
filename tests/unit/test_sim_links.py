"""The link to a simulated line belongs to one simulator, as long as that one lives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_sim.config import parse
from firmware_sim.lines import LineError
from firmware_sim.simulation import simulate

ROOT = Path(__file__).resolve().parents[2]
CONFIG = parse({"line": {"a": {"kind": "pty", "link": "ttyA", "baud": 9600}}}, Path())
ANOTHER = """
import asyncio, pathlib, sys
from tests.unit.test_sim_links import CONFIG, simulate

async def main():
    async with simulate(CONFIG, pathlib.Path(sys.argv[1])):
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def link(tmp_path):
    return tmp_path / "ttyA"


@pytest.fixture
def terminal():
    """The path of a terminal that some other program has."""
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


@pytest.fixture
def another(tmp_path):
    """A simulator in a process of its own, which serves `link`."""
    words = [sys.executable, "-c", ANOTHER, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


async def test_a_killed_one_leaves_its_link_to_the_next_though_its_terminal_is_in_use_again(
    tmp_path, link, another, terminal
):
    where = os.readlink(link)
    with pytest.raises(LineError, match=f"process {another.pid} simulates it already"):
        async with simulate(CONFIG, tmp_path):
            pass
    assert os.readlink(link) == where
    another.send_signal(signal.SIGKILL)
    another.wait()
    assert os.readlink(link) == where
    link.unlink()
    link.symlink_to(terminal)  # as if that one's number had been given to another program
    async with simulate(CONFIG, tmp_path) as bench:
        assert os.readlink(link) == bench.terminal("a") != terminal
    assert [*tmp_path.iterdir()] == []


async def test_two_in_one_process_are_told_apart_too(tmp_path, link):
    async with simulate(CONFIG, tmp_path) as bench:
        with pytest.raises(LineError, match=f"process {os.getpid()} simulates it already"):
            async with simulate(CONFIG, tmp_path):
                pass
        assert os.readlink(link) == bench.terminal("a")
    async with simulate(CONFIG, tmp_path):
        assert link.exists()


async def test_a_link_that_leads_nowhere_is_replaced(tmp_path, link):
    link.symlink_to("/dev/pts/999999")
    async with simulate(CONFIG, tmp_path) as bench:
        assert os.readlink(link) == bench.terminal("a")


async def test_what_no_simulator_made_stays(tmp_path, link, terminal):
    link.symlink_to(terminal)
    for _ in range(2):  # a refusal leaves nothing that makes it ours
        with pytest.raises(LineError, match=r"ttyA: leads to .* no simulator made it"):
            async with simulate(CONFIG, tmp_path):
                pass
        assert os.readlink(link) == terminal
        assert [*tmp_path.iterdir()] == [link]
    link.unlink()
    link.write_text("somebody else's")
    with pytest.raises(LineError, match="ttyA: exists and is not ours"):
        async with simulate(CONFIG, tmp_path):
            pass
    assert link.read_text() == "somebody else's"


async def test_what_takes_its_place_meanwhile_stays(tmp_path, link):
    async with simulate(CONFIG, tmp_path):
        link.unlink()
        link.write_text("somebody else's")
    assert link.read_text() == "somebody else's"
