"""Makes the outbox smaller when it must be, and writes down what that costs.

Every loss is counted in the same transaction that brings it about (`Books.losses`), and told to the
cloud as a gap when the work is done: after a crash, by the next process.
"""

from msgspec.structs import replace

from edge.batches import Row
from edge.books import Loss
from edge.outboxfile import OutboxFile
from edge.shelf import LADDERS, LOCAL, Key, Priority, Shelf, Thinner, giving
from wire.codec import DecodeError
from wire.messages import Batch

SOFTENED_AT_ONCE = 8
DROPPED_AT_ONCE = 256
MOST_RANGES = 200
"""Intervals that a gap may hold before it is told, although more of its kind may come."""


class Shedder:
    """Thins, strips and drops, oldest first, a few batches at a time."""

    def __init__(self) -> None:
        self._thinners = {shelf: Thinner() for shelf in LADDERS[Priority.ROUTINE]}

    def step(self, file: OutboxFile, priority: Priority, limit: int, reason: str) -> bool:
        """Go one step towards `limit` bytes for `priority`; False if it is kept already."""
        rung = giving(file.books.sizes(priority), limit)
        if rung is None:
            return False
        ladder = LADDERS[priority]
        last = rung + 1 == len(ladder)
        count = DROPPED_AT_ONCE if last else SOFTENED_AT_ONCE
        shelf = ladder[rung]
        with file.transaction():
            for row in file.oldest(shelf, count) or file.oldest(shelf + LOCAL, count):
                if giving(file.books.sizes(priority), limit) is None:
                    break
                if last:
                    drop(file, row, reason)
                else:
                    self._soften(file, row, ladder[rung + 1], reason)
            if any(len(loss.batches) > MOST_RANGES for loss in file.books.losses):
                file.tell_losses()
        return True

    def drop_older(self, file: OutboxFile, priority: Priority, than_ms: int) -> bool:
        """Drop a few batches of which nothing is newer than `than_ms`; False if there are none."""
        for shelf in LADDERS[priority]:
            if all(row.last_ms >= than_ms for row in file.oldest(shelf, 1)):
                continue
            with file.transaction():
                for row in file.oldest(shelf, DROPPED_AT_ONCE):
                    if row.last_ms < than_ms:
                        drop(file, row, "too old")
            return True
        return False

    def _soften(self, file: OutboxFile, row: Row, shelf: Shelf, reason: str) -> None:
        """Move a batch down the ladder, with less in it."""
        key = Key.unpack(row.key)
        try:
            batch = row.decode()
        except DecodeError:  # the card has changed it: the cloud could not read it either
            drop(file, row, "outbox damaged")
            return
        thinner = self._thinners.get(Shelf(key.place % LOCAL))
        kept = () if thinner is None else thinner.keep(batch.readings)
        lost = len(batch.readings) - len(kept)
        if lost:
            rest = kept or batch.events or batch.gaps
            numbers = () if rest else ((key.number, key.number),)
            file.books.lose(
                Loss(key.life, row.boot, reason, row.first_ms, row.last_ms, lost, batches=numbers)
            )
            if not rest:
                file.remove(row)
                return
        place = shelf + (key.place & LOCAL)
        file.move(row, place, replace(batch, readings=kept), row.boot)


def drop(file: OutboxFile, row: Row, reason: str) -> None:
    """Take a batch away and count what was in it. Within a transaction.

    The gaps that it was to tell are owed again.
    """
    key = Key.unpack(row.key)
    events = 0
    if key.place % LOCAL in LADDERS[Priority.EVENT]:
        try:
            batch = row.decode()
            events = len(batch.events)
        except DecodeError:  # it held at least one, or a gap
            batch, events = Batch(file.gateway, "", key.number), 1
        for gap in batch.gaps:
            told = (key.life, row.boot, gap.reason, gap.from_ms, gap.to_ms, gap.readings, 0)
            file.books.owe(Loss(*told, gap.batches))
    file.remove(row)
    numbers = ((key.number, key.number),)
    file.books.lose(
        Loss(key.life, row.boot, reason, row.first_ms, row.last_ms, row.readings, events, numbers)
    )
