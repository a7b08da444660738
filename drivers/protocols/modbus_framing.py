"""How a Modbus message travels: in an RTU frame, which ends with a checksum, or over TCP, behind a
transaction number.

Source: MODBUS over Serial Line V1.02; MODBUS Messaging on TCP/IP Implementation Guide V1.0b.
"""

import struct
from typing import Final, Protocol

from drivers.errors import BadReply, Spoilt
from drivers.ports import Scan, drop_strays, remark, right_before

RTU_OVERHEAD: Final = 3
"""Bytes that RTU adds to a message: unit and checksum."""

ERROR_BIT: Final = 0x80
"""Set in the function of an answer that is an exception."""

_EXCEPTION_BYTES: Final = 2
_CLICK: Final = 3
"""Bytes that may follow an answer: a transceiver that lets go of the line clicks."""

MOST_STRAYS: Final = 7
"""Bytes that may come before an answer, for the same reason, those right before our request
included. Another master's request is longer: the answer to it is never taken for ours."""

_MBAP: Final = struct.Struct(">HHHB")


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def checksum(frame: bytes | bytearray) -> int:
    """CRC-16 of a frame, which stands behind it with its low byte first; 0 of one with its own
    checksum (MODBUS over Serial Line V1.02, 6.2.2)."""
    crc = 0xFFFF
    for byte in frame:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


class Framing(Protocol):
    """How a message travels: with a checksum (RTU) or with a transaction number (TCP).

    `numbered` answers tell to which request they belong.
    """

    numbered: bool

    def wrap(self, unit: int, message: bytes) -> bytes:
        """The frame that carries `message` to `unit`."""
        ...

    def scan(self, unit: int, head: bytes, length: int) -> Scan:
        """Finds the answer to the frame last wrapped: `length` bytes that begin with `head`, the
        function first, or an exception."""
        ...


class Rtu:
    """Unit, message, CRC-16 with the low byte first."""

    numbered = False

    def __init__(self) -> None:
        self._sent = b""

    def wrap(self, unit: int, message: bytes) -> bytes:
        frame = bytes((unit,)) + message
        self._sent = frame + checksum(frame).to_bytes(2, "little")
        return self._sent

    def scan(self, unit: int, head: bytes, length: int) -> Scan:
        sent = self._sent

        def answer(received: bytearray) -> bytes | None:
            if len(received) < 2:
                return None
            try:
                return _at_once(received, sent, unit, head, length)
            except BadReply:
                if (strays := _strays(received, unit, head, length)) is None:
                    raise
            drop_strays(received, strays)
            return _at_once(received, sent, unit, head, length)

        return answer


def _at_once(received: bytearray, sent: bytes, unit: int, head: bytes, length: int) -> bytes | None:
    """The answer's message if the frame begins with the first byte; None while more must come."""
    # What begins as no answer does may be strays, as long as an answer can still follow.
    may_follow = len(received) < MOST_STRAYS + RTU_OVERHEAD + length
    wrong = Spoilt if may_follow else BadReply
    if received[0] != unit:
        raise wrong(f"unit {received[0]} spoke, unit {unit} was asked")
    is_exception = received[1] == head[0] | ERROR_BIT
    need = RTU_OVERHEAD + (_EXCEPTION_BYTES if is_exception else length)
    if not is_exception and not head.startswith(received[1 : 1 + len(head)]):
        if not sent.startswith(received[: len(sent)]):
            raise wrong(_unlike(unit, received[1:], head))
        if len(received) >= len(sent):
            raise BadReply("the line echoes what is sent: set echo = true for this port")
        return None
    if len(received) < need:
        return None
    if len(received) > need + _CLICK:
        raise BadReply(f"{len(received)} bytes, {need} were due")
    if checksum(received[:need]) != 0:
        raise BadReply(f"unit {unit}: wrong checksum")
    return bytes(received[1 : need - 2])


def _strays(received: bytearray, unit: int, head: bytes, length: int) -> int | None:
    """After how many bytes a whole answer of the unit stands, with a good checksum and with all
    that came behind it; None if there is none."""
    most = min(MOST_STRAYS - right_before(received), len(received) - 2)
    for start in range(1, most + 1):
        is_exception = received[start + 1] == head[0] | ERROR_BIT
        need = RTU_OVERHEAD + (_EXCEPTION_BYTES if is_exception else length)
        if (
            received[start] == unit
            and (is_exception or received[start + 1 :].startswith(head))
            and start + need <= len(received) <= start + need + _CLICK
            and checksum(received[start : start + need]) == 0
        ):
            return start
    return None


class Tcp:
    """MBAP header: transaction number, protocol 0, length, unit."""

    numbered = True

    def __init__(self) -> None:
        self._transaction = 0

    def wrap(self, unit: int, message: bytes) -> bytes:
        self._transaction = self._transaction % 0xFFFF + 1
        return _MBAP.pack(self._transaction, 0, len(message) + 1, unit) + message

    def scan(self, unit: int, head: bytes, length: int) -> Scan:
        expected = self._transaction

        def answer(received: bytearray) -> bytes | None:
            while len(received) > _MBAP.size:
                transaction, protocol, size, speaker = _MBAP.unpack_from(received)
                if protocol != 0 or not 2 <= size <= 254:
                    raise BadReply(f"not a Modbus TCP frame: {received[:8].hex(' ')}")
                if len(received) < (end := _MBAP.size - 1 + size):
                    return None
                message = bytes(received[_MBAP.size : end])
                del received[:end]
                if transaction != expected:  # the late answer to a request that was given up
                    remark(
                        received,
                        f"unit {speaker} answered transaction {transaction}, {expected} was asked",
                    )
                    continue
                if speaker != unit:
                    raise BadReply(f"unit {speaker} spoke, unit {unit} was asked")
                is_exception = message[0] == head[0] | ERROR_BIT
                need = _EXCEPTION_BYTES if is_exception else length
                if message[0] == head[0] and len(message) != need:
                    raise BadReply(f"unit {unit}: {len(message)} bytes, {need} were due")
                if not is_exception and not message.startswith(head):
                    raise BadReply(_unlike(unit, message, head))
                return message
            return None

        return answer


def _unlike(unit: int, message: bytes | bytearray, head: bytes) -> str:
    if message[0] != head[0]:
        return f"function {message[0]} was answered, {head[0]} was asked"
    return f"unit {unit}: {message[1]} bytes of data, {head[1]} were due"
