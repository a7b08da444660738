"""Files that hold secrets, or from which secrets follow: who may read them."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

PRIVATE: Final = 0o600


def open_private(path: Path) -> BinaryIO:
    """Open a file to append to it; a new one is for our user alone, whatever the umask is. Raises
    OSError."""
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    return os.fdopen(number, "ab")


def read_secret(path: Path, most: int = 65_536) -> bytes:
    """What a file holds. It is never waited for: a pipe that nobody fills is empty. Raises
    OSError."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb", buffering=0) as file:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        found = b""
        while more := file.read(most + 1 - len(found)):
            found += more
            if len(found) > most:
                raise OSError(errno.EFBIG, f"it is larger than {most} bytes", str(path))
        return found


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
