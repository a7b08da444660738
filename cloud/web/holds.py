"""Holds by the API: see `cloud.alerts.holding`."""

import time
from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from fastapi import Request
from msgspec import Meta
from starlette.exceptions import HTTPException

from cloud.alerts import holding
from cloud.alerts.alarm import Status
from cloud.alerts.byhand import Who, Words
from cloud.alerts.hazard import Hazard
from cloud.alerts.holding import End, Order
from cloud.web.demands import done, how, known, read
from cloud.web.desk import Desk
from wire.messages import Level

_Level = Literal["blue", "yellow", "orange", "red"]
_Name = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=64)]
_When = Annotated[str, Meta(max_length=40)]


class Hold(msgspec.Struct, forbid_unknown_fields=True):
    """What to hold back, for `minutes`, or from a moment to another."""

    by: Who
    reason: Words
    site: _Name = ""
    area: _Name = ""
    gateway: _Name = ""
    hazard: Hazard | None = None
    minutes: Annotated[float, Meta(gt=0, le=44_640)] | None = None
    begin: _When | None = msgspec.field(name="from", default=None)
    end: _When | None = msgspec.field(name="to", default=None)
    up_to: _Level = "orange"
    exercise: bool = False


class Shelf(msgspec.Struct, forbid_unknown_fields=True):
    """Hold back one alert."""

    by: Who
    minutes: Annotated[float, Meta(gt=0, le=10_080)]
    reason: Words = ""
    up_to: _Level = "orange"


class Release(msgspec.Struct, forbid_unknown_fields=True):
    by: Who
    reason: Words = ""


async def listed(desk: Desk, request: Request) -> object:
    past = request.query_params.get("past") == "true"
    return await desk.look(partial(holding.listed, now_ms=_now_ms(), past=past))


async def make(desk: Desk, request: Request) -> object:
    said = await read(request, Hold)
    order = Order(
        *(said.by, said.reason, said.site, said.area, said.gateway, said.hazard),
        *(said.minutes, said.begin, said.end, Level[said.up_to.upper()]),
        exercise=said.exercise,
    )
    return await _made(desk, request, order)


async def end(desk: Desk, request: Request) -> object:
    said = await read(request, Release)
    number = str(request.path_params["hold"])
    if not (number.isascii() and number.isdecimal() and len(number) < _DIGITS):
        raise HTTPException(404, f"there is no hold {number!r}")
    given = End(said.by, int(number), said.reason)
    return await _ended(desk, given)


async def shelve(desk: Desk, request: Request) -> object:
    said = await read(request, Shelf)
    one = await known(desk, request)
    order = Order(
        *(said.by, said.reason.strip() or holding.NO_REASON, one.site),
        hazard=Hazard(one.hazard),
        minutes=said.minutes,
        up_to=Level[said.up_to.upper()],
        kind=Status.SHELVED,
        exercise=one.exercise,
        alone=True,
    )
    return await _made(desk, request, order)


async def unshelve(desk: Desk, request: Request) -> object:
    said = await read(request, Release)
    one = await known(desk, request)
    kind = Status.SHELVED
    given = End(said.by, None, said.reason, one.site, Hazard(one.hazard), kind, one.exercise)
    return await _ended(desk, given)


_DIGITS: Final = 10


async def _made(desk: Desk, request: Request, order: Order) -> object:
    work = partial(holding.make, desk.dispatch, given=order, how=how(request))
    return await done(desk, lambda connection: work(connection, now_ms=_now_ms()))


async def _ended(desk: Desk, given: End) -> object:
    return await done(desk, lambda c: holding.end(desk.dispatch, c, given, _now_ms()))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
