"""A batch on its way into the outbox's file, in it, and out of it."""

from typing import NamedTuple

from msgspec.structs import replace

from edge.shelf import LOCAL, Key, Priority
from wire import limits
from wire.codec import decode_batch, encode_batch
from wire.messages import Batch, Event, Gap
from wire.reading import Reading


class Draft(NamedTuple):
    """What is to be sealed as one batch."""

    priority: Priority
    readings: tuple[Reading, ...] = ()
    events: tuple[Event, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def parts(self) -> list["Draft"]:
        """The same as drafts of which none has too many events or gaps."""
        gaps = [part for gap in self.gaps for part in gap_parts(gap)]
        rest = self._replace(events=self.events[: limits.SEALED_EVENTS], gaps=tuple(gaps[:1]))
        more = [
            Draft(self.priority, events=self.events[n : n + limits.SEALED_EVENTS])
            for n in range(limits.SEALED_EVENTS, len(self.events), limits.SEALED_EVENTS)
        ]
        together: list[Gap] = []
        for gap in gaps[1:]:
            size = sum(len(one.batches) + 1 for one in [*together, gap])
            if size > limits.SEALED_INTERVALS and together:
                more.append(Draft(self.priority, gaps=tuple(together)))
                together = []
            together.append(gap)
        if together:
            more.append(Draft(self.priority, gaps=tuple(together)))
        return [rest, *more]

    def halves(self) -> tuple["Draft", "Draft"] | None:
        """The same as two, or None if nothing in it can be divided."""
        for name in ("readings", "events", "gaps"):
            items = getattr(self, name)
            if len(items) > 1:
                middle = len(items) // 2
                bare = Draft(self.priority)
                first = self._replace(**{name: items[:middle]})
                return first, bare._replace(**{name: items[middle:]})
        if len(self.readings) + len(self.events) + len(self.gaps) > 1:
            first = self._replace(readings=()) if self.readings else self._replace(gaps=())
            left = {"readings": self.readings} if self.readings else {"gaps": self.gaps}
            return first, Draft(self.priority, **left)
        if self.gaps and (count := len(self.gaps[0].batches)) > 1:
            one, *others = gap_parts(self.gaps[0], (count + 1) // 2)
            return self._replace(gaps=(one,)), self._replace(gaps=tuple(others))
        return None


def gap_parts(gap: Gap, most: int = limits.SEALED_INTERVALS) -> list[Gap]:
    """The same loss as gaps of at most so many intervals. The first one counts the readings, unless
    nobody knows how many they are."""
    batches = [gap.batches[n : n + most] for n in range(0, len(gap.batches), most)]
    counted = None if gap.readings is None else 0
    rest = [replace(gap, readings=counted, batches=some) for some in batches[1:]]
    return [replace(gap, batches=batches[0] if batches else ()), *rest]


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
    def of(
        cls, key: Key, batch: Batch, boot: int | None, most_json: int = limits.JSON_BYTES
    ) -> "Row":
        """Raises TooLarge: see `wire.codec.encode_batch`."""
        first_ms, last_ms = _times(batch)
        payload = encode_batch(batch, most_json)
        return cls(key.pack(), boot, first_ms, last_ms, len(batch.readings), payload)

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
