"""What can go wrong with a device. Every request and every answer passes through its fault."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """Bytes that go onto the line `delay_s` later than a sound device would send them."""

    delay_s: float
    data: bytes


class Fault(Protocol):
    """`t_s` is scenario time: one storm brings the same faults at any speed."""

    def listens(self, t_s: float) -> bool:
        """Whether a request reaches the device at all."""
        ...

    def obeys(self, t_s: float) -> bool:
        """Whether a device that was told to switch does so; it answers as if it had."""
        ...

    def sends(self, frame: bytes, t_s: float) -> Sequence[Piece]:
        """What becomes of an answer (a whole frame, checksum included)."""
        ...


class NoFault:
    """A sound device."""

    def listens(self, t_s: float) -> bool:
        return True

    def obeys(self, t_s: float) -> bool:
        return True

    def sends(self, frame: bytes, t_s: float) -> Sequence[Piece]:
        return (Piece(0.0, frame),)


@dataclass(frozen=True, slots=True)
class Silent(NoFault):
    """A dead device, from one scenario time to another: it neither answers nor switches."""

    from_s: float = 0.0
    until_s: float = math.inf

    def listens(self, t_s: float) -> bool:
        return not self.from_s <= t_s < self.until_s


@dataclass(frozen=True, slots=True)
class Welded(NoFault):
    """A device that hears and answers, and whose contacts no longer move."""

    from_s: float = 0.0
    until_s: float = math.inf

    def obeys(self, t_s: float) -> bool:
        return not self.from_s <= t_s < self.until_s
