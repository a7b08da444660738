"""The line without its cloud: a gateway with its simulated devices, beside which one can type.

with Gateway(tmp_path, broker_port, depth_m=0.2) as gateway:
    gateway.start("edge")
    gateway.change({("sensor", "rain-1", "interval_s"): 5})
    gateway.reload()
"""

import json
import os
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import tomlkit

from firmware_sim import truth
from firmware_sim.demo import programs
from tests.system.line import Line
from tests.waiting import PATIENCE_S
from wire.aspect import Aspect


class Gateway(Line):
    """`with` starts the devices only. The water stands at `depth_m`, or moves as `record` says."""

    def __init__(
        self, folder: Path, broker_port: int, *, depth_m: float = 0.0, record: Path | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._water = folder / "water.csv"
        self.stand_at(depth_m)
        super().__init__(folder, broker_port, record=record or self._water)
        self.change({("uplink", "drain_at_stop_s"): 0})

    def stand_at(self, depth_m: float) -> None:
        """How high the water stands when the devices begin."""
        self._water.write_text(f"t_s,depth_m\n0,{depth_m}\n100000,{depth_m}\n", "utf-8")

    @property
    def config(self) -> dict[str, Any]:
        """The tables of gateway.toml."""
        return tomllib.loads((self.folder / "gateway.toml").read_text("utf-8"))

    def change(self, settings: Mapping[tuple[str, ...], Any]) -> None:
        """Set keys of gateway.toml; None takes one out."""
        tables = self.config
        for (*path, key), value in settings.items():
            table = tables
            for name in path:
                table = table.setdefault(name, {})
            if value is None:
                del table[key]
            else:
                table[key] = value
        (self.folder / "gateway.toml").write_text(tomlkit.dumps(tables), "utf-8")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`shuichi edge ARGUMENTS`, at 80 columns."""
        return subprocess.run(
            programs.shuichi("edge", *arguments),
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )

    def status(self) -> Any:
        """What it answers at its socket, as `shuichi edge status --json` prints it."""
        return self._ask(b"status\n")

    def answers(self) -> bool:
        """Whether it listens at its socket already."""
        try:
            self.status()
        except OSError:
            return False
        return True

    def reload(self) -> None:
        """Have it read its config again; it must take it."""
        assert self._ask(b"reload\n") == {"faults": ""}

    def _ask(self, request: bytes) -> Any:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(str(self.folder / "outbox.sock"))
            door.sendall(request)
            with door.makefile("rb") as answer:
                return json.loads(answer.read())

    def aspects(self) -> list[Aspect]:
        """What the lamp has shown, one after another."""
        return [aspect for _, aspect in self.shown()]

    def runs(self, *python: str) -> None:
        """Have Python with these arguments run the gateway, in place of our front door."""
        gateway = self._commands["edge"][-3:]
        self._commands["edge"] = [sys.executable, *python, *gateway]

    def wait(self, name: str) -> int:
        """The exit code of a program that ends by itself."""
        program = self._running.pop(name)
        deadline = time.monotonic() + PATIENCE_S
        while (code := program.ended) is None:
            assert time.monotonic() < deadline, f"{name} runs still; its log:\n{self.log(name)}"
            time.sleep(0.02)
        return code

    def pid(self) -> int:
        """The gateway's process id."""
        return self._running["edge"].pid

    def begin(self) -> None:
        """Start the devices."""

        def times_ready() -> int:
            return sum(isinstance(fact, truth.Ready) for fact in self.facts())

        before = times_ready()
        self.start("sim")
        self._running["sim"].wait_until(lambda: times_ready() > before)

    def __enter__(self) -> Self:
        self.begin()
        return self
