"""An HTTP POST of the message as JSON. Only an answer of 2xx is a success.

With a secret the request is signed, so that the receiver knows whose it is, that nobody changed it
and that nobody kept it to send it later:

    Shuichi-Timestamp: 1700000000
    Shuichi-Signature: v1=<hex of HMAC-SHA256(secret, "1700000000." + body)>
    Idempotency-Key: <the message's `key`, the same on each repetition>

A receiver computes the same over the bytes as they came, compares in constant time, and refuses
what is older than some minutes.
"""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx
import msgspec

from cloud.channels import NEVER, Channel, ChannelConfig, Message, Receipt
from cloud.http import Url, ask, client, header, secret


class Config(ChannelConfig):
    """`[channel.<name>]` with `kind = "webhook"`."""

    kind: Literal["webhook"]
    url: Url
    secret_file: str | None = None


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel to `config.url`; nobody is called yet. Raises Unavailable for a secret that
    cannot be read."""
    key = secret(folder, config.secret_file)
    async with client(config.timeout_s) as http:
        yield _Webhook(http, config.url, key)


def signature(key: str, timestamp: str, body: bytes) -> str:
    """The value of `Shuichi-Signature`."""
    signed = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1={signed.hexdigest()}"


class _Webhook:
    def __init__(self, http: httpx.AsyncClient, url: str, key: str | None) -> None:
        self._http = http
        self._url = url
        self._key = key

    async def send(self, message: Message) -> Receipt:
        body = msgspec.json.encode(message)
        headers = {"Content-Type": "application/json", "Idempotency-Key": header(message.key)}
        if self._key is not None:
            now = str(int(time.time()))
            headers |= {
                "Shuichi-Timestamp": now,
                "Shuichi-Signature": signature(self._key, now, body),
            }
        answer = await ask(
            self._http, "POST", self._url, content=body, headers=headers, refused=NEVER
        )
        return Receipt(detail=f"HTTP {answer.status_code}")
