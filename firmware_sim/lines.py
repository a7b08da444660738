"""What a line and the devices on it say to each other."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from configs.loader import UserError
from firmware_sim.framing import Request


class LineError(UserError):
    """A line that cannot be opened. One line: what, where, and how to mend it."""


class Sending(NamedTuple):
    """Bytes that start to leave `delay_s` after the silence that ends a request, or `late_s` later
    than that, when nobody waits for them any more. `left` is called when the last is out."""

    delay_s: float
    data: bytes
    left: Callable[[], None]
    late_s: float = 0.0


Ask = Callable[[bytes], None]
"""Puts a frame on a line as another master would: all hear it, and who is meant answers."""

Hear = Callable[[Request, Callable[[bytes], bytes]], Iterable[Sending]]
"""What a line calls with a whole request, at the moment at which the devices know that it has
ended, and with the function that puts an answer's PDU into a frame."""
