"""What the commands that make or take the key of a gateway share, at either end."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from configs.loader import UserError

_F = TypeVar("_F", bound=Callable[..., Any])

_MOST_BYTES = 4096


def key_options(command: _F) -> _F:
    """--from, --rotate and --drop-old."""
    for option in (
        click.option("--drop-old", is_flag=True, help="End a change: the old key counts no more."),
        click.option(
            "--rotate", is_flag=True, help="Begin a change: a new key in front, the old one behind."
        ),
        click.option(
            "--from",
            "source",
            metavar="FILE",
            help="Take the key that the other end made; - reads it from stdin.",
        ),
    ):
        command = option(command)
    return command


def check_options(source: str | None, *, rotate: bool, drop_old: bool) -> None:
    """Raises UserError for options that contradict each other."""
    if drop_old and (rotate or source is not None):
        raise UserError("--drop-old ends a change: it goes with neither --rotate nor --from")


def text_of(source: str | None) -> str | None:
    """What --from names. Raises UserError."""
    if source is None:
        return None
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise UserError(f"--from {source}: is larger than {_MOST_BYTES} bytes: it is no key")
        return raw.decode("ascii")
    except OSError as error:
        raise UserError(f"--from {source}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"--from {source}: is not ASCII text: it is no key") from None
