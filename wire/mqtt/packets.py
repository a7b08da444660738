"""Packets of MQTT 5 and 3.1.1 to bytes and back, for QoS 0 and 1 and what we use of the rest. Pure.

Source: OASIS, MQTT Version 5.0 (2019) and MQTT Version 3.1.1 (2014); section numbers are those of
version 5. A decoder gets one packet's body, from `start` to `end` of `data`, and reads nothing
beyond; whatever the bytes are it returns or raises Malformed.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from wire.mqtt.terms import TAKEN_OVER, TOO_LARGE, Message, Terms

MAX_MID: Final = 65_535


class Malformed(Exception):
    """These bytes are no packet that a broker may send us."""


class Kind(IntEnum):
    """Control packet types (2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class Connack(NamedTuple):
    """`reason` is None where the broker lets us in, and `code` 0. The rest is what it asks of us
    (3.2.2.3)."""

    reason: str | None
    kept: bool
    code: int = 0
    receive_maximum: int = MAX_MID
    maximum_packet: int | None = None
    keepalive_s: int | None = None
    retains: bool = True
    maximum_qos: int = 2


NO_SUBSCRIBERS: Final = 0x10
FAILURE: Final = 0x80
"""Reason codes from here on mean failure (2.4)."""

PROTOCOL_ERROR: Final = 0x81
RETAIN_NOT_SUPPORTED: Final = 0x9A
QOS_NOT_SUPPORTED: Final = 0x9B

_REASONS: Final = {
    # CONNACK of 3.1.1, also from a broker that was asked in 5 and speaks only that
    0x01: "unsupported protocol version",
    0x02: "client identifier not valid",
    0x03: "server unavailable",
    0x04: "bad user name or password",
    0x05: "not authorized",
    # 2.4
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: TAKEN_OVER,
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x94: "topic alias invalid",
    0x95: TOO_LARGE,
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "qos not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9E: "shared subscriptions not supported",
    0x9F: "connection rate exceeded",
    0xA0: "maximum connect time",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}


def reason(code: int) -> str:
    """A reason code in words."""
    return _REASONS.get(code, f"reason code {code}")


# Out ------------------------------------------------------------------------------------------

PINGREQ: Final = bytes((Kind.PINGREQ << 4, 0))
_U16: Final = struct.Struct("!H")
_U32: Final = struct.Struct("!I")
_PUBACK: Final = struct.Struct("!HH")
_PUBACK_HEAD: Final = Kind.PUBACK << 12 | 2


def connect(terms: Terms, password: str | None) -> bytes:
    """3.1; with a kept session where the terms ask for one."""
    broker = terms.broker
    flags = 0x02 * (terms.keep_session_s == 0)
    properties = will_properties = b""
    if v5 := broker.protocol == "5":
        properties = b"\x11" + _U32.pack(terms.keep_session_s)
        properties += b"\x21" + _U16.pack(terms.receive_maximum)
        properties += b"\x27" + _U32.pack(terms.room.packet_bytes)
        properties = _varint(len(properties)) + properties
        will_properties = b"\0"
    payload = _text(terms.identifier)
    if terms.will is not None:
        flags |= 0x0C | 0x20 * terms.will.retain  # QoS 1
        payload += will_properties + _text(terms.will.topic) + _binary(terms.will.payload)
    if broker.username is not None:
        flags |= 0x80
        payload += _text(broker.username)
        if password is not None:
            flags |= 0x40
            payload += _text(password)
    head = _text("MQTT") + bytes((5 if v5 else 4, flags)) + _U16.pack(broker.keepalive_s)
    return _packet(Kind.CONNECT << 4, head + properties + payload)


def subscribe(mid: int, topic_filter: str, v5: bool) -> bytes:
    """3.8, one filter at QoS 1."""
    head = _U16.pack(mid) + (b"\0" if v5 else b"")
    return _packet(Kind.SUBSCRIBE << 4 | 2, head + _text(topic_filter) + b"\x01")


def publish(mid: int, topic: str, payload: bytes, retain: bool, v5: bool) -> bytes:
    """3.3, at QoS 1."""
    head = _text(topic) + _U16.pack(mid) + (b"\0" if v5 else b"")
    return _packet(Kind.PUBLISH << 4 | 2 | retain, head + payload)


def puback(mid: int) -> bytes:
    """3.4; the short form, which means success, is the same in both versions."""
    return _PUBACK.pack(_PUBACK_HEAD, mid)


def disconnect(v5: bool, code: int = 0) -> bytes:
    """3.14."""
    return _packet(Kind.DISCONNECT << 4, bytes((code,)) if v5 and code else b"")


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    """Variable byte integer (1.5.5)."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _binary(data: bytes) -> bytes:
    return _U16.pack(len(data)) + data


def _text(text: str) -> bytes:
    return _binary(text.encode())


# In -------------------------------------------------------------------------------------------


def head(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Of the packet that begins at `at`: its first byte, the length of its body, and where that
    begins. None while more bytes must come. Raises Malformed."""
    if (found := _length(data, at + 1, len(data))) is None:
        return None
    length, start = found
    return data[at], length, start


def message(first: int, data: bytes, start: int, end: int, v5: bool) -> Message:
    """A PUBLISH (3.3)."""
    qos = first >> 1 & 3
    if qos > 1:
        raise Malformed(f"a message of QoS {qos}, which we have not asked for")
    at = start + 2
    if at > end:
        raise Malformed("a message that ends in its topic")
    topic_end = at + (data[start] << 8 | data[start + 1])
    at = topic_end + 2 * qos
    if topic_end == start + 2 or at > end:
        raise Malformed("a message without a topic, or that ends in its head")
    mid = data[topic_end] << 8 | data[topic_end + 1] if qos else 0
    if qos and not mid:
        raise Malformed("a message with the number 0")
    if v5:
        at = _behind_properties(data, at, end)
    try:
        topic = data[start + 2 : topic_end].decode()
    except UnicodeDecodeError:
        raise Malformed("a topic that is not UTF-8") from None
    return Message(topic, data[at:end], bool(first & 1), mid, qos)


def connack(data: bytes, start: int, end: int, v5: bool) -> Connack:
    """3.2."""
    if end - start < 2:
        raise Malformed("a CONNACK that is cut short")
    flags, code = data[start], data[start + 1]
    if flags > 1:
        raise Malformed("a CONNACK with flags that do not exist")
    if code:
        return Connack(reason(code), kept=False, code=code)
    asked = _properties(data, start + 2, end) if v5 else {}
    if not asked.get(0x21, 1):
        raise Malformed("a receive maximum of 0")
    return Connack(
        None,
        kept=bool(flags),
        receive_maximum=asked.get(0x21, MAX_MID),
        maximum_packet=asked.get(0x27),
        keepalive_s=asked.get(0x13),
        retains=bool(asked.get(0x25, 1)),
        maximum_qos=asked.get(0x24, 2),
    )


def confirmed(data: bytes, start: int, end: int) -> tuple[int, int]:
    """A PUBACK (3.4): the number of the message, and a reason code, 0 where none is given."""
    if end - start < 2:
        raise Malformed("a PUBACK that is cut short")
    return data[start] << 8 | data[start + 1], data[start + 2] if end - start > 2 else 0


def granted(data: bytes, start: int, end: int, v5: bool) -> tuple[int, int]:
    """A SUBACK (3.9) of one filter: the number of its SUBSCRIBE, and a reason code."""
    at = start + 2
    if v5 and at <= end:
        at = _behind_properties(data, at, end)
    if at + 1 != end:
        raise Malformed("a SUBACK that does not answer one filter")
    return data[start] << 8 | data[start + 1], data[at]


def farewell(data: bytes, start: int, end: int) -> str:
    """A DISCONNECT (3.14): why."""
    return reason(data[start]) if end > start and data[start] else "without a reason"


def _length(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    """A variable byte integer (1.5.5) and where it ends; None if it does not."""
    number = shift = 0
    while at < end:
        digit = data[at]
        at += 1
        number |= (digit & 127) << shift
        if digit < 128:
            return number, at
        shift += 7
        if shift > 21:
            raise Malformed("a length of more than four bytes")
    return None


def _behind_properties(data: bytes, at: int, end: int) -> int:
    if (found := _length(data, at, end)) is None or sum(found) > end:
        raise Malformed("properties that are cut short")
    return sum(found)


# The length of each property's value (2.2.2.2): bytes, or a kind that says its length itself.
_VARINT, _STRING, _PAIR = 0, -1, -2
_SIZES: Final = (
    dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1)
    | dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2)
    | dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4)
    | {0x0B: _VARINT, 0x26: _PAIR}
    | dict.fromkeys((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), _STRING)
)


def _properties(data: bytes, at: int, end: int) -> dict[int, int]:
    """The properties that are numbers; texts are passed over."""
    if _behind_properties(data, at, end) != end:
        raise Malformed("a body that goes on behind its properties")
    _, at = _length(data, at, end) or (0, end)
    numbers = {}
    while at < end:
        identifier = data[at]
        at += 1
        match _SIZES.get(identifier):
            case None:
                raise Malformed(f"a property of type {identifier}")
            case -1 | -2 as kind:
                for _ in range(-kind):
                    if at + 2 > end:
                        raise Malformed("a property that is cut short")
                    at += 2 + (data[at] << 8 | data[at + 1])
            case 0:
                at = (_length(data, at, end) or (0, end + 1))[1]
            case size:
                numbers[identifier] = int.from_bytes(data[at : at + size], "big")
                at += size
        if at > end:
            raise Malformed("a property that is cut short")
    return numbers
