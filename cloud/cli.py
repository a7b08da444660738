"""`shuichi cloud`, `shuichi query` and `shuichi account`."""

import asyncio
import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from cloud import account as accounts
from cloud import config, service, show
from cloud.account import Account
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from cloud.store import Query, Store
from configs import logs
from configs.loader import UserError
from wire import loop
from wire.reading import UNITS, Quantity

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


@click.group()
def cloud() -> None:
    """Check and run the aggregator."""


@cloud.command()
@config_option
@click.option("--online", is_flag=True, help="Also ask the store and the broker.")
def check(file: Path, online: bool) -> None:
    """Find all faults of a config. Exit code 2 if anything is wrong."""
    setup = config.read(file)
    if online:
        _demand_outside(setup)
    click.echo(
        f"{file}: no faults; store {setup.config.store.kind}, "
        f"{len(setup.config.rule)} rules, {len(setup.config.channel)} channels"
    )


@cloud.command()
@config_option
@click.option(
    "--unattended",
    is_flag=True,
    help="Start even if the store or the broker does not answer, and wait for them: for systemd.",
)
@logs.log_option
def run(file: Path, unattended: bool, style: str | None) -> None:
    """Run the aggregator until SIGTERM or Ctrl-C.

    Without --unattended the store and the broker are tried first; what does not answer is told,
    one line each, and nothing starts (exit code 2).
    """
    setup = config.read(file)
    if not unattended:
        _demand_outside(setup)
    logs.start(style)
    for chatty in ("httpx", "httpcore"):  # a line a request, with URLs that may be secrets
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        loop.run(service.serve(setup))
    except Unavailable as error:
        raise UserError(str(error)) from None


@click.command()
@config_option
@click.option("--gateway", help="Only this gateway.")
@click.option("--site", help="Only this site.")
@click.option("--sensor", help="Only this sensor.")
@click.option("--quantity", type=click.Choice([str(quantity) for quantity in Quantity]))
@click.option("--since", metavar="WHEN", help="From then on: 90s, 30m, 1h, 2d, or ISO 8601.")
@click.option("--until", metavar="WHEN", help="Up to then, in the same words.")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--format", "shape", type=click.Choice(list(show.FORMATS)), default="table")
@click.option("--utc", is_flag=True, help="Times in UTC; without it in the local zone.")
def query(
    file: Path,
    gateway: str | None,
    site: str | None,
    sensor: str | None,
    quantity: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    shape: str,
    utc: bool,
) -> None:
    """Print stored readings, the newest up to --limit, in order of time and in SI units.

    Exit code 1 if there are none.
    """
    wanted = Query(
        gateway=gateway,
        site=site,
        sensor=sensor,
        quantity=None if quantity is None else Quantity(quantity),
        since_ms=_moment("--since", since),
        until_ms=_moment("--until", until),
        limit=limit,
        newest_first=True,
    )
    rows = _ask(file, lambda _, store: store.read(wanted))
    if not rows:
        click.echo("no readings match", err=True)
        sys.exit(1)
    if len(rows) == limit:
        click.echo(f"the newest {limit}; --limit shows more", err=True)
    show.FORMATS[shape](rows[::-1], UTC if utc else None, sys.stdout)


@click.command()
@config_option
@click.option("--gateway", help="Only this gateway.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def account(file: Path, gateway: str | None, as_json: bool) -> None:
    """Tell what was sealed, stored, missing and received twice.

    Exit code 1 if a batch is missing, or if the store does not hold exactly the readings of which
    the ledger knows.
    """
    found = _ask(file, lambda database, store: accounts.take(database, store, gateway))
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _print(found)
    sys.exit(0 if found.ok else 1)


def _print(found: Account) -> None:
    console = Console()
    table = Table(box=box.SIMPLE)
    for column in ("gateway", "stream"):
        table.add_column(column, overflow="fold")
    for column in ("batches sealed", "received", "again"):
        table.add_column(column, justify="right")
    table.add_column("missing", overflow="fold")
    for column in ("readings sealed", "stored"):
        table.add_column(column, justify="right")
    for one in found.streams:
        table.add_row(
            one.gateway,
            one.stream,
            str(one.sealed_batches),
            str(one.received_batches),
            str(one.redelivered_batches),
            ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in one.missing) or "-",
            str(one.readings_sealed),
            str(one.readings_ledgered),
        )
    console.print(table)
    for alert in found.alerts:
        unit = UNITS[Quantity(alert.quantity)]
        cleared = "" if alert.cleared_at_ms is None else f", cleared {_local(alert.cleared_at_ms)}"
        console.print(
            f"{alert.level} alert {alert.rule} at {alert.site}: {alert.quantity} "
            f"{alert.raised_value:.4g} {unit}, raised {_local(alert.raised_at_ms)}{cleared}",
            highlight=False,
        )
    verdict = "ok" if found.ok else "NOT OK"
    console.print(
        f"{verdict}: {found.missing_batches} batches missing, {found.readings_lost} readings "
        f"declared lost; {found.readings_in_store} readings "
        f"counted in the store, {found.readings_ledgered} in the ledger; "
        f"{found.quarantined} messages in quarantine",
        highlight=False,
    )


def _local(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _moment(option: str, text: str | None) -> int | None:
    """Milliseconds since 1970 of a span before now, or of an ISO 8601 time, local if no zone is
    named."""
    if text is None:
        return None
    if span := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text):
        return int((time.time() - float(span[1]) * _SPANS_S[span[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise UserError(
            f"{option} {text}: is neither a span such as 90s, 30m, 1h or 2d nor an ISO 8601 time"
        ) from None


def _ask(file: Path, question: Callable[[State, Store], Awaitable[_T]]) -> _T:
    """Put a question to state and store, read-only, beside a service that may be running."""
    setup = config.read(file)

    async def ask() -> _T:
        async with service.opened(setup, read_only=True) as (database, store):
            return await question(database, store)

    try:
        return asyncio.run(ask())
    except (Unavailable, Rejected) as error:
        raise UserError(str(error)) from None


def _demand_outside(setup: config.Setup) -> None:
    if lines := asyncio.run(service.outside_faults(setup)):
        raise UserError("\n".join(lines))
