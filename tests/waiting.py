"""Waiting for what another process does, and says nothing of."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 60.0
"""For what comes in less than a second on a machine that has nothing else to do."""


async def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Return once `condition()`, awaited if need be, holds. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if inspect.isawaitable(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0.01)
