"""Answers over MQTT, through a real broker."""

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager
from functools import partial

import pytest

from cloud import database
from cloud.alerts import buttons, tokens
from cloud.alerts.buttons import Buttons
from tests import duty_room
from tests.waiting import until
from wire import topics
from wire.messages import Level
from wire.mqtt import Broker, connect


@asynccontextmanager
async def listening(room, broker, name="test"):
    """As the office does it, for as long as it is open."""
    made = Buttons(broker, name, 60, room.database, room.dispatch, lambda: None)
    task = asyncio.create_task(made.run(), name="buttons")
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def broker(mosquitto):
    return Broker(port=mosquitto.port)


async def press(broker, *payloads):
    """Press, once somebody listens."""
    async with connect(broker, "board") as session:
        for payload in payloads:

            async def heard(payload=payload):
                return await session.publish(topics.ANSWER, payload)

            await until(heard)


def said(token, **more):
    return json.dumps({"token": token, **more}).encode()


async def test_a_button_answers_once_however_often_it_is_pressed(tmp_path, broker):
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED)
        token = (await room.call()).token or ""
        async with listening(room, broker):
            await press(broker, said(token, answer="no", said="no power here"))
            await until(lambda: room.lines("declined"))
            assert await room.phase() == "ringing"
            await press(broker, *[said(token, said="button 1")] * 3)
            await until(lambda: room.lines("answer"))
        assert await room.phase() == "answered"
        (line,) = await room.lines("answer")
        assert (line["text"], json.loads(line["detail"])["how"]) == ("button 1", "MQTT")


async def test_what_is_no_answer_is_told_and_holds_up_nothing(tmp_path, broker, caplog):
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED)
        token = (await room.call()).token or ""
        wrong = [
            b"",
            b"\xff\xfe",
            b"[]",
            b"{}",
            b'{"token": 1}',
            b'{"x": ' + b"[" * 60_000,
            said("x.y"),
            said(token + "x"),
            said("\ud800"),
            said(token, answer="maybe"),
        ]
        async with listening(room, broker):
            await press(broker, *wrong, said(token, said="a\0b" + "x" * 5000))
            await until(lambda: room.lines("answer"))
        assert len(await room.lines("answer")) == 1
        assert len((await room.lines("answer"))[0]["text"]) <= buttons.LONGEST_WORDS
        assert len([one for one in caplog.messages if one.startswith(topics.ANSWER)]) == len(wrong)


async def test_an_answer_is_kept_until_it_is_committed(tmp_path, broker, monkeypatch, caplog):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(buttons, "RETRY_S", 0.05)
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED)
        token = (await room.call()).token or ""
        other = sqlite3.connect(tmp_path / "cloud.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with listening(room, broker):
            await press(broker, said(token))
            await until(lambda: "waits until it is back" in caplog.text)
        other.close()  # it was killed before it could commit: the broker has it still
        assert await room.phase() == "ringing"
        async with listening(room, broker):
            await until(lambda: room.lines("answer"))
        assert await room.phase() == "answered"


async def test_two_deployments_share_a_broker(tmp_path, broker, caplog):
    """And neither throws the other out."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with (
        duty_room.opened(tmp_path / "one") as one,
        duty_room.opened(tmp_path / "two") as two,
        listening(one, broker, await one.database.run(tokens.deployment)),
        listening(two, broker, await two.database.run(tokens.deployment)),
    ):
        for room in (one, two):
            await room.find(Level.RED)
            token = (await room.call()).token or ""
            await press(broker, said(token))
            await until(partial(room.lines, "answer"))
    assert "trying again" not in caplog.text


async def test_an_answer_over_which_something_fails_holds_up_no_other(
    tmp_path, broker, monkeypatch
):
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED)
        token = (await room.call()).token or ""
        right = room.dispatch.call_of

        def call_of(text):
            if text == "deadly":
                raise OverflowError("by chance")
            return right(text)

        monkeypatch.setattr(room.dispatch, "call_of", call_of)
        async with listening(room, broker):
            await press(broker, said("deadly"), said("x" * 5000), b" " * 70_000, said(token))
            await until(lambda: room.lines("answer"))


async def test_garbage_fills_no_log(tmp_path, caplog):
    garbage = [
        b"{" * 70_000,
        b"{",
        b"[" * 9000,
        said("x"),
        said("x", said="y" * 9000),
        b"\xff",
        b"",
    ]
    async with duty_room.opened(tmp_path) as room:
        made = Buttons(Broker(), "test", 60, room.database, room.dispatch, lambda: None)
        for payload in garbage * 30:
            await made._take(payload)
    lines = [one.getMessage() for one in caplog.records if topics.ANSWER in one.getMessage()]
    assert 1 <= len(lines) <= buttons.LINES
    assert all(len(line) < 400 for line in lines)
