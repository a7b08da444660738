"""Real servers for tests: mosquitto, NATS, InfluxDB 1.x, VictoriaMetrics and PostgreSQL.

Each runs as a process of its own on free ports of 127.0.0.1, keeps its data in a folder that the
test gives, can be killed (-9) and started again on the same ports and data, and ends by its id.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg
import pytest

from bench.postgres import USER, cluster
from cloud.database import Server

HOST = "127.0.0.1"
READY_WITHIN_S = 90.0
STOP_WITHIN_S = 60.0


class Service:
    """One server: `with` starts and stops it, `kill()` and `start()` are a crash and the recovery.

    Attributes: `host` and `port` of its main listener, `url` (http) for those that speak HTTP,
    `folder` with its data and `server.log`.
    """

    host = HOST
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        port: int,
        is_ready: Callable[[int], bool],
        environment: Mapping[str, str] = {},
    ) -> None:
        self.name = Path(command[0]).name
        self.folder = folder
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._command = command
        self._is_ready = is_ready
        self._environment = environment
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
                env=os.environ | self._environment,
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
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            said = f"{self.name} ignored {self.stop_signal.name}"
            pytest.fail(f"{said}; its log ends:\n{self.log_tail()}", False)
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


def nats(folder: Path) -> Service:
    """A NATS server with JetStream, which speaks MQTT 3.1.1 on `port`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "nats.conf"
    config.write_text(
        f"""\
server_name: shuichi
listen: "{HOST}:{free_port()}"
jetstream {{ store_dir: "{folder}" }}
mqtt {{ listen: "{HOST}:{port}" }}
"""
    )
    return Service([command("nats-server"), "-c", str(config)], folder, port, _accepts)


def influxd(folder: Path, program: str = "influxd", wrapper: Sequence[str] = ()) -> Service:
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
    words = [*wrapper, command(program), "-config", str(config)]
    return Service(words, folder, port, _answers("/ping"))


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


class Postgres(Service):
    """A PostgreSQL with a superuser `shuichi`, whose password is in `password_file`."""

    stop_signal = signal.SIGINT  # fast: SIGTERM waits until every client has gone

    def __init__(self, folder: Path, *settings: str) -> None:
        port = free_port()
        self._cluster = cluster(folder, port, *settings)
        self.password_file = self._cluster.password_file
        super().__init__(self._cluster.command, folder, port, self._answers)
        self.name = "postgres"

    def database(self, name: str = "shuichi") -> Server:
        """A new and empty database."""
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return Server(f"postgresql://{USER}@{HOST}:{self.port}/{name}", self.password_file)

    def kill(self) -> None:
        """SIGKILL, and wait for those that served the connections: they notice it themselves."""
        children = psutil.Process(self.pid).children()
        super().kill()
        psutil.wait_procs(children, STOP_WITHIN_S)

    def _answers(self, port: int) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=USER,
            password=self.password_file.read_text().strip(),
            dbname="postgres",
            autocommit=True,
            connect_timeout=2,
        )

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._cluster.remove()


def postgres(folder: Path) -> Postgres:
    """A PostgreSQL that answers a commit before it is on the disk: a killed server loses nothing by
    that, only a machine without power would, and tests do not wait for the disk. It starts no
    processes of its own accord."""
    folder.mkdir(parents=True, exist_ok=True)
    return Postgres(folder, "fsync=off", "shared_buffers=16MB", "autovacuum=off")


def command(name: str) -> str:
    """The path of an installed command; the test fails in one line where it is missing."""
    # Debian puts servers into sbin, which a plain user's PATH leaves out.
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin")
    if found is None:
        pytest.fail(f"{name} is not installed: `make test` installs it", pytrace=False)
    return found


_given: set[int] = set()
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens, not given before, here or beside us.

    It lies below the range that Linux takes for outgoing connections (32768 on): while a killed
    server is down, no connection can take its port, and no client that tries to connect again
    can end up connected to itself.
    """
    while True:
        port = random.randrange(20000 + _worker, 32768, _workers)
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
