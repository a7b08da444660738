"""The outbox's file: one SQLite database, used by one thread.

A batch is sealed when its transaction is on the disk (WAL, synchronous FULL: SQLite syncs the log
at every commit). To spare the card, what the cloud has acknowledged is deleted in the transaction
of the next seal, the pages are small, and no index beside the key is kept (`edge.shelf.Key`).

Nothing here is a coroutine, and everything may raise sqlite3.Error. After that the file is as it
was at the last commit.
"""

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec

from edge import dating, lanes
from edge.batches import Draft, Position, Row, Sealed, gap_parts
from edge.books import Books, Loss
from edge.dating import Offset
from edge.shelf import LAST_NUMBER, LOCAL, MOST_LIVES, Key, Range, Shelf, first_shelf, span
from wire import limits
from wire.codec import TooLarge
from wire.messages import Batch, Event, Gap

MOST_PAYLOAD: Final = limits.PACKET_TO_CLOUD - 512
"""Bytes; the rest of the packet is more than any topic of ours needs."""

_COLUMNS = "key, boot, first_ms, last_ms, readings, payload"


class OutboxFile:
    """Seals, hands out and forgets batches, and keeps books on them. `commits` counts what has
    reached the disk since it was opened.

    A boot of the machine begins a stream of its own: so a disk that loses what it had acknowledged
    can't make a number mean two things, and UTC need not go back within a stream.

    `most_bytes` is what the payload of a batch may have.
    """

    def __init__(self, database: sqlite3.Connection, gateway: str, boot: str) -> None:
        self.database = database
        self.gateway = gateway
        self.stream, self.sealed, self.readings_sealed = "", 0, 0
        self.most_bytes = MOST_PAYLOAD
        self.books = Books()
        self.streams: dict[int, str] = {}
        self.commits = 0
        self._load()
        self._enter(boot)

    @property
    def position(self) -> Position:
        return Position(self.stream, self.sealed, self.readings_sealed, self.books.pending)

    @property
    def is_in_memory(self) -> bool:
        return not self.ask("PRAGMA database_list")[0][2]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything since the last commit and what is done inside, on the disk or not at all."""
        try:
            self._begin()
            yield
            self.database.execute(
                "UPDATE outbox SET stream = ?, sealed = ?, readings_sealed = ?, books = ?",
                (
                    self.stream,
                    self.sealed,
                    self.readings_sealed,
                    msgspec.json.encode(self.books).decode(),
                ),
            )
            self.database.execute("COMMIT")
            self.commits += 1
        except BaseException:
            self._undo()
            raise

    def flush(self) -> None:
        """Commit deletions that would wait for the next seal."""
        if self.database.in_transaction:
            with self.transaction():
                pass

    def close(self) -> None:
        """Commit, if the disk lets us, and close."""
        try:
            self.flush()
        finally:
            self.database.close()

    def seal(self, drafts: Sequence[Draft], *, local: bool = False) -> list[Sealed]:
        """Put each draft on the disk as a batch, or as several if it is too large for one, all in
        one transaction. `local`: their times are ms since this boot."""
        with self.transaction():
            parts = [part for draft in drafts for part in draft.parts()]
            return [batch for part in parts for batch in self._seal(part, local)]

    def forget(self, stream: str, batches: Sequence[Range]) -> None:
        """Delete the batches in these intervals: the cloud has stored them. It reaches the disk
        with the next commit; what a crash undoes is sent, acknowledged and deleted again."""
        life = next((life for life, name in self.streams.items() if name == stream), None)
        if life is None or not batches:
            return
        self._begin()
        for place in Shelf:
            if self.books.held[place].batches:
                for first, last in batches:
                    if not 0 < first <= min(last, LAST_NUMBER):
                        continue  # keys of others begin there
                    for row in self.ask(
                        "DELETE FROM batch WHERE key BETWEEN ? AND ?"
                        " RETURNING length(payload), readings",
                        Key(place, life, first).pack(),
                        Key(place, life, min(last, LAST_NUMBER)).pack(),
                    ):
                        self.books.count(place, -1, *row)
                        self.books.acked += life == self.books.life

    def pending(self, after: int, up_to: int, limit: int) -> list[Sealed]:
        """The first `limit` batches with after < key <= up_to, by key."""
        found = []
        for packed, payload in self.ask(
            "SELECT key, payload FROM batch WHERE key > ? AND key <= ? ORDER BY key LIMIT ?",
            after,
            up_to,
            limit,
        ):
            key = Key.unpack(packed)
            found.append(Sealed(packed, self.streams[key.life], key.number, payload))
        return found

    def begin_life(self, at_least: int = 0) -> None:
        """Begin a new stream in this file, with a number that is not below `at_least`."""
        with self.transaction():
            self._begin_life(at_least)

    def tell_losses(self) -> list[Sealed]:
        """Seal, each in the stream that it is of, the losses that the cloud has not been told of.
        Within a transaction."""
        losses, self.books.losses = self.books.losses, []
        return [batch for loss in losses for batch in self._tell(loss)]

    # What shedding, dating and salvaging are made of. All but `oldest` within a transaction.

    def oldest(self, place: int, limit: int) -> list[Row]:
        """The first `limit` batches at a place."""
        query = f"SELECT {_COLUMNS} FROM batch WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?"
        return [Row(*row) for row in self.ask(query, *span(place), limit)]

    def put(self, row: Row) -> bool:
        """Add a batch; False if it is there already."""
        added = self.database.execute(
            f"INSERT OR IGNORE INTO batch ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row
        ).rowcount
        if added:
            self.books.count(Key.unpack(row.key).place, 1, len(row.payload), row.readings)
        return bool(added)

    def remove(self, row: Row) -> None:
        """Take a batch away."""
        self.database.execute("DELETE FROM batch WHERE key = ?", (row.key,))
        self.books.count(Key.unpack(row.key).place, -1, len(row.payload), row.readings)

    def move(self, row: Row, place: int, batch: Batch, boot: int | None) -> None:
        """Put `batch` at `place` for what was `row`, under the same number."""
        self.remove(row)
        self.put(Row.of(Key.unpack(row.key)._replace(place=place), batch, boot))

    def add_life(self, life: int, stream: str, sealed: int) -> int:
        """Find or add a stream of another file, with number `life` if that is free; returns the
        number that it has."""
        for known, name in self.streams.items():
            if name == stream:
                return known
        if life in self.streams:
            life = max(self.streams) + 1
        self.database.execute("INSERT INTO life VALUES (?, ?, ?)", (life, stream, sealed))
        self.streams[life] = stream
        return life

    def learn(self, offset_ms: int) -> list[tuple[str, Offset]]:
        """The offset of this boot is known now: remember it, and put the boots before it, of which
        it never was, into their bracket. Returns those that have sealed anything."""
        books = self.books
        with self.transaction():
            unknown = self.ask(
                "SELECT boot, name, last_ms FROM boot"
                " WHERE offset_ms IS NULL AND boot < ? ORDER BY boot",
                books.boot,
            )
            lasted = [last_ms for _, _, last_ms in unknown]
            offsets = dating.bracket(lasted, books.newest_ms or None, offset_ms)
            guessed = list(zip(unknown, offsets, strict=True))
            for (boot, _, _), offset in guessed:
                self._set_offset(boot, offset)
            self._set_offset(books.boot, Offset(offset_ms))
        return [(name, offset) for (_, name, last_ms), offset in guessed if last_ms]

    def offset(self, boot: int | None = None) -> Offset | None:
        """The offset of a boot, or of this one, exact or guessed; None if nobody knows it yet."""
        for offset in self.ask(
            "SELECT offset_ms, error_ms FROM boot WHERE boot = ? AND offset_ms NOT NULL",
            self.books.boot if boot is None else boot,
        ):
            return Offset(*offset)
        return None

    def ask(self, query: str, *values: object) -> list[Any]:
        """All rows of a query."""
        return self.database.execute(query, values).fetchall()

    def _begin(self) -> None:
        if not self.database.in_transaction:
            self.database.execute("BEGIN IMMEDIATE")

    def _undo(self) -> None:
        if self.database.in_transaction:
            self.database.execute("ROLLBACK")
        self._load()

    def _load(self) -> None:
        ((self.stream, self.sealed, self.readings_sealed, books),) = self.ask(
            "SELECT stream, sealed, readings_sealed, books FROM outbox"
        )
        try:
            self.books = msgspec.json.decode(books, type=Books)
        except msgspec.MsgspecError as error:
            raise sqlite3.DatabaseError(f"the books cannot be read: {error}") from error
        self.books.lanes = self.books.lanes or [self.books.newest_ms]  # of an older version
        self.streams = dict(self.ask("SELECT life, stream FROM life"))

    def _enter(self, name: str) -> None:
        """Begin a life unless this boot has one; tell what an earlier process had no time to."""
        books = self.books
        boots = dict(self.ask("SELECT name, boot FROM boot"))
        is_new = boots.get(name) != books.boot
        if not is_new and not books.losses:
            return
        with self.transaction():
            self.tell_losses()
            if is_new:
                self.database.execute(
                    "UPDATE boot SET last_ms = ? WHERE boot = ?", (books.boot_ms, books.boot)
                )
                if books.pending == books.sendable:  # nothing waits to be dated
                    self.database.execute("DELETE FROM boot")
                books.boot, books.boot_ms = max(boots.values(), default=0) + 1, 0
                self.database.execute(
                    "INSERT OR REPLACE INTO boot VALUES (?, ?, 0, NULL, NULL)", (books.boot, name)
                )
                self._begin_life()

    def _begin_life(self, at_least: int = 0) -> None:
        books = self.books
        after = max((books.life, *self.streams)) + 1 if books.pending else 0
        life = max(after, at_least)
        if life >= MOST_LIVES:
            return  # after 16 000 boots without one moment in which all had been sent
        self.database.execute(
            "UPDATE life SET sealed = ? WHERE life = ?", (self.sealed, books.life)
        )
        if not books.pending:
            self.database.execute("DELETE FROM life")
            self.streams = {}
        self.stream, self.sealed, self.readings_sealed = secrets.token_hex(8), 0, 0
        books.life, books.stream_ms = self.add_life(life, self.stream, 0), 0
        books.acked = 0

    def _seal(self, draft: Draft, local: bool) -> list[Sealed]:
        books = self.books
        number = self.sealed + 1
        place = first_shelf(draft.priority) + (LOCAL if local else 0)
        batch = Batch(self.gateway, self.stream, number, draft.readings, draft.events, draft.gaps)
        key = Key(place, books.life, number)
        row: Row | None = None
        with suppress(TooLarge):
            row = Row.of(key, batch, books.boot if local else None, limits.SEALED_BYTES)
        if row is None or len(row.payload) > self.most_bytes:
            if (halves := draft.halves()) is not None:
                return [sealed for half in halves for sealed in self._seal(half, local)]
            row = row or Row.of(key, batch, books.boot if local else None)
        self.sealed = number
        self.readings_sealed += len(draft.readings)
        self.put(row)
        if local:
            books.boot_ms = max(books.boot_ms, row.last_ms)
        else:
            books.lanes = lanes.note(books.lanes, draft.readings)
            books.newest_ms = max(books.newest_ms, row.last_ms)
            books.stream_ms = max(books.stream_ms, row.last_ms)
        books.readings_lost += sum(gap.readings or 0 for gap in draft.gaps)
        return [Sealed(row.key, self.stream, number, row.payload)]

    def _tell(self, loss: Loss) -> list[Sealed]:
        gap, *more = gap_parts(loss.gap())
        events = (loss.event(),) if loss.events else ()
        return [
            self._tell_gap(loss, gap, events),
            *(self._tell_gap(loss, gap, ()) for gap in more),
        ]

    def _tell_gap(self, loss: Loss, gap: Gap, events: tuple[Event, ...]) -> Sealed:
        if loss.life == self.books.life:
            self.sealed += 1
            number = self.sealed
        else:
            ((number,),) = self.ask(
                "UPDATE life SET sealed = sealed + 1 WHERE life = ? RETURNING sealed", loss.life
            )
        stream = self.streams[loss.life]
        batch = Batch(self.gateway, stream, number, (), events, (gap,))
        place = Shelf.EVENT + (0 if loss.boot is None else LOCAL)
        row = Row.of(Key(place, loss.life, number), batch, loss.boot)
        self.put(row)
        return Sealed(row.key, stream, number, row.payload)

    def _set_offset(self, boot: int, offset: Offset) -> None:
        self.database.execute(
            "UPDATE boot SET offset_ms = ?, error_ms = ? WHERE boot = ?", (*offset, boot)
        )
