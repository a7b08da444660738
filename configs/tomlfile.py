"""Changes a TOML file as a careful person would: comments stay, and the change is shown.

A change that would make the config wrong is refused before the file is touched. Owner, mode, line
ends and a symbolic link stay as they are, and of two who change a file at once one waits.
"""

import contextlib
import difflib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import tomlkit
from tomlkit.exceptions import TOMLKitError

from configs.loader import ConfigError, Fault

LOCK_WITHIN_S: Final = 20.0
"""How long to wait for somebody else who changes a file of the same folder."""

_BOM: Final = "\ufeff"


def load(file: Path, missing: str = "there is no such file") -> tomlkit.TOMLDocument:
    """The document, comments included. Raises ConfigError; `missing` says what to do without it."""
    try:
        return tomlkit.parse(_read(file).removeprefix(_BOM).replace("\r\n", "\n"))
    except FileNotFoundError:
        raise ConfigError(file, [Fault("", missing)]) from None
    except OSError as error:
        raise ConfigError(file, [Fault("", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError(file, [Fault("", "is not text in UTF-8: save it as UTF-8")]) from None
    except TOMLKitError as error:
        raise ConfigError(file, [Fault("", f"is not TOML: {error}")]) from None


@contextlib.contextmanager
def editing(
    file: Path,
    check: Callable[[Path], object],
    *,
    dry_run: bool = False,
    missing: str = "there is no such file",
) -> Iterator[tomlkit.TOMLDocument]:
    """The document, to be changed in the block; at its end it is saved as by `save`.

    Nobody else changes the file meanwhile. Raises ConfigError.
    """
    with locked(file):
        document = load(file, missing)
        yield document
        save(file, document, check, dry_run=dry_run)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else who asks for it changes a file in this folder during the block. The lock is on
    the folder, for the file itself is replaced. Raises ConfigError after `LOCK_WITHIN_S`."""
    folder = Path(os.path.realpath(file)).parent
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(file, [Fault("", f"folder {folder}: {error.strerror}")]) from None
    try:
        _take(lock, file)
        yield
    finally:
        os.close(lock)


def save(
    file: Path,
    document: tomlkit.TOMLDocument,
    check: Callable[[Path], object],
    *,
    dry_run: bool,
) -> None:
    """Show the difference, then replace the file in one step; with `dry_run` only show it.

    Raises ConfigError, with the file as it was, if `check` (which reads a config) does so for the
    new text.
    """
    try:
        raw = _read(file) if os.path.lexists(file) and file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(file, [Fault("", f"cannot be read: {error}")]) from None
    before = raw.removeprefix(_BOM).replace("\r\n", "\n")
    after = tomlkit.dumps(document)
    try:
        _checked(file, after, check)
        _show(file.name, before, after)
        if not dry_run:
            ends = "\r\n" if raw.count("\r\n") * 2 > raw.count("\n") else "\n"
            bom = _BOM if raw.startswith(_BOM) else ""
            _replace(file, (bom + after.replace("\n", ends)).encode())
    except PermissionError:
        folder = Path(os.path.realpath(file)).parent
        problem = f"you may not make files in {folder}: change it as its owner or as root"
        raise ConfigError(file, [Fault("", problem)]) from None
    except OSError as error:
        raise ConfigError(file, [Fault("", f"cannot be written: {error.strerror}")]) from None


def _read(file: Path) -> str:
    return file.read_bytes().decode("utf-8")


def _take(lock: int, file: Path) -> None:
    until = time.monotonic() + LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                problem = "another command has been changing it for long; end that one, try again"
                raise ConfigError(file, [Fault("", problem)]) from None
            time.sleep(0.02)
        except OSError as error:
            raise ConfigError(file, [Fault("", f"cannot be locked: {error.strerror}")]) from None


def _checked(file: Path, text: str, check: Callable[[Path], object]) -> None:
    """Read the new text as a config in the place of `file`: what it names lies beside it."""
    with _draft(file) as draft:
        draft.write_text(text, encoding="utf-8")
        try:
            check(draft)
        except ConfigError as error:
            raise ConfigError(f"{file} (unchanged)", error.faults) from None


def _replace(file: Path, content: bytes) -> None:
    """Put `content` in the place of `file`, or of what it is a link to, in one step."""
    target = Path(os.path.realpath(file))
    if target.exists() and not target.is_file():  # a device would become a file
        raise ConfigError(file, [Fault("", "is no ordinary file: name another")])
    with _draft(target) as draft:
        draft.write_bytes(content)
        if target.exists():
            _as_before(target, draft)
        else:
            draft.chmod(0o666 & ~_umask())
        _sync(draft)
        draft.replace(target)
        _sync(target.parent)


def _sync(path: Path) -> None:
    """See to it that a file, or the names in a folder, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _as_before(target: Path, draft: Path) -> None:
    """Owner, group, mode and access lists of `target`. Raises ConfigError where they cannot be
    kept: who reads the file now must be able to go on."""
    old, new = target.stat(), draft.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.chown(draft, old.st_uid, old.st_gid)
        except PermissionError:
            whose = f"user {old.st_uid}, group {old.st_gid}"
            with contextlib.suppress(KeyError):
                whose = f"{target.owner()}:{target.group()}"
            problem = (
                f"belongs to {whose}, which you may not set: change it as its owner or as root"
            )
            raise ConfigError(target, [Fault("", problem)]) from None
    shutil.copystat(target, draft)
    os.utime(draft)


@contextlib.contextmanager
def _draft(file: Path) -> Iterator[Path]:
    """An empty file of its own beside `file`, gone after the block unless it was moved."""
    number, name = tempfile.mkstemp(".new", f".{file.name}.", file.parent)
    os.close(number)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _show(name: str, before: str, after: str) -> None:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in difflib.unified_diff(
        before.splitlines(), after.splitlines(), name, name, lineterm="", n=2
    ):
        click.secho(line, fg=colours.get(line[0]))
