"""What all routes work with, and how they read a request."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from fastapi import Request
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cloud.alerts.cap import Publisher
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.testsend import Sender
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from cloud.storeserver import StoreServer
from cloud.web.settings import Hook
from configs.text import clean
from wire.seldom import Seldom

_T = TypeVar("_T")

log: Final = logging.getLogger("shuichi.web")

LONGEST_BODY: Final = 64 * 1024

BODY_WITHIN_S: Final = 30
"""On a bad network; whoever sends a byte an hour is not waited for."""

AT_ONCE: Final = 4
"""Questions to the state at a time: what alerts write waits for so many at most."""

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of every answer."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """`reader` is the same state as `database`, to look at only: who looks waits for nobody who
    writes, and holds nobody up. `hooks` have their secrets beside them; `token` opens the API, and
    so do `tokens`, by the names of programs; "" opens nothing; `calendar_token`
    opens the feed of duty; without a `publisher` there is no
    CAP feed; `url` is where we are seen from afar; `wake` tells the dispatch that there is news; a
    reply to a call by a `spoken` channel gets no answer; `tests` sends test messages, where there
    are channels; `store_server` is who keeps the readings."""

    database: State
    reader: State
    dispatch: Dispatch
    wake: Callable[[], None]
    hooks: Mapping[str, tuple[Hook, str]]
    token: str
    publisher: Publisher | None
    url: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    calendar_token: str = ""
    spoken: frozenset[str] = frozenset()
    tests: Sender | None = None
    store_server: StoreServer | None = None
    _refusals: Seldom = field(default_factory=lambda: Seldom(60.0), init=False, repr=False)
    _turns: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(AT_ONCE), init=False, repr=False
    )
    _looks: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(AT_ONCE), init=False, repr=False
    )

    calendars: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(1), init=False, repr=False
    )
    """Calendars that are read or written at a time: each may take a second of a core."""

    def refused(self, what: str, request: Request) -> None:
        """Somebody asked without the right secret: counted, and said once a minute for each that
        asks."""
        sender = clean(sender_of(request), 100)
        if (held := self._refusals.says((what, sender))) is not None:
            more = f", and {held} times more before" if held else ""
            log.warning("%s: refused, the secret is not right: %s%s", what, sender, more)

    async def run(self, work: Callable[[Connection], _T]) -> _T:
        """Work in the database; 503 if it does not answer, 422 for what it cannot hold."""
        return await _run(self.database, self._turns, work)

    async def look(self, work: Callable[[Connection], _T]) -> _T:
        """Read what is committed, whoever writes meanwhile; 503 if the database does not answer."""
        return await _run(self.reader, self._looks, work)


async def body_of(request: Request, most: int = LONGEST_BODY) -> bytes:
    """The whole body, if it is not too long and comes in time."""
    body = b""
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise HTTPException(413, f"a body has {most} bytes at most")
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_WITHIN_S} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body is cut off") from None
    return body


def sender_of(request: Request) -> str:
    """Whence it came, for the record; behind a proxy also what that says, which anybody can say."""
    host = request.client.host if request.client else "-"
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")[0].strip()[:45]
    return f"{host} for {forwarded}" if forwarded else host


async def _run(database: State, turns: asyncio.Semaphore, work: Callable[[Connection], _T]) -> _T:
    try:
        async with turns:
            return await database.run(work)
    except Unavailable as error:
        raise HTTPException(503, str(error)) from None
    except Rejected as error:
        raise HTTPException(422, str(error)) from None
