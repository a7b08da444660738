"""The API: what `shuichi alert` can do, for programs that have the token."""

import hmac
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import FastAPI, Request, Response
from msgspec import Meta
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from cloud.alerts import byhand, testsend, views
from cloud.alerts.byhand import Who, Words
from cloud.alerts.dispatch import Dispatch, Outcome
from cloud.alerts.hazard import Hazard, Stage
from cloud.web import duty, holds, metrics
from cloud.web.demands import done, how, known, read
from cloud.web.desk import HEADERS, Desk
from configs.loader import UserError
from wire.messages import Level


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """`said` is why, or what; `contact` whom it is about."""

    by: Who
    said: Words = ""
    contact: str = ""


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """A danger that no sensor has seen."""

    site: Annotated[str, Meta(min_length=1, max_length=64)]
    hazard: Hazard
    level: Literal["blue", "yellow", "orange", "red"]
    by: Who
    said: Words
    stage: Stage = Stage.NOW


class Acknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    by: Who
    said: Words = ""


_Handler = Callable[[Desk, Request], Awaitable[Any]]


def add(made: FastAPI, desk: Desk) -> None:
    """Add its routes."""
    for path, handler, method in (
        ("/api/alerts", _alerts, "GET"),
        ("/api/alerts/{alert}", _timeline, "GET"),
        ("/api/incidents", _incidents, "GET"),
        ("/api/alerts/{alert}/ack", _ack, "POST"),
        ("/api/alerts/{alert}/shelve", holds.shelve, "POST"),
        ("/api/alerts/{alert}/unshelve", holds.unshelve, "POST"),
        ("/api/holds", holds.listed, "GET"),
        ("/api/holds", holds.make, "POST"),
        ("/api/holds/{hold}/end", holds.end, "POST"),
        (metrics.PATH, metrics.show, "GET"),
    ):
        made.add_api_route(path, _guarded(desk, handler), methods=[method])
    made.add_api_route("/api/alerts", _guarded(desk, _raise), methods=["POST"])
    made.add_api_route("/api/test", _guarded(desk, _test), methods=["POST"])
    duty.add(made, desk, _guarded)
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
        if isinstance(found, Response):
            return found
        if isinstance(found, duty.File):
            return Response(found.content, media_type=duty.CALENDAR_TYPE, headers=HEADERS)
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
    said = await read(request, Acknowledgement)
    one = await known(desk, request)
    now_ms = time.time_ns() // 1_000_000
    work = partial(desk.dispatch.acknowledge, alert=one.id, by=said.by, said=said.said)
    return await done(desk, partial(work, how=how(request), now_ms=now_ms))


_BY_HAND: Final = {
    "escalate": byhand.climb,
    "add": byhand.add,
    "handover": byhand.add,
    "unack": byhand.take_back,
    "note": byhand.note,
    "resolve": byhand.resolve,
}


async def _raise(desk: Desk, request: Request) -> object:
    said = await read(request, Report)
    given = byhand.Raise(
        said.site, said.hazard, Level[said.level.upper()], said.by, said.said, said.stage
    )
    now_ms = time.time_ns() // 1_000_000
    return await done(desk, lambda c: byhand.raise_alert(desk.dispatch, c, given, now_ms))


async def _by_hand(
    desk: Desk,
    request: Request,
    work: Callable[[Dispatch, Connection, byhand.Demand, int], Outcome],
) -> object:
    said = await read(request, Said)
    one = await known(desk, request)
    given = byhand.Demand(one.id, said.by, said.said, said.contact)
    now_ms = time.time_ns() // 1_000_000
    return await done(desk, lambda c: work(desk.dispatch, c, given, now_ms))


async def _test(desk: Desk, request: Request) -> object:
    """Whatever came of it is an answer, but that it was not sent."""
    asked = await read(request, testsend.Asked)
    if desk.tests is None:
        raise HTTPException(409, "there are no channels here")
    try:
        result = await desk.tests.send(asked, how(request))
    except UserError as error:
        raise HTTPException(422, str(error)) from None
    if result.outcome == "not sent":
        after = {"Retry-After": str(math.ceil(result.wait_s))} if result.wait_s else None
        raise HTTPException(429 if result.wait_s else 409, result.detail, headers=after)
    return result
