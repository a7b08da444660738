"""The routes. Whatever is said here goes to the dispatch, in one transaction; a request that is cut
off by our end has counted or has not."""

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple
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
from cloud.web.pages import CallPage


def app(desk: Desk) -> FastAPI:
    """All routes."""
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    made.add_api_route("/a/{token}", partial(_show, desk), methods=["GET", "HEAD"])
    made.add_api_route("/a/{token}", partial(_answer, desk), methods=["POST"])
    made.add_api_route("/hooks/{name}", partial(_hear, desk), methods=["POST"])
    warnings.add(made, desk)
    api.add(made, desk)
    made.add_exception_handler(HTTPException, partial(_refuse, desk))
    made.add_exception_handler(Exception, partial(_refuse, desk))
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
    page = found.page
    verdict = form.get("answer", "")
    alerts = _ticked(page, fields.get("alert", ()))
    gives_result = verdict in pages.RESULTS and page.wants_result
    if not gives_result and (closed := _closed(found)) is not None:
        return closed
    if not gives_result and verdict not in ("yes", "no"):
        return _page(422, pages.call(page, notice="press"))
    if alerts is not None and not alerts:
        return _page(422, pages.call(page, notice="tick_first"))
    given = Given(call, verdict, form, f"link, {sender_of(request)}", alerts)
    back = request.url.path
    if gives_result:
        return await _report(desk, token, given, back)
    by, said = form.get("by", "")[:80], form.get("said", "")[:500]
    work: Callable[..., Outcome] = (
        desk.dispatch.answer if verdict == "yes" else desk.dispatch.decline
    )
    outcome = await desk.run(
        partial(work, call=call, by=by, how=given.how, said=said, now_ms=_now_ms(), alerts=alerts)
    )
    desk.wake()
    if verdict == "no":
        return _page(200, pages.noted(page, "declined", back))
    found = await _find(desk, token)
    if not outcome.ok:  # Somebody was quicker, or it has changed, since we looked.
        return _closed(found) or _page(409, pages.call(found.page, notice="press"))
    if found.page.wants_result:
        return _page(200, pages.call(found.page, notice="thanks"))
    if _closed(found) is None:
        return _page(200, pages.call(found.page, notice="thanks_some"))
    return _page(200, pages.closed(found.page, "thanks"))


class Given(NamedTuple):
    """What a form says: `alerts` are those that are ticked, None if there was nothing to tick."""

    call: str
    verdict: str
    form: Mapping[str, str]
    how: str
    alerts: Collection[str] | None


def _ticked(page: CallPage, names: Sequence[str]) -> Collection[str] | None:
    """Which alerts the reader means. A form that was read when there were more to tick means only
    what is ticked in it."""
    if page.items:
        return {one.alert for one in page.items if not one.late}.intersection(names)
    return set(names) or None


async def _report(desk: Desk, token: str, given: Given, back: str) -> Response:
    """What was done, or is being done."""
    verdict, said = given.verdict, given.form.get("said", "")
    detail: dict[str, object] = {}
    if verdict != "acting":
        detail["result"] = verdict
    if verdict == "evacuated" and (people := given.form.get("people", "")[:20]):
        number = re.search(r"(?<!\d)\d{1,6}(?!\d)", people)
        if number is not None:
            detail["people"] = int(number[0])
        if number is None or not people.isdecimal():  # what they wrote stays
            said = f"{people} {said}".strip()
    kind = "acting" if verdict == "acting" else "result"
    news = News(kind, given.how, said[:500], detail)
    await desk.run(
        partial(
            desk.dispatch.report,
            call=given.call,
            news=news,
            now_ms=_now_ms(),
            alerts=given.alerts,
        )
    )
    desk.wake()
    page = (await _find(desk, token)).page
    if verdict == "cannot-act":
        return _page(200, pages.noted(page, "declined", back))
    if page.wants_result:
        return _page(200, pages.call(page, notice="reported"))
    return _page(200, pages.noted(page, "reported", back))


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
    match found.standing:
        case Standing.ANSWERED if page.wants_result:
            return _page(410, pages.call(page, notice="answered_already"))
        case Standing.ANSWERED if found.answered is not None:
            head = "over" if page.level is None else "answered_already"
            return _page(410, pages.closed(page, head))
        case Standing.OVER:
            return _page(410, pages.closed(page, "over"))
        case Standing.LATE:
            head = "late" if found.worse else "again"
            text = f"{head}_alone" if found.newer is None else f"{head}_text"
            if found.newer is None and found.answered is not None:
                text = ""
            newer = "" if found.newer is None else f"/a/{found.newer}"
            return _page(409, pages.closed(page, head, text, newer=newer))
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

_LATER: Final = (408, 429)
"""Nothing is wrong with what was sent: the same may be tried again, as after a fault of ours."""


async def _refuse(desk: Desk, request: Request, error: Exception) -> Response:
    refusal = error if isinstance(error, HTTPException) else HTTPException(500, "a fault of ours")
    status = refusal.status_code
    if request.url.path.startswith("/a/"):
        key = "unknown" if status == 404 else "unreadable"
        if status >= 500 or status in _LATER:
            key = "later" if request.method == "POST" else "unseen"
        page = _page(status, pages.message(_tongue(request), key, desk.dispatch.duty_phone))
        if refusal is not error:  # the server ends the connection, and so the reader must know
            page.headers["Connection"] = "close"
        return page
    return Response(
        msgspec.json.encode({"error": str(refusal.detail)}),
        status,
        media_type="application/json",
        headers={**HEADERS, **(refusal.headers or {})},
    )


def _tongue(request: Request) -> Language:
    """Where we do not know who reads: what the browser asks for first."""
    wanted = request.headers.get("Accept-Language", "").strip().lower()
    return "en" if wanted.startswith("en") else "zh"


def _page(status: int, html: str) -> Response:
    return HTMLResponse(html, status, {**HEADERS, **pages.HEADERS})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
