"""What the robots of group chats (DingTalk, Feishu, WeCom) have in common: an HTTP POST of JSON
whose answer is 200 whatever came of it, with the provider's own code inside."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import httpx
import msgspec

from cloud.channels import NEVER, ChannelConfig, Message, Receipt, written
from cloud.errors import Rejected, Unavailable
from cloud.http import ask, json_of


class RobotConfig(ChannelConfig):
    """`never`: the provider's codes for what it will never take; all others mean: try again. What
    it says of a wrong token, a wrong signature, a missing keyword belongs here, and the defaults
    have those that are known; a code that nobody knows must not lose a warning."""

    never: tuple[int, ...] = ()


async def post(
    http: httpx.AsyncClient,
    url: str,
    body: Mapping[str, Any],
    codes: Sequence[str],
    never: Collection[int],
    *,
    params: Mapping[str, str] | None = None,
) -> Receipt:
    """Hand `body` over. The provider has taken it if one of the fields `codes` is in its answer
    and all of them that are say 0. Else raises Rejected for a code in `never`, or Unavailable."""
    answer = await ask(
        http,
        "POST",
        url,
        params=params,
        content=msgspec.json.encode(body),
        headers={"Content-Type": "application/json; charset=utf-8"},
        refused=NEVER,
    )
    said = _object(answer.content)
    given = [said[code] for code in codes if code in said]
    if not given or any(type(number) is not int for number in given):
        raise Unavailable("the answer is not one of the provider's", unsure=True)
    words = str(said.get("errmsg") or said.get("msg") or "nothing more")
    if number := next(filter(None, given), 0):
        error = Rejected if number in never else Unavailable
        raise error(f"the provider says {number}: {words}")
    return Receipt(detail=words)


def content(message: Message, limit: int) -> str:
    """Title, text and link in at most `limit` bytes of UTF-8; what is too long loses the end of
    its text, never the link."""
    whole = written(message)
    if len(whole.encode()) <= limit:
        return whole
    tail = f"…\n{message.link}" if message.link else "…"
    room = limit - len(tail.encode())
    return whole.encode()[:room].decode(errors="ignore") + tail


def now_ms() -> int:
    """The time that a signature carries."""
    return time.time_ns() // 1_000_000


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json_of(body)
    except Unavailable:
        return {}
    return said if isinstance(said, dict) else {}
