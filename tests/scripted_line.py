"""A line without a wire, and the frames that travel on it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from drivers.errors import Unavailable
from drivers.ports.line import Line
from tests import virtual

BYTE_S: Final = 10 / 9600
GAP_S: Final = 3.5 * BYTE_S

Chunks = Sequence[tuple[float, bytes]]
"""Seconds after the request, and the bytes that arrive then."""


class ScriptedLine(Line):
    """A line without a wire: keeps what is written, and each write sets off the next answer."""

    def __init__(self, *answers: Chunks, framing: str = "rtu", byte_s: float = BYTE_S) -> None:
        super().__init__("bus")
        self.framing, self.byte_s, self.gap_s = framing, byte_s, 3.5 * byte_s
        self.sent: list[bytes] = []
        self.sent_at: list[float] = []
        self.opened = 0
        self.refuses: str | None = None
        self.answers = list(answers)
        self._open = True

    @property
    def is_open(self) -> bool:
        return self._open

    async def open(self) -> None:
        self.opened += 1
        if self.refuses is not None:
            raise Unavailable(self.refuses)
        self._open = True

    def write(self, data: bytes) -> None:
        assert self._open
        self.sent.append(data)
        self.sent_at.append(virtual.now())
        if self.refuses is not None:
            self.break_off(self.refuses)
        elif self.answers:
            self.feed(self.answers.pop(0))

    async def close(self) -> None:
        self._open = False

    def feed(self, chunks: Chunks) -> None:
        for delay_s, data in chunks:
            asyncio.get_running_loop().call_later(delay_s, self.received, data)

    def break_off(self, why: str) -> None:
        self._open = False
        self.lost(why)


def crc(frame: bytes) -> bytes:
    """MODBUS over Serial Line V1.02, 6.2.2, bit by bit."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def rtu(text: str) -> bytes:
    """A frame, with its checksum added if the text has none."""
    frame = bytes.fromhex(text)
    return frame if crc(frame[:-2]) == frame[-2:] else frame + crc(frame)


def tcp(frame: bytes, transaction: int = 1) -> bytes:
    """The Modbus TCP frame with the content of an RTU frame."""
    body = frame[:-2]
    return transaction.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(2, "big") + body
