"""What InfluxDB 2.x and 3 Core answer to who sets them up, as their references and what 2.9.1 and
3.6.0 answered have it."""

import itertools
import json
from typing import Any

import httpx


class Server:
    """Answers as InfluxDB 2.7 does, and remembers what was changed."""

    def __init__(self, *, is_new: bool = False) -> None:
        self.is_new = is_new
        self.kept: dict[str, list[dict[str, Any]]] = {"orgs": [], "buckets": [], "tasks": []}
        self.changes: list[str] = []
        self.denied: set[str] = set()  # "GET orgs", ... for which our token has no right
        self.hidden: set[str] = set()  # kinds that our token cannot see
        self._numbers = itertools.count()

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        kind, _, number = request.url.path.removeprefix("/api/v2/").partition("/")
        if f"{request.method} {kind}" in self.denied:
            words = {"code": "unauthorized", "message": f"write:{kind} is unauthorized"}
            return httpx.Response(401, json=words)
        if request.method != "GET":
            self.changes.append(f"{request.method} {kind}")
        if kind == "setup":
            return self._setup(request.method, body)
        if self.is_new:
            return httpx.Response(401, json={"code": "unauthorized", "message": "unauthorized"})
        if request.method == "GET":
            return self._look(kind, dict(request.url.params))
        if request.method == "PATCH":
            found = next(one for one in self.kept[kind] if one["id"] == number)
            found |= body
            return httpx.Response(200, json=found)
        if request.method == "DELETE":
            self.kept[kind] = [one for one in self.kept[kind] if one["id"] != number]
            return httpx.Response(204)
        made = body | {"id": f"{kind}-{next(self._numbers)}"}
        self.kept[kind].append(made)
        return httpx.Response(201, json=made)

    def _setup(self, method: str, body: dict[str, Any]) -> httpx.Response:
        if method == "GET":
            return httpx.Response(200, json={"allowed": self.is_new})
        self.is_new = False
        self.kept["orgs"].append({"id": "orgs-0", "name": body["org"]})
        self.kept["buckets"].append(
            {"id": "buckets-0", "orgID": "orgs-0", "name": body["bucket"], "retentionRules": []}
        )
        return httpx.Response(201, json={"auth": {"token": body["token"]}})

    def _look(self, kind: str, asked: dict[str, str]) -> httpx.Response:
        if kind in self.hidden:
            return httpx.Response(200, json={kind: []})
        if kind == "orgs":
            asked = {"name": asked["org"]} if "org" in asked else {}
        asked.pop("org", None)
        found = [one for one in self.kept[kind] if all(one.get(k) == v for k, v in asked.items())]
        if kind != "tasks" and not found:
            words = {"code": "not found", "message": f"{kind} not found"}
            return httpx.Response(404, json=words)
        return httpx.Response(200, json={kind: found})


class Core:
    """InfluxDB 3 Core: five databases, and no more."""

    def __init__(self, *names: str) -> None:
        self.kept: dict[str, str | None] = dict.fromkeys(names)

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v3/configure/database"
        if request.method == "DELETE":
            gone = self.kept.pop(request.url.params["db"], "nothing")
            return httpx.Response(404 if gone == "nothing" else 200)
        body = json.loads(request.content)
        name, days = body["db"], body.get("retention_period")
        if request.method == "POST" and name in self.kept:
            return httpx.Response(409, json={"error": "the resource already exists"})
        if request.method == "POST" and len(self.kept) == 5:
            words = "catalog update error: Adding a new database would exceed limit of 5 databases"
            return httpx.Response(400, json={"error": words})
        self.kept[name] = days
        return httpx.Response(200)
