"""Setting up InfluxDB 2.x over its API: organisation, buckets with retention, tasks for rollups.

After the API reference of InfluxDB 2.7 (/api/v2/setup, orgs, buckets, tasks) and the Flux reference
(tasks, reduce, wideTo); tried against a server of that kind only in tests that play its answers.
Everything is looked for before it is made.
"""

from typing import Any, Final

import httpx
import msgspec

from cloud.errors import Unavailable
from cloud.http import ask
from cloud.store import DAY_MS, Bucket, Retention
from cloud.store.rollup_influx import server_days
from wire.reading import Quantity

DAY_S: Final = DAY_MS // 1000

_LATE: Final = {Bucket.MINUTE: "3h", Bucket.HOUR: "6h"}
"""How far back a task looks each time; its `late` twin goes four days back, once an hour."""

_EVERY: Final = {Bucket.MINUTE: "1m", Bucket.HOUR: "10m"}


def bucket_name(bucket: str, width: Bucket) -> str:
    """Where the rollups of `bucket` go. InfluxQL finds a bucket "db/rp" as the retention policy
    `rp` of the database `db` by itself, so that they are asked for as in 1.x."""
    return f"{bucket}/{width.level}"


def task_name(bucket: str, width: Bucket, late: bool) -> str:
    """What the task is called."""
    return f"{bucket_name(bucket, width)}{' late' if late else ''}"


def flux(bucket: str, width: Bucket, *, late: bool) -> str:
    """The task that makes the rollups of `bucket`, in Flux.

    A task runs at a time and looks back a fixed span, so late readings need one that looks far
    back; both make a bucket's whole row anew, so that neither spoils what the other has made.
    """
    every = "1h" if late else _EVERY[width]
    back = "4d" if late else _LATE[width]
    step = "1m" if width is Bucket.MINUTE else "1h"
    measurements = " or ".join(f"r._measurement == {_text(one)}" for one in Quantity)
    return f"""\
import "date"
import "influxdata/influxdb"

option task = {{name: {_text(task_name(bucket, width, late))}, every: {every}}}

start = date.truncate(t: date.sub(from: now(), d: {back}), unit: {step})

rows = from(bucket: {_text(bucket)})
    |> range(start: start)
    |> filter(fn: (r) => {measurements})
    |> filter(fn: (r) => r._field == "value" or r._field == "quality")
    |> map(fn: (r) => ({{r with _value: float(v: r._value)}}))
    |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
    |> group(columns: ["_measurement", "gateway", "site", "sensor"])
    |> window(every: {step})

good = rows
    |> filter(fn: (r) => exists r.value and r.quality < 4.0)
    |> reduce(
        identity: {{count: 0, total: 0.0, min: 0.0, max: 0.0}},
        fn: (r, accumulator) => ({{
            count: accumulator.count + 1,
            total: accumulator.total + r.value,
            min: if accumulator.count == 0 or r.value < accumulator.min
                then r.value else accumulator.min,
            max: if accumulator.count == 0 or r.value > accumulator.max
                then r.value else accumulator.max,
        }}),
    )
    |> map(fn: (r) => ({{
        _time: r._start, _measurement: r._measurement,
        gateway: r.gateway, site: r.site, sensor: r.sensor,
        min: r.min, mean: r.total / float(v: r.count), max: r.max,
    }}))

flags = rows
    |> reduce(
        identity: {{count: 0, bad: 0, missing: 0, worst: 0}},
        fn: (r, accumulator) => ({{
            count: accumulator.count + (if r.quality < 4.0 then 1 else 0),
            bad: accumulator.bad + (if r.quality == 4.0 then 1 else 0),
            missing: accumulator.missing + (if r.quality == 9.0 then 1 else 0),
            worst: if r.quality < 9.0 and int(v: r.quality) > accumulator.worst
                then int(v: r.quality) else accumulator.worst,
        }}),
    )
    |> map(fn: (r) => ({{
        _time: r._start, _measurement: r._measurement,
        gateway: r.gateway, site: r.site, sensor: r.sensor,
        count: r.count, bad: r.bad, missing: r.missing, worst: r.worst,
    }}))

target = {_text(bucket_name(bucket, width))}

good |> influxdb.wideTo(bucket: target) |> yield(name: "good")
flags |> influxdb.wideTo(bucket: target) |> yield(name: "flags")
"""


class Setup:
    """What `shuichi cloud init` does at an InfluxDB 2.x. Raises Unavailable, Rejected."""

    def __init__(
        self, http: httpx.AsyncClient, bucket: str, org: str, retention: Retention
    ) -> None:
        self._http = http
        self._bucket = bucket
        self._org = org
        self._days = server_days(retention)

    async def first(self, username: str | None, password: str | None, token: str | None) -> str:
        """Make the first user and organisation of a new server, with our token as its token."""
        allowed = (await self._ask("GET", "/api/v2/setup"))["allowed"]
        if not allowed:
            return "the server is set up already"
        if not (username and password and token):
            raise Unavailable(
                f"{self._http.base_url} is new: [store] needs username, password_file and "
                "token_file, with which its first user is made"
            )
        first = {"username": username, "password": password, "token": token}
        await self._ask("POST", "/api/v2/setup", first | {"org": self._org, "bucket": self._bucket})
        return f"made the user {username}, the organisation {self._org}, and the token"

    async def rest(self) -> list[str]:
        """Organisation, buckets and tasks."""
        lines = []
        found = (await self._ask("GET", "/api/v2/orgs", params={"org": self._org}, ok=(404,))).get(
            "orgs"
        )
        if found:
            lines.append(f"organisation {self._org}: is there")
            org_id = found[0]["id"]
        else:
            org_id = (await self._ask("POST", "/api/v2/orgs", {"name": self._org}))["id"]
            lines.append(f"organisation {self._org}: made")
        lines.append(await self._make_bucket(org_id, self._bucket, self._days["raw"]))
        for width in Bucket:
            name = bucket_name(self._bucket, width)
            lines.append(await self._make_bucket(org_id, name, self._days[width.level]))
            for late in (False, True):
                lines.append(await self._make_task(org_id, width, late=late))
        return lines

    async def _make_bucket(self, org_id: str, name: str, days: int | None) -> str:
        rules = [{"type": "expire", "everySeconds": (days or 0) * DAY_S}]  # 0: for ever
        kept = "for ever" if days is None else f"{days} days"
        asked = {"orgID": org_id, "name": name}
        found = (await self._ask("GET", "/api/v2/buckets", params=asked, ok=(404,))).get("buckets")
        if not found:
            await self._ask("POST", "/api/v2/buckets", asked | {"retentionRules": rules})
            return f"bucket {name}: made, keeps {kept}"
        has = found[0].get("retentionRules") or [{}]  # a bucket without an end has no rule
        if has[0].get("everySeconds", 0) == rules[0]["everySeconds"]:
            return f"bucket {name}: is there, keeps {kept}"
        await self._ask(
            "PATCH", f"/api/v2/buckets/{found[0]['id']}", {"name": name, "retentionRules": rules}
        )
        return f"bucket {name}: now keeps {kept}"

    async def _make_task(self, org_id: str, width: Bucket, *, late: bool) -> str:
        name, text = task_name(self._bucket, width, late), flux(self._bucket, width, late=late)
        asked = {"orgID": org_id, "name": name}
        found = (await self._ask("GET", "/api/v2/tasks", params=asked)).get("tasks")
        if not found:
            new = {"orgID": org_id, "flux": text, "status": "active"}
            await self._ask("POST", "/api/v2/tasks", new)
            return f"task {name}: made"
        if found[0].get("flux") == text:
            return f"task {name}: is there"
        await self._ask("PATCH", f"/api/v2/tasks/{found[0]['id']}", {"flux": text})
        return f"task {name}: brought up to date"

    async def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        params: dict[str, str] | None = None,
        ok: tuple[int, ...] = (),
    ) -> dict[str, Any]:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"}
        answer = await ask(
            self._http, method, path, params=params, content=content, headers=headers, accept=ok
        )
        try:
            return msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise Unavailable(f"{self._http.base_url}{path} gave no JSON: {error}") from error


def _text(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${") + '"'
