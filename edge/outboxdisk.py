"""Opens an outbox's file, keeps room for it on the disk, and tells what an error of it means.

The room is of two kinds, both taken in good time, so that nobody else can take them: the blocks of
the log (WAL), which is written over and not cut off, and a row of zeros in the database, which is
deleted when the disk is full and whose pages the next batches then use.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge.outboxfile import OutboxFile
from edge.shelf import MOST_LIVES

VERSION: Final = 2
PAGE_BYTES: Final = 1024
CACHE_BYTES: Final = 256 * 1024
"""Batches are written once and read once, from end to end, and a seal touches a dozen pages; what
SQLite takes by itself is eight times as much."""

WAL_BYTES: Final = 512 * 1024
"""The log is taken into the database when it has grown so far, and then written over."""

WAL_ROOM_BYTES: Final = 4 * WAL_BYTES
"""The log has so many blocks from the start; on a full disk it must hold more than is usual."""

SCARCE_BYTES: Final = 8 * WAL_BYTES
"""With less than this left on its disk the outbox grows no more."""

MEMORY_LIFE: Final = MOST_LIVES // 2
"""Number of the first stream in memory: above that of any file that it may go back to."""

_UNCAPPED_PAGES: Final = 2**30
_SQLITE_MAGIC: Final = b"SQLite format 3\0"

_SCHEMA: Final = """
CREATE TABLE outbox (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    stream TEXT NOT NULL,
    sealed INTEGER NOT NULL,
    readings_sealed INTEGER NOT NULL,
    books TEXT NOT NULL
);
CREATE TABLE life (life INTEGER PRIMARY KEY, stream TEXT NOT NULL, sealed INTEGER NOT NULL);
CREATE TABLE boot (
    boot INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_ms INTEGER NOT NULL,
    offset_ms INTEGER,
    error_ms INTEGER
);
CREATE TABLE batch (
    key INTEGER PRIMARY KEY,
    number INTEGER AS (key & 0xFFFFFFFFFFF),
    boot INTEGER,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    readings INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE reserve (zeros BLOB NOT NULL);
INSERT INTO outbox VALUES (1, '', 0, 0, '{}');
"""


def open_file(path: Path | None, gateway: str, boot: str) -> OutboxFile:
    """The outbox at `path`, made if it is not there; None: one in memory. Raises sqlite3.Error."""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sqlite3.OperationalError(f"{path.parent}: {error.strerror}") from None
    database = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
    try:
        _prepare(database)
        if path is not None:
            _allocate_log(path)
        return OutboxFile(database, gateway, boot)
    except BaseException:
        database.close()
        raise


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault, so that it will not help to try again: sqlite3 has a
    class of its own for what may pass, and raises the bare one for SQLITE_CORRUPT and
    SQLITE_NOTADB."""
    return type(error) is sqlite3.DatabaseError


def is_full(error: sqlite3.Error, path: Path) -> bool:
    """Whether the disk has no room. A sync that fails for it is reported as an I/O error."""
    if _code(error) != sqlite3.SQLITE_IOERR:
        return _code(error) == sqlite3.SQLITE_FULL
    free = free_bytes(path)
    return free is not None and free < SCARCE_BYTES


def is_really_full(error: sqlite3.Error) -> bool:
    """Whether SQLite itself says so, and not an I/O error on a disk that has little room."""
    return _code(error) == sqlite3.SQLITE_FULL


def takes_files(folder: Path) -> bool:
    """Whether a file can be written in `folder` and synced."""
    probe = folder / ".outbox.probe"
    try:
        with probe.open("wb") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
    return True


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds the file locked."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_dying(error: sqlite3.Error, path: Path) -> bool:
    """Whether the disk is at fault, and not the path: it fails, is full, or was made read-only,
    which is what Linux does with a card that fails."""
    if _code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
        return True
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def is_ours(path: Path) -> bool:
    """Whether a file that is no database may have been one: its first bytes are SQLite's, or such
    as a card leaves that has lost a block. A path that names somebody's photo is a mistake."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE_MAGIC))
        return head == _SQLITE_MAGIC or len(set(head)) <= 1 or _beside(path, "-wal").exists()
    except OSError:
        return False


def set_aside(path: Path, stamp: str) -> Path:
    """Rename a damaged outbox with its log, or nothing; nothing is deleted. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for i in range(1, 1000):
        if not aside.exists():
            break
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{i}")
    moved: list[tuple[Path, Path]] = []
    try:
        for suffix in ("-wal", "-shm", ""):
            if (part := _beside(path, suffix)).exists():
                moved.append((part, _beside(aside, suffix)))
                part.rename(moved[-1][1])
    except OSError:
        for part, there in moved:  # without its log a file lacks what was sealed last
            with suppress(OSError):
                there.rename(part)
        raise
    return aside


def free_bytes(path: Path) -> int | None:
    """Room on the disk of `path` that we may use; None if it cannot be asked."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize


def unused_bytes(file: OutboxFile) -> int:
    """Room within the file, for the batches that come next."""
    ((pages,),) = file.ask("PRAGMA freelist_count")
    return int(pages) * PAGE_BYTES


def reserve(file: OutboxFile, size: int) -> None:
    """Take `size` bytes of the disk, once, and let the file grow as it likes."""
    file.ask(f"PRAGMA max_page_count = {_UNCAPPED_PAGES}")
    if size and not file.ask("SELECT 1 FROM reserve"):
        with file.transaction():
            file.ask("INSERT INTO reserve VALUES (zeroblob(?))", size)


def release(file: OutboxFile, path: Path) -> None:
    """Let the next batches have the reserve, and let the file grow no more."""
    file.flush()
    if file.ask("SELECT 1 FROM reserve"):
        with file.transaction():
            file.ask("DELETE FROM reserve")
    fit(file, path)


def fit(file: OutboxFile, path: Path) -> None:
    """Bring the file back to the blocks that it has, for on a full disk it gets no more.

    The log may hold pages that lie behind its end, and could then neither be taken into it nor be
    written over. They move to where the file has unused pages.
    """
    file.flush()
    try:
        blocks = path.stat().st_size // PAGE_BYTES
    except OSError as error:
        raise sqlite3.OperationalError(f"{path}: {error.strerror}") from None
    ((pages,),) = file.ask("PRAGMA page_count")
    if pages > blocks:
        _vacuum(file, pages - blocks + 16)  # a few of them are pages of SQLite's own
    file.ask("PRAGMA max_page_count = 1")  # SQLite takes it for as many as there are
    with suppress(sqlite3.OperationalError):  # tried again by SQLite, at the next commit
        file.ask("PRAGMA wal_checkpoint(PASSIVE)")


def shrink(file: OutboxFile, size: int) -> None:
    """Give about `size` unused bytes back to the file system."""
    file.flush()
    _vacuum(file, size // PAGE_BYTES)


def _vacuum(file: OutboxFile, pages: int) -> None:
    # A step for each page; `execute` stops after the first, because this pragma gives no columns.
    file.database.executescript(f"PRAGMA incremental_vacuum({pages})")


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors that are not SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _prepare(database: sqlite3.Connection) -> None:
    for setting in (
        f"page_size = {PAGE_BYTES}",
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        "synchronous = FULL",
        f"cache_size = -{CACHE_BYTES // 1024}",
        "secure_delete = OFF",  # Debian has it on: every page that is freed would be written
        f"wal_autocheckpoint = {WAL_BYTES // PAGE_BYTES}",
        f"journal_size_limit = {WAL_ROOM_BYTES}",
    ):
        database.execute(f"PRAGMA {setting}").fetchall()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version != 0 or database.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
        raise sqlite3.DatabaseError("it is not an outbox of this version")
    database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")


def _allocate_log(path: Path) -> None:
    """Give the log its blocks. SQLite writes over what is there, and reads no further than the
    checksums hold."""
    log = _beside(path, "-wal")
    try:
        size = log.stat().st_size
        if size < WAL_ROOM_BYTES:
            with log.open("r+b") as file:
                os.posix_fallocate(file.fileno(), size, WAL_ROOM_BYTES - size)
    except OSError:
        pass  # no room now, or a file system that cannot: then the log grows as it needs to


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
