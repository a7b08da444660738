"""Where a batch stands in the outbox, what goes first, and what gives way first. Pure.

A batch has a priority: that of the most important thing in it. Each priority has a ladder of
shelves, fresh ones first; when it holds too much, its oldest batches move down the ladder and lose
detail, and from the last shelf they are dropped. Routine readings are thinned to a quarter at each
step; batches with events lose the readings that were sealed along with them; interlock readings
are kept whole or not at all.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from wire.reading import Quantity, Reading


class Priority(StrEnum):
    """What a batch is worth, most first."""

    EVENT = "event"
    INTERLOCK = "interlock"
    ROUTINE = "routine"


class Shelf(IntEnum):
    """A shelf's number in the key of its batches."""

    ROUTINE = 0
    ROUTINE_4TH = 1
    ROUTINE_16TH = 2
    ROUTINE_64TH = 3
    INTERLOCK = 4
    EVENT = 5
    EVENT_BARE = 6


LADDERS: Final[dict[Priority, tuple[Shelf, ...]]] = {
    Priority.EVENT: (Shelf.EVENT, Shelf.EVENT_BARE),
    Priority.INTERLOCK: (Shelf.INTERLOCK,),
    Priority.ROUTINE: (
        Shelf.ROUTINE,
        Shelf.ROUTINE_4TH,
        Shelf.ROUTINE_16TH,
        Shelf.ROUTINE_64TH,
    ),
}

SENDING_ORDER: Final = tuple(shelf for ladder in LADDERS.values() for shelf in reversed(ladder))
"""Most important first, and within a priority the oldest first."""

GIVING_ORDER: Final = (Priority.ROUTINE, Priority.INTERLOCK, Priority.EVENT)
"""Least important first."""

KEEP_ONE_IN: Final = 4

LOCAL: Final = 8
"""Added to the number of a shelf: its batches have no UTC yet and cannot be sent."""

PLACES: Final = 16
"""Shelves, those of the local form included."""

_NUMBER_BITS: Final = 44
_LIFE_BITS: Final = 14
MOST_LIVES: Final = 2**_LIFE_BITS
LAST_NUMBER: Final = 2**_NUMBER_BITS - 1
"""No batch has a higher number: it would take 500 000 years of one each second."""


class Key(NamedTuple):
    """Where a batch stands. `place` is a shelf's number, with LOCAL added or not; `life` counts
    the streams in one file. Packed into one integer it is the row's key: the batches of a shelf
    lie together and in order, without an index that would have to be written as well."""

    place: int
    life: int
    number: int

    def pack(self) -> int:
        return (self.place << _LIFE_BITS | self.life) << _NUMBER_BITS | self.number

    @staticmethod
    def unpack(key: int) -> "Key":
        upper, number = divmod(key, 2**_NUMBER_BITS)
        place, life = divmod(upper, 2**_LIFE_BITS)
        return Key(place, life, number)


def span(place: int) -> tuple[int, int]:
    """The lowest and highest key that a batch at `place` can have."""
    return Key(place, 0, 0).pack(), Key(place + 1, 0, 0).pack() - 1


def first_shelf(priority: Priority) -> Shelf:
    """Where a new batch goes."""
    return LADDERS[priority][0]


def giving(sizes: Sequence[float], limit: float) -> int | None:
    """Which step of a ladder gives way, or None if nothing must.

    `sizes` are the bytes on its shelves, `limit` what they may hold together. It is the freshest
    shelf that holds more than its equal share. So a ladder that is full for long ends with equal
    shares: of four shelves with a quarter of the limit each, the last one reaches 64 times as far
    back as the first.
    """
    if sum(sizes) <= limit:
        return None
    return next(i for i, size in enumerate(sizes) if size * len(sizes) > limit)


class Thinner:
    """Keeps of each sensor's readings the first and every `KEEP_ONE_IN`-th after it, counted over
    all batches that it is shown."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, Quantity], int] = {}

    def keep(self, readings: Iterable[Reading]) -> tuple[Reading, ...]:
        kept = []
        for reading in readings:
            name = (reading.site, reading.sensor, reading.quantity)
            seen = self._seen.get(name, 0)
            if seen % KEEP_ONE_IN == 0:
                kept.append(reading)
            self._seen[name] = seen + 1
        return tuple(kept)


Range = tuple[int, int]
"""A closed interval of batch numbers."""


def join(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same numbers in the fewest intervals, ascending."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)
