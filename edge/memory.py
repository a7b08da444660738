"""What a gateway keeps over a restart beside its outbox: small files, each replaced in one step."""

import asyncio
import json
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

log: Final = logging.getLogger("shuichi.memory")


class SequenceMemory:
    """The highest sequence taken of each key, on disk: a replay is refused after a power cut too.
    Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, int] = {}
        if path.exists():
            self._last = {str(k): int(v) for k, v in json.loads(path.read_text()).items()}

    def last(self, key: str) -> int:
        """The highest sequence taken of `key`, -1 if none."""
        return self._last.get(key, -1)

    def take(self, key: str, sequence: int) -> None:
        """Remember in memory that `sequence` was taken."""
        self._last[key] = max(sequence, self.last(key))

    def save(self) -> None:
        """Put what is remembered on the disk; returns when it is there."""
        _replace(self._path, self._last)


class LatchMemory:
    """The sites whose red waits for a person, on disk: a power cut does not speak for that person.
    Raises OSError when it is made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = frozenset[str](json.loads(path.read_text()) if path.exists() else ())
        self._failing = False

    def __contains__(self, site: str) -> bool:
        return site in self._saved

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


class ShardMemory:
    """The shard that the gateway was moved to since its config named one, on disk.

    Whoever then writes another shard into the config has the last word. `left` are shards in which
    something retained of ours may still stand. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

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


def _replace(path: Path, content: Any) -> None:
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
