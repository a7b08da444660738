"""One contract for every channel, each against a real endpoint, and how notices are delivered.

A channel in cloud/channels is found here by its file name. Its endpoint is the function
`<kind>_endpoint` below: a context manager that gives an `Endpoint`.
"""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from cloud import state
from cloud.alerts import notify
from cloud.alerts.notify import Notifier
from cloud.alerts.rule import Rule
from cloud.alerts.watch import Watch
from cloud.channels import Channel, Notice
from cloud.config import Config
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from configs import loader
from tests.waiting import until
from wire.messages import Batch, Level
from wire.reading import Quality, Quantity, Reading

NOW = 1_700_000_000_000

NOTICE = Notice(
    key="5f0c9a",
    alert=7,
    rule="amber",
    transition="raised",
    level="orange",
    gateway="g",
    site="underpass",
    sensor="ruler",
    quantity=Quantity.DEPTH,
    value=0.153,
    unit="m",
    at_ms=NOW,
    text="orange alert raised: underpass (水)",
)


class Endpoint(NamedTuple):
    """Where a channel ends: what to write under [channel.x], and what has arrived so far."""

    config: dict[str, Any]
    arrived: Callable[[], list[Notice]]


class Sink(ThreadingHTTPServer):
    """An HTTP server that answers with `codes`, one after the other, and then with 204."""

    def __init__(self, codes: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.codes = codes
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.taken: list[Notice] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?token=secret"


class Handler(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, dict(self.headers.items()), body))
        code = self.server.codes.pop(0) if self.server.codes else 204
        if code < 300:
            self.server.taken.append(msgspec.json.decode(body, type=Notice))
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not on the test's stderr."""


@contextmanager
def sink(*codes: int) -> Iterator[Sink]:
    with Sink(list(codes)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def log_endpoint(folder: Path) -> Iterator[Endpoint]:
    file = folder / "alerts.jsonl"
    decode = msgspec.json.Decoder(Notice).decode_lines
    yield Endpoint({"path": file.name}, lambda: decode(file.read_bytes()))


@contextmanager
def webhook_endpoint(folder: Path) -> Iterator[Endpoint]:
    with sink() as server:
        yield Endpoint({"url": server.url}, lambda: server.taken)


def endpoint(kind: str, folder: Path) -> AbstractContextManager[Endpoint]:
    make = globals().get(f"{kind}_endpoint")
    assert make, f"cloud/channels/{kind}.py has no {kind}_endpoint in this file"
    found: AbstractContextManager[Endpoint] = make(folder)
    return found


@asynccontextmanager
async def opened(kind: str, folder: Path, config: dict[str, Any]) -> AsyncIterator[Channel]:
    tables = {"channel": {"x": {"kind": kind} | config}}
    model = loader.parse(tables, Config, "test").channel["x"]
    async with loader.plugin("cloud.channels", kind).open(model, folder) as channel:
        yield channel


@pytest.mark.parametrize("kind", loader.plugins("cloud.channels"))
async def test_what_is_sent_arrives_whole_and_in_order(kind: str, tmp_path: Path) -> None:
    cleared = msgspec.structs.replace(NOTICE, key="2", transition="cleared", value=0.12)
    with endpoint(kind, tmp_path) as end:
        async with opened(kind, tmp_path, end.config) as channel:
            await channel.send(NOTICE)
            await channel.send(cleared)
        assert end.arrived() == [NOTICE, cleared]


async def test_log_is_a_line_of_json_and_a_line_in_our_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "shuichi.alert"):
        async with opened("log", tmp_path, {"path": "a.jsonl"}) as channel:
            await channel.send(NOTICE)
    (line,) = (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["text"] == NOTICE.text
    assert caplog.messages == [NOTICE.text]


async def test_log_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    async with opened("log", tmp_path, {"path": "no/such/folder/a.jsonl"}) as channel:
        with pytest.raises(Unavailable, match=r"no/such/folder/a\.jsonl: No such file"):
            await channel.send(NOTICE)


async def test_webhook_posts_json_with_an_idempotency_key(tmp_path: Path) -> None:
    with sink() as server:
        async with opened("webhook", tmp_path, {"url": server.url}) as channel:
            await channel.send(NOTICE)
    ((method, path, headers, body),) = server.requests
    assert (method, path) == ("POST", "/hook?token=secret")
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == NOTICE.key
    assert json.loads(body) == msgspec.to_builtins(NOTICE)


@pytest.mark.parametrize(
    ("code", "error"),
    [(400, Rejected), (410, Rejected), (302, Unavailable), (429, Unavailable), (500, Unavailable)],
)
async def test_webhook_takes_only_2xx_for_a_success_and_keeps_its_url_to_itself(
    code: int, error: type[Exception], tmp_path: Path
) -> None:
    with sink(code) as server:
        async with opened("webhook", tmp_path, {"url": server.url}) as channel:
            with pytest.raises(error, match=f"says {code}") as caught:
                await channel.send(NOTICE)
    assert "secret" not in str(caught.value)


async def test_webhook_that_nobody_answers_is_unavailable(tmp_path: Path) -> None:
    with sink() as server:
        url = server.url
    async with opened("webhook", tmp_path, {"url": url}) as channel:
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            await channel.send(NOTICE)
    assert "secret" not in str(caught.value)


# Delivery: rules that raise, the database between, real channels behind.

RULE = Rule("amber", Quantity.DEPTH, over=0.15, clear=0.12, level=Level.ORANGE)


async def flood(database: State, channels: list[str], *depths: float, start: int = 0) -> None:
    """Let readings with these depths raise and clear alerts, as ingest does."""
    watch = Watch([RULE], channels)
    await database.run(watch.load)
    readings = tuple(
        Reading("underpass", "ruler", Quantity.DEPTH, depth, NOW + start + n, Quality.GOOD)
        for n, depth in enumerate(depths)
    )
    findings = watch.examine([Batch("g", "s", 1, readings)], NOW)
    await database.run(lambda connection: watch.save(connection, findings, NOW))


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "FIRST_DELAY_S", 0.05)
    monkeypatch.setattr(notify, "LONGEST_DELAY_S", 0.1)


@asynccontextmanager
async def delivering(notifier: Notifier) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(notifier.run(), name="notifier")
        yield
        task.cancel()


@pytest.mark.usefixtures("quickly")
async def test_a_channel_that_fails_is_tried_again_and_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with sink(500, 503, 500) as server:
        async with (
            state.opened(tmp_path / "cloud.db") as database,
            opened("log", tmp_path, {"path": "a.jsonl"}) as log,
            opened("webhook", tmp_path, {"url": server.url}) as hook,
        ):
            notifier = Notifier(database, {"log": log, "hook": hook})
            await flood(database, ["log", "hook"], 0.2, 0.1)
            async with delivering(notifier):
                await until((tmp_path / "a.jsonl").exists)
                await until(lambda: len(server.taken) == 2)
                await flood(database, ["log", "hook"], 0.3, start=10)
                notifier.wake()
                await until(lambda: len(server.taken) == 3)
                await until(lambda: len((tmp_path / "a.jsonl").read_text().splitlines()) == 3)
    assert [one.transition for one in server.taken] == ["raised", "cleared", "raised"]
    assert [one.value for one in server.taken] == [0.2, 0.1, 0.3]
    tried = [headers["Idempotency-Key"] for _, _, headers, _ in server.requests]
    assert tried == [one.key for one in server.taken[:1] * 4 + server.taken[1:]]
    assert len(set(tried)) == 3
    assert "says 500" in caplog.text
    assert caplog.text.count("trying again until it is taken") == 1


@pytest.mark.usefixtures("quickly")
async def test_a_notice_that_is_refused_holds_up_none_behind_it(tmp_path: Path) -> None:
    with sink(400) as server:
        async with (
            state.opened(tmp_path / "cloud.db") as database,
            opened("webhook", tmp_path, {"url": server.url}) as hook,
        ):
            await flood(database, ["hook"], 0.2, 0.1)
            async with delivering(Notifier(database, {"hook": hook})):
                await until(lambda: len(server.taken) == 2)
    assert [one.transition for one in server.taken] == ["cleared", "raised"]


async def test_what_was_not_delivered_is_delivered_by_the_next_process(tmp_path: Path) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        await flood(database, ["log"], 0.2)
    for _ in range(2):  # the second time there is nothing left to tell
        async with (
            state.opened(tmp_path / "cloud.db") as database,
            opened("log", tmp_path, {"path": "a.jsonl"}) as log,
            delivering(Notifier(database, {"log": log})),
        ):
            await until((tmp_path / "a.jsonl").exists)
            await asyncio.sleep(0.1)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1


async def test_a_raised_rule_stays_raised_over_a_restart(tmp_path: Path) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        await flood(database, ["log"], 0.2)
        await flood(database, ["log"], 0.2, 0.25, start=5)  # each with a new Watch
        await flood(database, ["log"], 0.9, start=-5)  # and a backlog from before
        await flood(database, ["log"], 0.1, start=20)
        alerts = await database.run(lambda c: c.execute(state.alert.select()).all())
    (alert,) = alerts
    assert (alert.raised_value, alert.raised_at_ms) == (0.2, NOW)
    assert (alert.cleared_value, alert.cleared_at_ms) == (0.1, NOW + 20)
