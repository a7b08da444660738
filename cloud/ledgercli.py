"""`shuichi quarantine`: what was put aside."""

import asyncio
import base64
import contextlib
import re
import sys
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import click
import msgspec
from rich.console import Console
from sqlalchemy import Connection

from cloud import accountview, cases, config, desk, quarantine
from cloud.accountview import many
from cloud.cases import Order, Outcome
from cloud.cliparts import config_option, look, moment
from cloud.config import Setup
from cloud.desk import Operation
from cloud.quarantine import Filter, Kept, Kind, Reason
from cloud.state import State
from cloud.store import Store
from configs import files
from configs.loader import UserError
from configs.numbers import MOST_ROWS, Count

_T = TypeVar("_T")

_ID: Final = re.compile(r"[0-9a-f]{4,64}")
_PREVIEW: Final = 2000  # characters of a payload
_AT_ONCE: Final = 500  # cases in memory

_gateway = click.option("--gateway", help="Only of this gateway.")
_reason = click.option(
    "--reason", type=click.Choice([one.value for one in Reason]), help="Only for this reason."
)
_every = click.option("--all", "every", is_flag=True, help="All cases, or all of the kind named.")
_ids = click.argument("ids", nargs=-1, metavar="ID...")


@click.group("quarantine")
def quarantine_group() -> None:
    """What could be neither stored nor thrown away."""


@quarantine_group.command("list")
@config_option
@_gateway
@_reason
@click.option("--since", metavar="WHEN", help="Seen since then: 90s, 30m, 1h, 2d, or ISO 8601.")
@click.option("--limit", type=Count(1, MOST_ROWS), default=50, show_default=True)
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
    setup = config.read(file)
    if as_json:
        _write_out(setup, wanted, sys.stdout.buffer, with_payload=False)
        return

    def newest(connection: Connection) -> tuple[list[Kept], int]:
        found = quarantine.find(connection, wanted, limit)
        return found, len(quarantine.digests(connection, wanted)) - len(found)

    kept, more = _read(setup, newest)
    accountview.show_cases(Console(), kept)
    if more > 0:
        click.echo(f"{more} more; --limit shows them", err=True)


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
@_every
@_gateway
@_reason
@_ids
def retry(
    file: Path, every: bool, gateway: str | None, reason: str | None, ids: tuple[str, ...]
) -> None:
    """Let cases through admission and store once more.

    What is taken is counted in the ledger and gone from here; what is not stays, with the reason
    of today. Exit code 1 if any stays. A reading that comes in so late raises no alert.
    """
    setup, chosen = _chosen(file, ids, every, gateway, reason)
    outcome = _ask(setup, cases.RETRY, Order(chosen))
    duplicates = f", {outcome.duplicates} of them had come again" if outcome.duplicates else ""
    click.echo(
        f"{many(outcome.ended, 'case')} ended{duplicates}; "
        f"{many(outcome.readings, 'reading')} stored"
    )
    if outcome.stay:
        for failure in outcome.failures:
            click.echo(f"{failure.id} stays: {failure.words}", err=True)
        if (more := outcome.stay - len(outcome.failures)) > 0:
            click.echo(f"and {more} more stay", err=True)
        sys.exit(1)


@quarantine_group.command()
@config_option
@_every
@_gateway
@_reason
@click.option("--yes", is_flag=True, help="Do not ask.")
@_ids
def drop(
    file: Path,
    every: bool,
    gateway: str | None,
    reason: str | None,
    yes: bool,
    ids: tuple[str, ...],
) -> None:
    """Throw cases away. Who did it is kept, and `shuichi account` tells how many readings."""
    setup, chosen = _chosen(file, ids, every, gateway, reason)
    if not yes:
        number = len(_read(setup, partial(quarantine.digests, wanted=chosen)))
        click.confirm(f"Throw {many(number, 'case')} away for ever?", abort=True)
    outcome = _ask(setup, cases.DROP, Order(chosen))
    click.echo(
        f"{many(outcome.ended, 'case')} dropped, {many(outcome.readings, 'reading')} in them"
    )


@quarantine_group.command()
@config_option
@_gateway
@_reason
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
def export(file: Path, gateway: str | None, reason: str | None, out: Path) -> None:
    """Write the cases to OUT, as JSON lines (- for the screen).

    `payload` is what came, in base64; `content` is the same where it can be read.
    """
    wanted, setup = _filter(gateway=gateway, reason=reason), config.read(file)
    if str(out) == "-":
        _write_out(setup, wanted, sys.stdout.buffer)
        return
    try:
        with files.replacing(out) as opened:
            number = _write_out(setup, wanted, opened)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    click.echo(f"{out}: {many(number, 'case')}")


def _write_out(setup: Setup, wanted: Filter, out: BinaryIO, *, with_payload: bool = True) -> int:
    """A line for each case, oldest first, piece by piece: how many there were."""

    async def write(database: State, _: Store) -> int:
        number = 0
        digests = await database.run(partial(quarantine.digests, wanted=wanted))
        for begin in range(0, len(digests), _AT_ONCE):
            some = Filter(ids=tuple(one.hex() for one in digests[begin : begin + _AT_ONCE]))
            kept = await database.run(partial(quarantine.find, wanted=some))
            for one in sorted(kept, key=lambda one: one.first_at_ms):
                out.write(msgspec.json.encode(_exported(one, with_payload=with_payload)) + b"\n")
            number += len(kept)
        return number

    return look(setup, write)


def _exported(kept: Kept, *, with_payload: bool = True) -> dict[str, Any]:
    case = kept.case._asdict()
    del case["undated"]
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


def _chosen(
    file: Path, ids: tuple[str, ...], every: bool, gateway: str | None, reason: str | None
) -> tuple[Setup, Filter]:
    """The cases that somebody has named, one by one or all of a kind."""
    if every == bool(ids):
        raise click.UsageError("Name the cases by ID, or give --all.")
    if (gateway is not None or reason is not None) and not every:
        raise click.UsageError("--gateway and --reason go with --all.")
    setup = config.read(file)
    if not every:
        return setup, Filter(ids=_resolved(setup, ids))
    _read(setup, quarantine.count)  # or it says that there is no state
    return setup, _filter(gateway=gateway, reason=reason)


def _resolved(setup: Setup, ids: Sequence[str]) -> tuple[str, ...]:
    """The whole digests that `ids` begin. Raises UserError with all that is wrong with them."""

    def resolve(connection: Connection) -> tuple[str, ...]:
        found: dict[str, None] = {}
        faults = []
        for one in ids:
            if not _ID.fullmatch(one):
                faults.append(f"{one}: is not an ID: at least 4 of the digits that `list` shows")
                continue
            digests = quarantine.digests(connection, Filter(ids=(one,)))
            if not digests:
                faults.append(f"{one}: there is no such case in quarantine")
            elif len(digests) > 1:
                faults.append(f"{one}: {len(digests)} cases begin so; give more digits")
            else:
                found[digests[0].hex()] = None
        if faults:
            raise UserError("\n".join(faults))
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
