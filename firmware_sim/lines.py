"""What a line and the devices on it say to each other."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from configs.loader import UserError
from firmware_sim.framing import Request


class LineError(UserError):
    """A line that cannot be opened. One line: what, where, and how to mend it."""


class Sending(NamedTuple):
    """Bytes that start to leave `delay_s` after the silence that ends a request. `left` is called
    when the last of them is out."""

    delay_s: float
    data: bytes
    left: Callable[[], None]


Hear = Callable[[Request, Callable[[bytes], bytes]], Iterable[Sending]]
"""What a line calls with a whole request, at the moment at which the devices know that it has
ended, and with the function that puts an answer's PDU into a frame."""
