"""InfluxDB 2.x and 3.x, played by an InfluxDB 1.x behind them.

Where such servers cannot be had, this has their ways of writing, naming and refusing, in the words
of 2.9.1 and 3.6.0, in front of a real engine of InfluxQL. It is no proof that they work: see
CONTRIBUTING on running the contract against real ones.
"""

import json
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.services import HOST, free_port

VERSIONS: Final = {1: "1.8.10", 2: "v2.9.1", 3: "3.6.0"}


_SLASH: Final = "__"
"""In the name of a database, where InfluxDB 1.x takes no slash."""


class Answer(NamedTuple):
    status: int
    body: bytes = b""


class Played:
    """Listens at `url`, from entry to exit of the `with` block. `refuses` maps a bucket to what a
    write to it is answered with; `tokens` that are not among these are refused."""

    def __init__(self, target: str, major: int) -> None:
        self.url = f"http://{HOST}:{(port := free_port())}"
        self.refuses: dict[str, Answer] = {}
        self.tokens: set[str] | None = None
        self.queries: list[str] = []
        self._major = major
        self._connections: list[socket.socket] = []
        self._engine = httpx.Client(base_url=target, verify=False, timeout=60)
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                token = self.headers.get("Authorization", "").removeprefix("Token ")
                found = played.answer(self.path, body, token)
                self.send_response(found.status)
                if self.path.startswith("/ping"):
                    self.send_header("X-Influxdb-Version", VERSIONS[played._major])
                    self.send_header("X-Influxdb-Build", "Core" if played._major == 3 else "OSS")
                if found.status != 204:
                    self.send_header("Content-Length", str(len(found.body)))
                    self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(found.body)

            do_GET = do_POST

            def handle(self) -> None:
                played._connections.append(self.connection)
                with suppress(OSError, ValueError):
                    super().handle()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = False  # closed, it waits for the last of them
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def answer(self, path: str, body: bytes, token: str) -> Answer:
        where = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(where.query).items()}
        if where.path == "/ping":
            return Answer(204)
        if self.tokens is not None and token not in self.tokens:
            return Answer(401, b'{"code": "unauthorized", "message": "unauthorized access"}')
        if where.path == "/api/v2/write":
            return self._write(asked["bucket"], asked["precision"], body)
        if where.path == "/query":
            self.queries.append(asked["q"])
            if asked["q"] == "SELECT" and self._major == 3:
                words = b'{"error": "error in InfluxQL statement: parsing error"}'
                return Answer(500, words)
            if self._major == 3:
                asked["db"] = asked["db"].replace("/", _SLASH)
            found = self._engine.get("/query", params=asked)
            if self._major == 3 and b"database not found" in found.content:
                return Answer(404, b'{"error": "database not found"}')
            return _said(found)
        return Answer(404, b'{"code": "not found", "message": "path not found"}')

    def _write(self, bucket: str, precision: str, body: bytes) -> Answer:
        if bucket in self.refuses:
            return self.refuses[bucket]
        where = {"db": bucket, "precision": precision}
        if self._major == 2 and "/" in bucket:
            where["db"], where["rp"] = bucket.split("/")
        where["db"] = where["db"].replace("/", _SLASH)
        found = self._engine.post("/write", params=where, content=body)
        if b"not found" in found.content:
            self._make(where)
            found = self._engine.post("/write", params=where, content=body)
        if found.status_code == 400 and self._major == 2:
            words = json.loads(found.content)["error"]
            said = {"code": "unprocessable entity", "message": f"failure writing points: {words}"}
            return Answer(422, json.dumps(said).encode())
        return _said(found)

    def _make(self, where: dict[str, str]) -> None:
        self._engine.post("/query", params={"q": f'CREATE DATABASE "{where["db"]}"'})
        if "rp" in where:
            made = f'"{where["rp"]}" ON "{where["db"]}" DURATION INF REPLICATION 1'
            self._engine.post("/query", params={"q": f"CREATE RETENTION POLICY {made}"})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        for one in self._connections:  # clients keep theirs open
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.server_close()
        self._engine.close()


def _said(answer: httpx.Response) -> Answer:
    return Answer(answer.status_code, answer.content)
