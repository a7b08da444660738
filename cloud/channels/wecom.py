"""A robot in a WeCom (企业微信) group.

Source: WeCom's page on group robots (群机器人配置说明) and its table of global return codes:
- POST {url}?key=…; the key is all that protects it.
- `errcode` 0 is success; 93000 a wrong key or a robot that was removed; 93004 one switched off;
  93008 not in the group; 40008 a message type it does not know; 40035 and 44004 a bad request;
  45002 a text that is too long; -1 busy; 45009 and 45033 too fast.
- 20 messages a minute; a text of 2048 bytes at most.
UNCERTAIN: that no code beside these is final (`never` can be set).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
from pydantic import Field

from cloud.channels import Channel, Message, Receipt
from cloud.channels.robot import RobotConfig, content, post
from cloud.http import Url, client, secret


class Config(RobotConfig):
    """`[channel.<name>]` with `kind = "wecom"`. `token_file`: the `key` in the webhook's address.
    `to`: phone number of somebody in the group who is called by name."""

    kind: Literal["wecom"]
    url: Url = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"
    token_file: str
    rate_per_minute: Annotated[int, Field(ge=1)] | None = 20
    max_bytes: Annotated[int, Field(ge=200)] = 2048
    never: tuple[int, ...] = (40008, 40035, 44004, 45002, 93000, 93004, 93008)


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The robot of `config`; nobody is called yet. Raises Unavailable for a key that cannot be
    read."""
    token = secret(folder, config.token_file) or ""
    async with client(config.timeout_s) as http:
        yield _Robot(http, config, token)


class _Robot:
    def __init__(self, http: httpx.AsyncClient, config: Config, token: str) -> None:
        self._http = http
        self._config = config
        self._token = token

    async def send(self, message: Message) -> Receipt:
        config = self._config
        text: dict[str, Any] = {"content": content(message, config.max_bytes)}
        if message.to:
            text["mentioned_mobile_list"] = [message.to]
        body = {"msgtype": "text", "text": text}
        return await post(
            self._http, config.url, body, ("errcode",), config.never, params={"key": self._token}
        )
