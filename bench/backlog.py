"""An outbox with a long outage in it, made in a minute instead of in days."""

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from edge.batches import Draft
from edge.outbox import open_outbox
from edge.shelf import Priority
from wire.reading import Quantity, Reading

SEALED_EVERY_S: Final = 2
"""As a gateway does that is told nothing else."""

_IN_ONE_TRANSACTION: Final = 500


async def fill(
    path: Path, gateway: str, sensors: int, seconds: int, progress: Callable[[float], None]
) -> int:
    """Put into the outbox at `path` what so many sensors say in so long, up to now, when each is
    read every second. How many batches that makes."""
    batches = _batches(sensors, seconds, time.time_ns() // 1_000_000 - seconds * 1000)
    count = 0
    async with open_outbox(path, gateway) as outbox:
        while drafts := list(islice(batches, _IN_ONE_TRANSACTION)):
            await outbox.seal_all(drafts)
            count += len(drafts)
            progress(count * SEALED_EVERY_S / seconds)
    return count


def _batches(sensors: int, seconds: int, begin_ms: int) -> Iterator[Draft]:
    for start in range(0, seconds, SEALED_EVERY_S):
        yield Draft(
            Priority.ROUTINE,
            tuple(
                Reading(
                    "north-underpass",
                    f"level-{sensor}",
                    Quantity.LEVEL,
                    # A level moves slowly, and a sensor tells it to the millimetre.
                    round(2 + math.sin(second / 7000 + sensor), 3),
                    begin_ms + second * 1000 + sensor * 9,
                )
                for second in range(start, start + SEALED_EVERY_S)
                for sensor in range(sensors)
            ),
        )
