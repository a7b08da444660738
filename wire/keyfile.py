"""The file that holds a key which a gateway and its cloud share: one key (32 bytes in base64), or
two while it is being changed. A line each; blank lines and lines with # do not count.

What is in such a file is never printed, logged, or part of an error.
"""

import base64
import errno
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wire import secretfile
from wire.authentication import KEY_BYTES, MOST_KEYS, Keys

_MOST_BYTES: Final = 4096


class KeyFileError(ValueError):
    """The file holds no key that can be used; the text says why, after the file's name."""


def make() -> str:
    """A new key, as it stands in a file."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def lines_of(text: str) -> list[str]:
    """The keys in a file's text, in base64. Raises KeyFileError."""
    lines = [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]
    if not 1 <= len(lines) <= MOST_KEYS:
        raise KeyFileError(f"has {len(lines)} keys; 1 or {MOST_KEYS} lines are needed")
    if len({_key(line, number) for number, line in enumerate(lines, 1)}) < len(lines):
        raise KeyFileError("holds the same key twice")
    return lines


def parse(text: str) -> Keys:
    """The keys in a file's text. Raises KeyFileError."""
    return Keys([_key(line, number) for number, line in enumerate(lines_of(text), 1)])


def read_text(file: Path) -> str:
    """The text of a key file. Raises OSError, or KeyFileError for what cannot be one."""
    try:
        raw = secretfile.read(file, _MOST_BYTES, pipes=False)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise KeyFileError("is no regular file") from None
        if error.errno == errno.EFBIG:
            raise KeyFileError(f"is larger than {_MOST_BYTES} bytes") from None
        raise
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise KeyFileError("is not ASCII text") from None


def read(file: Path) -> Keys:
    """The keys in `file`. Raises OSError or KeyFileError."""
    return parse(read_text(file))


def in_use(name: str, file: Path) -> secretfile.InUse[Keys]:
    """The keys in `file`, which may be changed while they are in use; `name` stands for them in the
    log. Raises OSError or KeyFileError."""
    return secretfile.InUse(name, lambda: read(file), (OSError, KeyFileError))


def write(file: Path, keys: Sequence[str], beside: Path) -> None:
    """Put the keys (base64, the one that proves first) into `file` in one step, for its owner. If
    root writes it, the group of the config `beside` may read it too: the service runs as another
    user. Raises OSError."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(opened, "w", encoding="ascii") as out:
            out.write("".join(f"{key}\n" for key in keys))
            out.flush()
            if (group := _service_group(beside)) is not None:
                os.fchown(out.fileno(), -1, group)
                os.fchmod(out.fileno(), 0o640)
            os.fsync(out.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def make_folder(folder: Path, beside: Path) -> None:
    """Make `folder` for keys, if it is not there, for those who may read them. Raises OSError."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    if (group := _service_group(beside)) is not None:
        os.chown(folder, -1, group)
        folder.chmod(0o750)


def _service_group(beside: Path) -> int | None:
    """The group of the config, if root writes beside it for a service."""
    group = beside.stat().st_gid if beside.exists() else 0
    return group if os.geteuid() == 0 and group != 0 else None


def renewed(file: Path, given: str | None, *, rotate: bool, drop_old: bool) -> list[str]:
    """The keys that are to stand in `file` (base64): the first one of the text `given`, or a new
    one; with `rotate` the present one stays behind it, with `drop_old` the first one of the present
    ones stays alone. Raises OSError, or KeyFileError if the file is in the way, or is missing."""
    if not rotate and not drop_old:
        if file.exists():
            raise KeyFileError("exists already; --rotate puts a new key in front of it")
        return [make() if given is None else lines_of(given)[0]]
    try:
        present = lines_of(read_text(file))
    except FileNotFoundError:
        raise KeyFileError("does not exist yet: there is nothing to change") from None
    if drop_old:
        return present[:1]
    new = make() if given is None else lines_of(given)[0]
    if new == present[0]:
        raise KeyFileError("has this key already, in front")
    return [new, present[0]]


def _key(line: str, number: int) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except ValueError:
        raise KeyFileError(f"key {number} is not base64") from None
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"key {number} has {len(key)} bytes instead of {KEY_BYTES}")
    if len(set(key)) == 1:
        raise KeyFileError(f"key {number} is {KEY_BYTES} times the same byte")
    return key
