"""What the commands of `shuichi alert` share: a question to the state, a demand to the service."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click
from sqlalchemy import Connection

from cloud import config, desk
from cloud.alerts.demands import Done
from cloud.cliparts import look
from cloud.desk import Operation, OrderT
from configs.text import for_terminal
from wire.messages import Level

_T = TypeVar("_T")

LEVELS: Final = [level.name.lower() for level in Level]

json_option: Final = click.option("--json", "as_json", is_flag=True, help="For machines.")


def read(file: Path, work: Callable[[Connection], _T]) -> _T:
    """What `work` finds in the state."""
    return look(config.read_in_part(file)[0], lambda database, _: database.run(work))


def demand(file: Path, operation: Operation[OrderT, Done], order: OrderT) -> None:
    """Print what came of it. Exit code 1 if it did not count."""
    done = asyncio.run(desk.ask(config.read_in_part(file)[0], operation, order))
    click.echo(for_terminal(done.text), err=not done.ok)
    raise SystemExit(0 if done.ok else 1)
