"""What the routes of the API share: an alert by its name, a demand on the dispatch, a body."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec
from fastapi import Request
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from cloud.alerts import demands, views
from cloud.alerts.dispatch import Outcome
from cloud.web.desk import Desk, body_of, sender_of
from configs.loader import UserError

_T = TypeVar("_T")


def how(request: Request) -> str:
    """By which program's token, and from where."""
    program = f" ({request.state.program})" if request.state.program else ""
    return f"API{program}, {sender_of(request)}"


async def known(desk: Desk, request: Request) -> views.AlertView:
    name = request.path_params["alert"]
    found = await desk.look(partial(views.alert, name=name))
    if found is None:
        raise HTTPException(404, f"there is no alert {name!r}")
    return found


async def done(desk: Desk, work: Callable[[Connection], Outcome]) -> demands.Done:
    try:
        outcome = await desk.run(work)
    except UserError as error:
        raise HTTPException(422, str(error)) from None
    desk.wake()
    if not outcome.ok:
        raise HTTPException(409, outcome.text)
    return demands.Done(*outcome)


async def read(request: Request, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(await body_of(request), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(422, str(error)) from None
