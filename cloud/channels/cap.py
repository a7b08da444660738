"""An HTTP POST of a CAP 1.2 document (`cloud.alerts.cap`), for whoever takes warnings in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import httpx

from cloud.channels import NEVER, Channel, ChannelConfig, Message, Receipt
from cloud.errors import Rejected
from cloud.http import Url, ask, client, header, secret

KIND: Final = "cap"


class Config(ChannelConfig):
    """`[channel.<name>]` with `kind = "cap"`. `token_file`: a bearer token (RFC 6750), where the
    receiver asks for one."""

    kind: Literal["cap"]
    url: Url
    token_file: str | None = None


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel to `config.url`; nobody is called yet. Raises Unavailable for a token that
    cannot be read."""
    token = secret(folder, config.token_file)
    headers = {} if token is None else {"Authorization": f"Bearer {header(token)}"}
    async with client(config.timeout_s, headers) as http:
        yield _Cap(http, config.url)


class _Cap:
    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def send(self, message: Message) -> Receipt:
        if message.cap is None:
            raise Rejected("there is no CAP document of it")
        if message.exercise and b"<status>Exercise</status>" not in message.cap:
            raise Rejected("its CAP document does not say that it is an exercise")
        headers = {
            "Content-Type": "application/cap+xml; charset=utf-8",
            "Idempotency-Key": header(message.key),
        }
        answer = await ask(
            self._http, "POST", self._url, content=message.cap, headers=headers, refused=NEVER
        )
        return Receipt(detail=f"HTTP {answer.status_code}")
