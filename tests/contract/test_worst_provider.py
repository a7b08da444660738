"""Providers at their worst: whatever they answer, it is a yes or a no, in words that anybody may
read and any database can hold; it costs no other message anything."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cloud import state, tables
from cloud.alerts import delivery
from cloud.alerts.delivery import IT_IS_THE_CHANNEL, Delivery
from cloud.alerts.handover import Stored
from cloud.channels import Message, Receipt
from cloud.channels.running import Expired
from cloud.errors import Rejected, Unavailable
from tests.certificates import Authority
from tests.contract.telling import SECRET, TOKEN, message, opened
from tests.contract.test_delivery import delivering, outcomes, tell
from tests.waiting import until

KINDS: dict[str, dict[str, Any]] = {
    "sms": {
        "body": {"to": "{to}", "text": "{text}"},
        "headers": {"Authorization": "Bearer {token}"},
        "token_file": "token",
        "success_path": "code",
        "success_value": 0,
        "never_values": [9],
        "id_path": "id",
    },
    "wecom": {"token_file": "token"},
    "dingtalk": {"token_file": "token", "secret_file": "secret"},
    "webhook": {"secret_file": "secret"},
}
TO = {"sms": "+8613800138000"}


@asynccontextmanager
async def provider(
    answer: bytes, *, ends: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Whoever asks is answered so, whatever they ask."""
    lines: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        if ends:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as made:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}/hook"
        for line in lines:
            line.close()


def http(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join((*lines, "", "")).encode() + body


async def ask(kind: str, folder: Path, answer: bytes, **settings: Any) -> Receipt:
    (folder / "token").write_text(TOKEN)
    (folder / "secret").write_text(SECRET)
    async with provider(answer) as url:
        config = {**KINDS[kind], "url": url, **settings}
        async with opened(kind, folder, config) as channel:
            return await channel.send(message(to=TO.get(kind, "")))


WORST = {
    "an error in a 200": http(200, b'{"code":5,"errcode":5,"errmsg":"x"}'),
    "html": http(200, b"<html><body>Welcome</body></html>"),
    "html and an error": http(503, b"<html><body>Sorry</body></html>"),
    "half a JSON": http(200, b'{"code":0,"errcode":0,"errmsg":"o'),
    "less than it says": b"HTTP/1.1 200 So\r\nContent-Length: 50\r\n\r\n" + b'{"code":0',
    "nothing": http(200, b""),
    "a list": http(200, b"[0]"),
    "a number": http(200, b"0"),
    "nested without end": http(200, b"[" * 100_000),
    "nested without end, and an error": http(500, b'{"a":' * 50_000),
    "elsewhere": http(302, b"", "Location: http://127.0.0.1:1/other"),
    "elsewhere for ever": http(308, b"", "Location: /hook"),
    "nonsense in its head": http(302, b"", "Location: http://[::1"),
    "nonsense in its words": http(
        200, b'{"code":"\\ud800\\u0000\\u202e","errcode":7,"errmsg":"\\u0000"}'
    ),
    "words without end": http(200, b'{"code":"' + b"x" * 900_000 + b'","errcode":7}'),
    "an object for a code": http(200, b'{"code":{"a":"' + b"y" * 5000 + b'"},"errcode":{}}'),
    "wait a thousand years": http(429, b"no", "Retry-After: 1000000000"),
    "wait until yesterday": http(429, b"no", "Retry-After: Mon, 01 Jan 2001 00:00:00 GMT"),
    "wait less than nothing": http(429, b"no", "Retry-After: -5"),
    "wait a while": http(429, b"no", "Retry-After: a while"),
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "pay first": http(402, b"no money"),
}
PLAIN_YES = frozenset(
    name
    for name, answer in WORST.items()
    if answer.startswith(b"HTTP/1.1 200") and "less" not in name
)
"""For a webhook a 200 is all there is to know."""


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_no_yes_is_tried_again_and_said_in_one_line(
    kind: str, tmp_path: Path
) -> None:
    for name, answer in WORST.items():
        if kind == "webhook" and name in PLAIN_YES:
            assert (await ask(kind, tmp_path, answer)).detail == "HTTP 200"
            continue
        with pytest.raises(Unavailable) as caught:
            await ask(kind, tmp_path, answer)
        said = str(caught.value)
        assert 0 < len(said) <= 500, name
        assert said.isprintable(), name
        wait_s = caught.value.retry_after_s
        assert wait_s is None or 0 <= wait_s <= 86_400, name


async def test_a_certificate_that_nobody_knows_is_no_yes(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    files = Authority(tmp_path, "authority").sign("provider")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.certificate, files.key)
    async with provider(http(200, b'{"code":0}'), tls=tls) as url:
        config = {**KINDS["sms"], "url": url.replace("http:", "https:")}
        async with opened("sms", tmp_path, config) as channel:
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await channel.send(message(to=TO["sms"]))


@pytest.mark.parametrize("tail", [b"", b"x" * 10])
async def test_a_provider_that_never_ends_costs_its_time_and_no_more(
    tail: bytes, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    begun = b"HTTP/1.1 200 So\r\nContent-Length: 50\r\n\r\n" + tail
    async with provider(begun, ends=False) as url:
        config = {**KINDS["sms"], "url": url, "timeout_s": 0.15}
        async with opened("sms", tmp_path, config) as channel:
            with pytest.raises(Unavailable, match="no answer"):
                await channel.send(message(to=TO["sms"]))


@pytest.mark.parametrize(
    "body",
    [
        '{"code":0,"id":"\\u0000\\u202e\\n"}',
        '{"code":0,"id":"' + "7" * 5000 + '"}',
        '{"code":0,"id":{"a":[1,2,"\\u0007"]}}',
        f'{{"code":0,"id":"for {TOKEN}"}}',
        '{"code":0,"id":"Bearer+token%2Dthat"}',
    ],
)
async def test_whatever_number_a_provider_gives_can_be_kept(body: str, tmp_path: Path) -> None:
    receipt = await ask("sms", tmp_path, http(200, body.encode()))
    assert receipt.provider_id is not None
    assert 0 < len(receipt.provider_id) <= 100
    assert receipt.provider_id.isprintable()
    assert TOKEN not in receipt.provider_id


async def test_a_yes_in_gbk_or_behind_a_mark_is_a_yes(tmp_path: Path) -> None:
    for body in ('{"code":0,"msg":"成功"}'.encode("gbk"), b'\xef\xbb\xbf{"code":0}'):
        assert (await ask("sms", tmp_path, http(200, body))).detail == "code 0"


async def test_no_secret_is_quoted_in_any_form(tmp_path: Path) -> None:
    secret = "a+b/c= d"
    (tmp_path / "token").write_text(secret)
    body = b'{"code":"bad token a+b/c= d, a%2Bb%2Fc%3D%20d, a%2Bb%2Fc%3D+d"}'
    async with (
        provider(http(200, body)) as url,
        opened("sms", tmp_path, {**KINDS["sms"], "url": url}) as channel,
    ):
        with pytest.raises(Unavailable, match="bad token") as caught:
            await channel.send(message(to=TO["sms"]))
    assert "a+b" not in str(caught.value)
    assert "a%2B" not in str(caught.value)


class Scripted:
    """A channel that answers so, one after the other, and then takes what comes."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = [*answers]
        self.told: list[str] = []

    async def send(self, one: Message) -> Receipt:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.told.append(one.key)
        return Receipt()


async def test_a_channel_that_refuses_everything_is_said_until_it_takes_something(
    tmp_path: Path,
) -> None:
    refusals = [Rejected("the token has run out") for _ in range(IT_IS_THE_CHANNEL)]
    channel = Scripted(*refusals)
    async with state.opened(tmp_path / "cloud.db") as database:
        one = Delivery(database, {"sms": channel})
        async with delivering(one):

            async def pass_on(*keys: str) -> None:
                await tell(database, ["sms"], *keys)
                one.wake()

                async def done() -> bool:
                    return all((await outcomes(database)).values())

                await until(done)

            await pass_on("a", "b")
            assert one.failing() == {}
            await pass_on("c")
            assert one.failing() == {
                "channel sms": "it refuses all messages: the token has run out"
            }
            await pass_on("d")
            assert one.failing() == {}
    assert channel.told == ["d-sms"]


async def test_what_came_too_late_says_nothing_of_the_channel(tmp_path: Path) -> None:
    late = [Expired("too late") for _ in range(IT_IS_THE_CHANNEL)]
    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["sms"], "a", "b", "c")
        one = Delivery(database, {"sms": Scripted(*late)})
        async with delivering(one):

            async def done() -> bool:
                return all((await outcomes(database)).values())

            await until(done)
        assert one.failing() == {}


async def test_the_longest_rest_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a provider wants: the next try is not for tomorrow."""
    monkeypatch.setattr(delivery, "LONGEST_REST_S", 0.05)
    channel = Scripted(*(Unavailable("wait", after_s) for after_s in (1e9, float("inf"), 0.0)))
    monkeypatch.setattr(delivery, "FIRST_DELAY_S", 0.01)
    out = tables.outgoing
    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["sms"], "a")
        async with delivering(Delivery(database, {"sms": channel})):

            async def outcome() -> str:
                return str(await database.run(lambda c: c.execute(select(out.c.outcome)).scalar()))

            await until(outcome)  # it is noted after the channel has taken it
            assert await outcome() == "delivered"
    assert channel.told == ["a-sms"]


@pytest.mark.parametrize("why", ["it takes nothing", "it wants a long rest"])
async def test_what_follows_a_channel_that_takes_nothing_is_asked_for_at_once(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(delivery, "LONGEST_DELAY_S", 0.02)
    rest_s = 300.0 if why == "it wants a long rest" else None
    monkeypatch.setattr(delivery, "FAILING_S", 0.05 if rest_s is None else 1000.0)
    asked: list[set[str]] = []

    class Noting(Stored):
        def broken(self, connection: Any, channels: Any, now_ms: int) -> bool:
            asked.append({*channels})
            return False

    channel = Scripted(*(Unavailable("down", rest_s) for _ in range(10_000)))
    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["sms"], "a")
        one = Delivery(database, {"sms": channel}, desk=Noting())
        async with delivering(one):
            await until(lambda: asked)
            before = len(asked)
            await tell(database, ["sms"], "b", contact="wu")  # while it rests
            one.wake()
            await until(lambda: len(asked) > before)
    assert {"sms"} in asked
