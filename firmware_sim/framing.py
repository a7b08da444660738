"""How a request travels to a device, seen from the device: RTU or Modbus TCP.

Source: MODBUS over Serial Line V1.02; MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

RTU_OVERHEAD: Final = 3
"""Unit and checksum around a PDU."""

PAUSE_S: Final = 0.05
"""A frame that has not gone on for so long never will. A wire needs 3.5 characters to know it; the
bytes of a pty or a socket come with the jitter of two programs on top."""

_LONGEST_FRAME: Final = 256
_REQUESTS: Final = DecodePDU(is_server=True)
_RTU: Final = FramerRTU(_REQUESTS)
_TCP: Final = FramerSocket(_REQUESTS)


class Request(NamedTuple):
    """`unit` 0 is for all. `transaction` is the number that Modbus TCP gives a request."""

    unit: int
    pdu: bytes
    transaction: int = 0


class Framing(Protocol):
    """One listener on one line. `overhead` is what surrounds the PDU of an answer, in bytes."""

    overhead: int

    def feed(self, data: bytes, now_s: float) -> Iterator[Request]:
        """The requests that `data`, heard at `now_s`, completes. Noise is dropped."""
        ...

    def wrap(self, request: Request, pdu: bytes) -> bytes:
        """The frame that answers `request` with `pdu`."""
        ...


class Rtu:
    """Unit, PDU, checksum. A frame ends where its length says, and counts if its checksum fits."""

    overhead = RTU_OVERHEAD

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._heard_s = 0.0

    def feed(self, data: bytes, now_s: float) -> Iterator[Request]:
        if now_s - self._heard_s > PAUSE_S:
            self._buffer.clear()
        self._heard_s = now_s
        self._buffer += data
        while size := self._size():
            frame = bytes(self._buffer[:size])
            if FramerRTU.compute_CRC(frame[:-2]).to_bytes(2, "big") != frame[-2:]:
                self._buffer.clear()
                return
            del self._buffer[:size]
            yield Request(frame[0], frame[1:-2])

    def _size(self) -> int:
        """Length of the frame at the front of the buffer, 0 while it is not all there."""
        heard = bytes(self._buffer)
        if len(heard) < FramerRTU.MIN_SIZE:
            return 0
        if (kind := _REQUESTS.lookupPduClass(heard)) is not None:
            size = kind.calculateRtuFrameSize(heard)
            return size if size <= len(heard) else 0
        # Of an unknown function nobody knows the length: it ends when the checksum fits.
        if FramerRTU.compute_CRC(heard) == 0 or len(heard) > _LONGEST_FRAME:
            return len(heard)
        return 0

    def wrap(self, request: Request, pdu: bytes) -> bytes:
        return _RTU.encode(pdu, request.unit, 0)


class Tcp:
    """MBAP header, PDU."""

    overhead = 7

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, now_s: float) -> Iterator[Request]:
        buffer = self._buffer
        buffer += data
        while len(buffer) > self.overhead:
            protocol, size = int.from_bytes(buffer[2:4], "big"), int.from_bytes(buffer[4:6], "big")
            if protocol != 0 or not 2 <= size <= 254:
                buffer.clear()
                return
            if len(buffer) < (end := 6 + size):
                return
            request = Request(buffer[6], bytes(buffer[7:end]), int.from_bytes(buffer[:2], "big"))
            del buffer[:end]
            yield request

    def wrap(self, request: Request, pdu: bytes) -> bytes:
        return _TCP.encode(pdu, request.unit, request.transaction)
