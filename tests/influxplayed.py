"""InfluxDB 2.x and 3.x, played by an InfluxDB 1.x behind them.

Where such servers cannot be had, this has their ways of writing, naming and refusing, in the words
of 2.9.1 and 3.6.0, in front of a real engine of InfluxQL. It is no proof that they work: see
CONTRIBUTING on running the contract against real ones.
"""

import json
from types import TracebackType
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.httpserver import Answer, HttpServer, Request

VERSIONS: Final = {1: "1.8.10", 2: "v2.9.1", 3: "3.6.0"}


_SLASH: Final = "__"
"""In the name of a database, where InfluxDB 1.x takes no slash."""


class Played(HttpServer):
    """`refuses` maps a bucket to what a write to it is answered with; `tokens` that are not among
    these are refused."""

    def __init__(self, target: str, major: int, port: int = 0) -> None:
        super().__init__(self._respond, port=port)
        self.refuses: dict[str, Answer] = {}
        self.tokens: set[str] | None = None
        self.queries: list[str] = []
        self.major = major
        self._engine = httpx.Client(base_url=target, verify=False, timeout=60)

    def _respond(self, asked: Request) -> Answer:
        token = asked.headers.get("Authorization", "").removeprefix("Token ")
        found = self.administer(asked, token) or self.answer(asked.path, asked.body, token)
        if not asked.path.startswith("/ping"):
            return found
        build = "Core" if self.major == 3 else "OSS"
        says = {"X-Influxdb-Version": VERSIONS[self.major], "X-Influxdb-Build": build}
        return found._replace(headers=says)

    def administer(self, asked: Request, token: str) -> Answer | None:
        """The answer to who sets the server up; None for what is no such request."""

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
            if asked["q"] == "SELECT" and self.major == 3:
                words = b'{"error": "error in InfluxQL statement: parsing error"}'
                return Answer(500, words)
            if self.major == 3:
                asked["db"] = asked["db"].replace("/", _SLASH)
            found = self._engine.get("/query", params=asked)
            if self.major == 3 and b"database not found" in found.content:
                return Answer(404, b'{"error": "database not found"}')
            return _said(found)
        return Answer(404, b'{"code": "not found", "message": "path not found"}')

    def _write(self, bucket: str, precision: str, body: bytes) -> Answer:
        if bucket in self.refuses:
            return self.refuses[bucket]
        where = self._place(bucket) | {"precision": precision}
        found = self._engine.post("/write", params=where, content=body)
        if b"not found" in found.content:
            self._make(where)
            found = self._engine.post("/write", params=where, content=body)
        if found.status_code == 400 and self.major == 2:
            words = json.loads(found.content)["error"]
            said = {"code": "unprocessable entity", "message": f"failure writing points: {words}"}
            return Answer(422, json.dumps(said).encode())
        return _said(found)

    def _place(self, bucket: str) -> dict[str, str]:
        """Where a bucket (2.x) or database (3.x) lies in the engine."""
        if self.major == 2 and "/" in bucket:
            database, policy = bucket.split("/")
            return {"db": database, "rp": policy}
        return {"db": bucket.replace("/", _SLASH)}

    def _make(self, where: dict[str, str]) -> None:
        self._engine.post("/query", params={"q": f'CREATE DATABASE "{where["db"]}"'})
        if "rp" in where:
            made = f'"{where["rp"]}" ON "{where["db"]}" DURATION INF REPLICATION 1'
            self._engine.post("/query", params={"q": f"CREATE RETENTION POLICY {made}"})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._engine.close()


def _said(answer: httpx.Response) -> Answer:
    return Answer(answer.status_code, answer.content)
