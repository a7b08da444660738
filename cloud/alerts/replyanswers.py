"""Hands our answer to a reply over to the channel that the call went by; in a transaction.

Two programs that answer each other would do it for ever. Therefore a number gets one answer a
minute at most: what records something waits until the minute is over, in place of an answer that
still waits; the rest is not sent.
"""

from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select, update

from cloud import state, tables
from cloud.alerts.actions import Part
from cloud.alerts.records import parts_of
from cloud.alerts.replywording import Words
from cloud.channels import Language, Message

EVERY_MS: Final = 60_000
"""An answer to one number at most in so long."""

KIND: Final = "reply"

SUPERSEDED: Final = "a newer answer says it"


class Answer(NamedTuple):
    """`name` is that of the reply, of which there is one answer; `to` the address on `channel`;
    `call` is the message that was replied to; `must_come`: it says what was recorded."""

    name: str
    contact: str
    channel: str
    call: Message
    exercise: bool
    parts: tuple[Part, ...]
    words: Words
    must_come: bool

    @property
    def language(self) -> Language:
        return self.call.language


def send(connection: Connection, answer: Answer, now_ms: int) -> bool:
    """Whether it is sent, now or when the minute is over."""
    at_ms = _turn(connection, answer, now_ms)
    if at_ms is None:
        return False
    key = f"{KIND}/{answer.name}"
    message = Message(
        key=key,
        title=answer.words.title,
        text=answer.words.text,
        kind=KIND,
        at_ms=now_ms,
        to=answer.call.to,
        name=answer.call.name,
        language=answer.language,
        incident=answer.call.incident,
        site=answer.call.site,
        exercise=answer.exercise,
    )
    # A call that ends takes back what asks for an answer: this does not.
    parts = [msgspec.structs.replace(part, asks=False) for part in answer.parts]
    row = {
        "key": key,
        "incident": message.incident,
        "contact": answer.contact,
        "channel": answer.channel,
        "parts": parts_of(parts),
        "message": msgspec.json.encode(message).decode(),
        "made_ms": now_ms,
        "not_before_ms": at_ms,
        "done_ms": None,
        "outcome": "",
        "provider_id": None,
        "detail": "",
        "call": None,
    }
    _take_back(connection, answer, now_ms)
    state.insert(connection, tables.outgoing, [row])
    return True


def _turn(connection: Connection, answer: Answer, now_ms: int) -> int | None:
    """When this number may have an answer; None if this one can be left out. A clock that was set
    back by more than a minute holds nothing up."""
    name = f"answer to {answer.channel}/{answer.call.to}"
    table = tables.heard
    last_ms = connection.execute(select(table.c.at_ms).filter_by(id=name)).scalar_one_or_none()
    at_ms = now_ms
    if last_ms is not None and abs(now_ms - last_ms) < EVERY_MS:
        if not answer.must_come:
            return None
        at_ms = last_ms + EVERY_MS if last_ms <= now_ms else last_ms
    state.upsert(connection, table, [{"id": name, "at_ms": at_ms}])
    return at_ms


def _take_back(connection: Connection, answer: Answer, now_ms: int) -> None:
    """Answers to this number that still wait."""
    out = tables.outgoing
    waiting = select(out.c.key, out.c.message).where(
        out.c.channel == answer.channel,
        out.c.done_ms.is_(None),
        out.c.contact == answer.contact,
        out.c.key.startswith(f"{KIND}/", autoescape=True),
    )
    for row in connection.execute(waiting).all():
        if msgspec.json.decode(row.message, type=Message).to == answer.call.to:
            connection.execute(
                update(out)
                .where(out.c.key == row.key)
                .values(done_ms=now_ms, outcome="withdrawn", detail=SUPERSEDED)
            )
