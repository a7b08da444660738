"""A robot in a Feishu (飞书) group.

Source: Feishu's guide to custom robots (自定义机器人使用指南) and the answers that people report:
- POST {url}/{token}; signed: `timestamp` (s) and `sign` in the body, the base64 of HMAC-SHA256
  with the key timestamp + "\\n" + secret over nothing.
- `code` 0 is success (`StatusCode` 0 in older answers); 19021 a wrong signature or clock; 19022 an
  address that is not allowed; 19024 a missing keyword; 19001 an unknown token; 9499 a bad request;
  11232 too fast, which comes at full and half hours by itself.
- 100 messages a minute and 5 a second; 20 KB a request.
UNCERTAIN: that no code beside these is final (`never` can be set).
"""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
from pydantic import Field

from cloud.channels import Channel, Message, Receipt
from cloud.channels.robot import RobotConfig, content, now_ms, post
from cloud.http import Url, client, secret


class Config(RobotConfig):
    """`[channel.<name>]` with `kind = "feishu"`. `token_file`: the last part of the webhook's
    address; `secret_file`: the secret of 签名校验, for a robot that demands it. `to`: the open_id
    of somebody in the group who is called by name."""

    kind: Literal["feishu"]
    url: Url = "https://open.feishu.cn/open-apis/bot/v2/hook"
    token_file: str
    secret_file: str | None = None
    # A quarter of it may go at once, and five a second is all that Feishu takes.
    rate_per_minute: Annotated[int, Field(ge=1)] | None = 20
    max_bytes: Annotated[int, Field(ge=200)] = 15_000
    never: tuple[int, ...] = (9499, 19001, 19002, 19021, 19022, 19024)


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The robot of `config`; nobody is called yet. Raises Unavailable for a secret that cannot be
    read."""
    token, key = secret(folder, config.token_file), secret(folder, config.secret_file)
    async with client(config.timeout_s) as http:
        yield _Robot(http, config, f"{config.url}/{token}", key)


def sign(key: str, timestamp: str) -> str:
    """The value of `sign`."""
    signed = hmac.new(f"{timestamp}\n{key}".encode(), b"", hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()


class _Robot:
    def __init__(self, http: httpx.AsyncClient, config: Config, url: str, key: str | None) -> None:
        self._http = http
        self._config = config
        self._url = url
        self._key = key

    async def send(self, message: Message) -> Receipt:
        text = content(message, self._config.max_bytes)
        if message.to:
            text += f'\n<at user_id="{message.to}"></at>'
        body: dict[str, Any] = {"msg_type": "text", "content": {"text": text}}
        if self._key is not None:
            now = str(now_ms() // 1000)
            body |= {"timestamp": now, "sign": sign(self._key, now)}
        return await post(self._http, self._url, body, ("code", "StatusCode"), self._config.never)
