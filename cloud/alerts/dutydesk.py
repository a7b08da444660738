"""Changes of duty as operations of the command line: see `cloud.desk`."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection

from cloud.alerts import dutyorders, rosterorders
from cloud.alerts.demands import dispatch_for
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.dutyorders import Absence, Asked, Cover, Drawn, Made, Remove, Swap
from cloud.alerts.rosterorders import Import
from cloud.desk import Clerk, Operation

Work = Callable[[Dispatch, Connection, Any, Asked], Drawn]


def _operation(name: str, kind: type[Any], work: Work) -> Operation[Any, Made]:
    async def run(clerk: Clerk, given: Any) -> Made:
        dispatch = await dispatch_for(clerk)
        asked = Asked(f"command line, {clerk.who}", time.time_ns() // 1_000_000)
        drawn = await clerk.database.run(
            lambda connection: work(dispatch, connection, given, asked)
        )
        clerk.wake()
        return await asyncio.to_thread(drawn.told)

    return Operation(name, kind, Made, run)


ABSENCE: Final = _operation("duty absence", Absence, dutyorders.absence)
COVER: Final = _operation("duty cover", Cover, dutyorders.cover)
SWAP: Final = _operation("duty swap", Swap, dutyorders.swap)
REMOVE: Final = _operation("duty remove", Remove, dutyorders.remove)
IMPORT: Final = _operation("duty import", Import, rosterorders.bring)
ALL: Final = (ABSENCE, COVER, SWAP, REMOVE, IMPORT)
