"""What commands of the cloud share: the config option, moments in words, a question to state and
store beside a service that may be running, and a progress bar."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cloud import config, service
from cloud.alerts import keptplans
from cloud.alerts.plan import Plan
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from cloud.store import Store
from configs import files
from configs.loader import UserError
from configs.text import clean, is_visible_name

_T = TypeVar("_T")

_SPANS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

config_option = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    default=Path("cloud.toml"),
    show_default=True,
    help="The cloud's config.",
)


def look(setup: config.Setup, question: Callable[[State, Store], Awaitable[_T]]) -> _T:
    """Put a question to state and store, read-only, beside a service that may be running. Raises
    UserError."""

    async def ask() -> _T:
        async with service.opened(setup, read_only=True) as (database, store):
            return await question(database, store)

    try:
        return asyncio.run(ask())
    except (Unavailable, Rejected) as error:
        raise UserError(str(error)) from None


def put(text: str, output: Path | None) -> None:
    """`text` on the screen, or whole in a file. Raises UserError."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with files.replacing(output) as written:
            written.write(text.encode())
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from None


def moment(option: str, text: str | None) -> int | None:
    """Milliseconds since 1970 of a span before now, or of an ISO 8601 time, local if no zone is
    named."""
    if text is None:
        return None
    if span := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text):
        # Before 1970 there is nothing, however long the span.
        return int(max(0.0, time.time() - float(span[1]) * _SPANS_S[span[2]]) * 1000)
    try:
        return int(max(0.0, datetime.fromisoformat(text).timestamp()) * 1000)
    except (ValueError, OverflowError):
        raise UserError(
            f"{option} {text}: is neither a span such as 90s, 30m, 1h or 2d nor an ISO 8601 time"
        ) from None


def moment_at(text: str | None, zone: ZoneInfo) -> int:
    """Milliseconds since 1970 of an ISO 8601 time, in `zone` if it names none; now if there is
    none. Raises UserError."""
    if text is None:
        return time.time_ns() // 1_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"--at {text}: is not a time such as '2026-07-01 03:00'") from None
    if not 1970 < moment.year < 2200:
        raise UserError(f"--at {text}: is not a time between 1971 and 2199")
    return round((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()) * 1000


def when(at_ms: int, *, seconds: bool = True) -> str:
    """A moment as people read it, where this machine is, with the zone: `2026-11-30 22:10 +08:00`,
    for who reads it may be elsewhere."""
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone()
    offset = f"{local:%z}"
    clock = f"{local:%Y-%m-%d %H:%M:%S}" if seconds else f"{local:%Y-%m-%d %H:%M}"
    return f"{clock} {offset[:3]}:{offset[3:5]}"


def words(_: click.Context, option: click.Parameter, text: str) -> str:
    """Words that can be kept."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("is not text in UTF-8") from None
    if option.required and not text.strip():
        raise click.BadParameter("is empty")
    if option.required and not is_visible_name(text):
        raise click.BadParameter("has no letters, or characters that nobody sees")
    return clean(text)


def plan_in_force(setup: config.Setup) -> Plan:
    """The plan that came into force last, from the state. Raises UserError."""
    found = look(setup, lambda state, _: state.run(keptplans.last_good))
    if found is None:
        raise UserError("no plan is in force: has `shuichi cloud run` read one yet?")
    return found


def progress(*, seen: bool) -> Progress:
    """On stderr, where somebody looks at it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not seen,
    )
