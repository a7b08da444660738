"""How long the lamp takes, ÷ what `edge check` prints for it, in each of its worst cases: with 0, 1
and 2 devices dead, after a ruler was silent for 1 to 5 s, after the agent was killed, after the
line was gone, and while a reload opens the port anew. The gateway is a process of its own; two
rulers, two gauges and the relay are on one serial line of 9600 baud. Only one ruler sees the water.

The stopwatch is the line's: from the water to the first read-back that says red. After a restart it
runs from the first line of the new agent's log; the time that a Python takes to start is beside it.
"""

import random
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from bench._slaves import Slaves
from bench.figure import Detail, Figure, Goal, Progress, Result, spread
from bench.programs import Program, as_installed, free_port
from configs.loader import UserError
from edge import config, load

RULER: Final = 11
OTHERS: Final = (12, 21, 22)
RELAY: Final = 1
HIGH_CM: Final = 45
GREEN: Final = 1
RUNS: Final = 5
PATIENCE_S: Final = 30.0

FIGURE: Final = Figure(
    "depth to lamp / what edge check prints, the worst of the runs of all of its cases",
    "ratio",
    Goal("<=", 1.0),
)

_CONFIG: Final = """
[gateway]
id = "gw-promise"
site = "here"
[uplink]
drain_at_stop_s = 0
[uplink.broker]
port = {port}
[clock]
source = "trusted"
[port.bus]
kind = "serial"
device = "ttyBus"
gap_ms = {gap_ms}
{sensors}
[interlock.here]
rulers = ["unit-11", "unit-12"]
hold_s = 0
jump_cm = 0
disagree_cm = 0
second_path = "nothing: this is a measurement"
[interlock.here.signal]
kind = "modbus_relay"
hold = "latch"
port = "bus"
unit_id = 1
channels = {{ green = [0], amber = [1], red = [] }}
"""
_SENSOR: Final = """
[sensor.unit-{unit}]
port = "bus"
profile = "{profile}"
unit_id = {unit}
interval_s = {interval_s}
"""
_GAP_MS: Final = 3.6458


def measure(progress: Progress) -> Result:
    """About 150 s. Raises UserError if a program fails, or if the lamp does not turn at all."""
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder, port = Path(name), free_port()
        _write(folder, port, _GAP_MS)
        setup = config.read(folder / "gateway.toml")
        promised = [load.of(setup, dead).lamps[0] for dead in (0, 1, 2)]
        slaves = Slaves(folder / "ttyBus", RELAY, 0.005)
        slaves.depth_cm = dict.fromkeys((RULER, *OTHERS), 0)
        environment = as_installed(folder / "compiled")
        edge_run = ("edge", "run", "--unattended", "--log", "json")
        with (
            slaves.running(),
            Program("edge", folder, *edge_run, more=environment) as edge,
        ):
            stage = _Stage(folder, port, slaves, edge)
            cases: dict[str, tuple[Callable[[int], float], float]] = {
                "0 dead": (lambda _: stage.dead(()), promised[0].depth_to_lamp_s),
                "1 dead": (lambda run: stage.dead(_some(1, run)), promised[1].depth_to_lamp_s),
                "2 dead": (lambda run: stage.dead(_some(2, run)), promised[2].depth_to_lamp_s),
                "after a silence": (stage.silence, promised[1].after_silence_s),
                "after a restart": (stage.restart, promised[0].after_restart_s),
                "line back": (stage.loss, promised[0].after_loss_s),
                "a reload": (stage.reload, promised[0].reload_s),
            }
            found: dict[str, list[float]] = {}
            for place, (case, (play, _)) in enumerate(cases.items()):
                for run in range(RUNS):
                    progress((place + run / RUNS) / len(cases), f"{case}, run {run + 1} of {RUNS}")
                    found.setdefault(case, []).append(play(run))
    details: dict[str, Detail] = {}
    for case, (_, promise_s) in cases.items():
        details[f"{case}, promised, s"] = promise_s
        details[f"{case}, s"] = spread(found[case])
        details[f"{case}, worst ratio"] = max(found[case]) / promise_s
    details["restart, from the start of the process, s"] = spread(stage.from_spawn_s)
    return Result(max(max(found[case]) / promise for case, (_, promise) in cases.items()), details)


class _Stage:
    """One gateway and what befalls it. Each case begins dry and green, and gives the time, s."""

    def __init__(self, folder: Path, port: int, slaves: Slaves, edge: Program) -> None:
        self.folder = folder
        self.port = port
        self.slaves = slaves
        self.edge = edge
        self.from_spawn_s: list[float] = []
        self._random = random.Random(10)
        self._gap_ms = _GAP_MS

    def dead(self, units: tuple[int, ...]) -> float:
        """Those fall silent within the last second before the water, or long before."""
        self._dry()
        self.slaves.silent = set(units)
        time.sleep(self._random.choice((0.0, 0.2, 0.5, 4.0)) if units else 0.0)
        return self._until_red(self._rise())

    def silence(self, run: int) -> float:
        """The ruler says nothing for 1 to 5 s, and is back with the water."""
        self._dry()
        self.slaves.silent = {RULER}
        time.sleep(1 + run + self._random.random() * 0.5)
        since = self._rise()
        self.slaves.silent = set()
        return self._until_red(since)

    def restart(self, _: int) -> float:
        """The agent is killed while the lamp is green, and starts under water."""
        self._dry()
        self.edge.kill()
        before = self.edge.log.stat().st_size
        spawned_at = self._rise()
        self.edge.start()
        since = spawned_at
        while (first := self._first_line(before)) is None:
            time.sleep(0.005)
            self.edge.look()
        # The log has the system's clock.
        since = time.monotonic() - (time.time() - first)
        took_s = self._until_red(since)
        self.from_spawn_s.append(took_s + since - spawned_at)
        return took_s

    def loss(self, _: int) -> float:
        """The adapter is unplugged, and is back with the water."""
        self._dry()
        self.slaves.unplug()
        time.sleep(1.5 + self._random.random() * 2)
        since = self._rise()
        self.slaves.plug()
        return self._until_red(since)

    def reload(self, _: int) -> float:
        """The water rises while another port is opened in place of the old one."""
        self._dry()
        self._gap_ms += 0.001
        _write(self.folder, self.port, self._gap_ms)
        self.edge.signal(signal.SIGHUP)
        time.sleep(self._random.random())
        return self._until_red(self._rise())

    def _dry(self) -> None:
        self.slaves.silent = set()
        self.slaves.depth_cm[RULER] = 0
        self._wait("green", lambda: not self.slaves.shown[-1].is_red and self._is_green())
        time.sleep(1 + self._random.random())

    def _is_green(self) -> bool:
        return self.slaves.coils == GREEN

    def _rise(self) -> float:
        self.slaves.depth_cm[RULER] = HIGH_CM
        return time.monotonic()

    def _until_red(self, since: float) -> float:
        def seen() -> list[float]:
            return [one.at for one in self.slaves.shown[-50:] if one.is_red and one.at >= since]

        self._wait("red", seen)
        return seen()[0] - since

    def _wait(self, aspect: str, ready: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not (self.slaves.shown and ready()):
            self.edge.look()
            if time.monotonic() > end:
                raise UserError(f"the lamp does not turn {aspect}")
            time.sleep(0.005)

    def _first_line(self, before: int) -> float | None:
        with self.edge.log.open("rb") as log:
            log.seek(before)
            line = log.readline()
        if not line.endswith(b"\n"):
            return None
        return datetime.fromisoformat(msgspec.json.decode(line)["at"]).timestamp()


def _some(count: int, run: int) -> tuple[int, ...]:
    return (OTHERS * 2)[run % len(OTHERS) :][:count]


def _write(folder: Path, port: int, gap_ms: float) -> None:
    units = {RULER: ("ruler-cm-9600", 0.5), 12: ("ruler-cm-9600", 0.5)}
    units |= dict.fromkeys((21, 22), ("rain-sen0575", 1))
    sensors = "".join(
        _SENSOR.format(unit=unit, profile=profile, interval_s=interval_s)
        for unit, (profile, interval_s) in units.items()
    )
    text = _CONFIG.format(port=port, gap_ms=round(gap_ms, 4), sensors=sensors)
    (folder / "gateway.toml").write_text(text, encoding="utf-8")
