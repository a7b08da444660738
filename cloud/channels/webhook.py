"""An HTTP POST of the notice as JSON. Only an answer of 2xx is a success."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

import httpx
import msgspec
from pydantic import Field

from cloud.channels import Channel, ChannelConfig, Notice
from cloud.http import Url, ask


class Config(ChannelConfig):
    """`[channel.<name>]` with `kind = "webhook"`."""

    kind: Literal["webhook"]
    url: Url
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel to `config.url`; nobody is called yet."""
    async with httpx.AsyncClient(timeout=config.timeout_s) as http:
        yield _Webhook(http, config.url)


class _Webhook:
    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def send(self, notice: Notice) -> None:
        await ask(
            self._http,
            "POST",
            self._url,
            content=msgspec.json.encode(notice),
            headers={"Content-Type": "application/json", "Idempotency-Key": notice.key},
        )
