"""Changes a TOML file as a careful person would: comments stay, and the change is shown.

A change that would make the config wrong is refused before the file is touched.
"""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import click
import tomlkit
from tomlkit.exceptions import TOMLKitError

from configs.loader import ConfigError, Fault


def load(file: Path, missing: str = "there is no such file") -> tomlkit.TOMLDocument:
    """The document, comments included. Raises ConfigError; `missing` says what to do without it."""
    try:
        return tomlkit.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(file, [Fault("", missing)]) from None
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(file, [Fault("", f"cannot be read: {error}")]) from None


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
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    after = tomlkit.dumps(document)
    draft = file.with_name(f".{file.name}.new")
    try:
        draft.write_text(after, encoding="utf-8")
        try:
            check(draft)
        except ConfigError as error:
            raise ConfigError(f"{file} (unchanged)", error.faults) from None
        _show(file.name, before, after)
        if not dry_run:
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            draft.replace(file)
    except OSError as error:
        raise ConfigError(file, [Fault("", f"cannot be written: {error.strerror}")]) from None
    finally:
        draft.unlink(missing_ok=True)


def _show(name: str, before: str, after: str) -> None:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in difflib.unified_diff(
        before.splitlines(), after.splitlines(), name, name, lineterm="", n=2
    ):
        click.secho(line, fg=colours.get(line[0]))
