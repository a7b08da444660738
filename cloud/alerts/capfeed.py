"""The CAP documents of alerts, as the feed reads them; `press` writes them."""

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from cloud import tables


class InForce(NamedTuple):
    """The documents that hold now, and when (UTC, ms) that last changed; 0: never."""

    documents: list[bytes]
    changed_ms: int


def in_force(connection: Connection) -> InForce:
    """What the feed shows."""
    table = tables.cap_document
    rows = connection.execute(select(table.c.document).where(table.c.in_force)).scalars()
    documents = [bytes(row) for row in rows]
    changed_ms = connection.execute(select(func.max(table.c.sent_ms))).scalar_one()
    return InForce(documents, changed_ms or 0)


def document(connection: Connection, identifier: str) -> bytes | None:
    """One document, whether it holds or not."""
    found = connection.execute(
        select(tables.cap_document.c.document).filter_by(identifier=identifier)
    ).scalar_one_or_none()
    return None if found is None else bytes(found)
