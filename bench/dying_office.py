"""`python -m bench.dying_office CLOUD_TOML SITES`: an office of alerts that is made to be killed;
see `bench.mortal`.

Beside it a rule finds one site after the other flooded. "live": until it is killed, or told to
stop. "until-commit N": it kills itself (SIGKILL) within half a millisecond after the N-th time that
its database is asked to commit. "rest": finds nothing new. Told: `found NUMBER` when that finding
is on disk.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, select

from bench._storm import Findings
from bench.dying_worker import watch
from bench.mortal import lives, tell
from cloud import config, state, tables
from cloud.alerts.office import Office, office_of
from cloud.channels import running
from cloud.config import Setup
from cloud.state import State
from configs import loader
from wire.messages import Level

EVERY_S: Final = 0.08
"""A site is found flooded."""


@asynccontextmanager
async def office(setup: Setup) -> AsyncIterator[tuple[State, Office]]:
    """The state of a config, and who decides by it."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(state.opened(setup.database))
        channels = {
            name: await stack.enter_async_context(running.opened(one, setup.folder))
            for name, one in setup.config.channel.items()
        }
        yield database, await office_of(setup, database, channels)


async def live(setup: Setup, sites: int, how: str, die_in: str = "0") -> None:
    watch(int(die_in))
    tell("begun", os.getpid())
    async with office(setup) as (database, own), asyncio.TaskGroup() as group:
        group.create_task(own.run(), name="office")
        if how != "rest":
            group.create_task(_find(database, own, sites), name="rule")


async def _find(database: State, own: Office, sites: int) -> None:
    number = await database.run(_found)
    while number < sites:
        await database.run(partial(_add, number=number))
        tell("found", number)
        own.wake()
        number += 1
        await asyncio.sleep(EVERY_S)


def _found(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(tables.alert)).scalar_one())


def _add(connection: Connection, *, number: int) -> None:
    Findings(connection).add(f"s{number}", time.time_ns() // 1_000_000, Level.RED)


def main() -> None:
    setup = config.read(Path(sys.argv[1]))
    for one in setup.config.channel.values():
        loader.plugin("cloud.channels", one.kind)  # imported once, for all lives
    lives(lambda _, *how: live(setup, int(sys.argv[2]), *how))


if __name__ == "__main__":
    main()
