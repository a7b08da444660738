"""The routes. Whatever is said here goes to the dispatch, in one transaction; a request that is cut
off by our end has counted or has not."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import msgspec
from fastapi import FastAPI, Request, Response
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from cloud.alerts.dispatch import Outcome
from cloud.alerts.news import News
from cloud.channels import Language
from cloud.web import api, calls, hearing, pages, replies, warnings
from cloud.web.calls import Found, Standing
from cloud.web.desk import HEADERS, Desk, body_of, sender_of
from cloud.web.hearing import Heard
from cloud.web.pages import More


def app(desk: Desk) -> FastAPI:
    """All routes."""
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    made.add_api_route("/a/{token}", partial(_show, desk), methods=["GET", "HEAD"])
    made.add_api_route("/a/{token}", partial(_answer, desk), methods=["POST"])
    made.add_api_route("/hooks/{name}", partial(_hear, desk), methods=["POST"])
    warnings.add(made, desk)
    api.add(made, desk)
    made.add_exception_handler(HTTPException, _refuse)
    return made


# Answer links


async def _show(desk: Desk, token: str, request: Request) -> Response:
    """Shows, and never answers: mail scanners and link previews come by GET too."""
    found = await _find(desk, token)
    if found.page.wants_result:
        return _page(200, pages.call(found.page))
    return _closed(found) or _page(200, pages.call(found.page))


async def _answer(desk: Desk, token: str, request: Request) -> Response:
    body = await body_of(request)
    found = await _find(desk, token)
    fields = parse_qs(body.decode(errors="replace"))
    form = {name: values[0].strip().replace("\0", "") for name, values in fields.items()}
    call = desk.dispatch.call_of(token)
    assert call is not None
    verdict = form.get("answer", "")
    if verdict in _RESULTS and found.page.wants_result:
        return await _report(desk, found, call, verdict, form, sender_of(request))
    if (closed := _closed(found)) is not None:
        return closed
    if verdict not in ("yes", "no"):
        return _page(422, pages.call(found.page))
    alerts = None
    if found.page.items:
        alerts = {one.alert for one in found.page.items}.intersection(fields.get("alert", ()))
        if not alerts:
            return _page(422, pages.call(found.page, warning="tick_first"))
    work: Callable[..., Outcome] = (
        desk.dispatch.answer if verdict == "yes" else desk.dispatch.decline
    )
    outcome = await desk.run(
        partial(
            work,
            call=call,
            by=form.get("by", "")[:80],
            how=f"link, {sender_of(request)}",
            said=form.get("said", "")[:500],
            now_ms=_now_ms(),
            alerts=alerts,
        )
    )
    desk.wake()
    page = found.page
    more = More(phone=page.phone)
    if verdict == "no":
        return _page(
            200, pages.message(page.language, "declined", page.title, good=True, more=more)
        )
    if outcome.ok:  # what to do stays in sight
        more = more._replace(text=page.text)
        return _page(200, pages.message(page.language, "thanks", page.title, good=True, more=more))
    # Somebody was quicker, or it has risen, since we looked.
    found = await _find(desk, token)
    return _closed(found) or _page(409, pages.message(page.language, "late", "late_text"))


_RESULTS: Final = ("acting", "closed", "evacuated", "done", "false-alarm", "cannot-act")


async def _report(
    desk: Desk, found: Found, call: str, verdict: str, form: dict[str, str], sender: str
) -> Response:
    """What was done, or is being done."""
    detail: dict[str, object] = {}
    if verdict != "acting":
        detail["result"] = verdict
    people = form.get("people", "")
    if verdict == "evacuated" and people.isascii() and people.isdecimal() and len(people) <= 6:
        detail["people"] = int(people)
    kind = "acting" if verdict == "acting" else "result"
    news = News(kind, f"link, {sender}", form.get("said", "")[:500], detail)
    await desk.run(partial(desk.dispatch.report, call=call, news=news, now_ms=_now_ms()))
    desk.wake()
    page = found.page
    more = More(text=page.text, phone=page.phone)
    return _page(200, pages.message(page.language, "reported", page.title, good=True, more=more))


async def _find(desk: Desk, token: str) -> Found:
    """The call of a token; 404 if there is none."""
    call = desk.dispatch.call_of(token)
    if call is not None:
        work = partial(calls.find, dispatch=desk.dispatch, call=call, now_ms=_now_ms())
        if (found := await desk.look(work)) is not None:
            return found
    raise HTTPException(404, "this link is not valid")


def _closed(found: Found) -> Response | None:
    """The page of a call that cannot be answered, None if it can."""
    page = found.page
    tongue = page.language
    more = More(phone=page.phone)
    match found.standing:
        case Standing.ANSWERED if found.answered is not None:
            return _page(410, pages.answered(tongue, page, found.answered))
        case Standing.OVER:
            return _page(410, pages.message(tongue, "over", page.title, more=more))
        case Standing.LATE:
            newer = "" if found.newer is None else f"/a/{found.newer}"
            more = more._replace(text=page.title, newer=newer)
            return _page(409, pages.message(tongue, "late", "late_text", more=more))
    return None


# Replies that providers pass on


async def _hear(desk: Desk, name: str, request: Request) -> Response:
    if name not in desk.hooks:
        raise HTTPException(404, f"there is no hook {name!r}")
    hook, secret = desk.hooks[name]
    body = await body_of(request)
    if not replies.is_authentic(hook, secret, request.headers, body):
        desk.refused(f"hook {name}", request)
        raise HTTPException(401, f"{hook.secret_header} does not fit")
    try:
        reply = replies.read(hook, body)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    now_ms = _now_ms()
    if not replies.is_fresh(hook, reply, now_ms):
        desk.refused(f"hook {name}, a reply of another time", request)
        raise HTTPException(401, f"{hook.time} is not within {hook.time_within_s:g} s of our time")
    heard = Heard(name, hook, reply, desk.spoken)

    def take(connection: Connection) -> None:
        if not desk.dispatch.heard_before(connection, f"{name}/{reply.message_id}", now_ms):
            hearing.take(connection, desk.dispatch, heard, now_ms)

    await desk.run(take)
    desk.wake()
    return Response(hook.success, media_type=hook.success_type, headers=HEADERS)


# What goes wrong

_WORDS = {404: "unknown", 503: "later"}


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.url.path.startswith("/a/"):
        key = _WORDS.get(error.status_code, "unreadable")
        return _page(error.status_code, pages.message(_tongue(request), key, f"{key}_text"))
    return Response(
        msgspec.json.encode({"error": str(error.detail)}),
        error.status_code,
        media_type="application/json",
        headers={**HEADERS, **(error.headers or {})},
    )


def _tongue(request: Request) -> Language:
    """Where we do not know who reads: what the browser asks for first."""
    wanted = request.headers.get("Accept-Language", "").strip().lower()
    return "en" if wanted.startswith("en") else "zh"


def _page(status: int, html: str) -> Response:
    return HTMLResponse(html, status, {**HEADERS, **pages.HEADERS})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
