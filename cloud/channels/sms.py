"""SMS through a provider's HTTP interface, as the config describes it.

    [channel.sms]
    kind = "sms"
    url = "https://sms.example/v1/send"
    headers = { Authorization = "Bearer {token}" }
    body = { mobile = "{to}", content = "{title}\n{text} {reply}", msgid = "{key}" }
    token_file = "sms.token"
    success_path = "code"
    success_value = 0

A provider who is given `{key}`, and remembers it, sends no SMS twice.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx

from cloud.channels import Channel, Message, Receipt
from cloud.channels.gateway import GatewayConfig, call, values_of
from cloud.http import client, secret


class Config(GatewayConfig):
    """`[channel.<name>]` with `kind = "sms"`."""

    kind: Literal["sms"]


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel to `config.url`; nobody is called yet. Raises Unavailable for a secret that
    cannot be read."""
    token = secret(folder, config.token_file)
    async with client(config.timeout_s) as http:
        yield _Sms(http, config, token)


class _Sms:
    def __init__(self, http: httpx.AsyncClient, config: Config, token: str | None) -> None:
        self._http = http
        self._config = config
        self._token = token

    async def send(self, message: Message) -> Receipt:
        return await call(self._http, self._config, values_of(message, self._token))
