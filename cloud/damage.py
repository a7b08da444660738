"""The way to the state. One whose file is damaged as a whole is set aside, and alerts begin anew
without it.

Nobody who is warned can wait until somebody restores a copy. Nothing is deleted: who repairs the
file, or has a copy, puts it back while the service does not run.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Final, TypeVar

from cloud import database
from cloud.database import Place
from cloud.errors import Unavailable

log: Final = logging.getLogger("shuichi.cloud")

_T = TypeVar("_T")

AGAIN_S: Final = 1.0
"""Between tries of a state on a server that does not answer."""

_MAGIC: Final = b"SQLite format 3\0"
_OF_THE_FILE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


async def arrive(
    stack: AsyncExitStack,
    place: Place,
    opened: Callable[[], AbstractAsyncContextManager[_T]],
    stop: asyncio.Event,
    told: list[str] | None,
) -> _T | None:
    """The state at `place`, `opened` as soon as a state on a server answers; None if we are told to
    stop. A file that is damaged is set aside, and `told` of it. Raises Unavailable for a file that
    cannot be used; also for a damaged one where `told` is None, for a person is there."""
    waiting = False
    while not stop.is_set():
        try:
            return await stack.enter_async_context(opened())
        except Unavailable as error:
            if isinstance(place, Path):
                if told is None or not (words := set_aside(place, error)):
                    raise
                told.append(words)
                continue
            if not waiting:
                log.warning("%s; trying again until it answers", error)
                waiting = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_S):
                await stop.wait()
    return None


def set_aside(path: Path, error: Unavailable) -> str:
    """Rename the state at `path`, with its log, if `error` says that the file itself is at fault;
    one line about it, "" if nothing was done. Raises Unavailable where another process has it."""
    orig = getattr(error.__cause__, "orig", None)
    if getattr(orig, "sqlite_errorcode", 0) & 0xFF not in _OF_THE_FILE or not _is_ours(path):
        return ""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    moved: list[tuple[Path, Path]] = []
    with database.only_writer(path):
        try:
            for suffix in ("-wal", "-shm", ""):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    moved.append((part, aside.with_name(aside.name + suffix)))
                    part.rename(moved[-1][1])
        except OSError:
            for part, there in moved:  # without its log a file lacks what was committed last
                with contextlib.suppress(OSError):
                    there.rename(part)
            return ""
    return (
        f"{path} was damaged ({orig}) and is set aside as {aside.name}: alerts and accounts begin "
        "anew; to go on with a copy, stop the service and put it in its place"
    )


def _is_ours(path: Path) -> bool:
    """Whether it may have been a state: its first bytes are SQLite's, or such as a disk leaves that
    has lost a block. A path that names somebody's photo is a mistake."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
        return head == _MAGIC or len(set(head)) <= 1
    except OSError:
        return False
