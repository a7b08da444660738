"""What can go wrong with a device. Every request and every answer passes through its fault."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Late(NoFault):
    """A device each of whose `every`-th answers comes `by_s` later than the others."""

    by_s: float
    every: int = 1
    _answers: int = field(default=0, init=False)

    def sends(self, frame: bytes, t_s: float) -> Sequence[Piece]:
        self._answers += 1
        return (Piece(self.by_s if self._answers % self.every == 0 else 0.0, frame),)


@dataclass(slots=True)
class Noisy(NoFault):
    """A bad line: of the frames so large a `share`, drawn from `seed`, is not what was sent.

    A request is not understood. An answer has one to three bits flipped, which CRC-16 always finds
    (its Hamming distance is 4 for frames of this length), is cut short, comes with bytes before,
    after or in its middle, or falls into two pieces with a pause between them.
    """

    share: float
    seed: int
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def listens(self, t_s: float) -> bool:
        return self._random.random() >= self.share

    def sends(self, frame: bytes, t_s: float) -> Sequence[Piece]:
        damaged = self._random.random() < self.share
        return damage(frame, self._random) if damaged else (Piece(0.0, frame),)


def damage(frame: bytes, rng: random.Random) -> Sequence[Piece]:
    """What a bad line makes of a frame."""
    cut = rng.randrange(1, len(frame))
    junk = rng.randbytes(rng.randint(1, 12))
    match rng.randrange(6):
        case 0:
            return [Piece(0.0, flip(frame, rng.randint(1, 3), rng))]
        case 1:
            return [Piece(0.0, frame[:cut])]
        case 2:
            return [Piece(0.0, junk + frame)]
        case 3:
            return [Piece(0.0, frame + junk)]
        case 4:
            return [Piece(0.0, frame[:cut] + junk + frame[cut:])]
        case _:
            return [Piece(0.0, frame[:cut]), Piece(rng.uniform(0.02, 0.2), frame[cut:])]


def flip(frame: bytes, bits: int, rng: random.Random) -> bytes:
    """The frame with so many of its bits flipped."""
    flipped = int.from_bytes(frame, "big")
    for bit in rng.sample(range(8 * len(frame)), bits):
        flipped ^= 1 << bit
    return flipped.to_bytes(len(frame), "big")
