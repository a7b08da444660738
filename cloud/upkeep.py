"""Keeps the store tidy beside the ingest: rollups brought up to what was written, and what is older
than the retention let go."""

import asyncio
import logging
import time
from typing import Final

from cloud.errors import Rejected, Unavailable
from cloud.store import Store

log: Final = logging.getLogger("shuichi.upkeep")

EVERY_S: Final = 30.0


async def run(store: Store) -> None:
    """For ever. What fails is tried again at the next turn: nothing of it is lost."""
    failing = False
    while True:
        try:
            await store.upkeep(time.time_ns() // 1_000_000)
        except (Unavailable, Rejected) as error:
            if not failing:
                log.error("rollups and retention must wait: %s", error)
            failing = True
        else:
            if failing:
                log.info("rollups and retention go on")
            failing = False
        await asyncio.sleep(EVERY_S)
