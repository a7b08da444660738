"""Tasks that other tasks wait for."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class CancelledAlone(Exception):
    """A task was cancelled, although nobody cancelled the one that waited for it."""


async def apart(work: Coroutine[Any, Any, _T], name: str) -> _T:
    """Await `work` in a task of its own. Whoever cancels us cancels it, and we wait for its end.

    A long-lived loop uses this for work that may hold a TaskGroup. In Python before 3.11.7 a child
    of the group that fails leaves a cancellation pending in the task around the group, and every
    later `asyncio.timeout` of that task lets CancelledError through in place of TimeoutError. Here
    what is left pending ends with the task of the work.

    Raises what `work` raises; CancelledAlone if somebody else has cancelled it.
    """
    task = asyncio.create_task(work, name=name)
    try:
        await asyncio.wait((task,))
    finally:
        if not task.done():
            await _end(task)
        if not task.cancelled():
            task.exception()  # seen: if we are cancelled in the moment of its end, nobody asks
    if task.cancelled():
        raise CancelledAlone(f"{name} was cancelled by another task")
    return task.result()


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel `task`, again as often as we are cancelled meanwhile, and wait until it has ended."""
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            continue
