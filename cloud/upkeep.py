"""Keeps tidy beside the ingest: rollups are brought up to what was written, what is older than the
retention is let go, and so is what the quarantine has no room for."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from cloud.errors import Rejected, Unavailable

log: Final = logging.getLogger("shuichi.upkeep")

EVERY_S: Final = 30.0


class Chore(NamedTuple):
    """`work` is given the time (ms) and may raise Unavailable or Rejected: then it is done at the
    next turn, nothing of it is lost."""

    name: str
    work: Callable[[int], Awaitable[None]]


async def run(*chores: Chore) -> None:
    """Do all of them in turn, for ever."""
    failing: set[str] = set()
    while True:
        for name, work in chores:
            try:
                await work(time.time_ns() // 1_000_000)
            except (Unavailable, Rejected) as error:
                if name not in failing:
                    log.error("%s must wait: %s", name, error)
                failing.add(name)
            except Exception:  # a seam: one chore must not keep the others from being done
                if name not in failing:
                    log.exception("%s has failed", name)
                failing.add(name)
            else:
                if name in failing:
                    log.info("%s: going on", name)
                failing.discard(name)
        await asyncio.sleep(EVERY_S)
