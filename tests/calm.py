"""Whether the machine let this process run: a simulated device that stands still for long is later
than the datasheet that a test holds it to, and what follows from that is no fault of ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

TRIES: Final = 8
"""Before a test that needs a calm machine gives up."""

_EVERY_S: Final = 0.005


class Calm:
    """`longest_s` is how long the event loop stood still at most."""

    longest_s = 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Calm]:
    """How calm it was meanwhile."""
    calm, loop = Calm(), asyncio.get_running_loop()

    async def watch() -> None:
        while True:
            due = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            calm.longest_s = max(calm.longest_s, loop.time() - due)

    task = asyncio.create_task(watch(), name="calm")
    try:
        yield calm
    finally:
        task.cancel()
        await asyncio.wait((task,))
