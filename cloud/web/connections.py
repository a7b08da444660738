"""What one HTTP connection may cost: a place among so many, and time in which it must speak.

Whoever sends the head of a request a byte at a time, or nothing, holds a place until another wants
it, and `HEAD_WITHIN_S` at most; a request and its answer take `REQUEST_WITHIN_S` at most.
"""

import asyncio
import logging
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.web")

HEAD_WITHIN_S: Final = 10.0
REQUEST_WITHIN_S: Final = 60.0
"""Longer than a body may take: see `cloud.web.desk`."""

KEEP_ALIVE_S: Final = 5
LONGEST_HEAD: Final = 16 * 1024
REQUESTS: Final = 100
"""On one connection."""


class Places:
    """At most `most` connections at a time. Where there is none left, the one that has been waiting
    for the head of a request for longest gives its place up; if none waits, the new one gets none.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: dict[Connection, None] = {}
        self._seldom = Seldom(60.0)

    def take(self, one: "Connection") -> bool:
        """Whether there is a place for it."""
        if len(self._taken) >= self.most:
            self._say()
            idle = next((other for other in self._taken if other.is_idle), None)
            if idle is None:
                return False
            idle.drop()
        self._taken[one] = None
        return True

    def leave(self, one: "Connection") -> None:
        self._taken.pop(one, None)

    def _say(self) -> None:
        if self._seldom.says() is not None:
            log.warning("all %d connections are taken: those that say nothing go", self.most)


class Connection(H11Protocol):
    """One connection; `places` is set by `of`."""

    places: Places

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._waits_for = ""
        self._requests = 0

    @classmethod
    def of(cls, places: Places) -> type["Connection"]:
        """The class of the connections that share `places`."""
        return type("Connection", (cls,), {"places": places})

    @property
    def is_idle(self) -> bool:
        """Whether it has no request that is complete enough to be worked on."""
        return self._waits_for != "request"

    def drop(self) -> None:
        """Close it now, whatever is on its way."""
        self._stop()
        self.places.leave(self)
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.places.take(self):
            transport.abort()
            return
        self._wait("head", HEAD_WITHIN_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self.places.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        self._stop()
        self._requests += 1
        super().on_response_complete()
        if self._requests >= REQUESTS and not self.transport.is_closing():
            self.transport.close()
        self._watch()

    def _watch(self) -> None:
        """Give what it is waited for now its time, once."""
        if self.transport.is_closing():
            self._stop()
        elif self.conn.their_state is not h11.IDLE:
            if self._waits_for != "request":
                self._wait("request", REQUEST_WITHIN_S)
        elif self._waits_for != "head":
            self._wait("head", HEAD_WITHIN_S)

    def _wait(self, what: str, within_s: float) -> None:
        self._stop()
        self._waits_for = what
        self._deadline = self.loop.call_later(within_s, self.drop)

    def _stop(self) -> None:
        self._waits_for = ""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
