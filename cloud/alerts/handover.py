"""Composes each message at the moment at which a channel takes it; in the channel's transaction.

`outgoing` says what a message is about, not what it says. Of what waits for a contact on a channel,
and is about one alert, only the newest is still worth telling; a call keeps its place, for it asks
for an answer. What each contact was told last is kept, so that the next message can say what has
changed, and nobody hears that something is over of which they were never told.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, case, delete, select, update
from sqlalchemy.exc import DBAPIError

from cloud import database, state, tables
from cloud.alerts import compose, facts, holdrecords, wording
from cloud.alerts.actions import CALLS, Kind, Send, newest
from cloud.alerts.compose import Fact, Told
from cloud.alerts.facts import Obsolete
from cloud.alerts.plan import Plan
from cloud.alerts.records import Records, read_parts
from cloud.alerts.tokens import Tokens
from cloud.channels import Message
from wire.messages import Level

log: Final = logging.getLogger("shuichi.dispatch")

SUPERSEDED: Final = "a newer message says it"
CANNOT_BE_SENT: Final = "it cannot be sent"

_SENDS: Final = msgspec.json.Decoder(list[Send])
_MESSAGE: Final = msgspec.json.Decoder(Message)
_TOLD: Final = msgspec.json.Decoder(Told)


class Desk(Protocol):
    """What the delivery asks of whoever decides what is told."""

    def next(
        self, connection: Connection, channel: str, contact: str, now_ms: int
    ) -> Message | None:
        """The message that a contact is to get by a channel now, None if there is none."""

    def delivered(self, connection: Connection, key: str) -> None:
        """A channel has taken the message of a key."""

    def refused(self, connection: Connection, key: str, now_ms: int) -> bool:
        """A channel will never take it; whether somebody is called now because of that, by another
        channel or in the next area."""


class Stored:
    """Hands over what was composed before: documents, and answers to replies."""

    def next(
        self, connection: Connection, channel: str, contact: str, now_ms: int
    ) -> Message | None:
        for row in _waiting(connection, channel, contact, now_ms):
            if (message := _stored(connection, row, now_ms)) is not None:
                return message
        return None

    def delivered(self, connection: Connection, key: str) -> None: ...

    def refused(self, connection: Connection, key: str, now_ms: int) -> bool:
        return False


class _Waiting(NamedTuple):
    row: Row[tuple[object, ...]]
    sends: list[Send]


class HandOver:
    """`plan` is in force, `plan_of` gives that by which something began, `begin` a view of the
    state; links begin with `answer_url`, "" for none; `unreached` is told of a call that no channel
    takes."""

    def __init__(
        self,
        plan: Plan,
        begin: Callable[[Connection], Records],
        plan_of: Callable[[Records, str], Plan],
        tokens: Tokens,
        answer_url: str,
        unreached: Callable[[Connection, str, int], bool],
    ) -> None:
        self._plan_now = plan
        self._begin = begin
        self._plan_of = plan_of
        self._tokens = tokens
        self._url = answer_url
        self._unreached = unreached

    def use(self, plan: Plan) -> None:
        """Another plan comes into force."""
        self._plan_now = plan

    def next(
        self, connection: Connection, channel: str, contact: str, now_ms: int
    ) -> Message | None:
        waiting: list[_Waiting] = []
        for row in _waiting(connection, channel, contact, now_ms):
            if row.sends is None:
                if not waiting and (message := _stored(connection, row, now_ms)) is not None:
                    return message
                continue
            try:
                waiting.append(_Waiting(row, _SENDS.decode(row.sends)))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                _refuse(connection, row.key, now_ms, f"{type(error).__name__}: {error}")
        if not waiting:
            return None
        records = self._begin(connection)
        for row, sends in _newest(waiting):
            if not sends:
                _withdraw(connection, row.key, now_ms, SUPERSEDED)
            elif (message := self._safely(records, row, sends, now_ms)) is not None:
                return message
        return None

    def _safely(
        self, records: Records, row: Row[tuple[object, ...]], sends: Sequence[Send], now_ms: int
    ) -> Message | None:
        """One message that cannot be composed costs no other one; it is set aside."""
        connection = records.connection
        try:
            with connection.begin_nested():
                return self._composed(records, row, sends, now_ms)
        except DBAPIError:
            raise
        except Exception as error:  # a seam: what is kept of one alert may be unreadable
            log.exception("%s cannot be composed, and is sent in plain words", row.key)
            why = f"no message can be made: {type(error).__name__}: {error}"
        try:
            return self._plain(connection, row, sends, now_ms)
        except DBAPIError:
            raise
        except Exception:  # a seam: this contact cannot be told, the others are called
            log.exception("%s cannot be sent", row.key)
        first = sends[0]
        _end(connection, str(row.key), now_ms, "refused", why)
        notes = self._begin(connection)
        notes.note(
            *(str(row.incident), first.alert, now_ms, "set aside"),
            who=first.contact,
            text=why[:500],
        )
        notes.save()
        try:
            self.refused(connection, str(row.key), now_ms)
        except DBAPIError:
            raise
        except Exception:  # a seam: the round of the dispatch sets the alert aside, and says so
            log.exception("nobody else can be called for %s", row.key)
        return None

    def _plain(
        self,
        connection: Connection,
        row: Row[tuple[object, ...]],
        sends: Sequence[Send],
        now_ms: int,
    ) -> Message:
        """What happens and where, without anything that is read of the alert."""
        first = max(sends, key=lambda one: (one.kind in CALLS, one.level))
        plan = self._plan_now
        tongue = wording.language(plan, first.contact)
        words = [
            f"{wording.LEVEL[tongue][one.level]} {wording.HAZARD[tongue][one.hazard]}"
            f" {wording.site_name(plan, one.site, tongue)}"
            for one in sends
        ]
        call = None if row.call is None else self._begin(connection).call(str(row.call))
        blank = self._blank(row, plan, first, call, now_ms)
        text = "\n".join((*words, *filter(None, (blank.link,))))
        message = msgspec.structs.replace(blank, title=words[0], text=text)
        _keep(connection, message)
        return message

    def _blank(
        self, row: Row[tuple[object, ...]], plan: Plan, send: Send, call: Any, now_ms: int
    ) -> Message:
        """A message about `send` without words: to whom it goes, and how it is answered."""
        contact, tongue = plan.contact[send.contact], wording.language(plan, send.contact)
        kind = plan.channel[str(row.channel)].address if row.channel in plan.channel else None
        token = None if call is None else self._tokens.sign(call.id)
        return Message(
            key=str(row.key),
            title="",
            text="",
            kind=str(send.kind),
            at_ms=now_ms,
            to=contact.address.get(kind or "", ""),
            name=wording.named(contact.name, contact.name_en, tongue),
            language=tongue,
            level=send.level.name.lower(),
            incident=str(row.incident),
            site=send.site,
            link=f"{self._url}/a/{token}" if token and self._url else None,
            token=token,
            answer_code=None if call is None else call.code,
            exercise=send.exercise,
        )

    def delivered(self, connection: Connection, key: str) -> None:
        table = tables.knowledge
        fresh = connection.execute(
            update(table)
            .where(table.c.key == key, table.c.delivered.is_(False))
            .values(delivered=True)
        )
        if fresh.rowcount and self._plan_now.inhibit:  # what somebody knows of may go before
            targets = {one for rule in self._plan_now.inhibit for one in rule.target.hazards}
            holdrecords.stir(connection, targets)

    def refused(self, connection: Connection, key: str, now_ms: int) -> bool:
        table, out = tables.knowledge, tables.outgoing
        connection.execute(delete(table).where(table.c.key == key, table.c.delivered.is_(False)))
        row = connection.execute(select(out).where(out.c.key == key)).one_or_none()
        if row is None:
            return False
        if row.call is None:
            return self._by_the_next(connection, row, now_ms)
        rows = connection.execute(select(out).where(out.c.call == row.call)).all()
        if {one.outcome for one in rows} == {"refused"}:
            return self._unreached(connection, row.call, now_ms)
        return _hasten(connection, rows, now_ms)

    def _by_the_next(
        self, connection: Connection, row: Row[tuple[object, ...]], now_ms: int
    ) -> bool:
        """What asks for no answer goes by one channel: where that refuses it, by the next one."""
        contact = self._plan_now.contact.get(str(row.contact))
        if row.sends is None or contact is None or row.channel not in contact.channels:
            return False
        later = contact.channels[contact.channels.index(str(row.channel)) + 1 :]
        if not later:
            return False
        base = str(row.key).removesuffix(f"/{row.channel}")
        fresh = {
            **row._asdict(),
            "key": f"{base}/{later[0]}",
            "channel": later[0],
            "message": "",
            "made_ms": now_ms,
            "not_before_ms": now_ms,
            "done_ms": None,
            "outcome": "",
            "provider_id": None,
            "detail": "",
        }
        connection.execute(
            database.insert(connection, tables.outgoing).values(fresh).on_conflict_do_nothing()
        )
        return True

    def _composed(
        self, records: Records, row: Row[tuple[object, ...]], sends: Sequence[Send], now_ms: int
    ) -> Message | None:
        """The message of a row, None if there is nothing left to say: then it is withdrawn."""
        first = sends[0]
        told = _told(records.connection, first.contact, first.exercise, sends)
        found = []
        why = facts.OVER
        for send in sends:
            plan = self._plan(records, send)
            fact = facts.of(records, plan, send, told.get(send.alert))
            if isinstance(fact, Obsolete):
                why = fact
            else:
                found.append(fact)
        found = _without_ends_that_began_anew(found)
        if not found:
            _withdraw(records.connection, row.key, now_ms, why.reason)
            return None
        message = self._message(records, row, found, now_ms)
        _keep(records.connection, message)
        _remember(records.connection, message.key, found, now_ms)
        return message

    def _message(
        self, records: Records, row: Row[tuple[object, ...]], found: Sequence[Fact], now_ms: int
    ) -> Message:
        head = max(found, key=lambda one: (one.is_call, one.send.level))
        send = head.send
        plan, case = self._plan(records, send), records.case(send.alert)
        asks = any(one.is_call for one in found)
        call = records.call(row.call) if asks and row.call is not None else None
        blank = self._blank(row, plan, send, call, now_ms)
        words = _words(plan, found, now_ms, blank.link or "")
        return msgspec.structs.replace(
            blank,
            title=words.title,
            text=words.text,
            incident="" if case is None else case.incident,
            readings=tuple(one.measured for one in found if one.measured is not None),
            named=_named(found),
        )

    def _plan(self, records: Records, send: Send) -> Plan:
        case = records.case(send.alert)
        assert case is not None
        return self._plan_of(records, case.escalation.plan)


def _named(found: Sequence[Fact]) -> tuple[str, ...]:
    """The alerts that a digest names, () if it is all that it asks an answer for."""
    named = [one.send.alert for one in compose.named(found)]
    return tuple(named) if len(named) < sum(one.is_call for one in found) else ()


def _words(plan: Plan, found: Sequence[Fact], now_ms: int, link: str) -> wording.Wording:
    """What the message says; where the plan's texts cannot be used, what happens and where: a
    message in plain words is better than none."""
    try:
        if len(found) == 1:
            return compose.whole(plan, found[0], now_ms, link)
        return compose.digest(plan, found, now_ms, link)
    except Exception:  # a seam: an instruction must not silence the call that carries it
        log.exception("no message can be composed of %s", [one.send.key for one in found])
        lines = [
            f"{one.send.level.name} {one.send.kind}: {one.send.hazard}, {one.send.site}"
            for one in found
        ]
        return wording.Wording(lines[0], "\n".join((*lines[1:], link)).strip())


def _newest(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """The same rows, each with what no later one says better."""
    last = newest(send for one in waiting for send in one.sends)
    return [
        _Waiting(one.row, [send for send in one.sends if last[send.alert] is send])
        for one in waiting
    ]


def _without_ends_that_began_anew(found: Sequence[Fact]) -> list[Fact]:
    """Of a site that is in danger again nobody needs to hear that it was over."""
    active = {(one.send.site, one.send.hazard) for one in found if one.send.kind is not Kind.CLEAR}
    return [
        one
        for one in found
        if one.send.kind is not Kind.CLEAR or (one.send.site, one.send.hazard) not in active
    ]


def is_exercise() -> ColumnElement[int]:
    """1 for a row of `outgoing` that belongs to an exercise, else 0: the incident's id says it."""
    return case((tables.outgoing.c.incident.like("%.exercise"), 1), else_=0)


def _waiting(
    connection: Connection, channel: str, contact: str, now_ms: int
) -> Sequence[Row[tuple[object, ...]]]:
    out = tables.outgoing
    return connection.execute(
        select(out)
        .where(
            out.c.channel == channel,
            out.c.contact == contact,
            out.c.done_ms.is_(None),
            out.c.not_before_ms <= now_ms,
        )
        .order_by(is_exercise(), out.c.not_before_ms, out.c.key)
    ).all()


def _stored(connection: Connection, row: Row[tuple[object, ...]], now_ms: int) -> Message | None:
    try:
        return _MESSAGE.decode(str(row.message))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse(connection, str(row.key), now_ms, f"{type(error).__name__}: {error}")
        return None


def _told(
    connection: Connection, contact: str, exercise: bool, sends: Sequence[Send]
) -> dict[str, Told]:
    table = tables.knowledge
    rows = connection.execute(
        select(table.c.alert, table.c.state).where(
            table.c.contact == contact,
            table.c.exercise.is_(exercise),
            table.c.alert.in_({send.alert for send in sends}),
        )
    )
    told = {row.alert: _TOLD.decode(row.state) for row in rows}
    ends = [one for one in sends if one.kind is Kind.CLEAR and one.alert not in told]
    if ends:  # an older release, or a message in plain words, has left no more than that it went
        out = tables.outgoing
        went = connection.execute(
            select(out.c.parts).where(out.c.contact == contact, out.c.outcome == "delivered")
        ).scalars()
        alerts = {part.alert for parts in went for part in read_parts(parts)}
        told |= {one.alert: Told(one.level, None) for one in ends if one.alert in alerts}
    return told


def _keep(connection: Connection, message: Message) -> None:
    """What a row of `outgoing` says, now that it is composed."""
    out = tables.outgoing
    content = msgspec.json.encode(message).decode()
    connection.execute(update(out).where(out.c.key == message.key).values(message=content))


def _remember(connection: Connection, key: str, found: Sequence[Fact], now_ms: int) -> None:
    """What the contact knows from now on, unless the channel refuses the message."""
    rows = [
        {
            "contact": one.send.contact,
            "exercise": one.send.exercise,
            "alert": one.send.alert,
            "key": key,
            "state": msgspec.json.encode(Told(Level(one.send.level), one.measured)).decode(),
            "at_ms": now_ms,
            "delivered": False,
        }
        for one in found
    ]
    state.upsert(connection, tables.knowledge, rows, fixed=("delivered",))


def _withdraw(connection: Connection, key: str, now_ms: int, why: str) -> None:
    _end(connection, key, now_ms, "withdrawn", why)


def _refuse(connection: Connection, key: str, now_ms: int, why: str) -> None:
    log.error("%s cannot be read and is set aside: %s", key, why)
    _end(connection, key, now_ms, "refused", f"{CANNOT_BE_SENT}: {why}")


def _hasten(connection: Connection, rows: Sequence[Row[tuple[object, ...]]], now_ms: int) -> bool:
    """Of a call that no channel has taken yet, and none is about to take, the next channel does not
    wait any longer: what it was to wait for never went out. Whether there is one."""
    waiting = [one for one in rows if one.done_ms is None]
    if not waiting or any(one.outcome == "delivered" for one in rows):
        return False
    next_ms = min(one.not_before_ms for one in waiting)
    if next_ms <= now_ms:
        return False
    keys = [one.key for one in waiting if one.not_before_ms == next_ms]
    out = tables.outgoing
    connection.execute(update(out).where(out.c.key.in_(keys)).values(not_before_ms=now_ms))
    return True


def _end(connection: Connection, key: str, now_ms: int, outcome: str, detail: str) -> None:
    out = tables.outgoing
    connection.execute(
        update(out)
        .where(out.c.key == key)
        .values(done_ms=now_ms, outcome=outcome, detail=detail[:500])
    )
