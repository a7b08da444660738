"""A batch on its way into the outbox's file, in it, and out of it."""

from typing import NamedTuple

from edge.shelf import LOCAL, Key, Priority
from wire.codec import decode_batch, encode_batch
from wire.messages import Batch, Event, Gap
from wire.reading import Reading


class Draft(NamedTuple):
    """What is to be sealed as one batch."""

    priority: Priority
    readings: tuple[Reading, ...] = ()
    events: tuple[Event, ...] = ()
    gaps: tuple[Gap, ...] = ()


class Sealed(NamedTuple):
    """A batch on the disk, as it will go over the wire; `key` is its place in the file."""

    key: int
    stream: str
    number: int
    payload: bytes

    @property
    def place(self) -> int:
        return Key.unpack(self.key).place

    @property
    def is_local(self) -> bool:
        """Whether its times are not UTC yet, so that it must not be sent."""
        return self.place >= LOCAL


class Row(NamedTuple):
    """A batch as it stands in the file; `boot` is that of times in local form."""

    key: int
    boot: int | None
    first_ms: int
    last_ms: int
    readings: int
    payload: bytes

    @classmethod
    def of(cls, key: Key, batch: Batch, boot: int | None) -> "Row":
        first_ms, last_ms = _times(batch)
        return cls(key.pack(), boot, first_ms, last_ms, len(batch.readings), encode_batch(batch))

    def decode(self) -> Batch:
        return decode_batch(self.payload, relative=self.boot is not None)


class Position(NamedTuple):
    """`sealed`: highest number; `readings_sealed`: readings in all batches of this stream;
    `pending`: batches of all streams that wait for the cloud's ack."""

    stream: str
    sealed: int
    readings_sealed: int
    pending: int


def _times(batch: Batch) -> tuple[int, int]:
    """The first and the last time in a batch that is not empty, ms."""
    moments = [reading.at_ms for reading in batch.readings]
    moments += [event.at_ms for event in batch.events]
    moments += [ms for gap in batch.gaps for ms in (gap.from_ms, gap.to_ms)]
    return min(moments), max(moments)
