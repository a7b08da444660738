"""What a gateway keeps over a restart beside its outbox: small files, each replaced in one step.

A file that is there and cannot be read keeps no gateway from starting. What it would have said is
unknown then, and unknown means the most restrictive: every latch holds, and no command is believed
that makes a signal less restrictive. `trouble` is one line for people, "" if all is well.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from configs import files
from wire.aspect import Aspect
from wire.topics import is_name

log: Final = logging.getLogger("shuichi.memory")

LARGEST_BYTES: Final = 1024 * 1024
"""What is larger is none of our files."""

_T = TypeVar("_T")


class SequenceMemory:
    """The highest sequence taken of each key, on disk: a replay is refused after a power cut too.

    What was taken while no clock was trusted stands apart, under "<key> untrusted": such a sequence
    may lie in a future that no clock will reach.

    `trustworthy` is False if the file could not be read: nobody knows then which commands were
    taken before. It stays so until a person repairs or removes the file and restarts the gateway.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        found, self.trouble = _load(path, _sequences)
        self.trustworthy = not self.trouble
        self._last: dict[str, int] = found or {}

    def last(self, key: str) -> int:
        """The highest sequence taken of `key`, -1 if none."""
        return max(self.sure(key), self._last.get(f"{key} untrusted", -1))

    def sure(self, key: str) -> int:
        """The highest one that was taken under a trusted clock, -1 if none."""
        return self._last.get(key, -1)

    def take(self, key: str, sequence: int, *, trusted: bool = True) -> None:
        """Remember in memory that `sequence` was taken, under a clock that is `trusted` or not."""
        name = key if trusted else f"{key} untrusted"
        self._last[name] = max(sequence, self._last.get(name, -1))

    def settle(self, key: str, sequence: int) -> None:
        """A trusted clock shows that what was taken without one cannot be right: from now on
        `sequence` counts as the last."""
        self._last.pop(f"{key} untrusted", None)
        self.take(key, sequence)

    def save(self) -> None:
        """Put what is remembered on the disk; returns when it is there. Raises OSError; always if
        the file could not be read, for a person may still repair it."""
        if not self.trustworthy:
            raise OSError(0, self.trouble, str(self._path))
        _replace(self._path, dict(self._last))  # this is a thread, and the next may be taken now


class LatchMemory:
    """The sites whose red waits for a person, on disk: a power cut does not speak for that person.
    If the file cannot be read, every site counts as one of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found, self.trouble = _load(path, _sites)
        self._saved: frozenset[str] | None = None if self.trouble else found or frozenset()
        self._failing = False

    def __contains__(self, site: str) -> bool:
        return self._saved is None or site in self._saved

    async def keep(self, sites: Collection[str]) -> None:
        """These are latched now. A disk that refuses is told of once, and asked again next time."""
        latched = frozenset(sites)
        if latched == self._saved:
            return
        try:
            await asyncio.to_thread(_replace, self._path, sorted(latched))
        except OSError as error:
            if not self._failing:
                log.error("%s: cannot be written: %s", self._path, error.strerror)
            self._failing = True
        else:
            self._saved, self._failing = latched, False


class Raised(NamedTuple):
    """A person's order that a site shows at least `floor`, for so long; None: until cancelled."""

    floor: Aspect
    lasts_s: float | None
    by: str


UNKNOWN: Final = Raised(Aspect.RED, None, "nobody knows whom")


class RaiseMemory:
    """What persons have raised, by site, on disk: a restart does not end it. After one it lasts as
    long as it was meant to from the beginning: nobody knows how long nothing ran. If the file
    cannot be read, every site counts as raised."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found, self.trouble = _load(path, _raised)
        self._saved: dict[str, Raised] | None = None if self.trouble else found or {}
        self._failing = False

    def get(self, site: str) -> Raised | None:
        """What `site` was raised to when this was read or kept last."""
        return UNKNOWN if self._saved is None else self._saved.get(site)

    async def keep(self, raised: Mapping[str, Raised]) -> None:
        """This is raised now. A disk that refuses is told of once, and asked again next time."""
        if raised == self._saved:
            return
        content = {site: list(one) for site, one in raised.items()}
        try:
            await asyncio.to_thread(_replace, self._path, content)
        except OSError as error:
            if not self._failing:
                log.error("%s: cannot be written: %s", self._path, error.strerror)
            self._failing = True
        else:
            self._saved, self._failing = dict(raised), False


class ShardMemory:
    """The shard that the gateway was moved to since its config named one, on disk.

    Whoever then writes another shard into the config has the last word. `left` are shards in which
    something retained of ours may still stand. If the file cannot be read, the config has the word.
    `move` and `cleared` raise OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        found, self.trouble = _load(path, _shards)
        self._said: dict[str, Any] = found or {}

    @property
    def left(self) -> tuple[str, ...]:
        return tuple(self._said.get("left", ()))

    def current(self, configured: str) -> str:
        """The shard to speak in, where the config names `configured`."""
        moved = self._said.get("moved_to")
        return str(moved) if moved and self._said.get("configured") == configured else configured

    def move(self, configured: str, shard: str) -> None:
        """From now on it is `shard`; returns when that is on the disk."""
        left = [one for one in (*self.left, self.current(configured)) if one != shard]
        self._save({"configured": configured, "moved_to": shard, "left": [*dict.fromkeys(left)]})

    def cleared(self, shards: Collection[str]) -> None:
        """Nothing of ours stands in these any more."""
        if left := self.left:
            self._save(self._said | {"left": [one for one in left if one not in shards]})

    def _save(self, said: dict[str, Any]) -> None:
        _replace(self._path, said)
        self._said = said


def _load(path: Path, parse: Callable[[Any], _T]) -> tuple[_T | None, str]:
    """What `parse` makes of a JSON file, and what is wrong with the file. A file that is not there
    gives (None, "")."""
    try:
        # What is no file, as a pipe, must not keep us waiting for somebody who writes.
        with open(path, "rb", opener=lambda at, flags: os.open(at, flags | os.O_NONBLOCK)) as file:
            text = file.read(LARGEST_BYTES + 1) or b""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror or error}"
    if len(text) > LARGEST_BYTES:
        return None, f"{path} cannot be read: it is larger than {LARGEST_BYTES} bytes"
    try:
        return parse(json.loads(text)), ""
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        return None, f"{path} cannot be read: {error or type(error).__name__}"


def _sequences(found: Any) -> dict[str, int]:
    if not isinstance(found, dict) or any(type(n) is not int for n in found.values()):
        raise ValueError("it is not a table of numbers")
    return found


def _sites(found: Any) -> frozenset[str]:
    if not isinstance(found, list) or any(type(site) is not str for site in found):
        raise ValueError("it is not a list of sites")
    return frozenset(found)


def _raised(found: Any) -> dict[str, Raised]:
    if not isinstance(found, dict):
        raise ValueError("it is not a table")
    try:
        return {str(site): msgspec.convert(one, Raised) for site, one in found.items()}
    except (msgspec.MsgspecError, ArithmeticError) as error:
        raise ValueError(f"it is not what persons have raised: {error}") from None


def _shards(found: Any) -> dict[str, Any]:
    """Three keys: two names, and a list of names."""
    if not isinstance(found, dict):
        raise ValueError("it is not a table")
    left = found.get("left", [])
    names = [found.get(key) for key in ("configured", "moved_to")]
    if not isinstance(left, list):
        raise ValueError("left is not a list")
    for name in (*names, *left):
        if type(name) is not str or not is_name(name):
            raise ValueError(f"{name!r} is no name of a shard")
    return found


def _replace(path: Path, content: Any) -> None:
    with files.replacing(path) as file:
        file.write(json.dumps(content).encode())
