"""`shuichi cloud`."""

import asyncio
import logging
from pathlib import Path

import click
import msgspec

from cloud import config, migrations, outside, service, state
from cloud.checkcli import check
from cloud.cliparts import config_option
from cloud.errors import Rejected, Unavailable
from cloud.keycli import key_command
from cloud.rebalance import rebalance
from configs import logs
from configs.loader import UserError
from wire import loop


@click.group()
def cloud() -> None:
    """Check and run the aggregator."""


@cloud.command()
@config_option
@click.option(
    "--unattended",
    is_flag=True,
    help="Start even if the store or the broker does not answer, and wait for them: for systemd.",
)
@click.option(
    "--shard",
    "shards",
    metavar="SHARDS",
    help="Serve these and no others: 0, 0-3, or 0,2,5-7.  [default: [ingest] shards]",
)
@logs.log_option
def run(file: Path, unattended: bool, shards: str | None, style: str | None) -> None:
    """Run the aggregator until SIGTERM or Ctrl-C.

    Without --unattended the store and the broker are tried first; what does not answer is told,
    one line each, and nothing starts (exit code 2). With it a faulty channel, rule, hook, page or
    response plan does not keep the rest from working: it is left out, and an alert is raised. So it
    is with a state file that is damaged: it is set aside.
    """
    setup, faults = config.read_in_part(file) if unattended else (config.read(file), ())
    if shards is not None:
        try:
            setup = setup.only(shards)
        except ValueError as error:
            raise UserError(f"--shard {shards}: {error}") from None
    if not unattended:
        _demand_outside(setup, makes=True)
    logs.start(style)
    lines = [f"{file}: {fault.key}: {fault.problem}" for fault in faults]
    # A line a request, with URLs that may be secrets; a line a step of the layout.
    for chatty in ("httpx", "httpcore", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        loop.run(service.serve(setup, lines, unattended=unattended))
    except (Unavailable, Rejected) as error:
        raise UserError(str(error)) from None


@cloud.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def init(file: Path, as_json: bool) -> None:
    """Make what the store needs: database, buckets, retention, tasks.

    Done again it changes nothing, but for a retention that the config has changed. To be run while
    the service is not.
    """
    setup = config.read(file)

    async def made() -> list[str]:
        async with service.opened(setup) as (_, store):
            return await store.init()

    try:
        lines = asyncio.run(made())
    except (Unavailable, Rejected) as error:
        raise UserError(str(error)) from None
    if as_json:
        click.echo(msgspec.json.encode({"store": setup.config.store.kind, "lines": lines}))
    else:
        click.echo("\n".join(lines))


@cloud.command()
@config_option
def migrate(file: Path) -> None:
    """Lay out the state database, or bring it to the layout of this release.

    `run` does this by itself. Exit code 2 if a newer release has laid it out.
    """
    place = config.read(file).database

    async def upgrade() -> tuple[str | None, str]:
        async with state.connected(place) as database:
            return await database.run(migrations.upgrade)

    try:
        before, now = asyncio.run(upgrade())
    except (Unavailable, Rejected) as error:
        raise UserError(str(error)) from None
    click.echo(f"{place}: layout {now}" + ("" if before == now else f", was {before or 'empty'}"))


cloud.add_command(check)
cloud.add_command(rebalance)
cloud.add_command(key_command)


def _demand_outside(setup: config.Setup, *, makes: bool = False) -> None:
    if lines := asyncio.run(outside.faults(setup, makes=makes)):
        raise UserError("\n".join(lines))
