"""`python -m tests.system.dying_cloud POINT CLOUD_TOML`: the real aggregator, which kills itself
(SIGKILL) the first time it has batches to store, at one of these points:

- `in-commit`: a store of its own has the points, the ledger is not committed yet;
- `after-commit`: all is committed, and nobody has been told;
- `before-commit`: it knows what it is going to commit; and it only stops (SIGSTOP), and does it
  whenever it is woken up.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from sqlalchemy import Connection

from cloud import config, service
from cloud.ingest.examination import Examination
from cloud.ingest.streams import Plan
from cloud.ingest.take import Take
from cloud.intake import Intake
from cloud.store import Store
from wire.messages import Batch

_commit, _plan, _save = Examination.commit, Examination._plan, Examination._save


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def commit_and_die(
    self: Examination, take: Take, intake: Intake, store: Store
) -> list[Batch]:
    missing = await _commit(self, take, intake, store)
    if intake.batches:
        die()
    return missing


def save_and_die(
    self: Examination, connection: Connection, take: Take, intake: Intake, plan: Plan
) -> None:
    _save(self, connection, take, intake, plan)
    if intake.batches:
        die()


async def plan_and_stop(self: Examination, intake: Intake) -> Plan:
    plan = await _plan(self, intake)
    if intake.batches:
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # here and now
    return plan


if __name__ == "__main__":
    point, file = sys.argv[1:]
    match point:
        case "in-commit":
            Examination._save = save_and_die  # type: ignore[method-assign]  # this is the experiment
        case "before-commit":
            Examination._plan = plan_and_stop  # type: ignore[method-assign]  # this is the experiment
        case "after-commit":
            Examination.commit = commit_and_die  # type: ignore[method-assign]  # this is the experiment
    logging.basicConfig(level=logging.INFO)
    asyncio.run(service.serve(config.read(Path(file))))
