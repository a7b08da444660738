"""The feed of CAP documents: those that hold, and those that say what is over.

A receiver that polls learns of an end by a Cancel, which stays until its own `expires`. What has
ended by itself is shown no more, though nobody may have been there to take it out.
"""

import hashlib
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, or_, select

from cloud import tables
from cloud.alerts import cap
from cloud.alerts.cap import Publisher

_DOCUMENTS: Final = tables.cap_document

LARGEST: Final = 700_000
"""Bytes of documents in one feed: Google reads 900 KB. Over that entries only link to them."""


class Page(NamedTuple):
    """What is served: the bytes, a tag that changes with them, and when they changed last (UTC, ms;
    0: never)."""

    body: bytes
    tag: str
    changed_ms: int


class Feed:
    """The feed at `url`. Made anew only when it has changed: whoever polls costs two small
    questions to the state."""

    def __init__(self, publisher: Publisher, url: str) -> None:
        self._publisher = publisher
        self._url = url
        self._made: tuple[Any, Page] | None = None

    def page(self, connection: Connection, now_ms: int) -> Page:
        """As it is now."""
        shown = _shown(now_ms)
        names = connection.execute(
            select(_DOCUMENTS.c.identifier).where(shown).order_by(_DOCUMENTS.c.identifier)
        ).scalars()
        state = ([*names], _changed_ms(connection, now_ms))
        if self._made is None or self._made[0] != state:
            rows = connection.execute(
                select(_DOCUMENTS.c.document)
                .where(shown)
                .order_by(_DOCUMENTS.c.alert, _DOCUMENTS.c.number.desc())
            ).scalars()
            documents = [bytes(row) for row in rows]
            make = partial(
                cap.feed,
                documents,
                url=self._url,
                title=self._publisher.name or self._publisher.sender,
                updated_ms=state[1],
                web=self._publisher.web or "",
            )
            whole = sum(map(len, documents)) <= LARGEST
            body = make(whole=whole)
            self._made = (state, Page(body, _tag(body), state[1]))
        return self._made[1]


def document(connection: Connection, identifier: str) -> Page | None:
    """One document, whether it holds or not."""
    found = connection.execute(
        select(_DOCUMENTS.c.document, _DOCUMENTS.c.sent_ms).filter_by(identifier=identifier)
    ).one_or_none()
    if found is None:
        return None
    return Page(bytes(found.document), _tag(bytes(found.document)), found.sent_ms)


def _shown(now_ms: int) -> ColumnElement[bool]:
    """In force and not ended by itself; or a Cancel, as long as it is kept."""
    lasts = or_(_DOCUMENTS.c.expires_ms.is_(None), _DOCUMENTS.c.expires_ms > now_ms)
    cancels = _DOCUMENTS.c.level.is_(None) & (_DOCUMENTS.c.expires_ms > now_ms)
    return (_DOCUMENTS.c.in_force & lasts) | cancels


def _changed_ms(connection: Connection, now_ms: int) -> int:
    """When something last came, or went by itself."""
    came = connection.execute(select(func.max(_DOCUMENTS.c.sent_ms))).scalar_one()
    went = connection.execute(
        select(func.max(_DOCUMENTS.c.expires_ms)).where(_DOCUMENTS.c.expires_ms <= now_ms)
    ).scalar_one()
    return max(came or 0, went or 0)


def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
