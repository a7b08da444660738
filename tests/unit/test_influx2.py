"""Setting up InfluxDB 2.x: what is asked of its API, played back as the API reference has it (there
is no such server here), and the text of the tasks."""

import json
import re
from typing import Any

import httpx
import pytest

from cloud.errors import Unavailable
from cloud.store import Bucket, Retention
from cloud.store.influx2 import Setup, flux
from wire.reading import Quantity

RETENTION = Retention(raw_days=30, minute_days=365)


class Server:
    """Answers as InfluxDB 2.7 does, and remembers what was changed."""

    def __init__(self, *, is_new: bool = False) -> None:
        self.is_new = is_new
        self.kept: dict[str, list[dict[str, Any]]] = {"orgs": [], "buckets": [], "tasks": []}
        self.changes: list[str] = []

    def streamed(self, request: httpx.Request) -> httpx.Response:
        """The answer, not read yet, as one from a socket."""
        said = self.answer(request)
        return httpx.Response(said.status_code, stream=httpx.ByteStream(said.content))

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        kind, _, number = request.url.path.removeprefix("/api/v2/").partition("/")
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
        if kind == "tasks":  # the server takes the name from the script
            match = re.search(r'option task = \{name: "([^"]+)"', body["flux"])
            assert match
            body["name"] = match[1]
        made = body | {"id": f"{kind}-{len(self.kept[kind])}"}
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
        if kind == "orgs":
            asked = {"name": asked["org"]}
        found = [one for one in self.kept[kind] if all(one.get(k) == v for k, v in asked.items())]
        if kind != "tasks" and not found:
            words = {"code": "not found", "message": f"{kind} not found"}
            return httpx.Response(404, json=words)
        return httpx.Response(200, json={kind: found})


async def set_up(server: Server, retention: Retention = RETENTION, **first: Any) -> list[str]:
    transport = httpx.MockTransport(server.streamed)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://influx2", verify=False
    ) as http:
        setup = Setup(http, "shuichi", "flood", retention)
        names = {"username": None, "password": None, "token": "t"} | first
        return [await setup.first(**names), *await setup.rest()]


async def test_everything_is_made_and_then_found() -> None:
    server = Server()
    assert await set_up(server) == [
        "the server is set up already",
        "organisation flood: made",
        "bucket shuichi: made, keeps 32 days",
        "bucket shuichi/minute: made, keeps 365 days",
        "task shuichi/minute: made",
        "task shuichi/minute late: made",
        "bucket shuichi/hour: made, keeps for ever",
        "task shuichi/hour: made",
        "task shuichi/hour late: made",
    ]
    buckets = {one["name"]: one["retentionRules"] for one in server.kept["buckets"]}
    assert buckets == {
        "shuichi": [{"type": "expire", "everySeconds": 32 * 86_400}],  # two days to count them off
        "shuichi/minute": [{"type": "expire", "everySeconds": 365 * 86_400}],
        "shuichi/hour": [{"type": "expire", "everySeconds": 0}],
    }
    server.changes.clear()
    again = await set_up(server)
    assert server.changes == []
    assert all("is there" in line or "already" in line for line in again)
    changed = await set_up(server, Retention(raw_days=30, minute_days=90))
    assert "bucket shuichi/minute: now keeps 90 days" in changed
    assert server.changes == ["PATCH buckets"]


async def test_a_new_server_gets_its_first_user_and_our_token() -> None:
    server = Server(is_new=True)
    with pytest.raises(Unavailable, match="needs username, password_file and token_file"):
        await set_up(server)
    lines = await set_up(server, username="ops", password="long enough")
    assert lines[:3] == [
        "made the user ops, the organisation flood, and the token",
        "organisation flood: is there",
        "bucket shuichi: now keeps 32 days",
    ]


async def test_a_task_that_has_changed_is_brought_up_to_date() -> None:
    server = Server()
    await set_up(server)
    server.kept["tasks"][1]["flux"] = "old"
    assert "task shuichi/minute late: brought up to date" in await set_up(server)
    assert server.kept["tasks"][1]["flux"] == flux("shuichi", Bucket.MINUTE, late=True)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("width", Bucket)
def test_the_tasks_are_flux(width: Bucket, late: bool) -> None:
    text = flux('a "b" ${c}', width, late=late)
    assert text.count("(") == text.count(")")
    assert text.count("{") - text.count("${") == text.count("}") - 0 - text.count("${")
    assert 'from(bucket: "a \\"b\\" \\${c}")' in text
    assert "bucket(name" not in text
    for quantity in Quantity:
        assert f'r._measurement == "{quantity}"' in text
    step = {Bucket.MINUTE: "1m", Bucket.HOUR: "1h"}[width]
    assert f"|> window(every: {step})" in text
    assert f"unit: {step})" in text  # so that the first bucket is a whole one
    assert ("d: 4d" in text) is late
    for field in ("min", "mean", "max", "count", "bad", "missing", "worst"):
        assert f"{field}: " in text
    assert text.count("influxdb.wideTo(bucket: target)") == 2
    assert {'yield(name: "good")', 'yield(name: "flags")'} <= set(re.findall(r"yield\(.*?\)", text))
