"""What a person may demand of the dispatch, as operations of the desk: answer an alert, begin and
end an exercise, and what `byhand` and `holding` have."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from cloud.alerts import byhand, holding
from cloud.alerts.dispatch import Dispatch, Outcome
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.office import dispatch_of
from cloud.desk import Clerk, Operation
from configs.loader import UserError
from wire.messages import Level


class Answer(msgspec.Struct, frozen=True):
    """Somebody who sees the alert as it stands answers it."""

    alert: str
    by: str
    said: str = ""


class Exercise(msgspec.Struct, frozen=True):
    """Run the plan for real; level None ends it. `values` fill placeholders."""

    site: str
    hazard: Hazard
    level: Level | None
    stage: Stage = Stage.NOW
    values: dict[str, str] = {}


class Done(msgspec.Struct, frozen=True):
    """What came of it."""

    ok: bool
    text: str


async def dispatch_for(clerk: Clerk) -> Dispatch:
    """That of the service: an answer must count although the plan is being edited just now."""
    return clerk.dispatch or await dispatch_of(clerk.setup, clerk.database)


async def _answer(clerk: Clerk, order: Answer) -> Done:
    dispatch = await dispatch_for(clerk)
    how = f"command line, {clerk.who}"
    work = partial(dispatch.acknowledge, alert=order.alert, by=order.by, how=how, said=order.said)
    done = await clerk.database.run(lambda connection: work(connection, now_ms=_now_ms()))
    clerk.wake()
    return Done(*done)


async def _hold(clerk: Clerk, order: holding.Order) -> Done:
    dispatch = await dispatch_for(clerk)
    work = partial(holding.make, dispatch, given=order, how=f"command line, {clerk.who}")
    done = await clerk.database.run(lambda connection: work(connection, now_ms=_now_ms()))
    clerk.wake()
    return Done(*done)


async def _exercise(clerk: Clerk, order: Exercise) -> Done:
    dispatch = await dispatch_for(clerk)
    if order.level is not None and order.site not in dispatch.plan.site:
        raise UserError(f"{order.site!r} is no site of the plan: whom should the exercise call?")
    alert = await clerk.database.run(
        partial(
            dispatch.exercise,
            site=order.site,
            hazard=order.hazard,
            level=order.level,
            stage=order.stage,
            figures=order.values,
            now_ms=_now_ms(),
        )
    )
    clerk.wake()
    if not alert:
        return Done(False, "no exercise runs there")
    return Done(True, alert)


_Work = Callable[[Dispatch, Connection, Any, int], Outcome]


def _by_hand(name: str, kind: type[Any], work: _Work) -> Operation[Any, Done]:
    """An operation of `byhand`."""

    async def run(clerk: Clerk, given: Any) -> Done:
        dispatch = await dispatch_for(clerk)
        done = await clerk.database.run(
            lambda connection: work(dispatch, connection, given, _now_ms())
        )
        clerk.wake()
        return Done(*done)

    return Operation(name, kind, Done, run)


RAISE: Final = _by_hand("alert raise", byhand.Raise, byhand.raise_alert)
RESOLVE: Final = _by_hand("alert resolve", byhand.Demand, byhand.resolve)
CLIMB: Final = _by_hand("alert escalate", byhand.Demand, byhand.climb)
ADD: Final = _by_hand("alert add", byhand.Demand, byhand.add)
TAKE_BACK: Final = _by_hand("alert unack", byhand.Demand, byhand.take_back)
NOTE: Final = _by_hand("alert note", byhand.Demand, byhand.note)
END_HOLD: Final = _by_hand("alert release", holding.End, holding.end)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


ANSWER: Final = Operation("alert ack", Answer, Done, _answer)
HOLD: Final = Operation("alert hold", holding.Order, Done, _hold)
EXERCISE: Final = Operation("alert exercise", Exercise, Done, _exercise)
ALL: Final = (ANSWER, HOLD, EXERCISE, RAISE, RESOLVE, CLIMB, ADD, TAKE_BACK, NOTE, END_HOLD)
