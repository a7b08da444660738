"""`shuichi store`: what is done with whole stores."""

import asyncio
import sys
from pathlib import Path

import click

from cloud import config, service
from cloud.cliparts import moment, progress
from cloud.copying import Copied, copy
from cloud.errors import Rejected, Unavailable
from cloud.store import Query
from cloud.store.names import UNSEEN
from configs.loader import UserError


@click.group("store")
def group() -> None:
    """Whole stores."""


@group.command("copy")
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path))
@click.argument("target", metavar="TO", type=click.Path(path_type=Path))
@click.option("--gateway", help="Only this gateway.")
@click.option("--since", metavar="WHEN", help="From then on: 90s, 30m, 1h, 2d, or ISO 8601.")
@click.option("--until", metavar="WHEN", help="Up to then, in the same words.")
def copy_command(
    source: Path, target: Path, gateway: str | None, since: str | None, until: str | None
) -> None:
    """Copy all readings of one store into another; FROM and TO are two cloud.toml.

    Stopped at any moment, even by kill -9, and run again, it goes on where it was. At the end both
    sides are counted: exit code 1 if they differ. FROM may be in use, TO may not.
    """
    setups = config.read(source), config.read(target)
    if setups[0].config.store == setups[1].config.store and (
        setups[0].config.store.kind != "sqlite" or setups[0].database == setups[1].database
    ):
        raise UserError(f"{source} and {target} name the same store")
    query = Query(
        gateway=gateway,
        since_ms=moment("--since", since),
        until_ms=moment("--until", until),
    )
    # A span such as 2d means another moment in each run, so the words are the name.
    name = " ".join([str(source.resolve()), gateway or "*", since or "*", until or "*"])

    async def work() -> Copied:
        async with (
            service.opened(setups[0], read_only=True) as (_, old),
            service.opened(setups[1]) as (database, new),
        ):
            await new.check()
            with progress(seen=sys.stderr.isatty()) as bar:
                task = bar.add_task("copy", total=await old.count(query))
                return await copy(
                    name, old, new, database, query, lambda more: bar.advance(task, more)
                )

    try:
        found = asyncio.run(work())
    except (Unavailable, Rejected) as error:
        raise UserError(str(error)) from None
    if found.left_out:
        click.echo(
            f"NOT COPIED: {found.left_out} readings of {source}. A name of theirs, such as "
            f"{found.unreadable}, {UNSEEN}: no gateway has sent it. Delete them in {source}; all "
            "others are copied",
            err=True,
        )
    if found.source != found.target:
        click.echo(
            f"NOT EQUAL: {found.source} readings in {source}, {found.target} in {target}. "
            "If FROM is in use or TO was not empty that is no wonder; else copy again",
            err=True,
        )
        sys.exit(1)
    click.echo(f"{found.source} readings, the same number in both stores")
