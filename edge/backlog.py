"""What waits in the outbox, in the order in which it is to be sent."""

from typing import Final

from edge.batches import Sealed
from edge.outbox import Outbox
from edge.outboxfile import OutboxFile
from edge.shelf import SENDING_ORDER, Shelf, span

_BEGIN: Final = {shelf: span(shelf)[0] - 1 for shelf in Shelf}


class Backlog:
    """Goes through the shelves, most important first, and remembers how far it got on each. It
    never holds more than it hands out."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._after = dict(_BEGIN)

    def rewind(self) -> None:
        """Begin again: what was handed out may have to be sent again."""
        self._after = dict(_BEGIN)

    async def take(self, limit: int) -> list[Sealed]:
        """The next 1 to `limit` batches, of one shelf; none if all were handed out.

        Raises sqlite3.Error.
        """
        return await self._outbox.run(lambda file: self._take(file, limit))

    def _take(self, file: OutboxFile, limit: int) -> list[Sealed]:
        for shelf in SENDING_ORDER:
            if file.books.held[shelf].batches:
                found = file.pending(self._after[shelf], span(shelf)[1], limit)
                if found:
                    self._after[shelf] = found[-1].key
                    return found
        return []
