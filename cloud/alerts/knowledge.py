"""What each contact was told last of each alert (table `knowledge`). In the transactions of the
hand-over.

Two things are kept: what a channel has taken, with which the next message compares, and what was
composed after that. A message that is composed may have been sent although nobody has said so,
because we were killed or the provider did not answer in time: whoever may know of an alert is told
its end.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, select, update

from cloud import state, tables
from cloud.alerts.actions import Kind, Send
from cloud.alerts.compose import Fact, Told
from cloud.alerts.records import read_parts
from wire.messages import Level


class Known(msgspec.Struct, frozen=True):
    """What a contact knows of an alert: `told` is what a channel has taken last, None for nothing;
    `composed` what was composed last."""

    composed: Told
    told: Told | None = None


_OLD: Final = msgspec.json.Decoder(Told)
_KNOWN: Final = msgspec.json.Decoder(Known)


def of(
    connection: Connection, contact: str, exercise: bool, sends: Sequence[Send]
) -> Mapping[str, Known]:
    """What a contact knows of the alerts of `sends`, by alert."""
    table = tables.knowledge
    rows = connection.execute(
        select(table.c.alert, table.c.state, table.c.delivered).where(
            table.c.contact == contact,
            table.c.exercise.is_(exercise),
            table.c.alert.in_({send.alert for send in sends}),
        )
    )
    known = {row.alert: _read(row.state, delivered=row.delivered) for row in rows}
    ends = [one for one in sends if one.kind is Kind.CLEAR and one.alert not in known]
    if ends:  # an older release, or a message in plain words, has left no more than that it went
        out = tables.outgoing
        went = connection.execute(
            select(out.c.parts).where(out.c.contact == contact, out.c.outcome == "delivered")
        ).scalars()
        alerts = {part.alert for parts in went for part in read_parts(parts)}
        known |= {
            one.alert: Known(Told(one.level, None), Told(one.level, None))
            for one in ends
            if one.alert in alerts
        }
    return known


def composed(
    connection: Connection,
    key: str,
    found: Iterable[Fact],
    known: Mapping[str, Known],
    now_ms: int,
) -> None:
    """The message of a key says this, and is about to be sent."""
    rows = []
    for one in found:
        send, before = one.send, known.get(one.send.alert)
        told = Told(Level(send.level), one.measured, send.stage)
        after = Known(told, None if before is None else before.told)
        rows.append(
            {
                "contact": send.contact,
                "exercise": send.exercise,
                "alert": send.alert,
                "key": key,
                "state": msgspec.json.encode(after).decode(),
                "at_ms": now_ms,
                "delivered": after.told is not None,
            }
        )
    state.upsert(connection, tables.knowledge, rows)


def taken(connection: Connection, key: str) -> bool:
    """A channel has taken the message of a key. Whether it tells of something that its contact did
    not know before."""
    table, is_new = tables.knowledge, False
    for row in connection.execute(select(table).where(table.c.key == key)).all():
        known = _read(row.state, delivered=row.delivered)
        is_new |= known.told is None
        _write(connection, row, Known(known.composed, known.composed))
    return is_new


def not_taken(connection: Connection, key: str) -> None:
    """No channel has taken the message of a key: it was not told."""
    table = tables.knowledge
    for row in connection.execute(select(table).where(table.c.key == key)).all():
        told = _read(row.state, delivered=row.delivered).told
        if told is None:
            connection.execute(delete(table).where(*_is(row)))
        else:
            _write(connection, row, Known(told, told))


def _write(connection: Connection, row: Any, known: Known) -> None:
    content = msgspec.json.encode(known).decode()
    connection.execute(
        update(tables.knowledge).where(*_is(row)).values(state=content, delivered=True)
    )


def _is(row: Any) -> list[Any]:
    table = tables.knowledge
    return [column == getattr(row, column.name) for column in table.primary_key]


def _read(text: str, *, delivered: bool) -> Known:
    if text.startswith("["):  # as an earlier release has written it
        told = _OLD.decode(text)
        return Known(told, told if delivered else None)
    return _KNOWN.decode(text)
