"""GB/T 20999-2017, road traffic signal controllers and their host: frames, pure.

    7E | length 2 | version 2 | host 1 | controller 4 | junction 1 | sequence 1 | type 1 | count 1
       | count × (index 1, length 1, class 1, object 1, attribute 1, element 1, content)
       | checksum 2 | 7D

Numbers have their high byte first. On RS-232 and TCP a 5C stands before each 7E, 7D and 5C between
the first and the last byte; the checksum does not count it. A datagram is one frame without them.

What the text of the standard leaves open, or what those who implement it read differently, is a
setting (`Dialect`). Source: GB/T 20999-2017, annex A, as public implementations quote it
(lining1111/RVDataFusionServer, ahiose/signal-protocol-core); the text itself was not at hand.
"""

import struct
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from drivers.errors import BadReply

START: Final = 0x7E
END: Final = 0x7D
ESCAPE: Final = 0x5C
VERSION: Final = 0x0102

_HEAD: Final = struct.Struct(">HHBIBBBB")
_ITEM: Final = struct.Struct(">BBBBBB")
_ID_BYTES: Final = 4
_CHECKSUM_BYTES: Final = 2
_LENGTH_BYTES: Final = 2

EMPTY_FRAME_BYTES: Final = 2 + _HEAD.size + _CHECKSUM_BYTES
"""A frame without values."""

VALUE_BYTES: Final = _ITEM.size
"""What a value takes in a frame, beside its content."""


class Kind(IntEnum):
    """What a frame is for. An answer is 0x10 above its question, an error 0x11."""

    QUERY = 0x10
    QUERY_ANSWER = 0x20
    QUERY_ERROR = 0x21
    SET = 0x30
    SET_ANSWER = 0x40
    SET_ERROR = 0x41
    BROADCAST = 0x50
    PUSH = 0x60
    HEARTBEAT = 0x70
    HEARTBEAT_ANSWER = 0x80


class Refusal(IntEnum):
    """The content of a value in an error answer."""

    BAD_VALUE = 0x10
    WRONG_LENGTH = 0x11
    OUT_OF_RANGE = 0x12
    READ_ONLY = 0x20
    NO_SUCH_VALUE = 0x30
    FAILED = 0x40
    CONTROL_FAILED = 0x50


class Checksum(StrEnum):
    """The text gives the polynomial x16+x12+x2+1; one implementation has CCITT's in its place."""

    X1005 = "x1005"
    X1021_FFFF = "x1021-ffff"


class Length(StrEnum):
    """What the length field counts: all after itself, the same without the checksum, or the whole
    frame but its first and last byte."""

    WITH_CHECKSUM = "with_checksum"
    WITHOUT_CHECKSUM = "without_checksum"
    WHOLE = "whole"


class Dialect(NamedTuple):
    """How a controller reads the standard. `escaped` is false for datagrams."""

    checksum: Checksum = Checksum.X1005
    length: Length = Length.WITH_CHECKSUM
    escaped: bool = True


class Id(NamedTuple):
    """Names a value: class, object, attribute, element."""

    kind: int
    thing: int
    attribute: int = 0
    element: int = 0

    def __str__(self) -> str:
        return ".".join(f"{part:02X}" for part in self)


class Value(NamedTuple):
    """One value of a frame, and its number in it. A query has no content."""

    id: Id
    content: bytes = b""
    number: int = 1


class Frame(NamedTuple):
    """A frame. The answer to it carries the same `sequence`."""

    kind: int
    sequence: int
    values: tuple[Value, ...] = ()
    host: int = 1
    controller: int = 1
    junction: int = 1
    version: int = VERSION


def parse_id(text: str) -> Id:
    """`0D.02.02.00` as an Id. Raises ValueError."""
    parts = text.split(".")
    if len(parts) != 4 or not all(len(part) == 2 for part in parts):
        raise ValueError(f"{text!r} is not class.object.attribute.element, as in '0D.02.02.00'")
    return Id(*(int(part, 16) for part in parts))


def encode(frame: Frame, dialect: Dialect) -> bytes:
    """The bytes of a frame. Raises struct.error for a number that does not fit its field."""
    values = b"".join(
        _ITEM.pack(value.number, _ID_BYTES + len(value.content), *value.id) + value.content
        for value in frame.values
    )
    length = _counted(_HEAD.size + len(values) + _CHECKSUM_BYTES, dialect.length)
    head = _HEAD.pack(
        length,
        frame.version,
        frame.host,
        frame.controller,
        frame.junction,
        frame.sequence,
        frame.kind,
        len(frame.values),
    )
    body = head + values
    body += crc16(body, dialect.checksum).to_bytes(_CHECKSUM_BYTES, "big")
    if dialect.escaped:
        body = _escape(body)
    return bytes((START,)) + body + bytes((END,))


def take(received: bytearray, dialect: Dialect) -> bytes | None:
    """Cut the first whole frame out of `received`; None while more bytes must come.

    Gives what stands between its first and its last byte, without escapes. What precedes it is
    dropped: noise, or a frame that was cut short. Without escapes `received` is one datagram.
    """
    if not dialect.escaped:
        datagram = bytes(received)
        received.clear()
        if datagram[:1] != bytes((START,)) or datagram[-1:] != bytes((END,)) or len(datagram) < 2:
            raise BadReply(f"a datagram of {len(datagram)} bytes that is no frame of GB/T 20999")
        return datagram[1:-1]
    begin = -1
    body = bytearray()
    escaped = False
    for i, byte in enumerate(received):
        if byte == START and not escaped:
            begin = i
            body.clear()
        elif begin < 0:
            continue
        elif byte == ESCAPE and not escaped:
            escaped = True
            continue
        elif byte == END and not escaped:
            del received[: i + 1]
            return bytes(body)
        else:
            body.append(byte)
        escaped = False
    del received[: len(received) if begin < 0 else begin]
    return None


def decode(body: bytes, dialect: Dialect) -> Frame:
    """The frame with this body (see `take`). Raises BadReply."""
    if len(body) < _HEAD.size + _CHECKSUM_BYTES:
        raise BadReply(f"a frame of {len(body)} bytes, {EMPTY_FRAME_BYTES - 2} is the least")
    checked, checksum = body[:-_CHECKSUM_BYTES], int.from_bytes(body[-_CHECKSUM_BYTES:], "big")
    if crc16(checked, dialect.checksum) != checksum:
        fitting = [one.value for one in Checksum if crc16(checked, one) == checksum]
        raise BadReply(f"wrong checksum{_hint('checksum', fitting)}")
    length, version, host, controller, junction, sequence, kind, count = _HEAD.unpack_from(body)
    if length != _counted(len(body), dialect.length):
        fitting = [one.value for one in Length if _counted(len(body), one) == length]
        raise BadReply(
            f"the frame says it has {length} bytes, {_counted(len(body), dialect.length)} came"
            f"{_hint('length', fitting)}"
        )
    values = _values(checked[_HEAD.size :], count)
    return Frame(kind, sequence, values, host, controller, junction, version)


def crc16(data: bytes, checksum: Checksum) -> int:
    """High bit first, nothing reflected, no final exclusive or."""
    crc, table = (0, _X1005) if checksum is Checksum.X1005 else (0xFFFF, _X1021)
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ table[crc >> 8 ^ byte]
    return crc


def _values(data: bytes, count: int) -> tuple[Value, ...]:
    values = []
    for _ in range(count):
        if len(data) < _ITEM.size:
            raise BadReply("the frame ends within a value")
        number, length, *parts = _ITEM.unpack_from(data)
        end = _ITEM.size + length - _ID_BYTES
        if length < _ID_BYTES or len(data) < end:
            raise BadReply(f"a value of length {length} does not fit into the frame")
        values.append(Value(Id(*parts), data[_ITEM.size : end], number))
        data = data[end:]
    if data:
        raise BadReply(f"{len(data)} bytes behind the last value")
    return tuple(values)


def _counted(body_bytes: int, length: Length) -> int:
    match length:
        case Length.WHOLE:
            return body_bytes
        case Length.WITH_CHECKSUM:
            return body_bytes - _LENGTH_BYTES
        case Length.WITHOUT_CHECKSUM:
            return body_bytes - _LENGTH_BYTES - _CHECKSUM_BYTES


def _escape(body: bytes) -> bytes:
    escaped = bytearray()
    for byte in body:
        if byte in (START, END, ESCAPE):
            escaped.append(ESCAPE)
        escaped.append(byte)
    return bytes(escaped)


def _hint(key: str, fitting: list[str]) -> str:
    return f'; it would be right with {key} = "{fitting[0]}"' if fitting else ""


def _table(polynomial: int) -> tuple[int, ...]:
    def remainder(byte: int) -> int:
        crc = byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc & 0x8000 else 0)
        return crc & 0xFFFF

    return tuple(map(remainder, range(256)))


_X1005: Final = _table(0x1005)
_X1021: Final = _table(0x1021)
