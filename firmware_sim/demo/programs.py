"""The programs that the demo starts, watches and ends, by their process ids."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from configs.loader import UserError

HOST: Final = "127.0.0.1"
_READY_WITHIN_S: Final = 60.0
_STOP_WITHIN_S: Final = 20.0
_PORTS: Final = range(20_000, 32_768)
"""Below the range from which Linux takes ports for outgoing connections."""

_SERVER_PATH: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"))


class Program:
    """A process with its own log file and its own process group, so that Ctrl-C reaches only the
    demo, which then ends its programs in order."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it can be used. Raises UserError with the end of its log if it dies."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ready():
            if self.ended is not None or time.monotonic() > deadline:
                state = "ended" if self.ended is not None else "is not ready"
                raise UserError(f"{self.name} {state}: {self.last_words()} (log: {self.log})")
            time.sleep(0.05)

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self, within_s: float = _STOP_WITHIN_S) -> int:
        """SIGTERM, SIGKILL if it does not listen; returns the exit code."""
        if self.ended is None:
            self._process.terminate()
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return self.kill()
        except KeyboardInterrupt:  # somebody has no patience
            self.kill()
            raise

    def kill(self) -> int:
        """SIGKILL; returns the exit code."""
        self._process.kill()
        return self._process.wait()


def shuichi(*arguments: str | Path) -> list[str]:
    """The command line of our own front door."""
    return [sys.executable, "-m", "shuichi", *map(str, arguments)]


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise UserError("no free TCP port between 20000 and 32767")


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def mosquitto(folder: Path) -> tuple[list[str | Path], int]:
    """How to start a broker of our own, and its port. Raises UserError if there is no mosquitto."""
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} {HOST}\n"
        "user root\n"  # started by root it would else change to a user who may not write here
        "allow_anonymous true\n"
        "persistence true\n"
        f"persistence_location {folder}/\n"
        "log_dest stdout\n"
    )
    return [_server("mosquitto"), "-c", config], port


def influxd(folder: Path) -> tuple[list[str | Path], int]:
    """How to start an InfluxDB 1.x of our own, and its port. Raises UserError if there is none."""
    port, rpc = free_port(), free_port()
    config = folder / "influxdb.conf"
    config.write_text(
        "reporting-disabled = true\n"
        f'bind-address = "{HOST}:{rpc}"\n'
        f'[meta]\ndir = "{folder}/influxdb/meta"\n'
        f'[data]\ndir = "{folder}/influxdb/data"\nwal-dir = "{folder}/influxdb/wal"\n'
        f'[http]\nbind-address = "{HOST}:{port}"\nlog-enabled = false\n'
        "[monitor]\nstore-enabled = false\n"
    )
    return [_server("influxd"), "run", "-config", config], port


def _server(name: str) -> str:
    if (path := shutil.which(name, path=_SERVER_PATH)) is None:
        package = {"influxd": "influxdb"}.get(name, name)
        raise UserError(f"{name} is not installed: apt-get install {package}")
    return path
