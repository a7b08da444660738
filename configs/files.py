"""How files are written, so that none is half of what it should be whatever the disk does; and
those that hold secrets, or from which secrets follow: who may read them."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

PRIVATE: Final = 0o600
COMMON: Final = 0o666
"""What the umask leaves of it."""


def append(path: Path, lines: bytes, mode: int = PRIVATE) -> None:
    """Put whole lines at the end of a file; they are on the disk when it returns. A new file gets
    `mode`. Raises OSError, and then nothing of them is there, as far as the disk lets us.

    Where a power cut has left the beginning of a line, that line is ended first: else it would
    spoil the next one too. Nobody is waited for, such as the reader of a pipe.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    number = os.open(path, flags, mode)
    try:
        size = os.fstat(number).st_size
        if size and os.pread(number, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        try:
            while lines:
                lines = lines[os.write(number, lines) :]
            os.fsync(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(number, size)
            raise
    finally:
        with contextlib.suppress(OSError):  # it is synced: whoever wrote it again would have two
            os.close(number)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path`, or of what that is a link to, once the block has ended
    and all is on the disk; if the block raises, nothing has changed. Mode and owner of a file that
    is there stay, as far as we may set them. What is no ordinary file (a pipe, a terminal) is
    written as it is. Raises OSError."""
    target = Path(os.path.realpath(path))
    try:
        before = target.stat()
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before.st_mode):
        with open(target, "wb") as file:
            yield file
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, COMMON)
    try:
        with os.fdopen(number, "wb") as file:
            if before is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(number, before.st_uid, before.st_gid)
                os.fchmod(number, stat.S_IMODE(before.st_mode))
            yield file
            file.flush()
            os.fsync(number)
        draft.replace(target)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_text_file(path: Path, most: int, *, pipes: bool) -> bytes:
    """What a file holds that people write. A pipe that nobody has opened to write is empty, or is
    refused. Raises OSError, with words of ours for what is too large, and ValueError for a path
    that can be none."""
    with open(path, "rb", opener=_unwaited) as file:
        number = file.fileno()
        mode = os.fstat(number).st_mode
        if stat.S_ISFIFO(mode) and not pipes:
            raise OSError(errno.EINVAL, "is a pipe, and must be a file", str(path))
        os.set_blocking(number, True)
        found = file.read(most + 1)
        if len(found) > most:
            raise OSError(errno.EFBIG, f"is larger than {most >> 20} MiB", str(path))
        return found


def _unwaited(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def make_secret(path: Path, text: str) -> None:
    """Make a file for our user alone, which must not be there yet, with all of `text` on the disk.
    Raises OSError, and then there is none."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(number)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def make_private(path: Path) -> None:
    """Make a file for our user alone; take from one that is there what users outside its group may
    do. Whoever opens it says what is wrong with it. One that is there is not opened: to close it
    again would end the locks that SQLite has on it in this process (sqlite.org/howtocorrupt.html).
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))
    except FileExistsError:
        close_to_others(path)
    except OSError:
        return


def close_to_others(path: Path) -> None:
    """Take all rights from users outside its group; of a file that is not ours, nothing happens."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & stat.S_IRWXO:
            path.chmod(mode & ~stat.S_IRWXO)
    except OSError:
        return


def doubt(path: Path) -> str:
    """What is wrong with the rights of a file that holds a secret, in one line with the remedy; ""
    if nothing is, or if it cannot be seen."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ""
    if mode & stat.S_IRWXO:
        return f"{path} holds a secret, and every user of this machine may use it: chmod o= {path}"
    if mode & stat.S_IWGRP:
        return f"{path} holds a secret, and its group may change it: chmod g-w {path}"
    return ""
