"""InfluxDB 2.x and 3 Core as programs, played: `python -m tests.influxprogram 2 run --bolt-path=…`.

It takes the options that `tests/influxservers.py` gives, keeps its data where they say, and can be
killed and started again. So the tests that need such a server can be tried where none is to be had:

    printf '#!/bin/sh\nexec %s -m tests.influxprogram 2 "$@"\n' "$PWD/.venv/bin/python" > two
    SHUICHI_INFLUXD2=$PWD/two PYTHONPATH=$PWD .venv/bin/pytest -k influxdb-2

It shows that those tests work, and nothing of a real server. It knows neither Flux nor SQL.
"""

import json
import signal
import sys
import threading
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests import services
from tests.httpserver import Answer, Request
from tests.influxadmin import Core, Server
from tests.influxplayed import Played

_ADMINISTERED = {2: "/api/v2/", 3: "/api/v3/configure/"}
_TOKEN = "/api/v3/configure/token/admin"


class Administered(Played):
    """A played server that can be set up, and remembers that in `file`."""

    def __init__(self, target: str, major: int, file: Path | None = None, port: int = 0) -> None:
        super().__init__(target, major, port)
        self.two = Server(is_new=True)
        self.three = Core()
        self.tokens = set()
        self._file = file
        self._lock = threading.Lock()
        if file is not None and file.exists():
            self._remember(json.loads(file.read_text()))

    def administer(self, asked: Request, token: str) -> Answer | None:
        path = urlsplit(asked.path).path
        if not path.startswith(_ADMINISTERED[self.major]) or path == "/api/v2/write":
            return None
        assert self.tokens is not None
        is_first = path in ("/api/v2/setup", _TOKEN)
        if not is_first and token not in self.tokens:
            return Answer(401, b'{"code": "unauthorized", "message": "unauthorized access"}')
        with self._lock:
            if path == _TOKEN:
                return self._first_token()
            request = httpx.Request(asked.method, f"http://i{asked.path}", content=asked.body)
            found = (self.two if self.major == 2 else self.three).answer(request)
            if path == "/api/v2/setup" and asked.method == "POST":
                self.tokens.add(json.loads(asked.body)["token"])
            if asked.method != "GET":
                self._keep()
            return Answer(found.status_code, found.content)

    def answer(self, path: str, body: bytes, token: str) -> Answer:
        """Asked for what is older than its retention, InfluxDB 3 does not show it."""
        if self.major == 3 and path.startswith("/query"):
            for name, period in self.three.kept.items():
                if period is not None:
                    self._do(f"DELETE WHERE time < now() - {period}", self._place(name)["db"])
        return super().answer(path, body, token)

    def _write(self, bucket: str, precision: str, body: bytes) -> Answer:
        if self.major == 2 and bucket not in self.buckets:
            return Answer(404, b'{"code": "not found", "message": "bucket not found"}')
        found = super()._write(bucket, precision, body)
        if self.major == 3 and b"field type conflict" in found.body:
            return Answer(400, b'{"error": "parsing for line protocol failed"}')
        return found

    def _first_token(self) -> Answer:
        assert self.tokens is not None
        token = f"apiv3_{uuid.uuid4().hex}"
        self.tokens.add(token)
        self._keep()
        return Answer(201, json.dumps({"name": "_admin", "token": token}).encode())

    @property
    def buckets(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return {one["name"]: one for one in self.two.kept["buckets"]}

    def _keep(self) -> None:
        """Remember what was changed, and let the engine have it."""
        assert self.tokens is not None
        if self._file is not None:
            state = {
                "new": self.two.is_new,
                "two": self.two.kept,
                "three": self.three.kept,
                "tokens": sorted(self.tokens),
            }
            self._file.write_text(json.dumps(state))
        if self.major == 2:
            for name, one in self.buckets.items():
                self._retain(name, one["retentionRules"])
        for name in self.three.kept:
            self._make(self._place(name))

    def _remember(self, state: dict[str, Any]) -> None:
        self.two.is_new, self.two.kept = state["new"], state["two"]
        self.three.kept, self.tokens = state["three"], set(state["tokens"])

    def _retain(self, bucket: str, rules: list[dict[str, Any]]) -> None:
        seconds = rules[0]["everySeconds"] if rules else 0
        kept = f"{seconds}s SHARD DURATION 1h" if seconds else "INF SHARD DURATION 7d"
        where = self._place(bucket)
        policy = where.get("rp", "autogen")
        self._make(where)
        self._do(f'ALTER RETENTION POLICY "{policy}" ON "{where["db"]}" DURATION {kept}')

    def _do(self, statement: str, database: str = "") -> None:
        self._engine.post("/query", params={"q": statement, "db": database}).raise_for_status()


def main() -> None:
    major = int(sys.argv[1])
    options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[3:] if "=" in word)
    folder = Path(options["engine-path" if major == 2 else "data-dir"])
    address = options["http-bind-address" if major == 2 else "http-bind"]
    # Killed, it takes its engine along.
    engine = services.influxd(folder / "engine", wrapper=("setpriv", "--pdeathsig", "KILL", "--"))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    port = int(address.rpartition(":")[2])
    with engine, Administered(engine.url, major, folder / "state.json", port):
        ended.wait()


if __name__ == "__main__":
    main()
