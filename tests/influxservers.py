"""InfluxDB servers for tests: Debian's, and those that whoever runs the tests names.

`SHUICHI_INFLUXD1` (1.x), `SHUICHI_INFLUXD2` (2.x) and `SHUICHI_INFLUXDB3` (3 Core) each name a
program, which is started on a free port, with its data in a folder of the test, and ended by its
id. The same with `_URL` behind it names a running server, and with `_TOKEN_FILE` the file of its
token (1.x: `username:password`). CONTRIBUTING.md says how to use them.

Each test has a place of its own: a database (1.x), or a bucket (2.x) or database (3.x) for readings
and one for each rollup, of a name that nobody else has, which is removed at the end.
"""

import fcntl
import json
import os
import shutil
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from cloud.store import Bucket
from cloud.store.influx2 import bucket_name
from tests import services
from tests.faultproxy import FaultProxy, Way
from tests.services import HOST, Service, free_port
from tests.waiting import PATIENCE_S

ORG: Final = "shuichi tests"
USER: Final = "shuichi"
PASSWORD: Final = "shuichi's own"


class Release(NamedTuple):
    """A kind of server, and the variable that names one."""

    major: int
    variable: str
    needs: str

    @property
    def program(self) -> str:
        return os.environ.get(self.variable, "")

    @property
    def url(self) -> str:
        return os.environ.get(f"{self.variable}_URL", "").rstrip("/")

    @property
    def token(self) -> str:
        file = os.environ.get(f"{self.variable}_TOKEN_FILE", "")
        return Path(file).read_text("utf-8").strip() if file else ""

    @property
    def is_given(self) -> bool:
        return bool(self.program or self.url)

    @property
    def param(self) -> Any:
        """For a fixture: its tests are skipped where no such server is given."""
        reason = f"no InfluxDB {self.needs}: {self.variable} names none, see CONTRIBUTING.md"
        marks = [] if self.is_given else [pytest.mark.skip(reason=reason)]
        return pytest.param(self.major, marks=marks, id=f"influxdb-{self.major}")


RELEASES: Final = (
    Release(1, "SHUICHI_INFLUXD1", "1.8 or later of 1.x"),
    Release(2, "SHUICHI_INFLUXD2", "2.x"),
    Release(3, "SHUICHI_INFLUXDB3", "3 Core"),
)
GIVEN: Final = [one.param for one in RELEASES]
DEBIANS: Final = "debians"
ALL: Final = [DEBIANS, *GIVEN]
"""Parameters of a fixture that needs a server of each kind."""


def only(major: int) -> list[Any]:
    """The parameter for one kind."""
    return [RELEASES[major - 1].param]


@dataclass(frozen=True)
class InfluxServer:
    """A server that runs. `folder` is where files of ours go, such as its token; `room` is a file
    that is locked while a place is in use, where the server has no room for two."""

    major: int
    url: str
    folder: Path
    token: str = ""
    org: str = ""
    room: Path | None = None

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """A place of its own; nothing of it is made yet."""
        place = Place(self, f"shuichi-test-{uuid.uuid4().hex[:12]}")
        with ExitStack() as stack:
            if self.room is not None:
                lock = stack.enter_context(self.room.open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)  # it is given back when the file is closed
            try:
                yield place
            finally:
                place.remove()

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer, whatever it is."""
        user, _, password = self.token.partition(":")
        auth = (user, password) if self.token and self.major == 1 else None
        headers = {"Authorization": f"Token {self.token}"} if self.token and auth is None else {}
        with httpx.Client(verify=False, auth=auth, headers=headers, timeout=PATIENCE_S) as http:
            return http.request(method, f"{self.url}{path}", **request)

    def secret(self, name: str, text: str) -> str:
        """The path of a file with this secret."""
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o600)
        return str(file)


@dataclass(frozen=True)
class Place:
    """Where a test's readings go. `url` is the way to the server that the test's cloud takes."""

    server: InfluxServer
    name: str
    url: str = field(default="")

    @property
    def config(self) -> dict[str, Any]:
        """What stands under [store] to use it."""
        server = self.server
        found = {"kind": "influx", "url": self.url or server.url}
        if server.major == 1:
            found |= {"api": "v1", "database": self.name}
            user, _, password = server.token.partition(":")
            if user:
                found |= {"username": user, "password_file": server.secret("password", password)}
            return found
        found |= {"api": "v2", "bucket": self.name, "org": server.org}
        if server.token:
            found["token_file"] = server.secret("token", server.token)
        return found

    @property
    def toml(self) -> str:
        """The same, as text of a config."""
        return "\n".join(f"{key} = {json.dumps(value)}" for key, value in self.config.items())

    @property
    def names(self) -> list[str]:
        """Its buckets (2.x) or databases (3.x)."""
        return [self.name, *(bucket_name(self.name, width) for width in Bucket)]

    def ask(self, statement: str) -> dict[str, Any]:
        """The answer to a statement of InfluxQL."""
        asked = {"db": self.name, "q": statement}
        method = "GET" if statement.startswith(("SELECT", "SHOW")) else "POST"
        answer = _taken(self.server.send(method, "/query", params=asked))
        assert "error" not in answer.text, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def put(self, line: str) -> None:
        """Write a line that no gateway of ours would."""
        if self.server.major == 1:
            path, where = "/write", {"db": self.name}
        else:
            path, where = "/api/v2/write", {"bucket": self.name, "org": self.server.org}
        sent = self.server.send("POST", path, params=where | {"precision": "ms"}, content=line)
        _taken(sent)

    def keep(self, hours: int | None) -> None:
        """Let the server keep readings for so long, None for ever. An hour is the least that 2.x
        and 3.x take."""
        if self.server.major == 1:
            ends = "INF" if hours is None else f"{hours}h"
            policies = self.ask("SHOW RETENTION POLICIES")["results"][0]["series"][0]["values"]
            default = next(str(one[0]) for one in policies if one[4])
            self.ask(
                f'ALTER RETENTION POLICY "{default}" ON "{self.name}" DURATION {ends}'
                f" SHARD DURATION {'7d' if hours is None else '1h'}"
            )
        elif self.server.major == 2:
            bucket = self._bucket(self.name)
            assert bucket is not None
            rule: dict[str, Any] = {"type": "expire", "everySeconds": (hours or 0) * 3600}
            if hours is not None:  # a group of shards must be no longer than what is kept
                rule["shardGroupDurationSeconds"] = 3600
            changes = {"retentionRules": [rule]}
            _taken(self.server.send("PATCH", f"/api/v2/buckets/{bucket}", json=changes))
        else:
            body = {"db": self.name} | ({} if hours is None else {"retention_period": f"{hours}h"})
            _taken(self.server.send("PUT", "/api/v3/configure/database", json=body))

    def remove(self) -> None:
        """Remove what has our name, and nothing else."""
        server = self.server
        if server.major == 1:
            self.ask(f'DROP DATABASE "{self.name}"')
            return
        for name in self.names:
            if server.major == 2:
                if (bucket := self._bucket(name)) is not None:
                    _taken(server.send("DELETE", f"/api/v2/buckets/{bucket}"))
            else:  # releases that do not know `hard_delete_at` pass it over
                asked = {"db": name, "hard_delete_at": "now"}
                gone = server.send("DELETE", "/api/v3/configure/database", params=asked)
                assert gone.is_success or gone.status_code == 404, gone.text

    def _bucket(self, name: str) -> str | None:
        """The id of a bucket of 2.x."""
        answer = self.server.send(
            "GET", "/api/v2/buckets", params={"name": name, "org": self.server.org}
        )
        if answer.status_code == 404:  # no bucket, in some releases
            return None
        found = [one["id"] for one in _taken(answer).json()["buckets"] if one["name"] == name]
        return str(found[0]) if found else None


@dataclass(frozen=True)
class Mortal:
    """A place on a server that can die. One that runs already is not killed: the way is cut."""

    place: Place
    kill: Callable[[], None]
    start: Callable[[], None]


@contextmanager
def given(folder: Path, room: Path) -> Iterator[dict[int, InfluxServer]]:
    """Every server that is given, by its major version; started, if need be. `room` is a file that
    all who use a running server at the same time know."""
    with ExitStack() as stack:
        found = {}
        for one in RELEASES:
            if one.program:
                own = folder / one.variable.lower()
                service = stack.enter_context(program(one.major, own, one.program))
                found[one.major] = set_up(one.major, service)
            elif one.url:
                own = folder / one.variable.lower()
                own.mkdir()
                found[one.major] = running(one, own, room)
        yield found


@contextmanager
def mortal(major: int, folder: Path, room: Path) -> Iterator[Mortal]:
    """A given server on which nobody else works, or a way to a running one that can be cut."""
    release = RELEASES[major - 1]
    with ExitStack() as stack:
        if release.program:
            service = stack.enter_context(program(major, folder / "influxdb", release.program))
            # Whatever happens, its place goes with its folder.
            place = Place(set_up(major, service), "flood")
            yield Mortal(place, service.kill, service.start)
            return
        url = urlsplit(release.url)
        if url.scheme != "http":
            pytest.skip(f"the way to {release.variable}_URL cannot be cut: it is not http")
        host, port = url.hostname or HOST, url.port or 80
        way = stack.enter_context(FaultProxy(port, host))
        place = stack.enter_context(running(release, folder, room).place())
        through = Place(place.server, place.name, f"http://{HOST}:{way.port}{url.path}")
        yield Mortal(through, lambda: way.make(Way.SHUT), lambda: way.make(Way.OPEN))


def program(major: int, folder: Path, path: str) -> Service:
    """A server of its own, not started yet; it keeps its data in `folder`."""
    if shutil.which(path) is None:
        pytest.fail(f"{RELEASES[major - 1].variable} names no program: {path}", False)
    if major == 1:
        return services.influxd(folder, path)
    folder.mkdir(parents=True)
    port = free_port()
    if major == 2:
        arguments = [
            "run",
            f"--bolt-path={folder}/influxd.bolt",
            f"--sqlite-path={folder}/influxd.sqlite",
            f"--engine-path={folder}/engine",
            f"--http-bind-address={HOST}:{port}",
            "--reporting-disabled",
        ]
        return Service([path, *arguments], folder, port, _is_up)
    arguments = [
        "serve",
        "--node-id=shuichi",
        "--object-store=file",
        f"--data-dir={folder}/data",
        f"--http-bind={HOST}:{port}",
    ]
    # Not every release knows these as options; a variable that one does not know is nothing to it.
    environment = {
        "INFLUXDB3_TELEMETRY_DISABLE_UPLOAD": "true",
        "INFLUXDB3_ADMIN_TOKEN_REGEN_BIND_ADDR": f"{HOST}:{free_port()}",  # until 3.2: 8182
    }
    return Service([path, *arguments], folder, port, _is_up, environment)


def set_up(major: int, service: Service) -> InfluxServer:
    """A server that was just started for the first time, with a token that may do everything."""
    if major == 1:
        return InfluxServer(1, service.url, service.folder)
    new = InfluxServer(major, service.url, service.folder)
    if major == 2:
        token = uuid.uuid4().hex
        first = {"username": USER, "password": PASSWORD, "org": ORG, "bucket": "first"}
        _taken(new.send("POST", "/api/v2/setup", json=first | {"token": token}))
        return InfluxServer(2, service.url, service.folder, token, ORG)
    made = _taken(new.send("POST", "/api/v3/configure/token/admin"))
    return InfluxServer(3, service.url, service.folder, str(made.json()["token"]))


def running(release: Release, folder: Path, room: Path) -> InfluxServer:
    """A server that somebody else runs. Fails in one line where it is of another kind, and where it
    is not plain which organisation is meant."""
    server = InfluxServer(release.major, release.url, folder, release.token)
    version = server.send("GET", "/ping").headers.get("X-Influxdb-Version", "").removeprefix("v")
    if version.partition(".")[0] != str(release.major):
        pytest.fail(f"{release.variable}_URL is not InfluxDB {release.major}.x: {version}", False)
    if release.major == 3:  # it has room for five databases, and each of us needs all of them
        return InfluxServer(3, release.url, folder, release.token, room=room)
    if release.major == 1:
        return server
    org = os.environ.get(f"{release.variable}_ORG", "")
    if not org:
        seen = _taken(server.send("GET", "/api/v2/orgs")).json()["orgs"]
        if len(seen) != 1:
            pytest.fail(
                f"{release.variable}_ORG must name one of the {len(seen)} organisations", False
            )
        org = seen[0]["name"]
    return InfluxServer(2, release.url, folder, release.token, org)


def _is_up(port: int) -> bool:
    """Whether it answers, be it that it asks for a token."""
    try:
        urllib.request.urlopen(f"http://{HOST}:{port}/ping", timeout=1.0).close()
    except urllib.error.HTTPError as error:
        error.close()
        return 400 <= error.code < 500
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return True


def _taken(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text}"
    return answer
