"""Exercises by script, as operations of the desk: begin one, and stop the one that runs."""

import time
from functools import partial
from typing import Final

import msgspec
from pydantic import ValidationError

from cloud import shards
from cloud.alerts import drills
from cloud.alerts.demands import Done, dispatch_for
from cloud.alerts.drillscript import Script
from cloud.desk import Clerk, Operation
from configs.loader import UserError

_ALERTS: Final = "alerts"
"""The lease of whoever dispatches."""


class Start(msgspec.Struct, frozen=True):
    """`script` is a `Script` as JSON, `plan` the version of the plan under which it was checked."""

    script: str
    plan: str
    by: str


class Stop(msgspec.Struct, frozen=True):
    """End the exercise that runs."""

    by: str


async def _start(clerk: Clerk, order: Start) -> Done:
    try:
        script = Script.model_validate_json(order.script)
    except ValidationError as error:
        raise UserError(f"the script cannot be read: {error.errors()[0]['msg']}") from None
    if clerk.dispatch is None and not (
        clerk.database.shared and await clerk.database.run(partial(shards.is_held, name=_ALERTS))
    ):
        raise UserError("no service runs: nobody would be called")
    dispatch = await dispatch_for(clerk)
    work = partial(drills.start, dispatch, script=script, by=order.by, plan=order.plan)
    name = await clerk.database.run(lambda connection: work(connection, now_ms=_now_ms()))
    clerk.wake()
    return Done(True, name)


async def _stop(clerk: Clerk, order: Stop) -> Done:
    dispatch = await dispatch_for(clerk)
    work = partial(drills.stop, dispatch, by=order.by)
    name = await clerk.database.run(lambda connection: work(connection, now_ms=_now_ms()))
    clerk.wake()
    return Done(bool(name), name or "no exercise by script is running")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


START: Final = Operation("alert exercise run", Start, Done, _start)
STOP: Final = Operation("alert exercise stop", Stop, Done, _stop)
ALL: Final = (START, STOP)
