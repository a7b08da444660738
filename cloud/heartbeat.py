"""An outgoing heartbeat: as long as alerts work, somebody outside hears it. Whoever hears nothing
(a monitor of the kind of a dead man's switch) calls people by ways of its own.

    [heartbeat]
    url = "https://monitor.example/ping/abc"
    fail_url = "https://monitor.example/ping/abc/fail"   # while a channel takes nothing
    every_s = 60

`url` is asked (POST, a JSON body with what fails) only if the dispatch has gone round lately.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import httpx
import msgspec
from pydantic import Field

from cloud.errors import Rejected, Unavailable
from cloud.http import Url, ask, client
from configs.loader import Model

log: Final = logging.getLogger("shuichi.cloud")

STALE_S: Final = 90.0
"""A dispatch that has not gone round for so long is not alive: it looks every 30 s without news."""


class Config(Model):
    """`[heartbeat]`."""

    url: Url
    fail_url: Url | None = None
    every_s: Annotated[float, Field(ge=5, le=3600)] = 60
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10


class Pulse:
    """`turned_s` is when the dispatch went round last (monotonic, s); `failing` are the channels
    that take nothing. `fault` is why the last beat was not heard, "" if it was."""

    def __init__(
        self,
        config: Config,
        turned_s: Callable[[], float],
        failing: Callable[[], Mapping[str, str]],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fault = ""
        self._config = config
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
        url = self._config.fail_url if failing and self._config.fail_url else self._config.url
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
