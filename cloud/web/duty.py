"""Duty over HTTP: what `shuichi duty` can do, for programs that have the API's token; and for
calendar programs, which can only be given an address, a feed behind a token of its own."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from cloud.alerts import dutyorders, dutystore, dutyviews, rosterchild, rosterorders
from cloud.alerts.byhand import Who
from cloud.alerts.dutychanges import DAY_MS, Change, Duty, day_begins_ms, local
from cloud.alerts.dutydesk import Work
from cloud.alerts.dutyorders import Absence, Asked, Cover, Made, Remove, Swap
from cloud.alerts.dutytimes import shown
from cloud.alerts.dutyviews import Wanted
from cloud.alerts.plan import Plan
from cloud.alerts.roster import MOST_BYTES
from cloud.alerts.rosterorders import Import
from cloud.web.demands import how, read
from cloud.web.desk import HEADERS, Desk, body_of
from configs.loader import UserError

CALENDAR_TYPE: Final = "text/calendar; charset=utf-8"

READ_WITHIN_S: Final = 10
"""A calendar that comes by HTTP: a service that is stopped waits for it."""

FEED_DAYS: Final = 60
"""Of a feed, from today on."""

_Handler = Callable[[Desk, Request], Awaitable[Any]]


class Removal(msgspec.Struct, forbid_unknown_fields=True):
    by: Who


class File(NamedTuple):
    """What is no JSON."""

    content: bytes


_CHANGES: Final[dict[str, tuple[type[Any], Work]]] = {
    "absence": (Absence, dutyorders.absence),
    "cover": (Cover, dutyorders.cover),
    "swap": (Swap, dutyorders.swap),
}


def add(made: FastAPI, desk: Desk, guarded: Callable[[Desk, _Handler], Any]) -> None:
    """Add the routes; `guarded` asks for the token of the API."""
    for path, handler, method in (
        ("/api/duty", _who, "GET"),
        ("/api/duty/changes", _listed, "GET"),
        ("/api/duty/changes/{number}/remove", _remove, "POST"),
        ("/api/duty/import", _import, "POST"),
        ("/api/duty/calendar", _calendar, "GET"),
    ):
        made.add_api_route(path, guarded(desk, handler), methods=[method])
    for name, (kind, work) in _CHANGES.items():
        handler = partial(_change, kind=kind, work=work)
        made.add_api_route(f"/api/duty/{name}", guarded(desk, handler), methods=["POST"])
    if desk.calendar_token:
        path = "/duty/{token}/{what}/{name}"
        made.add_api_route(path, partial(_feed, desk), methods=["GET", "HEAD"])


async def _who(desk: Desk, request: Request) -> object:
    plan, asked = desk.dispatch.plan, request.query_params
    now_ms = _now_ms()
    try:
        at_ms = dutyviews.moment(_time(request, "at", ""), plan, now_ms)
        areas = dutyviews.asked_areas(plan, asked.get("area"), asked.get("site"))
    except UserError as error:
        raise HTTPException(422, str(error)) from None
    changes = await desk.look(partial(dutystore.as_of, at_ms=at_ms, now_ms=now_ms))
    return {
        "at": shown(at_ms, plan.zone),
        "at_ms": at_ms,
        "timezone": plan.timezone,
        "areas": dutyviews.who(plan, Duty(changes), areas, at_ms),
    }


async def _listed(desk: Desk, request: Request) -> object:
    now_ms = _now_ms()
    if request.query_params.get("all") == "true":
        found = await desk.look(partial(dutystore.recorded, most=dutyorders.LONGEST_LIST))
    else:
        found = await desk.look(partial(dutystore.read, since_ms=now_ms))
    return dutyviews.rows(desk.dispatch.plan, found, now_ms)


async def _change(desk: Desk, request: Request, kind: type[Any], work: Work) -> object:
    return await _carry_out(desk, request, await read(request, kind), work)


async def _remove(desk: Desk, request: Request) -> object:
    said = await read(request, Removal)
    number = request.path_params["number"]
    if not number.isascii() or not number.isdigit() or not 0 < int(number[:12]) < 2**31:
        raise HTTPException(404, f"there is no change {number[:20]!r}")
    given = Remove(number=int(number[:12]), by=said.by)
    return await _carry_out(desk, request, given, dutyorders.remove)


async def _import(desk: Desk, request: Request) -> object:
    asked = request.query_params
    try:
        by = msgspec.convert(asked.get("by", ""), Who)
    except msgspec.ValidationError:
        raise HTTPException(422, "say who wants it: ?by=...") from None
    content = await body_of(request, MOST_BYTES)
    name = asked.get("name", "")[:80].strip() or "calendar"
    async with desk.calendars:
        plan = desk.dispatch.plan
        work = partial(rosterchild.read, content, plan, _now_ms(), name, READ_WITHIN_S)
        roster = await _told(asyncio.to_thread(work))
    given = Import(roster=roster, by=by, dry_run=asked.get("dry_run") == "true")
    made = await _carry_out(desk, request, given, rosterorders.bring)
    left_out = tuple(f"left out: {one}" for one in roster.notes)
    return msgspec.structs.replace(made, notes=(*left_out, *made.notes))


async def _carry_out(desk: Desk, request: Request, given: Any, work: Work) -> Made:
    asked = Asked(how(request), _now_ms())
    drawn = await _told(desk.run(lambda c: work(desk.dispatch, c, given, asked)))
    desk.wake()
    return await asyncio.to_thread(drawn.told)


async def _calendar(desk: Desk, request: Request) -> object:
    asked, plan = request.query_params, desk.dispatch.plan
    times = (_time(request, "from", ""), _time(request, "until", "+31d"))
    whom = (asked.get("contact", ""), asked.get("area", ""))
    try:
        wanted = dutyviews.asked_calendar(plan, *whom, times, _now_ms())
    except UserError as error:
        raise HTTPException(422, str(error)) from None
    return File(await _written(desk, plan, wanted))


async def _feed(desk: Desk, request: Request, token: str, what: str, name: str) -> Response:
    """Who has the address has the feed: duty of an area or a contact, and nothing else."""
    right = hmac.compare_digest(token.encode("utf-8", "replace"), desk.calendar_token.encode())
    if not right:
        desk.refused("calendar", request)
    plan, key = desk.dispatch.plan, unquote(name).removesuffix(".ics")
    kinds: dict[str, Mapping[str, object]] = {"area": plan.area, "contact": plan.contact}
    known = kinds.get(what, {})
    if not right or key not in known:
        raise HTTPException(404, "there is no such calendar")
    today_ms = day_begins_ms(local(_now_ms(), plan.zone).date(), plan.zone)
    contact, area = (key, "") if what == "contact" else ("", key)
    wanted = Wanted(contact, area, today_ms, today_ms + FEED_DAYS * DAY_MS)
    content = await _written(desk, plan, wanted)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": tag}
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=CALENDAR_TYPE, headers=headers)


async def _written(desk: Desk, plan: Plan, wanted: Wanted) -> bytes:
    changes = await desk.look(partial(dutystore.read, since_ms=wanted.from_ms))

    def work(changes: list[Change] = changes) -> bytes:
        from cloud.alerts import rosterexport  # long to import

        return rosterexport.calendar(plan, Duty(changes), wanted)

    async with desk.calendars:
        content: bytes = await _told(asyncio.to_thread(work))
        return content


async def _told(work: Awaitable[Any]) -> Any:
    """What comes of it; a mistake of the asker is 422."""
    try:
        return await work
    except UserError as error:
        raise HTTPException(422, str(error)) from None


def _time(request: Request, name: str, default: str) -> str:
    """A time of the query. In an address + stands for a space: +12h comes as one."""
    text: str = request.query_params.get(name, default)
    return f"+{text[1:]}" if text.startswith(" ") else text


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
