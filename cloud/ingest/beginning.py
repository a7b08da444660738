"""A message may end the whole process, with no exception that anybody could catch. The broker sends
it again, so the next process would end by it too.

How often a worker ended before it was through with what had waited for it is kept in the state.
After the first time, messages are taken one at a time, each noted before it is touched; one that
was noted twice and not survived goes to quarantine untouched.
"""

from functools import partial
from typing import Final

from sqlalchemy import Connection, select

from cloud import quarantine, state, tables
from cloud.ingest.condemning import digest
from cloud.shards import Lease
from cloud.state import State
from wire.mqtt import Message

TRIES: Final = 2
"""Processes that a message may end while it is alone."""


class Beginning:
    """That of one worker. Every method raises Unavailable, and can be asked again."""

    def __init__(self, database: State, lease: Lease, shard: str) -> None:
        self.is_careful = False
        """Whether messages are to be taken one at a time."""
        self.is_over = False
        self.deadly: set[bytes] = set()
        """The digests of messages over which processes ended: they must not be touched."""
        self._database = database
        self._lease = lease
        self._shard = shard
        self._digest: bytes | None = None
        self._tries = 0
        self._unfinished: int | None = None

    async def begin(self) -> None:
        """Look how the last one ended, and note that this one is not through yet."""
        if self._unfinished is None:
            self._unfinished = await self._database.run(self._load)
            self.is_careful = self._unfinished > 0
        await self._save(self._unfinished + 1)

    async def note(self, message: Message) -> None:
        """It is taken alone now."""
        found = digest(message)
        if found != self._digest:
            self._digest, self._tries = found, 0
        self._tries += 1
        await self._save((self._unfinished or 0) + 1)

    async def end(self) -> None:
        """The worker is through with what had waited: it was nobody's death."""
        self._digest, self._tries = None, 0
        await self._save(0)
        self.is_careful, self.is_over = False, True

    def _load(self, connection: Connection) -> int:
        self.deadly = quarantine.untouchable(connection)
        asked = select(tables.beginning).where(tables.beginning.c.shard == self._shard)
        if (row := connection.execute(asked).one_or_none()) is None:
            return 0
        if row.tries >= TRIES:
            self.deadly.add(row.digest)
        self._digest, self._tries = row.digest, row.tries
        return int(row.unfinished)

    async def _save(self, unfinished: int) -> None:
        row = {
            "shard": self._shard,
            "unfinished": unfinished,
            "digest": self._digest,
            "tries": self._tries,
        }
        await self._database.run(partial(self._write, row=row))

    def _write(self, connection: Connection, row: dict[str, object]) -> None:
        self._lease.check(connection)
        state.upsert(connection, tables.beginning, [row])
