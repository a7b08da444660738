"""What is wrong with a file, in words that say what to do: SQLite only says that it failed."""

import getpass
import os
import stat
from pathlib import Path


def of_database(path: Path, reason: str) -> str:
    """Why SQLite cannot use the database at `path`: what is wrong and how to mend it, or `reason`
    where the place itself looks right. Raises nothing: a disk that fails answers no question."""
    try:
        return _of_place(path, reason)
    except OSError as error:
        return f"{reason}: {error.strerror}; the disk of {path.parent} fails, `dmesg` says how"


def _of_place(path: Path, reason: str) -> str:
    folder = path.parent
    if (problem := _of_folder(folder)) is not None:
        return problem
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        kind = stat.S_IFREG
    except OSError as error:
        return f"{error.strerror}: name another file"
    if stat.S_ISDIR(kind):
        return "is a folder: name a file in it"
    if not stat.S_ISREG(kind):
        return "is no ordinary file: name another"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return f"may not be read and written by {_user()}: run this as its owner, or chown it"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{_user()} may not make files in {folder}, as SQLite must: chown or chmod it"
    match reason:
        case "file is not a database":
            return f"{reason}: something else stands there; move it away, or name another file"
        case "database or disk is full":
            return f"{reason}: make room on the disk of {folder}"
        case "database disk image is malformed":
            return f"{reason}: it is damaged; restore a copy, or move it away to begin anew"
        case "disk I/O error":
            return f"{reason}: the disk of {folder} fails; `dmesg` says how, and it wants replacing"
        case "attempt to write a readonly database":
            return f"{reason}: the disk of {folder} is mounted read-only, or the file is"
    return reason


def _of_folder(folder: Path) -> str | None:
    if folder.is_dir():
        return None
    there = next(one for one in (folder, *folder.parents) if one.exists() or one == one.parent)
    if not there.is_dir():
        return f"{there} is a file and no folder: name another place"
    return f"there is no folder {folder}: make it, or name another place"


def _user() -> str:
    try:
        return f"user {getpass.getuser()}"
    except (KeyError, OSError):
        return f"user {os.geteuid()}"
