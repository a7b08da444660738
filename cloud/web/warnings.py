"""The CAP feed and its documents: read by anybody, again and again.

Whoever has what we would send is told so (RFC 9110, 13): a poll of a feed that has not changed
costs some hundred bytes.
"""

import time
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from cloud.alerts import cap, capfeed
from cloud.alerts.capfeed import Feed, Page
from cloud.web.desk import HEADERS, Desk

ATOM_TYPE: Final = "application/atom+xml"

_SETTLED_MS: Final = 2000
"""`Last-Modified` counts seconds: what has changed within the last one may change in it again."""


def add(made: FastAPI, desk: Desk) -> None:
    """The routes, where somebody publishes."""
    if desk.publisher is None:
        return
    feed = Feed(desk.publisher, f"{desk.url}/cap")
    methods = ["GET", "HEAD"]
    made.add_api_route("/cap", partial(_feed, desk, feed), methods=methods)
    made.add_api_route("/cap/{identifier}", partial(_document, desk), methods=methods)


async def _feed(desk: Desk, feed: Feed, request: Request) -> Response:
    page = await desk.look(partial(feed.page, now_ms=_now_ms()))
    return _answer(request, page, ATOM_TYPE)


async def _document(desk: Desk, identifier: str, request: Request) -> Response:
    page = await desk.look(partial(capfeed.document, identifier=identifier))
    if page is None:
        raise HTTPException(404, f"there is no document {identifier!r}")
    return _answer(request, page, cap.CONTENT_TYPE)


def _answer(request: Request, page: Page, content_type: str) -> Response:
    headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": page.tag}
    dated = 0 < page.changed_ms <= _now_ms() - _SETTLED_MS
    if dated:
        headers["Last-Modified"] = formatdate(page.changed_ms // 1000, usegmt=True)
    if _has_it(request, page, dated):
        return Response(status_code=304, headers=headers)
    return Response(page.body, media_type=content_type, headers=headers)


def _has_it(request: Request, page: Page, dated: bool) -> bool:
    """Whether the asker has this already. A tag counts more than a time (RFC 9110, 13.2.2)."""
    if tags := request.headers.getlist("If-None-Match"):
        known = {one.strip().removeprefix("W/") for text in tags for one in text.split(",")}
        return page.tag in known or "*" in known
    if not dated or (since := request.headers.get("If-Modified-Since")) is None:
        return False
    try:
        return parsedate_to_datetime(since).timestamp() >= page.changed_ms // 1000
    except (ValueError, OverflowError):
        return False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
