"""The gateway's own log of events: lines are only ever added, and a few old files are kept.

The cloud has the same events, through the outbox; this file answers at the roadside, without a
network, who lowered the lamp and why.
"""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Final

import msgspec

from configs import files
from edge.supervisor import ANY_FAULT
from wire.messages import Event

log: Final = logging.getLogger("shuichi.eventlog")

LARGEST_BYTES: Final = 4 * 1024 * 1024
KEPT_FILES: Final = 4
"""Old files beside the current one."""

MOST_WAITING: Final = 10_000
RETRY_AFTER_S: Final = 30.0


class EventLog:
    """Takes events at once and writes them in a thread, so that nobody waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Event] = []
        self._news = asyncio.Event()
        self._failing = False

    def add(self, event: Event) -> None:
        """Take an event; the oldest that wait give way if the disk has refused for too long."""
        self._waiting.append(event)
        del self._waiting[:-MOST_WAITING]
        self._news.set()

    async def run(self) -> None:
        """Write for ever; what waits when it is cancelled is written by `flush`."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_AFTER_S if self._waiting else None):
                    await self._news.wait()
            self._news.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. A disk that refuses is told of once, and asked again next time."""
        events, self._waiting = self._waiting, []
        if not events:
            return
        try:
            await asyncio.to_thread(self._append, events)
        except OSError as error:
            if not self._failing:
                log.error("%s: cannot be written: %s", self._path, error.strerror)
            self._failing = True
            self._wait_again(events)
            return
        except BaseException:  # whatever it is, no event is lost for it
            self._wait_again(events)
            raise
        if self._failing:
            log.info("%s: written again", self._path)
            self._failing = False

    def _wait_again(self, events: list[Event]) -> None:
        self._waiting = (events + self._waiting)[-MOST_WAITING:]

    def _append(self, events: list[Event]) -> None:
        lines = b"".join(map(_line, events))
        if self._path.exists() and self._path.stat().st_size + len(lines) > LARGEST_BYTES:
            self._rotate()
        files.append(self._path, lines, files.COMMON)

    def _rotate(self) -> None:
        for i in range(KEPT_FILES, 0, -1):
            older = self._numbered(i)
            newer = self._numbered(i - 1) if i > 1 else self._path
            if newer.exists():
                newer.replace(older)

    def _numbered(self, i: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{i}")


def _line(event: Event) -> bytes:
    try:
        return msgspec.json.encode(event) + b"\n"
    except ANY_FAULT as error:  # one that cannot be written must not keep the others waiting
        log.error("an event of kind %.40r cannot be written: %s", event.kind, type(error).__name__)
        return b""
