"""Real servers for tests: mosquitto, InfluxDB 1.x and VictoriaMetrics.

Each runs as a process of its own on free ports of 127.0.0.1, keeps its data in a folder that the
test gives, can be killed (-9) and started again on the same ports and data, and ends by its id.
"""

import os
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

HOST = "127.0.0.1"
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 15.0


class Service:
    """One server: `with` starts and stops it, `kill()` and `start()` are a crash and the recovery.

    Attributes: `host` and `port` of its main listener, `url` (http) for those that speak HTTP,
    `folder` with its data and `server.log`.
    """

    host = HOST

    def __init__(
        self, command: Sequence[str], folder: Path, port: int, is_ready: Callable[[int], bool]
    ) -> None:
        self.name = Path(command[0]).name
        self.folder = folder
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._command = command
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._running().pid

    def start(self) -> None:
        """Start it, on the same ports and data each time, and wait until it answers."""
        assert self._process is None, f"{self.name} runs already"
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while not (self._is_ready(self.port) and self._process.poll() is None):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"{self.name} did not start; its log ends:\n{self.log_tail()}", False)
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: nothing that the server had not yet put on disk survives."""
        process = self._running()
        process.kill()
        process.wait(STOP_WITHIN_S)
        self._process = None

    def stop(self) -> None:
        """SIGTERM, and no complaint if it was killed before."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"{self.name} ignored SIGTERM; its log ends:\n{self.log_tail()}", False)
        self._process = None

    def log_tail(self, lines: int = 10) -> str:
        text = (self.folder / "server.log").read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} does not run"
        return self._process

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def mosquitto(folder: Path, *, users: Mapping[str, str] | None = None) -> Service:
    """An MQTT broker with persistence on. With `users` (name → password) it refuses all others."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    lines = [
        f"listener {port} {HOST}",
        "user root",  # else, started by root, it becomes a user who may not enter the folder
        "persistence true",
        f"persistence_location {folder}/",
        f"allow_anonymous {'false' if users else 'true'}",
        "log_dest stdout",
    ]
    if users:
        passwords = folder / "passwords"
        passwords.write_text("".join(f"{name}:{word}\n" for name, word in users.items()))
        subprocess.run([command("mosquitto_passwd"), "-U", str(passwords)], check=True)
        lines.append(f"password_file {passwords}")
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    return Service([command("mosquitto"), "-c", str(config)], folder, port, _accepts)


def influxd(folder: Path) -> Service:
    """An InfluxDB 1.x without a database in it; a write's fsync is on, as by default."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "influxdb.conf"
    config.write_text(
        f"""\
reporting-disabled = true
bind-address = "{HOST}:{free_port()}"

[meta]
dir = "{folder}/meta"

[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"

[http]
bind-address = "{HOST}:{port}"

[monitor]
store-enabled = false
"""
    )
    return Service([command("influxd"), "-config", str(config)], folder, port, _answers("/ping"))


def victoria_metrics(folder: Path) -> Service:
    """A VictoriaMetrics that keeps everything and shows a point as soon as it is flushed."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    arguments = [
        command("victoria-metrics"),
        f"-storageDataPath={folder}/data",
        f"-httpListenAddr={HOST}:{port}",
        "-retentionPeriod=100y",
        "-search.latencyOffset=0s",  # by default a query hides the last 30 s
    ]
    return Service(arguments, folder, port, _answers("/health"))


def command(name: str) -> str:
    """The path of an installed command; the test fails in one line where it is missing."""
    # Debian puts servers into sbin, which a plain user's PATH leaves out.
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin")
    if found is None:
        pytest.fail(f"{name} is not installed: `make test` installs it", pytrace=False)
    return found


_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, not given before.

    It lies below the range that Linux takes for outgoing connections (32768 on): while a killed
    server is down, no connection can take its port, and no client that tries to connect again
    can end up connected to itself.
    """
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as probe:
            if port not in _given and probe.connect_ex((HOST, port)) != 0:
                _given.add(port)
                return port


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def _answers(path: str) -> Callable[[int], bool]:
    def is_ready(port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=1.0) as answer:
                return bool(200 <= answer.status < 300)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    return is_ready
