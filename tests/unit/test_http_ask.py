"""What servers answer that never end, or end in nonsense: it costs neither memory nor time."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import Rejected, Unavailable
from cloud.http import MOST_BYTES, ask, client, json_of, retry_after_s
from tests.examples import examples

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


async def answered(answer: bytes) -> bytes:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with server(talk) as url, client(5) as http:
        return (await ask(http, "POST", url)).content


def packed(content: bytes, encoding: str = "gzip") -> bytes:
    body = gzip.compress(content, mtime=0)
    return head(200, f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n") + body


async def test_a_packed_answer_is_unpacked() -> None:
    assert await answered(packed(b'{"code":0}')) == b'{"code":0}'
    assert await answered(head(204, "Content-Encoding: gzip\r\n")) == b""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (packed(b"0" * 64 * MOST_BYTES), "says more than"),
        (packed(b"0" * 100, "gzip, gzip"), "packed in a way"),
        (packed(b"0" * 100, "br"), "packed in a way"),
        (
            head(200, "Content-Encoding: gzip\r\n") + gzip.compress(b"0" * 100, mtime=0)[:-9],
            "breaks off",
        ),
    ],
)
async def test_few_bytes_that_unpack_to_many_are_none(answer: bytes, said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        await answered(answer)


async def test_no_cookie_is_kept() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(3):
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            cookie = f"Set-Cookie: c{number}={'x' * 3000}\r\nContent-Length: 0\r\n"
            writer.write(head(200, cookie))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as made:
        url = f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}"
        async with client(5) as http:
            for _ in range(3):
                await ask(http, "POST", url)
    assert len(seen) == 3
    assert not any(b"ookie" in request for request in seen)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        ("1.5", 1.5),
        ("1000000000", 86_400),
        ("9" * 5000, 86_400),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 86_400),
        ("Mon, 01 Jan 2001 00:00:00 +99999999", None),
        ("Mon, 32 Jan 2001 00:00:00 GMT", None),
        ("-5", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("²", None),
        ("120, 240", None),
        ("later", None),
        ("", None),
    ],
)
def test_what_retry_after_says(header: str, seconds: float | None) -> None:
    assert retry_after_s(header) == seconds


@examples(100)
@given(
    st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ [+-]?\w+")
)
def test_no_retry_after_is_an_error(header: str) -> None:
    found = retry_after_s(header)
    assert found is None or 0 <= found <= 86_400


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"code":0}', {"code": 0}),
        (b'\xef\xbb\xbf{"code":0}', {"code": 0}),
        ('{"code":0,"msg":"成功"}'.encode("gbk"), {"code": 0, "msg": "成功"}),
        (b' \r\n{"code":0}\n', {"code": 0}),
        (b'{"code":0', None),
        (b"<html>ok</html>", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
        (b'{"code":NaN}', None),
    ],
)
def test_the_json_of_an_answer(body: bytes, expected: object) -> None:
    if expected is None:
        with pytest.raises(Unavailable, match="not JSON"):
            json_of(body)
    else:
        assert json_of(body) == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><head><title>502 Bad</title></head>\r\n<b>gateway</b></html>", "502 Bad gateway"),
        (b"[" * 100_000, "[[["),
        (b'{"error":"' + b"x" * 5000 + b'"}', "xxx"),
        (b"", "nothing more"),
        ("太快".encode("gbk"), "太快"),
        ("太快".encode() * 1000, "太快太快"),
        (b"\xff\xfe\x00", "\ufffd"),
    ],
)
async def test_the_reason_of_a_no_is_short_and_can_be_read(body: bytes, said: str) -> None:
    with pytest.raises(Unavailable, match=re.escape(f"says 502: {said}")) as caught:
        await answered(head(502, f"Content-Length: {len(body)}\r\n") + body)
    assert len(str(caught.value)) < 400


async def test_where_we_are_sent_is_said_and_not_followed() -> None:
    async def talk(writer: asyncio.StreamWriter) -> None:
        more = "Location: https://u:secret@db.example/x\r\nContent-Length: 0\r\n"
        writer.write(head(302, more))
        await writer.drain()

    async with server(talk) as url, client(5) as http:
        with pytest.raises(Unavailable, match=r"says 302: it sends us to https://db\.example;"):
            await ask(http, "GET", url)


async def test_what_is_no_http_is_said_so() -> None:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n")
        await writer.drain()

    async with server(talk) as url, client(5) as http:
        with pytest.raises(Unavailable, match=r"what it says is no HTTP; is it https:// \?"):
            await ask(http, "GET", url)
