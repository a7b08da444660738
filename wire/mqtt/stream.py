"""Cuts what arrives into packets, and holds no more of it than one packet and one read. Pure."""

from typing import Final, NamedTuple

from wire.mqtt import packets
from wire.mqtt.packets import Kind, Malformed

_PUBLISH: Final = Kind.PUBLISH << 4


class Packet(NamedTuple):
    """A whole packet: its body lies in `data` from `start` to `end`. `first` is its first byte:
    kind and flags."""

    first: int
    data: bytes
    start: int
    end: int


class Oversize(NamedTuple):
    """A message that is too large to be kept. `mid` is 0 at QoS 0; `size` is that of its packet."""

    topic: str
    mid: int
    size: int


class Stream:
    """What one side of a connection says. Packets of more than `most` bytes are not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = b""
        self._at = 0
        self._end = 0  # of the packet that was shown last
        self._parts: list[bytes] = []
        self._waiting = 0  # bytes in them
        self._need = 0  # bytes from `_at` on without which there is nothing new to see
        self._skip = 0

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if data:
            self._parts.append(data)
            self._waiting += len(data)

    def peek(self) -> Packet | Oversize | None:
        """The next packet, which stays until `drop`; None while more bytes must come. Raises
        Malformed."""
        if self._parts and not self._gather():
            return None
        data, at = self._data, self._at
        if (head := packets.head(data, at)) is None:
            return None
        first, length, start = head
        self._end = end = start + length
        if end - at > self._most:
            return self._oversize(first, start)
        if end > len(data):
            self._need = end - at
            return None
        return Packet(first, data, start, end)

    def drop(self) -> None:
        """Go behind what `peek` has shown."""
        if self._end > len(self._data):
            self._skip = self._end - len(self._data)
            self._data, self._at = b"", 0
        else:
            self._at = self._end
        self._need = 0

    def _gather(self) -> bool:
        """Put what has arrived behind the rest, if that makes a difference. Done at each read, it
        would cost the square of a packet's length."""
        if len(self._data) - self._at + self._waiting < self._need:
            return False
        rest = self._data[self._at :] if self._at else self._data
        self._data = b"".join((rest, *self._parts))
        self._at = 0
        self._parts.clear()
        self._waiting = self._need = 0
        return True

    def _oversize(self, first: int, start: int) -> Oversize | None:
        data, qos = self._data, first >> 1 & 3
        if first & 0xF0 != _PUBLISH or qos > 1:
            raise Malformed(f"a packet of {self._end - self._at} bytes that is no message for us")
        if len(data) < start + 2:
            self._need = start + 2 - self._at
            return None
        topic_end = start + 2 + (data[start] << 8 | data[start + 1])
        behind = topic_end + 2 * qos
        if behind > self._end:
            raise Malformed("a message that ends in its head")
        if len(data) < behind:
            self._need = behind - self._at
            return None
        mid = data[topic_end] << 8 | data[topic_end + 1] if qos else 0
        if qos and not mid:
            raise Malformed("a message with the number 0")
        topic = data[start + 2 : topic_end].decode("utf-8", "replace")
        return Oversize(topic, mid, self._end - self._at)
