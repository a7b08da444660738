"""What is peculiar to boards; what is common to all channels is in test_channels.py."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cloud.channels import board
from cloud.errors import Rejected, Unavailable
from configs.loader import ConfigError
from tests.contract.telling import NOW_MS, message, opened, parsed
from tests.services import Service
from tests.waiting import PATIENCE_S
from wire import mqtt


class Reader:
    """Who reads what a board reads."""

    def __init__(self, broker: Service) -> None:
        self._line = mqtt.Broker(port=broker.port)

    async def read(self, topic: str) -> tuple[dict[str, Any], bool]:
        async with asyncio.timeout(PATIENCE_S), mqtt.connect(self._line, "reader") as session:
            await session.subscribe(topic)
            (found,) = await session.take(1)
            session.ack(found)
            return json.loads(found.payload), found.retained


async def test_a_board_that_is_switched_on_later_reads_what_stands(
    tmp_path: Path, shared_mosquitto: Service
) -> None:
    there = {"broker": {"port": shared_mosquitto.port}}
    async with opened("board", tmp_path, there) as channel:
        receipt = await channel.send(message(to="later", expires_ms=None))
    assert receipt.detail == "the broker has it"
    shown, retained = await Reader(shared_mosquitto).read("board/later/message")
    assert retained
    assert shown == {
        "v": 1,
        "id": message().key,
        "kind": "raised",
        "language": "zh",
        "title": message().title,
        "text": message().text,
        "level": "red",
        "priority": 4,
        "repeat": 5,
        "at_ms": NOW_MS,
        "expires_ms": NOW_MS + 3_600_000,
        "exercise": False,
        "incident": "inc-7",
        "site": "daping-underpass",
        "token": None,
    }


async def test_a_board_that_is_not_there_is_said_to_be_so(
    tmp_path: Path, shared_mosquitto: Service
) -> None:
    there = {"broker": {"port": shared_mosquitto.port}, "retain": False}
    async with opened("board", tmp_path, there) as channel:
        with pytest.raises(Unavailable, match="nobody reads board/nowhere/message"):
            await channel.send(message(to="nowhere"))
        with pytest.raises(Rejected, match="would be a filter"):
            await channel.send(message(to="+"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"topic": "board/all"}, "does not name the board"),
        ({"topic": "board/{to}/#"}, "is a filter"),
        ({"topic": "board/{too}"}, "does not name the board"),
        ({"signing_key": "ops"}, "go together"),
        ({"repeat": {"purple": 2}}, "'purple' is not one of blue"),
    ],
)
def test_a_board_channel_that_cannot_work_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        parsed("board", changes)


def test_without_a_level_a_board_says_it_once() -> None:
    config = parsed("board", {})
    assert isinstance(config, board.Config)
    said = board.announcement(message(level=None, expires_ms=5), config)
    assert (said.priority, said.repeat, said.expires_ms) == (0, 1, 5)


async def test_a_key_that_is_none_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("nonsense")
    with pytest.raises(Unavailable, match="key: is no private key"):
        async with opened("board", tmp_path, {"signing_key": "k", "secret_file": "key"}):
            pytest.fail("it is open")
