"""A worker of the aggregator without a broker: intakes are handed to it."""

import asyncio
from functools import partial
from typing import Any

from cloud.ingest.take import Take
from cloud.ingest.worker import Ingest
from cloud.intake import Intake


async def settle(worker: Ingest, intake: Intake) -> Take:
    """Have the rules see `intake`, and return once all of it is stored."""
    inner: Any = worker
    nobody: Any = None  # a session: nothing is acknowledged
    take = Take(intake, (), nobody)
    await inner._writing.insist(partial(inner._examination.examine, take))
    before, done = asyncio.Event(), asyncio.Event()
    before.set()
    await inner._writing.write(take, before, done)
    return take
