"""What servers answer that never end, or end in nonsense: it costs neither memory nor time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cloud.errors import Rejected, Unavailable
from cloud.http import MOST_BYTES, ask, client

_Talk = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def server(talk: _Talk) -> AsyncIterator[str]:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            ended.set()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with made:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}"
        await ended.wait()


def head(code: int, more: str = "") -> bytes:
    return f"HTTP/1.1 {code} So\r\n{more}\r\n".encode()


@pytest.mark.parametrize("code", [200, 204, 400, 500])
async def test_an_answer_without_end_is_none(code: int) -> None:
    sent = 0

    async def talk(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(head(code if code != 204 else 200))
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with server(talk) as url, client(5) as http:
        with pytest.raises(Unavailable, match="says more than"):
            await ask(http, "POST", url)
    assert sent < 40 * MOST_BYTES  # what lies in the sockets' buffers


async def test_an_answer_that_drips_is_none() -> None:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(head(200))
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(talk) as url, client(0.1) as http:
        with pytest.raises(Unavailable, match="does not come to an end"):
            await ask(http, "POST", url)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Unavailable),
        (b"\0\0\0\0\r\n\r\n", Unavailable),
        (head(500, "Content-Length: 3\r\n") + b"x", Unavailable),
        (head(200, "Content-Encoding: gzip\r\n") + b"no gzip", Unavailable),
        (head(302, "Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n"), Unavailable),
        (head(400, "Content-Length: 5\r\n") + b"\xff\xfe\r\n\0", Rejected),
        (head(400, "Content-Length: 12\r\n") + b'{"error":[1]}', Rejected),
    ],
)
async def test_nonsense_is_no_success(answer: bytes, error: type[Exception]) -> None:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with server(talk) as url, client(5) as http:
        with pytest.raises(error):
            await ask(http, "POST", url)
