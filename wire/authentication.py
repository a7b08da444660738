"""Whether an ack or a reply comes from whom it says: a key that one gateway and its cloud share.

The sender puts a `mac` into the message: HMAC-SHA256 (RFC 2104) under the key, in hexadecimal, over

    shuichi/v1/<type>\\n<JSON array of the fields, without blanks>

    ack    [gateway, stream, [[first, last], ...]]
    reply  [gateway, command, outcome, at_ms, reason, aspect, last]

The type stands in front, so that a message of one type proves nothing about another. Nothing is
encrypted. An ack that is played back does no harm: a batch's name means one batch for ever. A reply
is bound to the command's random id.

There may be two keys: then the first proves what we send, and what either proves is believed, so
that a key can be changed while messages are on their way. `wire.keyfile` keeps them.
"""

import hmac
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from wire.messages import Ack, Reply

KEY_BYTES: Final = 32
MOST_KEYS: Final = 2

_T = TypeVar("_T", Ack, Reply)


class Keys:
    """The keys that a gateway and its cloud share, the one that proves first."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not 1 <= len(keys) <= MOST_KEYS or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"1 to {MOST_KEYS} keys of {KEY_BYTES} bytes are needed")
        self._keys = tuple(keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keys) and self._keys == other._keys

    def __hash__(self) -> int:
        return hash(self._keys)

    def __repr__(self) -> str:
        return f"<{len(self._keys)} keys>"  # never the keys: this may come into a log

    def prove(self, message: _T, gateway: str) -> _T:
        """`message`, from or to `gateway`, with its mac."""
        return replace(message, mac=_mac(self._keys[0], _text(message, gateway)))

    def believe(self, message: Ack | Reply, gateway: str) -> bool:
        """Whether one of the keys proves that `message` is from or to `gateway`."""
        mac = message.mac
        if not isinstance(mac, str) or not mac.isascii():
            return False
        try:
            text = _text(message, gateway)
        except (OverflowError, ValueError):  # a number that no message of ours can have
            return False
        # All are compared, whichever fits: the time says nothing.
        found = [hmac.compare_digest(_mac(key, text), mac) for key in self._keys]
        return any(found)


def _text(message: Ack | Reply, gateway: str) -> bytes:
    fields: list[object]
    if isinstance(message, Ack):
        kind, fields = b"ack", [gateway, message.stream, message.batches]
    else:
        kind = b"reply"
        fields = [gateway, message.command, message.outcome, message.at_ms, message.reason]
        fields += [message.aspect, message.last]
    return b"shuichi/v1/" + kind + b"\n" + msgspec.json.encode(fields)


def _mac(key: bytes, text: bytes) -> str:
    return hmac.digest(key, text, "sha256").hex()
