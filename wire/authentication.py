"""Whether an ack or a reply comes from whom it says: a key that one gateway and its cloud share.

The sender puts a `mac` into the message: HMAC-SHA256 (RFC 2104) under the key, in hexadecimal, over

    shuichi/v1/<type>\\n<JSON array of the fields, without blanks>

    ack    [gateway, stream, [[first, last], ...]]
    reply  [gateway, command, outcome, at_ms, reason, aspect, last]

The type stands in front, so that a message of one type proves nothing about another. Nothing is
encrypted. An ack that is played back does no harm: a batch's name means one batch for ever. A reply
is bound to the command's random id.

A key file holds one key (32 bytes in base64) or two: then the first proves what we send, and what
either proves is believed, so that a key can be changed while messages are on their way.
"""

import base64
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from wire.messages import Ack, Reply

KEY_BYTES: Final = 32
MOST_KEYS: Final = 2
_MOST_FILE_BYTES: Final = 4096

_T = TypeVar("_T", Ack, Reply)


class KeyFileError(ValueError):
    """The file holds no key that can be used; the text says why."""


class Keys:
    """The keys that a gateway and its cloud share, the one that proves first."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not 1 <= len(keys) <= MOST_KEYS or any(len(key) != KEY_BYTES for key in keys):
            raise KeyFileError(f"1 to {MOST_KEYS} keys of {KEY_BYTES} bytes are needed")
        self._keys = tuple(keys)

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


def make() -> str:
    """A new key, as it stands in a file."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def parse(text: str) -> Keys:
    """The keys in a file's text: a line each; blank lines and lines with # do not count. Raises
    KeyFileError."""
    lines = [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]
    if not 1 <= len(lines) <= MOST_KEYS:
        raise KeyFileError(f"has {len(lines)} keys; 1 or {MOST_KEYS} lines are needed")
    keys = []
    for number, line in enumerate(lines, 1):
        try:
            key = base64.b64decode(line, validate=True)
        except ValueError:  # the line itself is never shown
            raise KeyFileError(f"key {number} is not base64") from None
        if len(key) != KEY_BYTES:
            raise KeyFileError(f"key {number} has {len(key)} bytes instead of {KEY_BYTES}")
        if len(set(key)) == 1:
            raise KeyFileError(f"key {number} is {KEY_BYTES} times the same byte")
        keys.append(key)
    if len(set(keys)) < len(keys):
        raise KeyFileError("holds the same key twice")
    return Keys(keys)


def read_text(file: Path) -> str:
    """The text of a key file. Raises OSError, or KeyFileError for what cannot be one."""
    with file.open("rb") as opened:
        raw = opened.read(_MOST_FILE_BYTES + 1)
    if len(raw) > _MOST_FILE_BYTES:
        raise KeyFileError(f"is larger than {_MOST_FILE_BYTES} bytes")
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise KeyFileError("is not ASCII text") from None


def read(file: Path) -> Keys:
    """The keys in `file`. Raises OSError or KeyFileError."""
    return parse(read_text(file))


def write(file: Path, keys: Sequence[str]) -> None:
    """Put the keys (base64, the one that proves first) into `file`, for its owner alone, in one
    step. Raises OSError."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(opened, "w", encoding="ascii") as out:
            out.write("".join(f"{key}\n" for key in keys))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def is_exposed(file: Path) -> bool:
    """Whether users other than the owner and its group may read the file. Raises OSError."""
    return bool(file.stat().st_mode & stat.S_IRWXO)


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
    return hmac.new(key, text, hashlib.sha256).hexdigest()
