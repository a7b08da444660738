"""`shuichi account`: is everything there, what is not, and how a person closes what never comes."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

from cloud import account as accounts
from cloud import accountview, config, desk, problems, writeoffs
from cloud.account import Account
from cloud.accountview import many
from cloud.cliparts import config_option, look, moment, progress
from cloud.config import Setup
from cloud.state import State
from cloud.store import Store
from cloud.writeoffs import Close, Differs, Lost
from configs.loader import UserError
from configs.text import is_visible_name


@click.group(invoke_without_command=True)
@config_option
@click.option("--gateway", help="Only this gateway.")
@click.option(
    "--since",
    metavar="WHEN",
    help="Streams active and readings taken since then: 90s, 30m, 1h, 2d, or ISO 8601.",
)
@click.option("--problems", "only_problems", is_flag=True, help="What is wrong, and no more.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def account(
    context: click.Context,
    file: Path,
    gateway: str | None,
    since: str | None,
    only_problems: bool,
    as_json: bool,
) -> None:
    """Tell what was sealed, stored, put aside, declared lost, and what is missing.

    Streams that are over and complete share a line, but with --gateway or --json. The store is
    counted day by day and compared with the ledger, gateway by gateway.
    Exit code 1 if something is wrong: a batch is missing that its gateway does not have any more,
    the store does not hold the readings of the ledger, many readings are in quarantine, or readings
    are refused for a quota. 2 if the store does not answer, or nothing has ever come.
    """
    if context.invoked_subcommand is not None:
        return
    setup, since_ms = config.read(file), moment("--since", since)
    found = _take(setup, gateway, since_ms)
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif only_problems:
        accountview.show_problems(Console(), found)
    else:
        accountview.show(Console(), found, in_full=gateway is not None)
    if found.store_fault:
        raise UserError(found.store_fault)
    sys.exit(0 if found.ok else 1)


@account.command("close")
@config_option
@click.option("--gateway", required=True, help="Whose loss it is.")
@click.option("--stream", help="Only of this stream, and nothing of the store.")
@click.option("--person", required=True, help="Who decides that it is lost.")
@click.option("--reason", required=True, help="Why it never comes.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def close(
    file: Path, gateway: str, stream: str | None, person: str, reason: str, yes: bool
) -> None:
    """Close a known loss: a box that burned, rows that somebody deleted.

    What the account says is missing, not accounted for or different in the store counts as lost
    from then on. Person and reason are kept for ever. What comes all the same is still taken.
    """
    for option, text in (("--person", person), ("--reason", reason)):
        if not is_visible_name(text):
            raise UserError(f"{option}: has no letters, or characters that nobody sees")
    setup = config.read(file)
    found = _take(setup, gateway, None)
    if found.store_fault and stream is None:
        raise UserError(f"{found.store_fault}; --stream closes what is missing of a stream alone")
    order = _order(found, stream, person, reason)
    if not order.lost and not order.differs:
        raise UserError(f"{gateway}: there is nothing to be closed")
    if not yes:
        for line in _lines(order):
            click.echo(line)
        click.confirm("Close this for ever?", abort=True)
    closed = asyncio.run(desk.ask(setup, writeoffs.CLOSE, order))
    click.echo(
        f"{many(closed.batches, 'batch')} and {many(closed.readings, 'reading')} closed as lost"
    )


def _take(setup: Setup, gateway: str | None, since_ms: int | None) -> Account:
    """The account, with a bar while the store is counted. Raises UserError where there is none."""

    async def ask(database: State, store: Store) -> Account:
        with progress(seen=sys.stderr.isatty()) as bar:
            task = bar.add_task("days of the store", total=None)

            def step(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            return await accounts.take(database, store, gateway, since_ms, step)

    found = look(setup, ask)
    if not found.gateways and not found.streams and not found.quarantined and not found.mismatches:
        if gateway is not None:
            raise UserError(f"--gateway {gateway}: nothing has ever come from it")
        if since_ms is None:
            raise UserError(
                f"{setup.database}: nothing has ever come here; is it the state of the service"
                " that runs ([state])?"
            )
    return found


def _order(found: Account, stream: str | None, person: str, reason: str) -> Close:
    lost = tuple(
        Lost(one.gateway, one.stream, tuple(one.missing))
        for one in found.streams
        if stream in (None, one.stream) and (one.missing or (one.readings_unaccounted or 0) > 0)
    )
    differs = tuple(
        Differs(
            one.gateway,
            writeoffs.ALL_DAYS if one.day_ms is None else one.day_ms,
            one.in_ledger - one.in_store,
        )
        for one in found.mismatches
        if stream is None and one.in_ledger != one.in_store
    )
    return Close(person, reason, lost, differs)


def _lines(order: Close) -> list[str]:
    lines = [
        f"{one.gateway}, stream {one.stream}: batches {_ranges(one.batches) or 'none'}, and the "
        "readings that are not accounted for"
        for one in order.lost
    ]
    for one in order.differs:
        word = "missing" if one.readings > 0 else "in excess"
        lines.append(
            f"{one.gateway}, {problems.day(one.day_ms)}: {many(abs(one.readings), 'reading')} "
            f"{word} in the store"
        )
    return lines


def _ranges(batches: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in batches[:12])
