"""A store behind HTTP that answers nonsense, or without end: nothing counts as stored, and it costs
neither memory nor time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cloud import state
from cloud.errors import Rejected, Unavailable
from cloud.store import Points, Query, Store, influx, metricsql
from wire.reading import Quality, Quantity, Reading

_Talk = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]

POINTS = [Points("g", (Reading("s", "r", Quantity.DEPTH, 0.4, 1_782_000_000_000, Quality.GOOD),))]
OPENED = (
    b'HTTP/1.1 400 So\r\nContent-Length: 29\r\n\r\n{"error":"error parsing q.."}',
    b"HTTP/1.1 200 So\r\nContent-Length: 14\r\n\r\n" + b'{"results":[]}',
)
"""What an InfluxDB 1.x says before it is written to."""


def said(code: int, body: bytes = b"", more: str = "") -> _Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {code} So\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()

    return talk


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 204 OK\r\nX-A: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


HTML = b"<html>Log in to the hotel's network</html>"
NONSENSE = {
    "a page": said(200, HTML),
    "a redirect": said(302, b"", "Location: /\r\n"),
    "for ever there": said(308, b"", "Location: http://127.0.0.1:1/write\r\n"),
    "accepted, later": said(202),
    "a continuation": said(206, b"{}"),
    "an error of a proxy": said(502, HTML),
    "a page that says bad request": said(400, HTML),
    "a page of a firewall": said(422, b"<html>unable to parse, partial write: dropped=1</html>"),
    "JSON that breaks off": said(400, b'{"error":"partial write: unable to pars'),
    "JSON that is no object": said(400, b'["partial write: unable to parse"]'),
    "too large, though it is one": said(413, HTML),
    "not without a name": said(401, b"x" * 100_000),
    "another way": said(405),
    "without end": endless,
    "a byte now and then": dripping,
}


@asynccontextmanager
async def opened(folder: Path, api: str, talk: _Talk, **more: Any) -> AsyncIterator[Store]:
    """A store behind which `talk` answers what is written."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b" /query" in head:
                    writer.write(OPENED[asked % 2])
                    asked += 1
                    await writer.drain()
                    continue
                await talk(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = influx.Config.model_validate(
        {"kind": "influx", "url": url, "api": api, "database": "d", "bucket": "b"}
        | {"timeout_s": 0.2}
        | more
    )
    async with (
        server,
        state.opened(folder / "cloud.db") as database,
        influx.open(config, folder, database) as store,
    ):
        yield store


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("what", NONSENSE)
async def test_nothing_is_taken_for_stored(tmp_path: Path, api: str, what: str) -> None:
    async with opened(tmp_path, api, NONSENSE[what]) as store:
        with pytest.raises(Unavailable):
            await store.send(POINTS)


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_what_a_store_says_counts(tmp_path: Path, api: str) -> None:
    async with opened(tmp_path, api, said(204)) as store:
        await store.send(POINTS)
    refusal = b'{"error":"partial write: field type conflict: input field dropped=1"}'
    async with opened(tmp_path, api, said(400, refusal)) as store:
        with pytest.raises(Rejected, match="field type conflict") as error:
            await store.send(POINTS)
        assert error.value.dropped == 1


async def test_a_series_without_end_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metricsql, "MOST_LINE", 1 << 20)
    async with opened(tmp_path, "v1", endless, dialect="metricsql") as store:
        with pytest.raises(Unavailable, match="a line of more than"):
            await store.read(Query())
