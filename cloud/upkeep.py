"""Keeps tidy beside the ingest: rollups are brought up to what was written, what is older than the
retention is let go, and so is what the quarantine has no room for.

Nothing is let go by a clock that was set to a later time a moment ago, nor by that of a machine
that has just started and may not have asked for the time yet: see `cloud.ownclock`. Rollups are
made by what the clock shows, from the start on: one that is made too early is made again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from cloud.errors import Rejected, Unavailable
from cloud.ownclock import PLAUSIBLE_MS, OwnClock

log: Final = logging.getLogger("shuichi.upkeep")

EVERY_S: Final = 30.0

SETTLED_S: Final = 600.0
"""After the start, until which nothing is old."""


class Chore(NamedTuple):
    """`work` is given the time that the clock shows and the earliest time that it may be, by which
    things are let go (ms; 0 if nobody knows). It may raise Unavailable or Rejected: then it is done
    at the next turn, nothing of it is lost."""

    name: str
    work: Callable[[int, int], Awaitable[None]]


async def run(*chores: Chore) -> None:
    """Do all of them in turn, for ever."""
    failing: set[str] = set()
    clock = OwnClock()
    while True:
        for name, work in chores:
            shown = clock.look()
            now_ms, earliest_ms = (
                at_ms if at_ms in PLAUSIBLE_MS else 0 for at_ms in (shown.now_ms, shown.earliest_ms)
            )
            if clock.age_s < SETTLED_S:
                earliest_ms = 0
            try:
                await work(now_ms, earliest_ms)
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
