"""Room for alerts on a disk that somebody else fills.

Findings, alerts and calls are rows of the state. An SQLite state takes some room in good time, so
that nobody else can take it: a row of zeros, whose pages the next rows may have, and a file as
large as the log (WAL) may grow, for on a full disk a log cannot begin. When the disk is full both
are given to the state. From then on the embedded store writes nothing: readings stay with the
gateways, as if it were away, until the disk has room again.
"""

import contextlib
import logging
import os
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

log: Final = logging.getLogger("shuichi.cloud")

LOG_BYTES: Final = 6 << 20
"""More than SQLite lets its log grow to (4 MB) before it takes it into the database."""

ROW_BYTES: Final = 8 << 20
"""Some thousand findings, alerts and calls."""

SCARCE_BYTES: Final = 1 << 20
PLENTY: Final = 4
"""The reserve is taken where the disk has so many times as much."""


class Reserve:
    """Of the state at `path`; the methods are called in the thread of the state."""

    def __init__(self, path: Path) -> None:
        self.is_spent = False
        self._path = path
        self._file = path.with_name(path.name + ".reserve")

    @property
    def trouble(self) -> str:
        """What to do about it, "" while all is well."""
        if not self.is_spent:
            return ""
        return f"the disk of {self._path.parent} is full; what is left is for alerts: make room"

    def keep(self, connection: Connection) -> None:
        """Take what is not taken, if the disk has plenty. Within a transaction."""
        connection.execute(text("CREATE TABLE IF NOT EXISTS reserve (zeros BLOB NOT NULL)"))
        held = connection.execute(text("SELECT count(*) FROM reserve")).scalar_one()
        size = (0 if self._file.exists() else LOG_BYTES) + (0 if held else ROW_BYTES)
        if size and _free_bytes(self._path) < PLENTY * (LOG_BYTES + ROW_BYTES):
            return
        if not held:
            insert = text("INSERT INTO reserve VALUES (zeroblob(:size))")
            connection.execute(insert, {"size": ROW_BYTES})
        _allocate(self._file, LOG_BYTES)
        if self.is_spent:
            log.info("the disk of %s has room again", self._path.parent)
        self.is_spent = False

    def give_log(self) -> bool:
        """Give the log its room; whether there was any."""
        try:
            self._file.unlink()
        except OSError:
            return False
        _allocate(self._path.with_name(self._path.name + "-wal"), LOG_BYTES, is_there=True)
        self._say()
        return True

    def give_row(self, connection: Connection) -> bool:
        """Give the database its room; whether there was any. Within a transaction."""
        there = text("SELECT 1 FROM sqlite_schema WHERE name = 'reserve'")
        if connection.execute(there).first() is None:
            return False
        if connection.execute(text("DELETE FROM reserve")).rowcount == 0:
            return False
        self._say()
        return True

    def is_full(self, error: BaseException | None) -> bool:
        """Whether the disk has no room, which SQLite calls an I/O error if a sync says it."""
        code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) & 0xFF
        is_scarce = code == sqlite3.SQLITE_IOERR and _free_bytes(self._path) < SCARCE_BYTES
        return code == sqlite3.SQLITE_FULL or is_scarce

    def _say(self) -> None:
        if not self.is_spent:
            self.is_spent = True
            log.error("%s", self.trouble)


def _allocate(path: Path, size: int, *, is_there: bool = False) -> None:
    """Give a file so many bytes of the disk, or leave it without: then there is less room."""
    flags = os.O_RDWR | os.O_CLOEXEC | (0 if is_there else os.O_CREAT)
    with contextlib.suppress(OSError):
        number = os.open(path, flags, 0o600)
        try:
            if (there := os.fstat(number).st_size) < size:
                os.posix_fallocate(number, there, size - there)
        finally:
            os.close(number)


def _free_bytes(path: Path) -> int:
    """Of the disk of `path`."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return SCARCE_BYTES  # nobody knows: neither plenty nor none
    return disk.f_bavail * disk.f_frsize
