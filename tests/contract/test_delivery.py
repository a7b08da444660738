"""How messages are delivered: rows in the database, real channels behind."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, insert, select, update

from cloud import state, tables
from cloud.alerts import delivery
from cloud.alerts.delivery import Delivery
from cloud.channels import Message, Receipt, running, webhook
from cloud.errors import Unavailable
from cloud.shards import Lost
from cloud.state import State
from tests.contract.sink import Request, Sink, sink
from tests.contract.telling import NOW_MS, message, opened
from tests.waiting import until


def hook(*codes: int) -> Sink:
    """A sink that answers with `codes`, one after the other, and then with 204."""
    left = list(codes)

    class Scripted(Sink):
        def answer(self, request: Request) -> tuple[int, bytes]:
            if left:
                self.requests.append(request)
                return left.pop(0), b"no"
            return super().answer(request)

    plain = sink()
    return Scripted(plain.take, plain.admit, plain.yes, plain.never, plain.again, plain.denied)


async def tell(
    database: State,
    channels: list[str],
    *keys: str,
    contact: str = "zhang",
    incident: str = "inc-7",
) -> None:
    """Leave messages to be told."""

    def write(connection: Connection) -> None:
        for number, key in enumerate(keys):
            for channel in channels:
                one = message(key=f"{key}-{channel}")
                connection.execute(
                    insert(tables.outgoing).values(
                        key=one.key,
                        incident=incident,
                        contact=contact,
                        channel=channel,
                        parts="[]",
                        message=msgspec.json.encode(one).decode(),
                        made_ms=NOW_MS,
                        not_before_ms=NOW_MS + number,
                        outcome="",
                        detail="",
                    )
                )

    await database.run(write)


async def outcomes(database: State) -> dict[str, str]:
    out = tables.outgoing
    rows = await database.run(lambda c: c.execute(select(out.c.key, out.c.outcome)).all())
    return {row.key: row.outcome for row in rows}


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_DELAY_S", 0.05)
    monkeypatch.setattr(delivery, "LONGEST_DELAY_S", 0.1)


@asynccontextmanager
async def delivering(one: Delivery) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(one.run(), name="delivery")
        yield
        task.cancel()


def lines(folder: Path) -> list[dict[str, Any]]:
    file = folder / "a.jsonl"
    return list(map(json.loads, file.read_text().splitlines())) if file.exists() else []


@pytest.mark.usefixtures("quickly")
async def test_a_channel_that_fails_is_tried_again_and_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = hook(500, 503, 500)
    with server.running():
        async with (
            state.opened(tmp_path / "cloud.db") as database,
            opened("log", tmp_path, {"path": "a.jsonl"}) as log,
            opened("webhook", tmp_path, {"url": f"http://127.0.0.1:{server.port}/"}) as web,
        ):
            both = Delivery(database, {"log": log, "hook": web})
            await tell(database, ["log", "hook"], "a", "b")
            async with delivering(both):
                await until(lambda: len(lines(tmp_path)) == 2)
                await until(lambda: len(server.arrived) == 2)
                await tell(database, ["log", "hook"], "c")
                both.wake()
                await until(lambda: len(server.arrived) == 3)
                await until(lambda: len(lines(tmp_path)) == 3)
    tried = [request.headers["Idempotency-Key"] for request in server.requests]
    assert tried == ["a-hook"] * 4 + ["b-hook", "c-hook"]
    assert "says 500" in caplog.text
    assert caplog.text.count("trying again until it is taken") == 1


@pytest.mark.usefixtures("quickly")
async def test_a_message_that_is_refused_is_said_to_be_and_holds_up_none_behind_it(
    tmp_path: Path,
) -> None:
    server = hook(400)
    with server.running():
        async with (
            state.opened(tmp_path / "cloud.db") as database,
            opened("webhook", tmp_path, {"url": f"http://127.0.0.1:{server.port}/"}) as web,
        ):
            await tell(database, ["hook"], "a", "b")
            async with delivering(Delivery(database, {"hook": web})):

                async def done() -> bool:
                    return all((await outcomes(database)).values())

                await until(done)
            assert await outcomes(database) == {"a-hook": "refused", "b-hook": "delivered"}
    assert len(server.requests) == 2


async def test_what_was_not_delivered_is_delivered_by_the_next_process(tmp_path: Path) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["log"], "a")
    for _ in range(2):  # the second time there is nothing left to tell
        async with (
            state.opened(tmp_path / "cloud.db") as database,
            opened("log", tmp_path, {"path": "a.jsonl"}) as log,
            delivering(Delivery(database, {"log": log})),
        ):
            await until(lambda: lines(tmp_path))
            await asyncio.sleep(0.1)
    assert [one["key"] for one in lines(tmp_path)] == ["a-log"]


class Boards:
    """A channel of which some boards are off."""

    def __init__(self, *off: str) -> None:
        self.off = set(off)
        self.told: list[str] = []
        self.tried = 0

    async def send(self, one: Message) -> Receipt:
        self.tried += 1
        if one.key[0] in self.off:
            raise Unavailable(f"board {one.key[0]} is off")
        self.told.append(one.key)
        return Receipt()


@pytest.mark.usefixtures("quickly")
async def test_a_contact_who_cannot_be_told_holds_up_no_other_and_hears_all_in_order(
    tmp_path: Path,
) -> None:
    boards = Boards("a")
    async with state.opened(tmp_path / "cloud.db") as database:
        for contact in "ab":
            keys = (f"{contact}{number}" for number in range(3))
            await tell(database, ["board"], *keys, contact=contact)
        async with delivering(Delivery(database, {"board": boards})):
            await until(lambda: len(boards.told) == 3)
            assert boards.told == ["b0-board", "b1-board", "b2-board"]
            boards.off.clear()
            await until(lambda: len(boards.told) == 6)
            assert boards.told[3:] == ["a0-board", "a1-board", "a2-board"]


class Broken:
    """A channel that fails on some messages in a way that no channel declares."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys
        self.tried: list[str] = []

    async def send(self, one: Message) -> Receipt:
        self.tried.append(one.key)
        if one.key in self.keys:
            raise KeyError("what the provider never says")
        return Receipt()


@pytest.mark.usefixtures("quickly")
async def test_a_message_on_which_a_channel_fails_is_set_aside_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken("a-broken")
    async with (
        state.opened(tmp_path / "cloud.db") as database,
        opened("log", tmp_path, {"path": "a.jsonl"}) as log,
    ):
        await tell(database, ["broken", "log"], "a", "b")
        await tell(database, ["broken"], "c", contact="wu")
        async with delivering(Delivery(database, {"broken": broken, "log": log})):

            async def done() -> bool:
                return all((await outcomes(database)).values())

            await until(done)
        found = await outcomes(database)
    assert found == {
        **dict.fromkeys(("a-log", "b-log", "b-broken", "c-broken"), "delivered"),
        "a-broken": "refused",
    }
    assert broken.tried.count("a-broken") == delivery.TRIES_OF_A_FAULT
    assert caplog.text.count("fails on a-broken") == 1
    assert "Traceback" in caplog.text


async def test_a_row_that_cannot_be_read_is_set_aside_and_costs_no_other(tmp_path: Path) -> None:
    boards = Boards()
    out = tables.outgoing
    async with state.opened(tmp_path / "cloud.db") as database:
        for n, content in enumerate(("", "{}", "no json", '{"key": 1}', "[" * 5000)):
            await tell(database, ["board"], f"bad{n}")
            bad = update(out).where(out.c.key == f"bad{n}-board").values(message=content)
            await database.run(partial(Connection.execute, statement=bad))
        await tell(database, ["board"], "good")
        async with delivering(Delivery(database, {"board": boards})):

            async def done() -> bool:
                return all((await outcomes(database)).values())

            await until(done)
        assert boards.told == ["good-board"]
        found = await outcomes(database)
    assert set(found.values()) == {"refused", "delivered"}


async def test_a_database_that_is_away_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "AWAY_S", 0.01)
    tries = []

    class Away(State):
        async def run(self, work: Any) -> Any:
            tries.append(work)
            if len(tries) < 5:
                raise Unavailable("disk full")
            return await super().run(work)

    async with state.opened(tmp_path / "cloud.db") as database:
        monkeypatch.setattr(database, "__class__", Away)
        async with delivering(Delivery(database, {"board": Boards()})):
            await until(lambda: len(tries) >= 5)
        monkeypatch.undo()
    assert caplog.text.count("disk full") == 1


@pytest.mark.usefixtures("quickly")
async def test_a_clock_that_is_set_back_holds_up_no_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards, off_ms = Boards("a"), [0]
    now_ms = delivery._now_ms
    monkeypatch.setattr(delivery, "_now_ms", lambda: now_ms() - off_ms[0])
    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["board"], "a0", contact="a")
        async with delivering(Delivery(database, {"board": boards})):
            await until(lambda: boards.tried)
            off_ms[0] = 3_600_000
            boards.off.clear()
            await until(lambda: boards.told)


@pytest.mark.usefixtures("quickly")
async def test_a_channel_whose_secret_comes_later_delivers_what_has_waited(tmp_path: Path) -> None:
    server, secret = sink(), tmp_path / "late"
    with server.running():
        config = webhook.Config(
            kind="webhook", url=f"http://127.0.0.1:{server.port}/", secret_file=secret.name
        )
        async with (
            state.opened(tmp_path / "cloud.db") as database,
            running.kept(config, tmp_path) as channel,
        ):
            assert "the secret cannot be read" in channel.fault
            await tell(database, ["hook"], "a")
            async with delivering(Delivery(database, {"hook": channel})):
                secret.write_text("s")
                await until(lambda: server.requests)
            assert channel.fault == ""


class Gated:
    """A channel whose turns are given by the test; what it was handed, in order."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Semaphore(0)
        self.handed: list[str] = []

    async def turn(self) -> None:
        self.asked += 1
        await self.gate.acquire()

    async def send(self, message: Message) -> Receipt:
        self.handed.append(message.key)
        return Receipt()


async def test_what_is_real_goes_before_any_exercise(tmp_path: Path) -> None:
    """Though the exercise has waited longer, for a turn already, and is for somebody else."""
    channel = Gated()
    async with state.opened(tmp_path / "cloud.db") as database:
        for number in range(4):
            who = f"drilled-{number}"
            await tell(database, ["x"], f"drill-{number}", contact=who, incident="i.exercise")
        both = Delivery(database, {"x": channel})
        async with delivering(both):
            await until(lambda: channel.asked == 1)
            await tell(database, ["x"], "real", contact="zhang")
            await tell(database, ["x"], "also", contact="wang")
            both.wake()
            channel.gate.release()
            await until(lambda: channel.handed)
            await until(lambda: channel.asked == 2)
            for _ in range(5):
                channel.gate.release()
            await until(lambda: len(channel.handed) == 6)
    assert channel.handed[:2] == ["also-x", "real-x"]
    assert channel.handed[2:] == [f"drill-{number}-x" for number in range(4)]


@pytest.mark.usefixtures("quickly")
async def test_who_was_stopped_behind_the_question_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP, and another process has sent it meanwhile."""
    boards, stopped_s = Boards(), [0.0]

    class Clocks:
        time_ns = staticmethod(time.time_ns)

        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + stopped_s[0]

    monkeypatch.setattr(delivery, "time", Clocks)

    class Stopped(State):
        async def run(self, work: Any) -> Any:
            found = await super().run(work)
            if isinstance(found, tuple) and isinstance(found[-1], Message) and not stopped_s[0]:
                stopped_s[0] = 3600.0
                done = update(tables.outgoing).where(tables.outgoing.c.key == found[-1].key)
                await super().run(lambda c: c.execute(done.values(done_ms=1, outcome="by another")))
            return found

    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["board"], "one", "two")
        with monkeypatch.context() as patch:
            patch.setattr(database, "__class__", Stopped)
            async with delivering(Delivery(database, {"board": boards})):
                await until(lambda: boards.told)
        assert boards.told == ["two-board"]
        assert (await outcomes(database))["one-board"] == "by another"


async def test_who_has_lost_the_lease_sends_nothing(tmp_path: Path) -> None:
    boards, asked = Boards(), list[int]()

    def lost(_: Connection) -> None:
        asked.append(1)
        raise Lost("another worker has taken it")

    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["board"], "one")
        one = Delivery(database, {"board": boards})
        one.fence = lost
        async with delivering(one):
            await until(lambda: asked)
        assert boards.tried == 0


@pytest.mark.usefixtures("quickly")
async def test_what_was_taken_is_not_sent_again_while_that_cannot_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "AWAY_S", 0.01)
    boards, refused = Boards(), list[Any]()

    class Full(State):
        async def run(self, work: Any) -> Any:
            is_taken = getattr(work, "func", None) == one._taken
            if is_taken and len(refused) < 5:
                refused.append(work)
                raise Unavailable("disk full")
            return await super().run(work)

    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["board"], "one", "two")
        one = Delivery(database, {"board": boards})
        with monkeypatch.context() as patch:
            patch.setattr(database, "__class__", Full)
            async with delivering(one):
                await until(lambda: len(boards.told) == 2)
        assert len(refused) == 5
        assert (boards.tried, boards.told) == (2, ["one-board", "two-board"])
