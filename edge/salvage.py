"""Carries what can still be read of one outbox into another: of a damaged file that was set aside,
or of one that had to live in memory.

Batches keep their stream and number, so that the cloud still tells a repetition from news. Each is
taken only if its own checksum holds and it is what its key says. What the streams of a damaged file
had sealed and is not among them is told as a gap of an unknown number of readings; most of it the
cloud has had before.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from edge.batches import Row
from edge.books import Books, Loss
from edge.outboxfile import OutboxFile
from edge.shelf import LOCAL, PLACES, Key, Range, join, span
from wire.codec import identify

AT_ONCE: Final = 32
_READ: Final = "SELECT key, boot, first_ms, last_ms, readings, payload FROM batch"


class _Life(NamedTuple):
    """A stream of the source: its number in the target, and what it had sealed."""

    number: int
    stream: str
    sealed: int


class Salvage:
    """`begin` once, then `step` until nothing is left. All within the outbox's thread; the target
    alone may raise sqlite3.Error."""

    def __init__(self, source: sqlite3.Connection) -> None:
        self.batches = 0
        self._source = source
        self._rows = _readable_rows(source)
        self._next: list[Row] = []
        self._lives: dict[int, _Life] = {}
        self._boots: dict[int, int] = {}
        self._found: dict[int, tuple[Range, ...]] = {}

    def begin(self, target: OutboxFile) -> None:
        """Take over streams, boots, sums, and losses that were not told."""
        books, sealed = _read_books(self._source)
        with target.transaction():
            self._take_boots(target)
            for life, stream, count in _readable(self._source, "SELECT * FROM life"):
                if isinstance(life, int) and isinstance(stream, str) and isinstance(count, int):
                    last = sealed if life == books.life else count
                    known = target.add_life(life, stream, last)
                    self._lives[life] = _Life(known, stream, last)
            target.books.newest_ms = max(target.books.newest_ms, books.newest_ms)
            both = zip_longest(target.books.lanes, books.lanes, fillvalue=-1)
            target.books.lanes = [max(pair) for pair in both]
            target.books.readings_lost += books.readings_lost
            for loss in books.losses:
                if loss.life in self._lives and (loss.boot is None or loss.boot in self._boots):
                    loss.life = self._lives[loss.life].number
                    loss.boot = None if loss.boot is None else self._boots[loss.boot]
                    target.books.owe(loss)

    def step(self, target: OutboxFile) -> bool:
        """Carry over a few batches; False when there are no more."""
        self._next = self._next or list(islice(self._rows, AT_ONCE))
        if not self._next:
            return False
        with target.transaction():
            for row in self._next:
                self._take(row, target)
        self._next = []
        return True

    def close(self) -> None:
        self._source.close()

    def own_up(self, target: OutboxFile, now_ms: int, boot: int | None) -> None:
        """Owe a gap for all numbers that were sealed and not found. Within a transaction."""
        for number, life in self._lives.items():
            if missing := tuple(_holes(self._found.get(number, ()), life.sealed)):
                target.books.owe(
                    Loss(
                        *(life.number, boot, "outbox damaged", now_ms, now_ms),
                        readings=None,
                        batches=missing,
                    )
                )

    def _take(self, row: Row, target: OutboxFile) -> None:
        key = Key.unpack(row.key)
        life = self._lives.get(key.life)
        if life is None or identify(row.payload) != (life.stream, key.number):
            return
        boot = self._boots.get(row.boot or 0)
        if key.place >= LOCAL and boot is None:
            return  # nobody will ever know its time
        place = key._replace(life=life.number).pack()
        if target.put(row._replace(key=place, boot=boot if key.place >= LOCAL else None)):
            self.batches += 1
        self._found[key.life] = join((*self._found.get(key.life, ()), (key.number, key.number)))

    def _take_boots(self, target: OutboxFile) -> None:
        for boot, *row in _readable(
            self._source,
            "SELECT boot, name, last_ms, offset_ms, error_ms FROM boot ORDER BY boot DESC",
        ):
            # Before all others; the present one is there already.
            target.ask(
                "INSERT OR IGNORE INTO boot SELECT min(boot) - 1, ?, ?, ?, ? FROM boot", *row
            )
            for (known,) in target.ask("SELECT boot FROM boot WHERE name = ?", row[0]):
                self._boots[boot] = known


def open_aside(path: Path) -> sqlite3.Connection:
    """A file that was set aside, to be read and not to be changed. Raises sqlite3.Error."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def last_life(source: sqlite3.Connection) -> int:
    """The highest number of a stream in a damaged file, as far as it can be read."""
    return max((life for (life,) in _readable(source, "SELECT life FROM life")), default=0)


def _read_books(source: sqlite3.Connection) -> tuple[Books, int]:
    """The books, and the highest number of the current stream; empty ones if they are lost."""
    for sealed, text in _readable(source, "SELECT sealed, books FROM outbox"):
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(text, type=Books), sealed
    return Books(life=-1), 0


def _readable(source: sqlite3.Connection, query: str, *values: int) -> Iterator[Any]:
    """The rows of a query up to the first that cannot be read."""
    with suppress(sqlite3.Error):
        yield from source.execute(query, values)


def _readable_rows(source: sqlite3.Connection) -> Iterator[Row]:
    """All batches that can be read, place by place: forwards to the first damage, and backwards
    from the end to the last."""
    for place in range(PLACES):
        low, high = span(place)
        for order in ("ASC", "DESC"):
            for row in _readable(
                source, f"{_READ} WHERE key BETWEEN ? AND ? ORDER BY key {order}", low, high
            ):
                if _is_whole(row):
                    yield Row(*row)
                    low = row[0] + 1 if order == "ASC" else low


def _is_whole(row: tuple[object, ...]) -> bool:
    key, boot, first_ms, last_ms, readings, payload = row
    numbers = all(isinstance(one, int) for one in (key, first_ms, last_ms, readings))
    return numbers and isinstance(boot, int | None) and isinstance(payload, bytes)


def _holes(ranges: tuple[Range, ...], last: int) -> Iterator[Range]:
    """The numbers from 1 to `last` that are not in `ranges`."""
    expected = 1
    for low, high in ranges:
        if low > expected:
            yield expected, low - 1
        expected = high + 1
    if expected <= last:
        yield expected, last
