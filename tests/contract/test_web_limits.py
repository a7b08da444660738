"""What strangers may cost the HTTP server: connections, time, descriptors."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cloud import descriptors
from cloud.web import connections, server
from cloud.web.connections import Connection, Places
from tests import duty_room
from tests.duty_room import TOKEN
from wire.messages import Level

HEAD = b"GET /api/alerts HTTP/1.1\r\nHost: x\r\n"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def room(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 8)
    async with duty_room.opened(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def half_open(room, number: int, said: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections that have sent a part of a request."""
    url = room.http.base_url
    made = []
    for _ in range(number):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(said)
        await writer.drain()
        made.append((reader, writer))
    try:
        yield [reader for reader, _ in made]
    finally:
        for _, writer in made:
            writer.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1000) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("said", [b"", b"G", HEAD, HEAD + b"X: " + b"y" * 9000])
async def test_whoever_says_nothing_gives_way_to_whoever_does(room, said) -> None:
    await room.find(Level.RED)
    async with half_open(room, 60, said) as readers:
        answer = await room.http.get("/api/alerts", headers=BEARER)
        assert answer.status_code == 200
        for reader in readers[: 60 - 8]:
            assert await is_closed(reader)


async def test_a_head_that_does_not_come_is_not_waited_for(room, monkeypatch) -> None:
    monkeypatch.setattr(connections, "HEAD_WITHIN_S", 0.2)
    async with half_open(room, 2, HEAD) as readers:
        for reader in readers:
            assert await is_closed(reader)


async def test_a_request_that_does_not_end_is_not_waited_for(room, monkeypatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_WITHIN_S", 0.2)
    body = b"POST /hooks/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n{"
    async with half_open(room, 8, body) as readers:
        for reader in readers:
            await reader.read(-1)  # an answer or none, and then the end


async def test_a_head_that_is_too_long_is_refused(room) -> None:
    async with half_open(room, 1, HEAD + b"X: " + b"y" * 70_000) as (reader,):
        assert b" 400 " in await reader.readline()
    async with half_open(room, 1, HEAD + b"".join(b"X%d: y\r\n" % n for n in range(9000))) as some:
        assert b" 400 " in await some[0].readline()


async def test_a_connection_ends_after_so_many_requests(room, monkeypatch) -> None:
    monkeypatch.setattr(connections, "REQUESTS", 3)
    async with half_open(room, 1, HEAD + b"\r\n") as (reader,):
        assert b" 401 " in await reader.readline()
    url = room.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write((HEAD + b"\r\n") * 5)  # pipelined
    said = await reader.read(-1)
    assert said.count(b"HTTP/1.1 401") == 3
    writer.close()


def test_places_are_counted() -> None:
    class One:
        def __init__(self, idle: bool) -> None:
            self.is_idle, self.dropped = idle, 0

        def drop(self) -> None:
            self.dropped += 1
            places.leave(self)  # type: ignore[arg-type]

    places = Places(2)
    first, second, third = One(False), One(True), One(True)
    assert places.take(first)  # type: ignore[arg-type]
    assert places.take(second)  # type: ignore[arg-type]
    assert places.take(third)  # type: ignore[arg-type]
    assert (first.dropped, second.dropped) == (0, 1)
    third.is_idle = False
    assert not places.take(One(True))  # type: ignore[arg-type]
    assert issubclass(Connection.of(places), Connection)


@pytest.mark.parametrize(
    ("soft", "room"), [(64, 16), (256, 64), (1024, 256), (1_000_000, 256), (-1, 256), (8, 4)]
)
def test_http_leaves_descriptors_to_the_others(soft, room, monkeypatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert descriptors.room_for(256) == room
