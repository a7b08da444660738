"""A disk that fails at the call that a test names: every open, read, write, sync, rename and so on
below one folder is counted, and one of them (or all from there on) fails with an errno.

Calls of Python go through `os` and `open`; those of SQLite through its VFS, of which the methods
are replaced, where the library can be reached (`HAS_SQLITE`). A write that fails has written half.
What a sync that failed should have put on the disk is taken for lost, whatever is synced later, as
Linux does it: `Disk.survivors` says what a power cut leaves behind. Nothing is really synced.
"""

import builtins
import contextlib
import ctypes
import errno
import functools
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

ERRORS: Final = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EDQUOT)

_BY_PATH: Final = (
    *("stat", "lstat", "open", "mkdir", "unlink", "remove", "chmod", "rename", "replace"),
    *("statvfs", "utime", "chown", "listdir", "scandir"),
)
_open: Final = io.open
_BY_NUMBER: Final = (
    *("write", "read", "pread", "fsync", "fstat", "ftruncate", "posix_fallocate", "fchmod"),
    "close",
)


class Disk:
    """What happens below `folder`. `calls` are all of them, by name and file."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self.calls: list[str] = []
        self.failed: list[str] = []
        self.files: dict[str, _Image] = {}
        self._numbers: dict[int, str] = {}
        self._at: int | None = None
        self._error = errno.EIO
        self._times = 0.0
        self._syncs_left: int | None = None

    def fail(self, at: int, error: int, times: float = 1) -> None:
        """Let the call number `at` from now (0 is the next) fail, and `times` - 1 after it."""
        self._at, self._error, self._times = len(self.calls) + at, error, times

    def fail_sync(self, at: int) -> None:
        """Let one sync of SQLite fail: number `at` from now."""
        self._syncs_left = at

    def heal(self) -> None:
        self._at = self._syncs_left = None

    def survivors(self, of: Path, folder: Path) -> None:
        """Write to `folder` what a power cut leaves of SQLite's files in the folder `of`."""
        for name, image in self.files.items():
            if image.synced is not None and Path(name).parent == of:
                (folder / Path(name).name).write_bytes(bytes(image.synced))

    def owns(self, path: str) -> bool:
        return path.startswith(self._folder)

    def at(self, call: str, path: str) -> int:
        """A call is made: the errno with which it fails, or 0."""
        self.calls.append(f"{call} {os.path.basename(path)}")
        number = len(self.calls) - 1
        if self._syncs_left is not None and call == "sqlite sync":
            self._syncs_left -= 1
            if self._syncs_left < 0:
                self._syncs_left = None
                self.failed.append(self.calls[-1])
                return errno.EIO
        if self._at is None or not self._at <= number < self._at + self._times:
            return 0
        self.failed.append(self.calls[-1])
        return self._error

    def demand(self, call: str, path: str) -> None:
        if error := self.at(call, path):
            raise OSError(error, os.strerror(error), path)

    def path_of(self, file: Any) -> str:
        """The path of a path or a file number, if it is ours; else ""."""
        if isinstance(file, int):
            return self._numbers.get(file, "")
        try:
            path = os.path.abspath(os.fsdecode(os.fspath(file)))
        except (TypeError, ValueError):
            return ""
        return path if self.owns(path) else ""


class _Image:
    """A file as it is on the disk. `synced` is what a power cut leaves, None: nothing."""

    def __init__(self, path: str) -> None:
        with _open(path, "rb") as file:
            there = file.read()  # by an earlier process
        self.synced: bytearray | None = bytearray(there) if there else None
        self.dirty: list[tuple[int, bytes | None]] = []

    def sync(self) -> None:
        kept = self.synced if self.synced is not None else bytearray()
        for place, data in self.dirty:
            if data is None:
                del kept[place:]
                continue
            kept.extend(bytes(max(0, place + len(data) - len(kept))))
            kept[place : place + len(data)] = data
        self.synced, self.dirty = kept, []


class _File:
    """A file object of which each call may fail."""

    def __init__(self, file: Any, disk: Disk, path: str) -> None:
        self._file, self._disk, self._path = file, disk, path

    def write(self, data: Any) -> int:
        if error := self._disk.at("write", self._path):
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise OSError(error, os.strerror(error), self._path)
        return int(self._file.write(data))

    def read(self, *some: int) -> Any:
        self._disk.demand("read", self._path)
        return self._file.read(*some)

    def close(self) -> None:
        if self._file.closed:
            return
        self._disk._numbers.pop(self._file.fileno(), None)
        self._file.close()
        self._disk.demand("close", self._path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def failing_disk(folder: Path) -> Iterator[Disk]:
    """A disk below `folder` that can be made to fail."""
    disk = Disk(folder)
    with contextlib.ExitStack() as stack:
        for name in _BY_PATH:
            stack.enter_context(mock.patch.object(os, name, _by_path(disk, name)))
        for name in _BY_NUMBER:
            stack.enter_context(mock.patch.object(os, name, _by_number(disk, name)))
        opened = _opened(disk)
        stack.enter_context(mock.patch.object(io, "open", opened))
        stack.enter_context(mock.patch.object(builtins, "open", opened))
        if HAS_SQLITE:
            stack.enter_context(_sqlite_on(disk))
        yield disk


def _by_path(disk: Disk, name: str) -> Callable[..., Any]:
    real = getattr(os, name)

    @functools.wraps(real)
    def call(path: Any = ".", *more: Any, **named: Any) -> Any:
        ours = disk.path_of(path)
        if ours:
            disk.demand(name, ours)
        made = real(path, *more, **named)
        if name == "open" and ours:
            disk._numbers[made] = ours
        return made

    return call


def _by_number(disk: Disk, name: str) -> Callable[..., Any]:
    real = getattr(os, name)

    @functools.wraps(real)
    def call(number: Any, *more: Any) -> Any:
        ours = disk.path_of(number)
        if not ours:
            return real(number, *more)
        if name == "close":
            disk._numbers.pop(number, None)
            real(number)  # as Linux does, whatever it says
        error = disk.at(name, ours)
        if error and name == "write":
            real(number, more[0][: len(more[0]) // 2])
        if error:
            raise OSError(error, os.strerror(error), ours)
        return None if name in ("close", "fsync") else real(number, *more)

    return call


def _opened(disk: Disk) -> Callable[..., Any]:
    real = io.open

    @functools.wraps(real)
    def call(file: Any, *more: Any, **named: Any) -> Any:
        ours = disk.path_of(file)
        if not ours:
            return real(file, *more, **named)
        if not isinstance(file, int) and named.get("opener") is None:
            disk.demand("open", ours)
        made = real(file, *more, **named)
        disk._numbers[made.fileno()] = ours
        return _File(made, disk, ours)

    return call


# SQLite: https://sqlite.org/c3ref/vfs.html and https://sqlite.org/c3ref/io_methods.html


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p),
        ("zName", ctypes.c_char_p),
        ("pAppData", ctypes.c_void_p),
        ("xOpen", ctypes.c_void_p),
        ("xDelete", ctypes.c_void_p),
        ("xAccess", ctypes.c_void_p),
    )


_METHODS: Final = (
    *("xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock"),
    *("xCheckReservedLock", "xFileControl", "xSectorSize", "xDeviceCharacteristics"),
    *("xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch"),
)


class _Methods(ctypes.Structure):
    _fields_ = (
        ("iVersion", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in _METHODS),
    )


_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
_SHAPES: Final[dict[str, Any]] = {
    "xOpen": ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P),
    "xDelete": ctypes.CFUNCTYPE(_I, _P, _P, _I),
    "xAccess": ctypes.CFUNCTYPE(_I, _P, _P, _I, _P),
    "xRead": ctypes.CFUNCTYPE(_I, _P, _P, _I, _L),
    "xWrite": ctypes.CFUNCTYPE(_I, _P, _P, _I, _L),
    "xTruncate": ctypes.CFUNCTYPE(_I, _P, _L),
    "xSync": ctypes.CFUNCTYPE(_I, _P, _I),
    "xFileSize": ctypes.CFUNCTYPE(_I, _P, _P),
    "xShmMap": ctypes.CFUNCTYPE(_I, _P, _I, _I, _I, _P),
}
_IOERR, _FULL, _CANTOPEN = 10, 13, 14
_RESULTS: Final = {  # how SQLite's own code names the failure of each
    "xOpen": _CANTOPEN,
    "xDelete": _IOERR | 10 << 8,
    "xAccess": _IOERR | 13 << 8,
    "xRead": _IOERR | 1 << 8,
    "xWrite": _IOERR | 3 << 8,
    "xTruncate": _IOERR | 6 << 8,
    "xSync": _IOERR | 4 << 8,
    "xFileSize": _IOERR | 7 << 8,
    "xShmMap": _IOERR | 21 << 8,
}


def _library() -> Any:
    """The SQLite that Python's own module uses; None if it cannot be reached."""
    try:
        library = ctypes.CDLL("libsqlite3.so.0", mode=os.RTLD_NOLOAD)
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        library.sqlite3_libversion.restype = ctypes.c_char_p
        is_same = library.sqlite3_libversion().decode() == sqlite3.sqlite_version
    except (OSError, AttributeError):
        return None
    return library if is_same else None


_LIBRARY: Final = _library()
HAS_SQLITE: Final = _LIBRARY is not None


class _Shim:
    """Stands between SQLite and its VFS, for the disk of the moment."""

    def __init__(self) -> None:
        self.disk: Disk | None = None
        self._paths: dict[int, str] = {}
        self._real: dict[str, Any] = {}
        self._methods: dict[int, _Methods] = {}  # ours, by the address of SQLite's
        self._calls: dict[str, Any] = {}  # ctypes keeps none alive
        self._vfs = _LIBRARY.sqlite3_vfs_find(None).contents
        for name in ("xOpen", "xDelete", "xAccess"):
            self._real[name] = _SHAPES[name](getattr(self._vfs, name))
            self._calls[name] = _SHAPES[name](getattr(self, f"_{name[1:].lower()}"))
            setattr(self._vfs, name, ctypes.cast(self._calls[name], _P).value)

    def _fails(self, name: str, path: str) -> int:
        if self.disk is None or not self.disk.owns(path):
            return 0
        error = self.disk.at(f"sqlite {name[1:].lower()}", path)
        return _FULL if error == errno.ENOSPC and name == "xWrite" else error and _RESULTS[name]

    def _open(self, vfs: Any, name: Any, file: Any, flags: int, out: Any) -> int:
        path = _text(name)  # handed on as it is: parameters of SQLite's own stand behind it
        if result := self._fails("xOpen", path):
            ctypes.cast(file, ctypes.POINTER(_P))[0] = None
            return result
        result = self._real["xOpen"](vfs, name, file, flags, out)
        if result == 0 and self.disk is not None and self.disk.owns(path):
            place = ctypes.cast(file, ctypes.POINTER(ctypes.POINTER(_Methods)))
            address = ctypes.addressof(place[0].contents)
            if address not in self._methods:  # files that are locked have others than journals
                self._methods[address] = self._replaced(place[0].contents)
            place[0] = ctypes.pointer(self._methods[address])
            self._paths[file] = path
            if path not in self.disk.files:
                self.disk.files[path] = _Image(path)
        return int(result)

    def _replaced(self, methods: _Methods) -> _Methods:
        copy = _Methods()
        ctypes.pointer(copy)[0] = methods
        for name in ("xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xShmMap"):
            if (real := getattr(methods, name)) is None:
                continue
            self._real[name] = _SHAPES[name](real)  # the same for all files
            if name not in self._calls:
                self._calls[name] = _SHAPES[name](functools.partial(self._method, name))
            setattr(copy, name, ctypes.cast(self._calls[name], _P).value)
        return copy

    def _method(self, name: str, file: Any, *values: Any) -> int:
        path = self._paths.get(file, "")
        image = self.disk.files.get(path) if self.disk is not None else None
        failed = self._fails(name, path)
        if failed and name == "xWrite":
            values = (values[0], values[1] // 2, values[2])
        if failed and name == "xSync" and image is not None:
            image.dirty = []  # the kernel has told once, and forgets
        if failed and name != "xWrite":
            return failed
        result = 0 if name == "xSync" else int(self._real[name](file, *values))
        if image is not None and result == 0:
            if name == "xWrite":
                image.dirty.append((values[2], ctypes.string_at(values[0], values[1])))
            elif name == "xTruncate":
                image.dirty.append((values[0], None))
            elif name == "xSync":
                image.sync()
        return failed or result

    def _delete(self, vfs: Any, name: Any, sync: int) -> int:
        path = _text(name)
        if result := self._fails("xDelete", path):
            return result
        if self.disk is not None:
            self.disk.files.pop(path, None)
        return int(self._real["xDelete"](vfs, name, sync))

    def _access(self, vfs: Any, name: Any, flags: int, out: Any) -> int:
        if result := self._fails("xAccess", _text(name)):
            return result
        return int(self._real["xAccess"](vfs, name, flags, out))


def _text(pointer: Any) -> str:
    return os.fsdecode(ctypes.string_at(pointer)) if pointer else ""


@functools.cache
def _shim() -> _Shim:
    return _Shim()


@contextlib.contextmanager
def _sqlite_on(disk: Disk) -> Iterator[None]:
    shim = _shim()
    assert shim.disk is None, "one disk at a time"
    shim.disk = disk
    try:
        yield
    finally:
        shim.disk = None
