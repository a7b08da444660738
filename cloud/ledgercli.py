"""`shuichi account` and `shuichi quarantine`: what came, what did not, and what was put aside."""

import asyncio
import base64
import contextlib
import re
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec
from rich.console import Console
from sqlalchemy import Connection

from cloud import account as accounts
from cloud import accountview, cases, config, desk, quarantine
from cloud.cases import Order, Outcome
from cloud.cliparts import config_option, look, moment
from cloud.config import Setup
from cloud.desk import Operation
from cloud.quarantine import Filter, Kept, Kind, Reason
from cloud.state import State
from cloud.store import Store
from configs.loader import UserError

_T = TypeVar("_T")

_ID: Final = re.compile(r"[0-9a-f]{4,64}")
_PREVIEW: Final = 2000  # characters of a payload

_gateway = click.option("--gateway", help="Only of this gateway.")
_reason = click.option(
    "--reason", type=click.Choice([one.value for one in Reason]), help="Only for this reason."
)
_ids = click.argument("ids", nargs=-1, metavar="ID...")


@click.command()
@config_option
@click.option("--gateway", help="Only this gateway.")
@click.option(
    "--since", metavar="WHEN", help="Streams active since then: 90s, 30m, 1h, 2d, or ISO 8601."
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def account(file: Path, gateway: str | None, since: str | None, as_json: bool) -> None:
    """Tell what was sealed, stored, put aside, declared lost, and what is missing.

    Exit code 1 if a batch is missing that its gateway does not have any more, or if the store does
    not hold exactly the readings of which the ledger knows.
    """
    setup, since_ms = config.read(file), moment("--since", since)

    async def ask(database: State, store: Store) -> accounts.Account:
        return await accounts.take(database, store, gateway, since_ms)

    found = look(setup, ask)
    if gateway is not None and not found.gateways and not found.streams and not found.quarantined:
        raise UserError(f"--gateway {gateway}: nothing has ever come from it")
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        accountview.show(Console(), found)
    sys.exit(0 if found.ok else 1)


@click.group("quarantine")
def quarantine_group() -> None:
    """What could be neither stored nor thrown away."""


@quarantine_group.command("list")
@config_option
@_gateway
@_reason
@click.option("--since", metavar="WHEN", help="Seen since then: 90s, 30m, 1h, 2d, or ISO 8601.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For machines: all of them, a line each.")
def list_cases(
    file: Path,
    gateway: str | None,
    reason: str | None,
    since: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the cases, those seen last first."""
    wanted = _filter(gateway=gateway, reason=reason, since_ms=moment("--since", since))
    kept = _read(config.read(file), partial(quarantine.find, wanted=wanted))
    if as_json:
        for one in kept:
            click.echo(msgspec.json.encode(_exported(one, with_payload=False)))
        return
    accountview.show_cases(Console(), kept[:limit])
    if len(kept) > limit:
        click.echo(f"{len(kept) - limit} more; --limit shows them", err=True)


@quarantine_group.command()
@config_option
@click.option("--raw", is_flag=True, help="Nothing but the payload, as it came.")
@click.argument("case", metavar="ID")
def show(file: Path, raw: bool, case: str) -> None:
    """Show one case with all that is known of it."""
    setup = config.read(file)
    (digest,) = _resolved(setup, [case])
    (kept,) = _read(setup, partial(quarantine.find, wanted=Filter(ids=(digest,))))
    if raw:
        sys.stdout.buffer.write(kept.case.payload)
        return
    accountview.show_case(Console(), kept, _readable(kept))


@quarantine_group.command()
@config_option
@_gateway
@click.option("--all", "every", is_flag=True, help="All cases, or all of --gateway.")
@_ids
def retry(file: Path, gateway: str | None, every: bool, ids: tuple[str, ...]) -> None:
    """Let cases through admission and store once more.

    What is taken is counted in the ledger and gone from here; what is not stays, with the reason
    of today. Exit code 1 if any stays. A reading that comes in so late raises no alert.
    """
    if every == bool(ids):
        raise click.UsageError("Name the cases by ID, or give --all.")
    if gateway is not None and not every:
        raise click.UsageError("--gateway goes with --all.")
    setup = config.read(file)
    if every:
        _read(setup, quarantine.count)  # or it says that there is no state
    wanted = _filter(gateway=gateway) if every else Filter(ids=_resolved(setup, ids))
    outcome = _ask(setup, cases.RETRY, Order(wanted))
    duplicates = f", {outcome.duplicates} of them had come again" if outcome.duplicates else ""
    click.echo(f"{outcome.ended} cases ended{duplicates}; {outcome.readings} readings stored")
    if outcome.stay:
        for failure in outcome.failures:
            click.echo(f"{failure.id} stays: {failure.words}", err=True)
        if (more := outcome.stay - len(outcome.failures)) > 0:
            click.echo(f"and {more} more stay", err=True)
        sys.exit(1)


@quarantine_group.command()
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@_ids
def drop(file: Path, yes: bool, ids: tuple[str, ...]) -> None:
    """Throw cases away. Who did it is kept, and `shuichi account` tells how many readings."""
    if not ids:
        raise click.UsageError("Name the cases by ID.")
    setup = config.read(file)
    digests = _resolved(setup, ids)
    if not yes:
        click.confirm(f"Throw {len(digests)} cases away for ever?", abort=True)
    outcome = _ask(setup, cases.DROP, Order(Filter(ids=digests)))
    click.echo(f"{outcome.ended} cases dropped, {outcome.readings} readings in them")


@quarantine_group.command()
@config_option
@_gateway
@_reason
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
def export(file: Path, gateway: str | None, reason: str | None, out: Path) -> None:
    """Write the cases to OUT, as JSON lines (- for the screen).

    `payload` is what came, in base64; `content` is the same where it can be read.
    """
    wanted = _filter(gateway=gateway, reason=reason)
    kept = _read(config.read(file), partial(quarantine.find, wanted=wanted))
    lines = b"".join(msgspec.json.encode(_exported(one)) + b"\n" for one in kept)
    if str(out) == "-":
        sys.stdout.buffer.write(lines)
        return
    try:
        out.write_bytes(lines)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    click.echo(f"{out}: {len(kept)} cases")


def _exported(kept: Kept, *, with_payload: bool = True) -> dict[str, Any]:
    case = kept.case._asdict()
    payload: bytes = case.pop("payload")
    line = {"id": kept.case.digest.hex(), **case, "times": kept.times}
    line |= {"first_at": _iso(kept.first_at_ms), "last_at": _iso(kept.last_at_ms)}
    line["content"] = _readable(kept) or None
    if with_payload:
        line["payload"] = base64.b64encode(payload).decode()
    return line


def _readable(kept: Kept) -> str:
    """The payload as text, or "" if it is none."""
    payload = kept.case.payload
    if kept.case.kind is Kind.MESSAGE:
        with contextlib.suppress(zlib.error):  # then as it is
            payload = zlib.decompressobj().decompress(payload, _PREVIEW)
    text = payload[:_PREVIEW].decode("utf-8", "replace")
    return text if text.isprintable() and "\ufffd" not in text[:-1] else ""


def _filter(**asked: Any) -> Filter:
    if asked.get("reason") is not None:
        asked["reason"] = Reason(asked["reason"])
    return Filter(**asked)


def _resolved(setup: Setup, ids: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """The whole digests that `ids` begin."""
    for one in ids:
        if not _ID.fullmatch(one):
            raise UserError(f"{one}: is not an ID: at least 4 of the digits that `list` shows")

    def resolve(connection: Connection) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for one in ids:
            digests = quarantine.digests(connection, Filter(ids=(one,)))
            if not digests:
                raise UserError(f"{one}: there is no such case in quarantine")
            if len(digests) > 1:
                raise UserError(f"{one}: {len(digests)} cases begin so; give more digits")
            found[digests[0].hex()] = None
        return tuple(found)

    return _read(setup, resolve)


def _read(setup: Setup, work: Callable[[Connection], _T]) -> _T:
    """Look into the state, beside a service that may be running."""

    async def read(database: State, _: Store) -> _T:
        return await database.run(work)

    return look(setup, read)


def _ask(setup: Setup, operation: Operation[Order, Outcome], order: Order) -> Outcome:
    return asyncio.run(desk.ask(setup, operation, order))


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
