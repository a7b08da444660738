"""`python -m bench.dying_worker CLOUD_TOML`: an aggregator that is made to be killed; see
`bench.mortal`.

"live": until it is killed, or told to stop. "until-commit N": it kills itself (SIGKILL) within half
a millisecond after the N-th time that its database is asked to commit. Told: `commit` before that.
"""

import os
import sys
from itertools import count
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from bench.mortal import die_soon, lives, tell
from cloud import config, service
from cloud.config import Setup
from configs import loader


def watch(die_in: int) -> None:
    """Tell of every commit, and die in that one."""
    commits = count(1)

    @event.listens_for(Engine, "commit")
    def look(connection: Connection) -> None:
        tell("commit")
        if next(commits) == die_in:
            die_soon()


async def live(setup: Setup, how: str, die_in: str = "0") -> None:
    watch(int(die_in))
    tell("begun", os.getpid())
    await service.serve(setup)


def main() -> None:
    setup = config.read(Path(sys.argv[1]))
    loader.plugin("cloud.store", setup.config.store.kind)  # imported once, for all lives
    lives(lambda _, *how: live(setup, *how))


if __name__ == "__main__":
    main()
