"""What really happened on the simulated lines: facts for those who must compare."""

import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from wire.aspect import Aspect
from wire.reading import Quantity


class _Fact(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """`at_ms` is UTC in milliseconds since 1970."""

    at_ms: int


class Line(_Fact, frozen=True, tag="line"):
    """A line is open. `address` is a terminal's path or host:port."""

    line: str
    address: str


class Ready(_Fact, frozen=True, tag="ready"):
    """All lines are open."""


class Begin(_Fact, frozen=True, tag="begin"):
    """The scenario begins."""


class Answered(_Fact, frozen=True, tag="answer", omit_defaults=True):
    """A device told a value (SI, None for its missing code) that differs from its last one.
    `at_ms` is when the last byte left. `channel` is None where the device has none."""

    device: str
    quantity: Quantity
    value: float | None
    channel: int | None = None


class Outputs(_Fact, frozen=True, tag="outputs"):
    """The channels of a relay that are on have changed to these, counted from 0."""

    device: str
    on: tuple[int, ...]


class Shows(_Fact, frozen=True, tag="shows"):
    """The lamps of a signal controller have changed to this."""

    device: str
    aspect: Aspect


class End(_Fact, frozen=True, tag="end"):
    """The scenario is over; the devices go on with its last values."""


Fact: TypeAlias = Line | Ready | Begin | Answered | Outputs | Shows | End

Tell: TypeAlias = Callable[[Fact], None]


def now_ms() -> int:
    """UTC, milliseconds since 1970."""
    return time.time_ns() // 1_000_000
