"""The store says what it is: in `cloud check`, in `/metrics`, in the log; and what a stranger says
of itself is text and no more."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from cloud.cli import cloud
from cloud.errors import Unavailable
from cloud.http import client
from cloud.store import UNKNOWN, Bucket, Server, Store, influxserver, marks
from cloud.storeserver import StoreServer
from cloud.web import metrics
from cloud.web.desk import Desk
from configs import exposition
from configs.text import clean
from tests import duty_room
from tests.contract.test_stores import influx_v1, opened, victoria_v1, victoria_v2
from tests.duty_room import TOKEN
from tests.httpserver import Answer, HttpServer, Request
from tests.services import Service

VM_METRICS = (
    b"go_memstats_sys_bytes 1\n"
    b'vm_app_version{version="victoria-metrics-2025-tags-v1.115.0", short_version="v1.115.0"} 1\n'
)
NONSENSE_TAKEN = b'{"results":[{"statement_id":0,"series":[{"name":"databases"}]}]}'
NONSENSE_REFUSED = b'{"error":"error parsing query: found EOF"}'


class Stranger(HttpServer):
    """Answers `/ping` with `headers`, `/metrics` and `/query` as given."""

    def __init__(self, headers: dict[str, str], metrics: Answer, query: Answer) -> None:
        self.headers = headers
        self.metrics = metrics
        self.query = query
        self.is_away = False
        super().__init__(self.answered)

    def answered(self, asked: Request) -> Answer:
        path = asked.path.partition("?")[0]
        if self.is_away:
            return Answer(503)
        known = {"/metrics": self.metrics, "/query": self.query}
        return known.get(path, Answer(204, headers=self.headers))


CLOSED = Answer(401, b"{}")
REFUSED = Answer(400, NONSENSE_REFUSED)


def version(text: str, build: str = "") -> dict[str, str]:
    return {"X-Influxdb-Version": text, "X-Influxdb-Build": build}


SAID: dict[str, tuple[dict[str, str], Answer, Answer, Server]] = {
    "1.6": (version("1.6.7~rc0", "OSS"), CLOSED, REFUSED, Server("InfluxDB", "1.6.7~rc0", 1)),
    "1.8.0": (version("1.8.0", "OSS"), CLOSED, REFUSED, Server("InfluxDB", "1.8.0", 1)),
    "2": (version("v2.9.1", "OSS"), CLOSED, REFUSED, Server("InfluxDB", "2.9.1", 2)),
    "3": (version("3.6.0", "Core"), CLOSED, REFUSED, Server("InfluxDB Core", "3.6.0", 3)),
    "victoria": (
        version("1.8.0", "OSS"),
        Answer(200, VM_METRICS),
        REFUSED,
        Server("VictoriaMetrics", "1.115.0"),
    ),
    "victoria, no version": (
        {},
        Answer(200, b'vm_app_version{version="", short_version=""} 1\n'),
        REFUSED,
        Server("VictoriaMetrics"),
    ),
    "victoria, closed": (
        version("1.8.0"),
        CLOSED,
        Answer(200, NONSENSE_TAKEN),
        Server("VictoriaMetrics"),
    ),
    "a proxy": ({"Server": "nginx/1.22.1"}, CLOSED, CLOSED, Server(UNKNOWN, "nginx/1.22.1")),
    "nobody": ({}, CLOSED, CLOSED, Server(UNKNOWN)),
    "quotes": (version('3.6.0",kind="x'), CLOSED, REFUSED, Server(UNKNOWN)),
    "an escape": (version("2.7.1\x1b[2J"), CLOSED, REFUSED, Server(UNKNOWN)),
    "no end": (version("2.7." + "1" * 30_000), CLOSED, REFUSED, Server(UNKNOWN)),
    "build": (version("3.6.0", 'Core"} 1'), CLOSED, REFUSED, Server("InfluxDB", "3.6.0", 3)),
    "its metrics": (
        {},
        Answer(200, b'vm_app_version{short_version="1.1\x1b[2J\\" 1"} 1\n'),
        REFUSED,
        Server("VictoriaMetrics"),
    ),
}


@pytest.mark.parametrize("name", SAID)
async def test_a_server_is_what_it_says(name: str) -> None:
    headers, metrics_said, query_said, wanted = SAID[name]
    with Stranger(headers, metrics_said, query_said) as server:
        async with client(5, base_url=server.url) as http:
            assert await influxserver.recognized(http) == wanted


async def test_a_long_name_of_another_program_is_cut_and_cleaned() -> None:
    with Stranger({"Server": "\x9bhttp://evil.example/" + "x" * 500}, CLOSED, CLOSED) as server:
        async with client(5, base_url=server.url) as http:
            found = await influxserver.recognized(http)
    assert len(found.version) <= 80
    assert "\x9b" not in found.version
    assert "http://" not in found.version


async def test_metrics_without_end_are_no_version() -> None:
    endless = Answer(200, b"x" * (2 << 20))
    with Stranger({}, endless, REFUSED) as server:
        async with client(5, base_url=server.url) as http:
            assert await influxserver.recognized(http) == Server(UNKNOWN)


async def test_real_servers_say_what_they_are(
    shared_influxd: Service, shared_victoria_metrics: Service, tmp_path: Path
) -> None:
    async with opened(influx_v1(shared_influxd), tmp_path) as (_, store):
        found = await store.server()
        assert (found.kind, found.major) == ("InfluxDB", 1)
        assert found.version[:2] == "1."
    async with opened(victoria_v2(shared_victoria_metrics), tmp_path) as (_, store):
        assert (await store.server()).kind == "VictoriaMetrics"
    async with opened({"kind": "sqlite"}, tmp_path) as (_, store):
        assert str(await store.server()).startswith("SQLite 3.")


async def test_a_server_of_the_other_dialect_is_named(
    shared_influxd: Service, shared_victoria_metrics: Service, tmp_path: Path
) -> None:
    wrong = influx_v1(shared_influxd) | {"dialect": "metricsql"}
    async with opened(wrong, tmp_path) as (_, store):
        for work in (store.check, store.faults):
            with pytest.raises(Unavailable, match=r"is InfluxDB 1\..*, not a VictoriaMetrics: "):
                await work()
    wrong = victoria_v1(shared_victoria_metrics) | {"dialect": "influxql"}
    async with opened(wrong, tmp_path) as (_, store):
        for work in (store.check, store.faults):
            with pytest.raises(Unavailable, match=r"is VictoriaMetrics.*, not an InfluxDB: "):
                await work()


@asynccontextmanager
async def upgradable(folder: Path) -> AsyncIterator[tuple[Stranger, Any]]:
    with Stranger(version("v2.7.1"), CLOSED, REFUSED) as server:
        config = {"kind": "influx", "api": "v2", "url": server.url, "bucket": "b", "timeout_s": 5}
        async with opened(config, folder) as (_, store):
            yield server, store


async def test_the_log_has_it_once_and_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shuichi.store")
    async with upgradable(tmp_path) as (server, store):
        seen = StoreServer(store)
        for _ in range(3):
            await seen.look()
        assert caplog.messages == ["the store is InfluxDB 2.7.1"]
        server.headers = version("3.6.0", "Core")
        await seen.look()
        await seen.look()
        assert caplog.messages[1:] == [
            "the store is InfluxDB Core 3.6.0 now, and was InfluxDB 2.7.1"
        ]
        server.is_away = True
        await seen.look()
        assert (seen.answers, seen.found) == (False, Server("InfluxDB Core", "3.6.0", 3))
        assert len(caplog.messages) == 2


async def test_a_server_that_was_upgraded_is_asked_where_the_new_one_keeps_rollups(
    tmp_path: Path,
) -> None:
    async with upgradable(tmp_path) as (server, store):
        influxql = (await store.open())._server
        assert (await influxql.server()).major == 2
        server.headers = version("3.6.0", "Core")
        await store.server()
        assert (await influxql.server()).major == 3
        server.headers = version("1.8.10")
        await store.server()
        with pytest.raises(Unavailable, match=r"is InfluxDB 1\.8\.10, not one for api = .v2"):
            await influxql.server()


async def test_metrics_are_for_whoever_has_the_token(tmp_path: Path) -> None:
    async with duty_room.opened(tmp_path) as room:
        assert (await room.http.get("/metrics")).status_code == 401
        room.http.headers["Authorization"] = f"Bearer {TOKEN}"
        answer = await room.http.get("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "shuichi_cloud_info" in answer.text
        assert "shuichi_rollups_refused 0" in answer.text
        await room.database.run(partial(marks.touch, bucket=Bucket.MINUTE, places=[("g", 0)]))
        (one,) = await room.database.run(partial(marks.due, bucket=Bucket.MINUTE))
        aside = partial(marks.set_aside, marks=[one], fault="no", until_ms=1)
        await room.database.run(aside)
        assert "shuichi_rollups_refused 1" in (await room.http.get("/metrics")).text
        await room.database.run(partial(marks.done, marks=[one]))
        assert "shuichi_rollups_refused 0" in (await room.http.get("/metrics")).text


@pytest.mark.parametrize(
    "version", ["3.6.0", '1"} 2\nshuichi_store_answers 1\n#', "a\\", "\x1b[2J\u202e"]
)
def test_a_label_is_one_label_whatever_the_server_says(version: str) -> None:
    seen = StoreServer(cast("Store", None))
    seen.found = Server("InfluxDB", version)
    desk = cast("Desk", SimpleNamespace(store_server=seen))
    text = exposition.text(metrics.families(desk))
    found = {one.name: one.samples for one in text_string_to_metric_families(text)}
    (info,) = found["shuichi_store_server_info"]
    assert info.value == 1
    assert info.labels == {"kind": "InfluxDB", "version": clean(version)}
    assert [one.value for one in found["shuichi_store_answers"]] == [0]


def check(folder: Path, *lines: str) -> tuple[list[str], str]:
    (folder / "cloud.toml").write_text("\n".join(("[store]", *lines)) + "\n")
    asked = ["check", "--online", "--config", str(folder / "cloud.toml")]
    done = CliRunner().invoke(cloud, asked)
    return done.output.splitlines(), str(done.exception or "")


def test_a_check_names_the_store(tmp_path: Path, shared_influxd: Service) -> None:
    out, _ = check(tmp_path, 'kind = "sqlite"')
    assert any(line.startswith("store: SQLite 3.") for line in out)
    where = f'url = "{shared_influxd.url.replace("://", "://user:hidden@")}"'
    out, _ = check(tmp_path, 'kind = "influx"', 'api = "v1"', 'database = "none"', where)
    (line,) = [one for one in out if one.startswith("store: ")]
    assert line.startswith("store: InfluxDB 1.")
    assert line.endswith(f" at {shared_influxd.url}")
    assert "hidden" not in "\n".join(out)
    out, fault = check(tmp_path, 'kind = "influx"', 'api = "v2"', 'bucket = "none"', where)
    assert [one for one in out if one.startswith("store: InfluxDB 1.")]
    assert 'not one for api = "v2"' in fault
