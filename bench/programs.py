"""Programs that a figure runs beside itself: ours, by their own front door."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench import postgres
from configs import loader
from configs.loader import UserError

_NOTHING: Final[Mapping[str, str]] = {}

_READY_WITHIN_S: Final = 30.0
_STOP_WITHIN_S: Final = 20.0


class Process:
    """A command that runs in `folder` from entry to exit of the `with` block, with `more` in its
    environment.

    It has a session of its own, so that Ctrl-C reaches only the measurement, which then ends its
    programs in order, and a log of its own, `<name>.log`.
    """

    def __init__(
        self, name: str, folder: Path, command: Sequence[str], more: Mapping[str, str] = _NOTHING
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._command = command
        self._environment = {**os.environ, **more}

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start it, at first or after `kill`."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: what it has not yet given away is gone."""
        self._process.kill()
        self._process.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def look(self) -> None:
        """Raises UserError with its last words if it has ended."""
        if (code := self._process.poll()) is not None:
            lines = self.log.read_text("utf-8", "replace").strip().splitlines()
            said = lines[-1] if lines else "it said nothing"
            raise UserError(f"{self.name} ended with code {code}: {said}")

    def wait_until(self, ready: Callable[[], object]) -> None:
        """Wait until it can be used. Raises UserError if it ends before, or takes too long."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ready():
            self.look()
            if time.monotonic() > deadline:
                raise UserError(f"{self.name} is not ready after {_READY_WITHIN_S:g} s")
            time.sleep(0.05)


class Program(Process):
    """`shuichi ARGUMENTS`, behind the words of `before` if there are any."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *arguments: str | Path,
        before: Sequence[str] = (),
        more: Mapping[str, str] = _NOTHING,
    ) -> None:
        ours = [sys.executable, "-m", "shuichi", *map(str, arguments)]
        super().__init__(name, folder, [*before, *ours], more)


def as_installed(folder: Path) -> dict[str, str]:
    """The environment in which systemd starts the gateway: that of its unit file, and our modules
    compiled beforehand (into `folder`), as an installer does."""
    unit = (loader.HERE / "deploy" / "shuichi-edge.service").read_text(encoding="utf-8")
    lines = [
        line.removeprefix("Environment=") for line in unit.splitlines() if "nvironment=" in line
    ]
    environment = dict(line.split("=", 1) for line in lines)
    environment |= {"PYTHONPYCACHEPREFIX": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    compiling = [sys.executable, "-m", "shuichi", "edge", "run", "--config", "nowhere.toml"]
    subprocess.run(compiling, env={**os.environ, **environment}, capture_output=True, check=False)
    return environment


class Server(Process):
    """A server of somebody else's that listens at a port of 127.0.0.1."""

    def __init__(self, name: str, folder: Path, port: int, command: Sequence[str]) -> None:
        super().__init__(name, folder, command)
        self.port = port

    def accepts(self) -> bool:
        """Whether it can be connected to."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Mosquitto(Server):
    """A broker on a port of 127.0.0.1 that forgets everything when it ends; `settings` are more
    lines of its configuration. Raises UserError if there is none on this machine."""

    def __init__(self, folder: Path, port: int, *settings: str) -> None:
        command = _installed("mosquitto", "apt-get install mosquitto")
        config = folder / "mosquitto.conf"
        lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", *settings)
        config.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        super().__init__("mosquitto", folder, port, [command, "-c", str(config)])


class Influxd(Server):
    """An InfluxDB 1.x on a port of 127.0.0.1, as it is by default: it has each write on disk before
    it answers. Raises UserError if there is none on this machine."""

    def __init__(self, folder: Path, port: int) -> None:
        command = _installed("influxd", "apt-get install influxdb")
        config = folder / "influxdb.conf"
        config.write_text(
            f"""\
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"

[meta]
dir = "{folder}/meta"

[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false

[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false

[monitor]
store-enabled = false
""",
            encoding="utf-8",
        )
        super().__init__("influxd", folder, port, [command, "-config", str(config)])


class Postgres(Server):
    """A PostgreSQL on a port of 127.0.0.1, as it is by default: it has each commit on disk before
    it answers. `state` stands under [state] for it. Raises UserError if there is none."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(parents=True)
        self._cluster = postgres.cluster(folder, port)
        super().__init__("postgres", folder, port, self._cluster.command)
        self.state = {
            "url": f"postgresql://{postgres.USER}@127.0.0.1:{port}/postgres",
            "password_file": str(self._cluster.password_file),
        }

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._cluster.remove()


def _installed(name: str, how: str) -> str:
    # Debian puts servers into sbin, which a plain user's PATH leaves out.
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"))
    if (command := shutil.which(name, path=places)) is None:
        raise UserError(f"{name} is not installed: {how}")
    return command


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process so far, s (schedstat: ns on a CPU)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
