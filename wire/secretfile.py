"""A secret that lies in a file, and what is in use of it while people may write the file anew.

Who has revoked a password has put the next one into the same file: nobody restarts a service for
that. All that read such files do it here.
"""

import errno
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

log: Final = logging.getLogger("shuichi.secrets")

MOST_BYTES: Final = 65_536

T = TypeVar("T")


def read(path: str | Path, most: int = MOST_BYTES, *, pipes: bool = True) -> bytes:
    """What a file holds. It is never waited for: a pipe that nobody fills is empty, or is refused.
    Raises OSError; also for a file of more than `most` bytes."""
    # By an opener: a number that `open` cannot use, as that of a folder, would stay open.
    with open(path, "rb", buffering=0, opener=_unwaited) as file:
        if not pipes and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        found = b""
        while more := file.read(most + 1 - len(found)):
            found += more
            if len(found) > most:
                raise OSError(errno.EFBIG, f"it is larger than {most} bytes", str(path))
        return found


def text(path: str | Path, *, pipes: bool = True) -> str:
    """The secret in a file, without the line end. Raises OSError; also where there is none."""
    try:
        found = read(path, pipes=pipes).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "is not text in UTF-8", str(path)) from None
    if not found:
        raise OSError(errno.ENODATA, "the file is empty", str(path))
    return found


def _unwaited(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


class InUse(Generic[T]):
    """What `read` has found and the other side takes. `name` stands for it in the log.

    `value` is another one only once the other side has taken that: a file that is missing, empty
    or wrong ends nothing that works. `read` raises one of `faults` where nothing can be used; the
    constructor raises it too. Files may have to be waited for: not for an event loop.
    """

    def __init__(
        self, name: str, read: Callable[[], T], faults: tuple[type[Exception], ...] = (OSError,)
    ) -> None:
        self.name = name
        self._read = read
        self._faults = faults
        self._fault = ""
        self._declined: T | None = None
        self.value = read()

    def now(self) -> T:
        """What is there now; what is in use if nothing can be read, which is logged once."""
        try:
            found = self._read()
        except self._faults as error:
            if (fault := said(error)) != self._fault:
                log.warning(
                    "%s cannot be read anew, and what it held stays in use: %s", self.name, fault
                )
            self._fault = fault
            return self.value
        self._fault = ""
        return found

    def instead(self, refused: T) -> T | None:
        """What to try where the other side has refused `refused`: what is there now, or what
        somebody else has put in use meanwhile; None if there is nothing else."""
        found = self.now()
        if found != refused:
            return found
        return None if self.value == refused else self.value

    def accept(self, found: T) -> None:
        """The other side has taken `found`."""
        if found != self.value:
            log.warning("%s has changed: the new secret is used", self.name)
            self._declined = None
        self.value = found

    def decline(self, found: T) -> None:
        """The other side has refused `found` as well; logged once."""
        if found not in (self.value, self._declined):
            log.warning(
                "%s has changed, and the new secret is refused: the one before stays in use",
                self.name,
            )
            self._declined = found


def said(error: Exception) -> str:
    """Why a secret cannot be read, in one line."""
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)
