"""The outbox: what is sealed here survives kill -9 and a power cut, until the cloud has stored it.

One SQLite file, one connection, one thread. A batch is sealed when its transaction is on the disk
(WAL, synchronous FULL: SQLite fsyncs the log at every commit). Numbers run 1, 2, 3 ... within a
stream, the life of one outbox file, so that the cloud can tell exactly what is missing.
"""

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from wire.codec import encode_batch
from wire.messages import Batch, Event
from wire.reading import Reading

_T = TypeVar("_T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outbox (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    stream TEXT NOT NULL,
    sealed INTEGER NOT NULL,
    readings_sealed INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS batch (
    number INTEGER PRIMARY KEY,
    readings INTEGER NOT NULL,
    events INTEGER NOT NULL,
    payload BLOB NOT NULL
);
"""


class Sealed(NamedTuple):
    """A batch on the disk, as it will go over the wire."""

    number: int
    has_events: bool
    payload: bytes


class Position(NamedTuple):
    """`sealed`: highest number; `readings_sealed`: readings in all batches of this stream;
    `pending`: batches that wait for the cloud's ack."""

    stream: str
    sealed: int
    readings_sealed: int
    pending: int


class Outbox:
    """Seals, hands out and forgets batches. All methods raise sqlite3.Error if the disk refuses."""

    def __init__(self, gateway: str, database: sqlite3.Connection, thread: ThreadPoolExecutor):
        self._gateway = gateway
        self._database = database
        self._thread = thread
        stream, sealed, readings_sealed = database.execute(
            "SELECT stream, sealed, readings_sealed FROM outbox"
        ).fetchone()
        (pending,) = database.execute("SELECT count(*) FROM batch").fetchone()
        self.position = Position(stream, sealed, readings_sealed, pending)

    async def seal(self, readings: Sequence[Reading], events: Sequence[Event] = ()) -> Sealed:
        """Put readings and events on the disk as the next batch."""
        return await self._run(lambda: self._seal(tuple(readings), tuple(events)))

    async def forget(self, batches: Sequence[tuple[int, int]]) -> None:
        """Delete the batches in these closed intervals: the cloud has stored them."""
        await self._run(lambda: self._forget(batches))

    async def pending(self, after: int, up_to: int, limit: int) -> list[Sealed]:
        """The oldest `limit` batches with after < number <= up_to, in order."""
        return await self._run(
            lambda: [
                Sealed(number, bool(events), payload)
                for number, events, payload in self._database.execute(
                    "SELECT number, events, payload FROM batch"
                    " WHERE number > ? AND number <= ? ORDER BY number LIMIT ?",
                    (after, up_to, limit),
                )
            ]
        )

    async def _run(self, work: Callable[[], _T]) -> _T:
        # Shielded: a transaction that has begun is finished, so that the position stays true.
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, work))

    def _seal(self, readings: tuple[Reading, ...], events: tuple[Event, ...]) -> Sealed:
        stream, sealed, readings_sealed, pending = self.position
        batch = Batch(self._gateway, stream, sealed + 1, readings, events)
        payload = encode_batch(batch)
        with self._database:
            self._database.execute(
                "INSERT INTO batch (number, readings, events, payload) VALUES (?, ?, ?, ?)",
                (batch.number, len(readings), len(events), payload),
            )
            self._database.execute(
                "UPDATE outbox SET sealed = ?, readings_sealed = readings_sealed + ?",
                (batch.number, len(readings)),
            )
        self.position = Position(stream, batch.number, readings_sealed + len(readings), pending + 1)
        return Sealed(batch.number, bool(events), payload)

    def _forget(self, batches: Sequence[tuple[int, int]]) -> None:
        with self._database:
            gone = sum(
                self._database.execute(
                    "DELETE FROM batch WHERE number BETWEEN ? AND ?", interval
                ).rowcount
                for interval in batches
            )
        self.position = self.position._replace(pending=self.position.pending - gone)


@asynccontextmanager
async def open_outbox(path: Path, gateway: str) -> AsyncIterator[Outbox]:
    """The outbox at `path`; a new file begins a new stream. Raises sqlite3.Error."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
    loop = asyncio.get_running_loop()
    try:
        database = await loop.run_in_executor(thread, _open, path)
        try:
            yield await loop.run_in_executor(thread, Outbox, gateway, database, thread)
        finally:
            await loop.run_in_executor(thread, database.close)
    finally:
        thread.shutdown()


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise sqlite3.OperationalError(f"{path.parent}: {error.strerror}") from None
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    with database:
        database.executescript(_SCHEMA)
        database.execute(
            "INSERT OR IGNORE INTO outbox VALUES (1, ?, 0, 0)", (secrets.token_hex(8),)
        )
    return database
