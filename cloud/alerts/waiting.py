"""What waits for a contact on a channel: what of it is still worth telling."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Row, case
from sqlalchemy.exc import DBAPIError

from cloud import tables
from cloud.alerts import facts
from cloud.alerts.actions import Kind, Send, newest
from cloud.alerts.compose import Fact
from cloud.alerts.facts import Obsolete
from cloud.alerts.records import Records

SUPERSEDED: Final = "a newer message says it"


class Waiting(NamedTuple):
    """A row of `outgoing` and what it is about."""

    row: Row[tuple[object, ...]]
    sends: list[Send]
    why: str = SUPERSEDED
    """Why it says nothing, if nothing is left of it."""


def still_told(records: Records, waiting: Sequence[Waiting]) -> list[Waiting]:
    """The same rows, each with what no later one says better. A call that nobody need answer any
    more says nothing, so that it is not in the way of the news that says why."""
    why = {
        send.key: obsolete.reason
        for one in waiting
        for send in one.sends
        if (obsolete := _obsolete(records, send)) is not None
    }
    last = newest(send for one in waiting for send in one.sends if send.key not in why)
    return [
        Waiting(
            one.row,
            [send for send in one.sends if last.get(send.alert) is send],
            next((why[send.key] for send in one.sends if send.key in why), SUPERSEDED),
        )
        for one in waiting
    ]


def _obsolete(records: Records, send: Send) -> Obsolete | None:
    """Why a message says nothing any more; None as well where what is kept of its alert cannot be
    read: whoever composes it sees that."""
    try:
        return facts.obsolete(records, send)
    except DBAPIError:
        raise
    except Exception:  # noqa: BLE001 - a seam: one alert that cannot be read costs no other one
        return None


def without_ends_that_began_anew(found: Sequence[Fact]) -> list[Fact]:
    """Of a site that is in danger again nobody needs to hear that it was over, and of one that was
    over twice only the last time."""
    active = {(one.send.site, one.send.hazard) for one in found if one.send.kind is not Kind.CLEAR}
    last = {
        (one.send.site, one.send.hazard): one.send.alert
        for one in sorted(found, key=lambda one: one.since_ms)
        if one.send.kind is Kind.CLEAR
    }
    return [
        one
        for one in found
        if one.send.kind is not Kind.CLEAR
        or (
            (one.send.site, one.send.hazard) not in active
            and last[one.send.site, one.send.hazard] == one.send.alert
        )
    ]


def is_exercise() -> ColumnElement[int]:
    """1 for a row of `outgoing` that belongs to an exercise, else 0: the incident's id says it."""
    return case((tables.outgoing.c.incident.like("%.exercise"), 1), else_=0)
