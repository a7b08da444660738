"""The API: what `shuichi alert` can do, for programs that have the token."""

import hmac
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from msgspec import Meta
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from cloud.alerts import byhand, demands, testsend, views
from cloud.alerts.alarm import Hold, Trigger
from cloud.alerts.dispatch import Dispatch, Outcome
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import AlarmKey
from cloud.web.desk import HEADERS, Desk, body_of, sender_of
from configs.loader import UserError
from wire.messages import Level

_T = TypeVar("_T")

_Who = Annotated[str, Meta(pattern=r"^[^\x00]*[^\x00\s][^\x00]*$", max_length=80)]
_Words = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=500)]


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """`said` is why, or what; `contact` whom it is about."""

    by: _Who
    said: _Words = ""
    contact: str = ""


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """A danger that no sensor has seen."""

    site: Annotated[str, Meta(min_length=1, max_length=64)]
    hazard: Hazard
    level: Literal["blue", "yellow", "orange", "red"]
    by: _Who
    said: _Words
    stage: Stage = Stage.NOW


class Acknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    by: _Who
    said: _Words = ""


class Shelf(msgspec.Struct, forbid_unknown_fields=True):
    by: _Who
    minutes: Annotated[float, Meta(gt=0, le=10_080)]
    reason: _Words = ""
    up_to: Literal["blue", "yellow", "orange", "red"] = "red"


class Release(msgspec.Struct, forbid_unknown_fields=True):
    by: _Who
    reason: _Words = ""


_Handler = Callable[[Desk, Request], Awaitable[Any]]


def add(made: FastAPI, desk: Desk) -> None:
    """Add its routes."""
    for path, handler, method in (
        ("/api/alerts", _alerts, "GET"),
        ("/api/alerts/{alert}", _timeline, "GET"),
        ("/api/incidents", _incidents, "GET"),
        ("/api/alerts/{alert}/ack", _ack, "POST"),
        ("/api/alerts/{alert}/shelve", _shelve, "POST"),
        ("/api/alerts/{alert}/unshelve", _unshelve, "POST"),
    ):
        made.add_api_route(path, _guarded(desk, handler), methods=[method])
    made.add_api_route("/api/alerts", _guarded(desk, _raise), methods=["POST"])
    made.add_api_route("/api/test", _guarded(desk, _test), methods=["POST"])
    for name, work in _BY_HAND.items():
        path = f"/api/alerts/{{alert}}/{name}"
        made.add_api_route(path, _guarded(desk, partial(_by_hand, work=work)), methods=["POST"])


def _guarded(desk: Desk, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        if (name := _program(desk, request)) is None:
            desk.refused("API", request)
            raise HTTPException(
                401,
                "a token is needed: Authorization: Bearer ...",
                headers={"WWW-Authenticate": "Bearer"},
            )
        request.state.program = name
        found = await handler(desk, request)
        return Response(msgspec.json.encode(found), media_type="application/json", headers=HEADERS)

    return serve


def _program(desk: Desk, request: Request) -> str | None:
    """Whose token the request carries: "" for the one without a name, None for none of ours. All
    are compared, so that the time says nothing."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    tokens = {"": desk.token, **desk.tokens}
    right = [
        name
        for name, token in tokens.items()
        if hmac.compare_digest(given.strip().encode(), token.encode()) and token
    ]
    return right[0] if right and scheme.lower() == "bearer" else None


async def _alerts(desk: Desk, request: Request) -> object:
    everything = request.query_params.get("all") == "true"
    return await desk.look(partial(views.alerts, all_of_them=everything))


async def _timeline(desk: Desk, request: Request) -> object:
    name = request.path_params["alert"]
    lines = await desk.look(partial(views.timeline, alert=name))
    if not lines:
        raise HTTPException(404, f"there is no alert {name!r}")
    return lines


async def _incidents(desk: Desk, _: Request) -> object:
    return await desk.look(views.incidents)


async def _ack(desk: Desk, request: Request) -> object:
    said = await _read(request, Acknowledgement)
    one = await _known(desk, request)
    now_ms = time.time_ns() // 1_000_000
    how = _how(request)
    work = partial(desk.dispatch.acknowledge, alert=one.id, by=said.by, how=how, said=said.said)
    return await _done(desk, partial(work, now_ms=now_ms))


async def _shelve(desk: Desk, request: Request) -> object:
    said = await _read(request, Shelf)
    now_ms = time.time_ns() // 1_000_000
    until_ms = now_ms + round(said.minutes * 60_000)
    up_to = Level[said.up_to.upper()]
    demand = Hold(Trigger.SHELVE, said.by, said.reason, until_ms, up_to)
    return await _held(desk, request, demand, now_ms)


async def _unshelve(desk: Desk, request: Request) -> object:
    said = await _read(request, Release)
    demand = Hold(Trigger.UNSHELVE, said.by, said.reason)
    return await _held(desk, request, demand, time.time_ns() // 1_000_000)


_BY_HAND: Final = {
    "escalate": byhand.climb,
    "add": byhand.add,
    "handover": byhand.add,
    "unack": byhand.take_back,
    "note": byhand.note,
    "resolve": byhand.resolve,
}


async def _raise(desk: Desk, request: Request) -> object:
    said = await _read(request, Report)
    given = byhand.Raise(
        said.site, said.hazard, Level[said.level.upper()], said.by, said.said, said.stage
    )
    now_ms = time.time_ns() // 1_000_000
    return await _done(desk, lambda c: byhand.raise_alert(desk.dispatch, c, given, now_ms))


async def _by_hand(
    desk: Desk,
    request: Request,
    work: Callable[[Dispatch, Connection, byhand.Demand, int], Outcome],
) -> object:
    said = await _read(request, Said)
    one = await _known(desk, request)
    given = byhand.Demand(one.id, said.by, said.said, said.contact)
    now_ms = time.time_ns() // 1_000_000
    return await _done(desk, lambda c: work(desk.dispatch, c, given, now_ms))


async def _test(desk: Desk, request: Request) -> object:
    """Whatever came of it is an answer, but that it was not sent."""
    asked = await _read(request, testsend.Asked)
    if desk.tests is None:
        raise HTTPException(409, "there are no channels here")
    try:
        result = await desk.tests.send(asked, _how(request))
    except UserError as error:
        raise HTTPException(422, str(error)) from None
    if result.outcome == "not sent":
        after = {"Retry-After": str(math.ceil(result.wait_s))} if result.wait_s else None
        raise HTTPException(429 if result.wait_s else 409, result.detail, headers=after)
    return result


def _how(request: Request) -> str:
    program = f" ({request.state.program})" if request.state.program else ""
    return f"API{program}, {sender_of(request)}"


async def _held(desk: Desk, request: Request, demand: Hold, now_ms: int) -> object:
    one = await _known(desk, request)
    key = AlarmKey(one.site, Hazard(one.hazard), one.exercise)
    return await _done(desk, partial(desk.dispatch.hold, key=key, demand=demand, now_ms=now_ms))


async def _known(desk: Desk, request: Request) -> views.AlertView:
    name = request.path_params["alert"]
    found = await desk.look(partial(views.alert, name=name))
    if found is None:
        raise HTTPException(404, f"there is no alert {name!r}")
    return found


async def _done(desk: Desk, work: Callable[[Connection], Outcome]) -> demands.Done:
    outcome = await desk.run(work)
    desk.wake()
    if not outcome.ok:
        raise HTTPException(409, outcome.text)
    return demands.Done(*outcome)


async def _read(request: Request, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(await body_of(request), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(422, str(error)) from None
