"""The name under which a program finds a simulated line: one simulator at a time has it."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from firmware_sim.lines import LineError

_TERMINALS: Final = "/dev/pts/"


@contextmanager
def claimed(link: Path) -> Iterator[None]:
    """The right to make `link`, by a lock beside it that ends with this process.

    The terminal that a link leads to does not show whether its simulator lives: the kernel gives
    the number of a dead one to the next program that opens a terminal.
    A link that a killed simulator left is removed. Raises LineError for anything else that is
    there, and where no lock can be.
    """
    lock = link.with_name(f".{link.name}.lock")
    try:
        number = _locked(lock, link)
    except OSError as error:
        raise LineError(f"{link}: cannot be made: {error.strerror}") from None
    try:
        was_killed = bool(os.pread(number, 1, 0))  # or the lock would have gone with its link
        _clear(link, was_killed)
        os.ftruncate(number, 0)
        os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(number)


def make_link(link: Path, path: str) -> None:
    """Raises LineError if it cannot be made."""
    try:
        link.symlink_to(path)
    except OSError as error:
        raise LineError(f"{link}: cannot be made: {error.strerror}") from None


def remove_link(link: Path, path: str) -> None:
    """Only if it is still ours."""
    if link.is_symlink() and os.readlink(link) == path:
        link.unlink(missing_ok=True)


def _locked(lock: Path, link: Path) -> int:
    while True:
        number = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that ended between our two calls has removed the file that we now hold.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(number), lock.stat()):
                    return number
        except BlockingIOError:
            pid = os.pread(number, 20, 0).decode().strip() or "another"
            os.close(number)
            raise LineError(
                f"{link}: process {pid} simulates it already; end that one, or choose another link"
            ) from None
        except BaseException:
            os.close(number)
            raise
        os.close(number)


def _clear(link: Path, was_killed: bool) -> None:
    try:
        is_link = stat.S_ISLNK(link.lstat().st_mode)
    except FileNotFoundError:
        return
    if not (is_link and os.readlink(link).startswith(_TERMINALS)):
        raise LineError(f"{link}: exists and is not ours; move it away or choose another link")
    if link.exists() and not was_killed:
        raise LineError(
            f"{link}: leads to {os.readlink(link)}, which is in use, and no simulator made it; "
            "remove it or choose another link"
        )
    link.unlink()
