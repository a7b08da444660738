"""An outgoing heartbeat: as long as alerts work, somebody outside hears it. Whoever hears nothing
(a monitor of the kind of a dead man's switch) calls people by ways of its own.

    [heartbeat]
    url = "https://monitor.example/ping/abc"
    fail_url = "https://monitor.example/ping/abc/fail"   # while a channel takes nothing
    every_s = 60

`url` is asked (POST, a JSON body with what fails) only if the dispatch has gone round lately.

    [heartbeat.daily]                                    # for a person: see `cloud.allwell`
    at = ["08:00"]
    channel = "sms"
    contacts = ["he-lan"]
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Self

import httpx
import msgspec
from pydantic import Field, model_validator

from cloud.errors import Rejected, Unavailable
from cloud.http import Url, ask, client
from configs.loader import Model

log: Final = logging.getLogger("shuichi.cloud")

STALE_S: Final = 90.0
"""A dispatch that has not gone round for so long is not alive: it looks every 30 s without news."""


Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Daily(Model):
    """`[heartbeat.daily]`: at these times of day, where the response plan is, these contacts of the
    plan, or the address `to`, get the all-well message by a channel; without both, the address
    that the channel has itself."""

    at: Annotated[tuple[Clock, ...], Field(min_length=1, max_length=4)] = ("08:00",)
    channel: Annotated[str, Field(min_length=1)]
    contacts: Annotated[tuple[str, ...], Field(max_length=5)] = ()
    to: str = ""


class Config(Model):
    """`[heartbeat]`."""

    url: Url | None = None
    daily: Daily | None = None
    fail_url: Url | None = None
    every_s: Annotated[float, Field(ge=5, le=3600)] = 60
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10

    @model_validator(mode="after")
    def _is_heard_by_somebody(self) -> Self:
        if self.url is None and self.daily is None:
            raise ValueError("has neither url nor [heartbeat.daily]: nobody would hear it")
        if self.url is None and self.fail_url is not None:
            raise ValueError("fail_url is used in place of url, which is missing")
        return self


class Pulse:
    """`url` is the config's; `turned_s` is when the dispatch went round last (monotonic, s);
    `failing` is what of alerting fails. `fault` is why the last beat was not heard, "" if it was.
    """

    def __init__(
        self,
        config: Config,
        url: Url,
        turned_s: Callable[[], float],
        failing: Callable[[], Mapping[str, str]],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fault = ""
        self._config = config
        self._url = url
        self._turned_s = turned_s
        self._failing = failing
        self._now_s = now_s

    async def run(self) -> None:
        """Beat for ever."""
        async with client(self._config.timeout_s) as http:
            while True:
                await self.beat(http)
                await asyncio.sleep(self._config.every_s)

    async def beat(self, http: httpx.AsyncClient) -> bool:
        """One beat; whether it was heard. None is sent while the dispatch stands still."""
        if self._now_s() - self._turned_s() > STALE_S:
            return False
        failing = self._failing()
        url = self._config.fail_url if failing and self._config.fail_url else self._url
        body = {"status": "failing" if failing else "ok", "failing": dict(failing)}
        headers = {"Content-Type": "application/json"}
        try:
            await ask(http, "POST", url, content=msgspec.json.encode(body), headers=headers)
        except (Unavailable, Rejected) as error:
            if not self.fault:
                log.error("the heartbeat is not heard: %s", error)
            self.fault = f"nobody outside hears that the service lives: {error}"
            return False
        if self.fault:
            log.info("the heartbeat is heard again")
        self.fault = ""
        return True
