"""`shuichi demo` as a stranger runs it: it keeps its promises, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import pytest

from configs.loader import UserError
from firmware_sim import truth
from firmware_sim.demo import programs
from tests.services import Service
from wire.reading import Quantity

PATIENCE_S: Final = 240.0
"""For a whole demo on a machine that is busy."""

LAMP: Final = "lamp confirmed within"
"""The one promise that hangs on how busy the machine is: `bench/demo_lamp.py` measures it."""

CLIMB: Final = "an unanswered alert climbed, and an answer stopped it"
CALLS: Final = ("opened", "climbed", "answer")


class Demo:
    """One run of the command, its data in `folder`."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            programs.shuichi("demo", "--data", folder, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that comes while it runs."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def children(self) -> list[psutil.Process]:
        """Every process that it has started."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def child(self, *words: str) -> psutil.Process:
        """The one whose command line ends in `words`."""
        (found,) = [c for c in self.children() if tuple(c.cmdline()[-len(words) :]) == words]
        return found

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def flood(self) -> bool:
        """Whether the water has ever stood at 15 cm."""
        return any(
            isinstance(fact, truth.Answered)
            and fact.quantity is Quantity.DEPTH
            and (fact.value or 0.0) >= 0.15
            for fact in map(_FACT.decode, self._facts())
        )

    def end(self) -> tuple[int, str, list[str]]:
        """Exit code, what it said, and the lines of its complaints."""
        said, complaints = self._process.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in complaints
        return self._process.returncode, said, complaints.splitlines()

    def report(self) -> dict[str, Any]:
        """The report of a run with --json, whose exit code goes with it."""
        code, said, complaints = self.end()
        assert code in (0, 1), complaints
        report: dict[str, Any] = json.loads(said)
        assert code == (0 if all(promise["kept"] for promise in report["promises"]) else 1)
        assert report == json.loads((self.folder / "report.json").read_text())
        return report

    def _facts(self) -> list[bytes]:
        file = self.folder / "truth.jsonl"
        return file.read_bytes().rpartition(b"\n")[0].splitlines() if file.exists() else []


_FACT: Final = msgspec.json.Decoder(truth.Fact)


def broken(report: dict[str, Any]) -> list[str]:
    """The names of the promises that were not kept."""
    return [promise["name"] for promise in report["promises"] if not promise["kept"]]


# One test for three runs: they work beside each other, which they must, in a third of the time.
def test_demos_beside_each_other_keep_their_promises(
    shared_data: Path, shared_influxd: Service, tmp_path: Path
) -> None:
    events = str(shared_data / "street_flood_depth_events.csv")
    replay = ("--replay", events, "--column", "depth_m", "--time-column", "t_s")
    given = ("--store", "influx", "--influx-url", shared_influxd.url)
    runs = {
        "sqlite": ("--speed", "600"),
        "influx": ("--speed", "600", "--store", "influx"),
        "replay": ("--speed", "600", *replay, "--where", "event=100", *given),
    }
    demos = {name: Demo(tmp_path / name, "--json", *runs[name]) for name in runs}
    reports = {name: demo.report() for name, demo in demos.items()}
    for report in reports.values():
        assert [one for one in broken(report) if not one.startswith(LAMP)] == [], report
        assert [promise["name"][: len(LAMP)] for promise in report["promises"]][:1] == [LAMP]
        assert [crossing["aspect"] for crossing in report["crossings"]][-1] == "red"
        assert report["account"]["missing_batches"] == 0
        assert "red" in {alert["level"] for alert in report["alerts"]}
        assert CLIMB in [promise["name"] for promise in report["promises"]]
        shown = [step["kind"] for step in report["timeline"]]
        assert [one for one in shown if one in CALLS][:3] == list(CALLS)
        assert 200 in [answer["status"] for answer in report["answers"]]
    assert reports["sqlite"]["title"] == "Storm over an underpass"
    assert reports["replay"]["title"] == "Replay of street_flood_depth_events.csv event=100"
    assert 0.3 < reports["replay"]["highest_depth_m"] < 0.59  # 0.57, if it was asked just then
    assert [reports[name]["store"] for name in runs] == ["sqlite", "influx", "influx"]


def flood(folder: Path) -> tuple[str, ...]:
    """Water that is over amber within a second, and stays there for longer than any test."""
    file = folder / "flood.csv"
    file.write_text("t_s,depth_m\n0,0\n60,0.2\n36000,0.2\n")
    return "--replay", str(file), "--column", "depth_m", "--time-column", "t_s", "--speed", "60"


def test_stopped_in_mid_flood_it_leaves_nobody_behind(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    demos = [Demo(tmp_path / number.name, *flood(tmp_path)) for number in numbers]
    for demo, number in zip(demos, numbers, strict=True):
        demo.until(demo.flood)
        started = demo.children()
        demo.signal(number)
        code, said, complaints = demo.end()
        assert (code, complaints) == (130, [])
        assert f"stopped by hand; data and logs: {demo.folder}" in said
        check_ended(started)


@pytest.mark.parametrize(
    ("name", "number"),
    [("mosquitto", signal.SIGTERM), ("cloud", signal.SIGINT), ("edge", signal.SIGINT)],
)
def test_stopped_while_it_starts_it_leaves_nobody_behind(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    demo = Demo(tmp_path / "data")
    demo.until((tmp_path / "data" / f"{name}.log").exists)
    started = demo.children()
    demo.signal(number)
    code, _, complaints = demo.end()
    assert (code, complaints) == (130, [])
    check_ended(started)


def test_stopped_without_patience_it_leaves_nobody_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "data", *flood(tmp_path))
    demo.until(demo.flood)
    started = demo.children()
    edge = demo.child("edge", "run")
    edge.suspend()  # it will not end by itself
    demo.signal(signal.SIGINT)
    demo.until(lambda: has_been_asked_to_end(edge))
    demo.signal(signal.SIGTERM)
    code, _, complaints = demo.end()
    assert (code, complaints) == (130, [])
    check_ended(started)


def has_been_asked_to_end(process: psutil.Process) -> bool:
    """Whether a SIGTERM waits for a process that is suspended (proc(5), /proc/pid/status)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (pending,) = [line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:")]
    return bool(int(pending, 16) & 1 << signal.SIGTERM - 1)


def test_a_program_that_dies_in_mid_flood_is_named(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "data", *flood(tmp_path))
    demo.until(demo.flood)
    started = demo.children()
    demo.child("cloud", "run").kill()
    code, _, (line,) = demo.end()
    assert code == 2
    assert line.startswith("shuichi: cloud ended with code -9: ")
    assert line.endswith(f"; logs: {tmp_path}/data")
    check_ended(started)


def check_ended(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


RECORD: Final = "t_s,depth_m,note\n0,0.1,a\n60,0.4,b\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--replay", "no.csv"), "--replay no.csv: there is no such file"),
        (("--replay", "a.csv"), "say which columns with --column and --time-column"),
        (("--replay", "a.csv", "--column", "d", "--time-column", "t_s"), "no column 'd'"),
        (("--replay", "a.csv", "--column", "note", "--time-column", "t_s"), "a.csv"),
        (("--replay", "a.bin", "--column", "depth_m", "--time-column", "t_s"), "a.bin"),
        (("--column", "depth_m"), "go with --replay"),
        (("--influx-url", "http://127.0.0.1:1"), "--influx-url goes with --store influx"),
        (("--speed", "0"), "--speed"),
    ],
)
def test_what_it_cannot_do_is_one_line_and_nothing_starts(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(RECORD)
    Path("a.bin").write_bytes(bytes(range(256)))
    code, said, (line,) = Demo(tmp_path / "data", *arguments).end()
    assert (code, said) == (2, "")
    assert line.startswith("shuichi: ")
    assert complaint in line
    assert not (tmp_path / "data").exists()


def test_its_folder_must_be_new(tmp_path: Path) -> None:
    code, said, (line,) = Demo(tmp_path).end()
    assert (code, said) == (2, "")
    assert line == f"shuichi: --data {tmp_path}: exists already; name a new folder"


def test_a_server_that_is_not_installed_is_named(tmp_path: Path) -> None:
    # mosquitto is looked for in the folders of servers too, and may be found there.
    demo = Demo(tmp_path / "data", "--store", "influx", PATH=str(tmp_path))
    code, said, (line,) = demo.end()
    assert (code, said) == (2, "")
    name, _, remedy = line.removeprefix("shuichi: ").partition(
        " is not installed: apt-get install "
    )
    assert (name, remedy) in {("mosquitto", "mosquitto"), ("influxd", "influxdb")}


def test_without_a_broker_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_SERVER_PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^mosquitto is not installed: apt-get install mosquitto$"):
        programs.mosquitto(tmp_path)
