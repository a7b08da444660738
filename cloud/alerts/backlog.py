"""What has piled up for a contact while a channel did not work: of the calls about one alert only
the newest is still worth telling."""

from typing import Final

from sqlalchemy import Connection, select, update

from cloud import tables
from cloud.alerts.actions import Part
from cloud.alerts.records import read_parts

SUPERSEDED: Final = "a newer message says it"


def thin(connection: Connection, *, channel: str, contact: str, now_ms: int) -> None:
    """Withdraw the calls to `contact` that a later one on `channel` makes needless: whoever answers
    that answers all of theirs. What tells of an end, or of anything else, stays."""
    out = tables.outgoing
    rows = connection.execute(
        select(out.c.key, out.c.parts)
        .where(
            out.c.channel == channel,
            out.c.contact == contact,
            out.c.done_ms.is_(None),
            out.c.call.is_not(None),
            out.c.not_before_ms <= now_ms,
        )
        .order_by(out.c.not_before_ms.desc(), out.c.key.desc())
    ).all()
    later: list[Part] = []
    for row in rows:
        parts = [part for part in read_parts(row.parts) if part.asks]
        if later and all(any(_covers(one, part) for one in later) for part in parts):
            connection.execute(
                update(out)
                .where(out.c.key == row.key)
                .values(done_ms=now_ms, outcome="withdrawn", detail=SUPERSEDED)
            )
        later += parts


def _covers(later: Part, earlier: Part) -> bool:
    return (later.alert, later.area) == (earlier.alert, earlier.area) and (
        later.round >= earlier.round
    )
