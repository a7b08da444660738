"""`shuichi cloud rebalance`: which gateway should speak in which shard, and the orders to move it.

A moved gateway sends its backlog in the new shard, under the old names: the ledger, which all
workers share, knows what it has. What the old worker still has in its hands is stored by whoever
comes first, and dropped by the other.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, select

from cloud import config, database, ledger, tables
from cloud.cliparts import config_option, look
from cloud.commanding import Moment, Result, Signer, Target, carry_out
from cloud.config import shards_of
from configs.loader import UserError
from configs.numbers import Number
from wire.messages import Action, Command

_SHORTEST_MS: Final = 60_000
"""A stream that has been heard for less says little about its rate."""


class Load(NamedTuple):
    """What a gateway sends, readings per s, and in which shard."""

    gateway: str
    shard: str
    per_s: float


class Move(msgspec.Struct, frozen=True):
    """`gateway` should speak in shard `to`."""

    gateway: str
    of: str
    to: str
    per_s: float


def propose(loads: Iterable[Load], shards: Sequence[str]) -> list[Move]:
    """Moves, each of which makes the fullest shard less full, until none does. What is outside of
    `shards` moves into them first."""
    full: dict[str, dict[str, float]] = {shard: {} for shard in shards}
    homes: dict[str, str] = {}
    strangers = []
    for load in sorted(loads, key=lambda one: (-one.per_s, one.gateway)):
        homes[load.gateway] = load.shard
        if load.shard in full:
            full[load.shard][load.gateway] = load.per_s
        else:
            strangers.append(load)
    for load in strangers:
        full[min(full, key=lambda one: sum(full[one].values()))][load.gateway] = load.per_s
    while True:
        sums = {shard: sum(some.values()) for shard, some in full.items()}
        fullest, emptiest = max(sums, key=sums.__getitem__), min(sums, key=sums.__getitem__)
        apart = sums[fullest] - sums[emptiest]
        fitting = {name: per_s for name, per_s in full[fullest].items() if 0 < per_s < apart}
        if not fitting:
            break
        best = min(fitting, key=lambda name: (abs(fitting[name] - apart / 2), name))
        if min(fitting[best], apart - fitting[best]) < _WORTH * max(sums[fullest], 1e-9):
            break
        full[emptiest][best] = full[fullest].pop(best)
    return [
        Move(name, homes[name], shard, per_s)
        for shard, some in full.items()
        for name, per_s in some.items()
        if homes[name] != shard
    ]


_WORTH: Final = 0.05
"""Of the fullest shard: a move that evens out less is not worth a reconnection."""


@click.command()
@config_option
@click.option("--shards", help="Those to fill: 0-3, or 0,2,5-7.  [default: [ingest] shards]")
@click.option("--gateway", help="Move just this one ...")
@click.option("--to", help="... into this shard.")
@click.option("--apply", is_flag=True, help="Give the orders; without it they are only shown.")
@click.option("--key", type=click.Path(path_type=Path), help="Private key, to sign the orders.")
@click.option("--key-name", help="Its name on the gateways.  [default: the file's name]")
@click.option(
    "--wait",
    "wait_s",
    type=Number(1, 3600),
    default=30.0,
    show_default=True,
    help="Seconds for each gateway.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def rebalance(
    file: Path,
    shards: str | None,
    gateway: str | None,
    to: str | None,
    apply: bool,
    key: Path | None,
    key_name: str | None,
    wait_s: float,
    as_json: bool,
) -> None:
    """Show how full the shards are, and move gateways from one to another without loss.

    Exit code 1 if a gateway does not confirm its move, 3 if nothing proves that it did.
    """
    setup = config.read(file)
    if (gateway is None) != (to is None):
        raise UserError("--gateway and --to go together")
    if apply and key is None:
        raise UserError("--apply needs --key: gateways obey signed orders only")
    names = setup.config.ingest.shards
    try:
        if shards is not None:
            names = shards_of(shards)
        elif to is not None:
            names = shards_of(to)
            if len(names) != 1:
                raise ValueError(f"{to!r} names {len(names)} shards, and a gateway speaks in one")
            (to,) = names
    except ValueError as error:
        raise UserError(f"{'--shards' if shards else '--to'}: {error}") from None
    loads, served = look(setup, lambda state, _: state.run(_seen))
    if gateway is None or to is None:
        moves = propose(loads, names)
    else:
        moves = [Move(one.gateway, one.shard, to, one.per_s) for one in loads if one[0] == gateway]
        if not moves:
            raise UserError(f"--gateway {gateway}: has never said that it is there")
        moves = [move for move in moves if move.of != move.to]
    if as_json:
        click.echo(msgspec.json.encode({"loads": [one._asdict() for one in loads], "moves": moves}))
    else:
        _show(loads, names, moves)
        for shard in sorted({one.to for one in moves} - served):
            click.echo(
                f"shard {shard}: no worker of this state serves it now; until one does, what is "
                "sent there waits on the gateways",
                err=True,
            )
    if apply and key is not None:
        results = [asyncio.run(_order(setup, move, key, key_name, wait_s)) for move in moves]
        for result in (Result.NOT_CONFIRMED, Result.SAID_TO_BE_CONFIRMED):
            if result in results:
                raise SystemExit(int(result))


def _seen(connection: Connection) -> tuple[list[Load], set[str]]:
    """The gateways, and the shards that a worker has a lease of."""
    lease = tables.lease
    alive = select(lease.c.name).where(lease.c.until_ms > database.now_ms(connection))
    names = connection.execute(alive).scalars()
    return _loads(connection), {name.removeprefix("shard ") for name in names}


def _loads(connection: Connection) -> list[Load]:
    """All gateways that have said in which shard they are."""
    rates: dict[str, tuple[int, float]] = {}
    for key, stream in ledger.load(connection).items():
        first_ms, last_ms = stream.first_at_ms, stream.last_at_ms
        if first_ms is None or last_ms is None:
            continue
        per_s = 1000 * stream.readings / max(last_ms - first_ms, _SHORTEST_MS)
        rates[key.gateway] = max(rates.get(key.gateway, (0, 0.0)), (last_ms, per_s))
    rows = connection.execute(select(tables.gateway).order_by(tables.gateway.c.gateway))
    return [Load(row.gateway, row.shard, rates.get(row.gateway, (0, 0.0))[1]) for row in rows]


def _show(loads: Sequence[Load], shards: Sequence[str], moves: Sequence[Move]) -> None:
    console = Console()
    table = Table(box=box.SIMPLE)
    for column in ("shard", "gateways", "readings/s", "after"):
        table.add_column(column, justify="left" if column == "shard" else "right")
    after = {load.gateway: load.shard for load in loads} | {one.gateway: one.to for one in moves}
    known = {*shards, *(one.shard for one in loads), *(one.to for one in moves)}
    for shard in sorted(known, key=lambda one: (len(one) if one.isdecimal() else 99, one)):
        now = [one.per_s for one in loads if one.shard == shard]
        then = [one.per_s for one in loads if after[one.gateway] == shard]
        table.add_row(shard, str(len(now)), f"{sum(now):.4g}", f"{sum(then):.4g}")
    console.print(table)
    for move in moves:
        console.print(
            f"{move.gateway}: {move.of} to {move.to} ({move.per_s:.4g} readings/s)",
            highlight=False,
        )
    if not moves:
        console.print("nothing to move", highlight=False)


async def _order(
    setup: config.Setup, move: Move, key: Path, key_name: str | None, wait_s: float
) -> Result:
    click.echo(f"{move.gateway}: {move.of} to {move.to}")

    def draft(identifier: str, moment: Moment) -> Command:
        return Command(
            id=identifier,
            gateway=move.gateway,
            site="",
            action=Action.MOVE,
            sequence=moment.sequence,
            issued_ms=moment.issued_ms,
            shard=move.to,
        )

    signer = await Signer.read(key, key_name)
    target = Target(move.gateway, (move.of,), (move.of, move.to))
    return await carry_out(setup, target, signer, draft, wait_s)
