"""What the outbox writes to its card for each reading: 100 sensors each second, sealed as the
gateway seals them, in the two states in which a gateway lives: the cloud acknowledges each batch
before the next is sealed, or nobody does.

Bytes are those that the kernel counts for us (/proc/self/io, write_bytes): whole pages of the file
system, the log and its way into the database included; not what the file system's own journal and
the card's controller add. The batches of half an hour are sealed in seconds: how much a seal writes
does not depend on how long it is since the last.
"""

import random
import tempfile
from itertools import islice
from pathlib import Path
from typing import Final

from bench.figure import Figure, Goal, Progress, Result
from bench.uplink_bytes import gauges, readings
from configs.loader import UserError
from edge.batches import Draft
from edge.config import OutboxConfig
from edge.outboxdisk import open_file
from edge.sealer import START_AT
from edge.shelf import Priority

SEALS: Final = 1200
DAY_S: Final = 86_400
BEGIN_MS: Final = 1_782_000_000_000

FIGURE: Final = Figure(
    "bytes written to the card for each reading, 100 sensors each second, acknowledged or not",
    "bytes",
    Goal("<=", 100),
)


def measure(progress: Progress) -> Result:
    """Some seconds. Raises UserError where writes are not counted."""
    every_s = START_AT * OutboxConfig().seal_every_s
    in_a_batch = round(every_s * len(gauges()))
    progress(0.0, "the cloud acknowledges")
    acknowledged = _written(in_a_batch, acks=True)
    progress(0.5, "nobody acknowledges")
    waiting = _written(in_a_batch, acks=False)
    worst = max(acknowledged, waiting)
    return Result(
        worst / in_a_batch,
        {
            "acknowledged, bytes a reading": acknowledged / in_a_batch,
            "waiting, bytes a reading": waiting / in_a_batch,
            "acknowledged, bytes a seal": acknowledged,
            "waiting, bytes a seal": waiting,
            "readings in a seal": in_a_batch,
            "a day, GB": worst / every_s * DAY_S / 1e9,
        },
    )


def _written(in_a_batch: int, *, acks: bool) -> float:
    """Bytes for each seal, over `SEALS` of them."""
    dice = random.Random(1)
    said = (reading for second in range(10**9) for _, reading in readings(dice, second, BEGIN_MS))
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        file = open_file(Path(name) / "outbox.db", "yuzhong-01", "boot")
        try:
            begin = _write_bytes()
            for _ in range(SEALS):
                file.seal([Draft(Priority.ROUTINE, tuple(islice(said, in_a_batch)))])
                if acks:
                    file.forget(file.stream, [(file.sealed, file.sealed)])
            written = _write_bytes() - begin
        finally:
            file.close()
    if not written:
        raise UserError("nothing is counted: the folder for temporary files is not on a disk")
    return written / SEALS


def _write_bytes() -> int:
    for line in Path("/proc/self/io").read_text("ascii").splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    raise UserError("this kernel does not count the bytes that a process writes")
