"""An outbox with a long outage in it, made in seconds instead of in days."""

import math
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from edge.batches import Row
from edge.outbox import open_outbox
from edge.outboxfile import OutboxFile
from edge.shelf import Key, Shelf
from wire.codec import encode_batch
from wire.messages import Batch
from wire.reading import Quality, Quantity, Reading

SEALED_EVERY_S: Final = 2
"""As a gateway does that is told nothing else."""

_IN_ONE_TRANSACTION: Final = 500
_PATTERNS: Final = 50
_NUMBER: Final = 999_999_999_999
_BEGIN_MS: Final = 1_600_000_000_123
"""Places in a pattern where a batch has its own number and time."""


async def fill(
    path: Path, gateway: str, sensors: int, seconds: int, progress: Callable[[float], None]
) -> int:
    """Put into the outbox at `path` what so many sensors say in so long, up to now, when each is
    read every second. How many batches that makes."""
    begin_ms = time.time_ns() // 1_000_000 - seconds * 1000
    total = seconds // SEALED_EVERY_S
    async with open_outbox(path, gateway) as outbox:
        stream = outbox.position.stream
        patterns = [_Pattern(gateway, stream, sensors, i) for i in range(_PATTERNS)]
        for done in range(0, total, _IN_ONE_TRANSACTION):
            chunk = range(done, min(done + _IN_ONE_TRANSACTION, total))
            await outbox.run(partial(_seal, patterns, chunk, begin_ms))
            progress(chunk.stop / total)
    return total


def _seal(patterns: list["_Pattern"], chunk: range, begin_ms: int, file: OutboxFile) -> None:
    with file.transaction():
        for i in chunk:
            file.sealed += 1
            pattern = patterns[i % len(patterns)]
            first_ms = begin_ms + i * SEALED_EVERY_S * 1000
            last_ms = first_ms + SEALED_EVERY_S * 1000
            file.readings_sealed += pattern.readings
            file.put(
                Row(
                    Key(Shelf.ROUTINE, file.books.life, file.sealed).pack(),
                    None,
                    first_ms,
                    last_ms,
                    pattern.readings,
                    pattern.payload(file.sealed, first_ms),
                )
            )
        file.books.newest_ms = file.books.stream_ms = last_ms


class _Pattern:
    """A batch of which all but number and time is compressed once: its head is a block of its own,
    to which the rest does not refer."""

    def __init__(self, gateway: str, stream: str, sensors: int, seed: int) -> None:
        readings = tuple(_readings(sensors, seed))
        self.readings = len(readings)
        whole = zlib.decompress(encode_batch(Batch(gateway, stream, _NUMBER, readings)))
        cut = whole.index(b"},{") + 1  # behind the first record, which has the base time
        self._head, self._rest = whole[:cut], whole[cut:]
        packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        self._packed = packer.compress(self._rest) + packer.flush()

    def payload(self, number: int, begin_ms: int) -> bytes:
        head = self._head.replace(b"%d" % _NUMBER, b"%d" % number)
        head = head.replace(b"%.3f" % (_BEGIN_MS / 1000), b"%.3f" % (begin_ms / 1000))
        packer = zlib.compressobj(9)
        packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
        checksum = zlib.adler32(self._rest, zlib.adler32(head))
        return packed + self._packed + checksum.to_bytes(4)


def _readings(sensors: int, seed: int) -> list[Reading]:
    return [
        Reading(
            "north-underpass",
            f"level-{sensor}",
            Quantity.LEVEL,
            # A level moves slowly, and a sensor tells it to the millimetre.
            round(2 + math.sin(seed / 7 + sensor) + second / 1000, 3),
            _BEGIN_MS + second * 1000 + sensor * 9,
            Quality.GOOD,
        )
        for second in range(SEALED_EVERY_S)
        for sensor in range(sensors)
    ]
