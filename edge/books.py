"""What the outbox knows of itself without reading its batches. It is on the disk in one row, which
changes with every seal, in the same transaction."""

from typing import Final

import msgspec

from edge.shelf import LADDERS, LOCAL, PLACES, Priority, Range, join
from wire.messages import Event, Gap

BATCH_BYTES: Final = 64
"""What a batch takes on the disk beside its payload, about."""


class Pile(msgspec.Struct, array_like=True):
    """What stands at one place."""

    batches: int = 0
    bytes: int = 0
    readings: int = 0


class Loss(msgspec.Struct):
    """Losses that the cloud has not been told of, in one stream, for one reason. `boot` is that of
    times in local form; `readings` is None if nobody knows how many."""

    life: int
    boot: int | None
    reason: str
    from_ms: int
    to_ms: int
    readings: int | None = 0
    events: int = 0
    batches: tuple[Range, ...] = ()

    @property
    def kind(self) -> tuple[int, int | None, str]:
        return self.life, self.boot, self.reason

    def __add__(self, other: "Loss") -> "Loss":
        """Both, which are of one kind, as one."""
        unknown = self.readings is None or other.readings is None
        return Loss(
            *self.kind,
            min(self.from_ms, other.from_ms),
            max(self.to_ms, other.to_ms),
            None if unknown else (self.readings or 0) + (other.readings or 0),
            self.events + other.events,
            join((*self.batches, *other.batches)),
        )

    def gap(self) -> Gap:
        return Gap(self.reason, self.from_ms, self.to_ms, self.readings, self.batches)

    def event(self) -> Event:
        return Event(
            at_ms=self.to_ms,
            site="",
            kind="events_lost",
            text=f"{self.events} events could not be kept: {self.reason}",
            detail={"events": self.events, "reason": self.reason},
        )


class Books(msgspec.Struct):
    """`newest_ms` is the newest UTC ever sealed, `stream_ms` that of this stream, `boot_ms` the
    newest local time of this boot, `salvage` a file that was set aside and not read to its end.
    `acked` batches of this stream are in the cloud's store, as it says; `lanes` are the newest
    times that readings have (`edge.lanes`)."""

    life: int = 0
    boot: int = 0
    boot_ms: int = 0
    newest_ms: int = 0
    stream_ms: int = 0
    readings_lost: int = 0
    acked: int = 0
    lanes: list[int] = []
    salvage: str = ""
    held: list[Pile] = msgspec.field(default_factory=lambda: [Pile() for _ in range(PLACES)])
    losses: list[Loss] = []

    @property
    def pending(self) -> int:
        """Batches in the file."""
        return sum(pile.batches for pile in self.held)

    @property
    def sendable(self) -> int:
        """Batches in the file that are dated."""
        return sum(pile.batches for pile in self.held[:LOCAL])

    @property
    def pending_by_priority(self) -> dict[str, int]:
        """Batches in the file, those without a date included."""
        return {
            priority.value: sum(self.held[s].batches + self.held[s + LOCAL].batches for s in ladder)
            for priority, ladder in LADDERS.items()
        }

    def sizes(self, priority: Priority) -> list[int]:
        """Bytes on each shelf of a ladder, local ones included."""
        return [self.held[s].bytes + self.held[s + LOCAL].bytes for s in LADDERS[priority]]

    def count(self, place: int, sign: int, payload: int, readings: int) -> None:
        """A batch comes to `place` (`sign` 1) or goes (-1)."""
        pile = self.held[place]
        pile.batches += sign
        pile.bytes += sign * (payload + BATCH_BYTES)
        pile.readings += sign * readings

    def lose(self, loss: Loss) -> None:
        """Count a loss, and remember it until it is told; those of one kind become one."""
        self.readings_lost += loss.readings or 0
        self.owe(loss)

    def owe(self, loss: Loss) -> None:
        """The same for one that is in the sum already."""
        for i, other in enumerate(self.losses):
            if other.kind == loss.kind:
                self.losses[i] = other + loss
                return
        self.losses.append(loss)
