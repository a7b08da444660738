"""A robot in a DingTalk (钉钉) group.

Source: DingTalk's pages on custom robots ("自定义机器人接入", "安全设置", error codes of
`robot/send`), as quoted in many places and seen in the answers that people report:
- POST {url}?access_token=…; signed: `timestamp` (ms) and `sign`, the base64 of
  HMAC-SHA256(secret, timestamp + "\\n" + secret), both in the URL.
- `errcode` 0 is success; 310000 is a wrong signature, a missing keyword or an address that is not
  allowed; 400101 and 300001 an unknown token; 400102 a robot switched off; 400013 a group that is
  gone; 43010x contents that are not wanted; -1 busy; 130101 and 410100 too fast.
- 20 messages a minute; a robot that sends more is shut out for ten minutes.
UNCERTAIN: that no code beside these is final (`never` can be set); the longest text (`max_bytes`
can be set).
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
    """`[channel.<name>]` with `kind = "dingtalk"`. `token_file`: the robot's access token;
    `secret_file`: the secret of 加签, for a robot that demands it. `to`: phone number of somebody
    in the group who is called by name."""

    kind: Literal["dingtalk"]
    url: Url = "https://oapi.dingtalk.com/robot/send"
    token_file: str
    secret_file: str | None = None
    rate_per_minute: Annotated[int, Field(ge=1)] | None = 20
    max_bytes: Annotated[int, Field(ge=200)] = 15_000
    never: tuple[int, ...] = (
        *(88, 40035, 43004, 300001, 300005, 310000, 400013, 400101, 400102, 400105, 400106),
        *(430101, 430102, 430103, 430104),
    )


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The robot of `config`; nobody is called yet. Raises Unavailable for a secret that cannot be
    read."""
    token, key = secret(folder, config.token_file) or "", secret(folder, config.secret_file)
    async with client(config.timeout_s) as http:
        yield _Robot(http, config, token, key)


def sign(key: str, timestamp: str) -> str:
    """The value of `sign`, before it is quoted for the URL."""
    signed = hmac.new(key.encode(), f"{timestamp}\n{key}".encode(), hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()


class _Robot:
    def __init__(
        self, http: httpx.AsyncClient, config: Config, token: str, key: str | None
    ) -> None:
        self._http = http
        self._config = config
        self._token = token
        self._key = key

    async def send(self, message: Message) -> Receipt:
        config = self._config
        params = {"access_token": self._token}
        if self._key is not None:
            now = str(now_ms())
            params |= {"timestamp": now, "sign": sign(self._key, now)}
        text = content(message, config.max_bytes)
        body: dict[str, Any] = {"msgtype": "text", "text": {"content": text}}
        if message.to:  # a name lights up only if it is in the text, too
            body["text"]["content"] += f"\n@{message.to}"
            body["at"] = {"atMobiles": [message.to]}
        return await post(self._http, config.url, body, ("errcode",), config.never, params=params)
