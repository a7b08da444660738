"""How our programs write their log: lines for people, for the journal, or JSON.

A line that is about a site, a port or a sensor says so beside its text, for programs:

    log.warning("%s: silent", sensor, extra={"sensor": sensor, "port": port})
"""

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TextIO

import click
import msgspec

from configs.logwriter import LogWriter
from configs.text import for_terminal

FIELDS: Final = ("gateway", "site", "port", "sensor")
"""What a line may be about, in the order in which it is said."""

_PRIORITIES: Final = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
"""Of syslog, as sd-daemon(3) writes them in front of a line."""


class Style(StrEnum):
    """How a line looks."""

    HUMAN = "human"
    JOURNAL = "journal"
    JSON = "json"


log_option = click.option(
    "--log",
    "style",
    type=click.Choice([style.value for style in Style]),
    help="How log lines look.  [default: as the journal likes them if it reads, else human]",
)


def start(style: str | None = None) -> None:
    """Log to stderr from now on. Without a style: as the journal likes it if stderr leads there,
    else for people."""
    sys.stderr.flush()
    handler = LogWriter(sys.stderr.fileno())
    chosen = Style(style) if style else _fitting(sys.stderr, os.environ)
    handler.setFormatter(FORMATTERS[chosen]())
    logging.basicConfig(handlers=[handler], level=logging.INFO)


def _fitting(stream: TextIO, environment: Mapping[str, str]) -> Style:
    """systemd names the journal's end of our stderr by device and inode; who redirects it
    elsewhere inherits the name, but not the file."""
    status = os.fstat(stream.fileno())
    leads = environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return Style.JOURNAL if leads else Style.HUMAN


def _about(record: logging.LogRecord) -> dict[str, object]:
    return {name: for_terminal(vars(record)[name]) for name in FIELDS if name in vars(record)}


def _message(record: logging.LogRecord) -> str:
    """One line of bounded length, whatever somebody has sent: a second line would look like a line
    of ours."""
    return for_terminal(record.getMessage())


class _Traced(logging.Formatter):
    """A traceback has lines of its own, and may quote what somebody has sent."""

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(for_terminal, super().formatException(ei).split("\n")))


class Human(_Traced):
    """`WARNING shuichi.bus: ruler-1: silent`"""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = for_terminal(record.message)
        return super().formatMessage(record)


class Journal(_Traced):
    """`<4>shuichi.bus: ruler-1: silent (port=bus sensor=ruler-1)`: the journal takes the number
    for the priority, and knows the time by itself."""

    def format(self, record: logging.LogRecord) -> str:
        about = " ".join(f"{name}={value}" for name, value in _about(record).items())
        text = f"{record.name}: {_message(record)}{f' ({about})' if about else ''}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        # The journal takes each line for a message of its own.
        return "\n".join(
            f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" for line in text.split("\n")
        )


class Json(_Traced):
    """One object a line: `at`, `level`, `logger`, `message`, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            **_about(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


FORMATTERS: Final[Mapping[Style, type[logging.Formatter]]] = {
    Style.HUMAN: Human,
    Style.JOURNAL: Journal,
    Style.JSON: Json,
}
