"""`shuichi sim run` as a person starts it: serves, ends cleanly, says what must be mended."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.config import DEFAULT
from tests.mbpoll import BUS, poll
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def sim_run(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "shuichi.py"), "sim", "run", *arguments],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def facts_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until_ready(file: Path) -> list[dict[str, Any]]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        facts = facts_in(file)
        if any(fact["kind"] == "ready" for fact in facts):
            return facts
        time.sleep(0.02)
    pytest.fail("sim run did not get ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sim_run_serves_until_it_is_told_to_end(tmp_path: Path, number: int) -> None:
    config = tmp_path / "sim.toml"
    config.write_text(DEFAULT.read_text().replace("port = 5020", "port = 0"))
    with sim_run("sim.toml", "--speed", "600", "--truth", "truth.jsonl", cwd=tmp_path) as process:
        facts = until_ready(tmp_path / "truth.jsonl")
        lines = {fact["line"]: fact["address"] for fact in facts if fact["kind"] == "line"}
        link = tmp_path / "ttyBus"
        assert os.readlink(link) == lines["bus"]
        rain = poll(*BUS, "-a", "192", "-t", "3:int", "-r", "8", str(link))
        port = lines["field"].rpartition(":")[2]
        level = poll("-m", "tcp", "-p", port, "-t", "4", "-r", "4", "127.0.0.1")
        poll(*BUS, "-a", "1", "-t", "0", "-r", "3", str(link), "1")
        process.send_signal(number)
        said, complaints = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, complaints) == (0, "")
    assert "ruler-1 (ruler-cm-9600, unit 2)" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sim.toml", "truth.jsonl"]
    facts = facts_in(tmp_path / "truth.jsonl")
    answers = {fact["device"]: fact["value"] for fact in facts if fact["kind"] == "answer"}
    assert answers == {
        "rain-1": pytest.approx(rain[8] / 10000 / 1000),
        "river-1": pytest.approx(level[4] / 1000),
    }
    assert [fact["on"] for fact in facts if fact["kind"] == "outputs"] == [[3]]


def test_sim_run_plays_a_record_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "flood.csv").write_text("event,t_s,depth_cm\n1,0,9\n2,0,12\n2,60,31\n")
    (tmp_path / "sim.toml").write_text(
        "[line.a]\nkind = 'pty'\nlink = 'ttyA'\nbaud = 9600\n"
        "[device.r]\nline = 'a'\nprofile = 'ruler-cm-9600'\n"
    )
    with sim_run(
        *("sim.toml", "--replay", "flood.csv", "--column", "depth_cm", "--time-column", "t_s"),
        *("--where", "event=2", "--speed", "100", "--truth", "truth.jsonl"),
        *("--hold", "--exit-at-end"),  # the record waits for the first who asks
        cwd=tmp_path,
    ) as process:
        until_ready(tmp_path / "truth.jsonl")
        assert "begin" not in {fact["kind"] for fact in facts_in(tmp_path / "truth.jsonl")}
        poll(*BUS, "-a", "2", "-t", "4", "-r", "0", str(tmp_path / "ttyA"))
        assert process.wait(PATIENCE_S) == 0
    facts = facts_in(tmp_path / "truth.jsonl")
    assert [fact["kind"] for fact in facts] == ["line", "ready", "begin", "answer", "end"]
    assert 0.12 <= facts[3]["value"] <= 0.31


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.toml"], "nowhere.toml: there is no such file"),
        (
            ["--replay", "no.csv", "--column", "d", "--time-column", "t"],
            "no.csv: there is no such file",
        ),
        (["--replay", "a.csv", "--column", "d", "--time-column", "t"], "no column 'd'"),
        (["--replay", "a.csv"], "say which columns"),
        (["--where", "a=1"], "go with --replay"),
        (["occupied.toml"], "ttyA: exists and is not ours"),
        (["taken.toml"], "address already in use"),
        (["nofolder.toml"], "nofolder/ttyA: cannot be made: No such file or directory"),
        (["--truth", "no/where.jsonl"], "cannot be written"),
    ],
)
def test_what_a_person_must_mend_is_one_line(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    (tmp_path / "a.csv").write_text("t,depth\n0,1\n1,2\n")
    (tmp_path / "ttyA").write_text("somebody else's")
    for name, link in (("occupied", "ttyA"), ("nofolder", "nofolder/ttyA")):
        line = f"[line.a]\nkind = 'pty'\nlink = '{link}'\nbaud = 9600\n"
        (tmp_path / f"{name}.toml").write_text(line)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "taken.toml").write_text(f"[line.a]\nkind = 'tcp'\nport = {port}\n")
        with sim_run(*arguments, cwd=tmp_path) as process:
            said, complaints = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (2, "")
    assert len(complaints.splitlines()) == 1
    assert complaint in complaints
