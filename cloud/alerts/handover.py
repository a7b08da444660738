"""Composes each message at the moment at which a channel takes it; in the channel's transaction.

`outgoing` says what a message is about, not what it says. Of what waits for a contact on a channel,
and is about one alert, only the newest is still worth telling; a call keeps its place, for it asks
for an answer. What each contact was told last is kept, so that the next message can say what has
changed, and nobody hears that something is over of which they were never told.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, Row, select, update
from sqlalchemy.exc import DBAPIError

from cloud import database, tables
from cloud.alerts import compose, facts, holdrecords, knowledge, wording
from cloud.alerts import plan as plans
from cloud.alerts.actions import CALLS, Kind, Send, foremost
from cloud.alerts.compose import Fact
from cloud.alerts.facts import Obsolete
from cloud.alerts.knowledge import Known
from cloud.alerts.plan import Plan
from cloud.alerts.records import Records, parts_of
from cloud.alerts.tokens import Tokens
from cloud.alerts.waiting import Waiting, is_exercise, still_told, without_ends_that_began_anew
from cloud.channels import Message

log: Final = logging.getLogger("shuichi.dispatch")

CANNOT_BE_SENT: Final = "it cannot be sent"

_SENDS: Final = msgspec.json.Decoder(list[Send])
_MESSAGE: Final = msgspec.json.Decoder(Message)


class Desk(Protocol):
    """What the delivery asks of whoever decides what is told."""

    def next(
        self, connection: Connection, channel: str, contact: str, now_ms: int
    ) -> Message | None:
        """The message that a contact is to get by a channel now, None if there is none."""

    def delivered(self, connection: Connection, key: str) -> None:
        """A channel has taken the message of a key."""

    def not_taken(self, connection: Connection, key: str) -> None:
        """A channel has certainly not taken it now, and is to be asked again."""

    def broken(self, connection: Connection, channels: Collection[str], now_ms: int) -> bool:
        """These channels take nothing: whether other channels are used now that would have waited
        for them."""

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

    def not_taken(self, connection: Connection, key: str) -> None: ...

    def broken(self, connection: Connection, channels: Collection[str], now_ms: int) -> bool:
        return False

    def refused(self, connection: Connection, key: str, now_ms: int) -> bool:
        return False


class Outside(NamedTuple):
    """What messages need beside the state: the channels of the config; who signs links, which begin
    with `answer_url`, "" for none."""

    channels: Collection[str]
    tokens: Tokens
    answer_url: str


class HandOver:
    """`plan` is in force, `plan_of` gives that by which something began, `begin` a view of the
    state; `unreached` is told of a call that no channel takes."""

    def __init__(
        self,
        plan: Plan,
        outside: Outside,
        begin: Callable[[Connection], Records],
        plan_of: Callable[[Records, str], Plan],
        unreached: Callable[[Connection, str, int], bool],
    ) -> None:
        self._plan_now = plan
        self._begin = begin
        self._plan_of = plan_of
        self._channels, self._tokens, self._url = outside
        self._unreached = unreached

    def use(self, plan: Plan) -> None:
        """Another plan comes into force."""
        self._plan_now = plan

    def next(
        self, connection: Connection, channel: str, contact: str, now_ms: int
    ) -> Message | None:
        waiting: list[Waiting] = []
        for row in _waiting(connection, channel, contact, now_ms):
            if row.sends is None:
                if not waiting and (message := _stored(connection, row, now_ms)) is not None:
                    return message
                continue
            try:
                waiting.append(Waiting(row, _SENDS.decode(row.sends)))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                _refuse(connection, row.key, now_ms, f"{type(error).__name__}: {error}")
        if not waiting:
            return None
        records = self._begin(connection)
        for row, sends, why in still_told(records, waiting):
            if not sends:
                _withdraw(connection, row.key, now_ms, why)
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
        plan = self._plan_that_knows(connection, first)
        words = [compose.headline(plan, one) for one in sends]
        call = None if row.call is None else self._begin(connection).call(str(row.call))
        blank = self._blank(row, plan, first, call, now_ms)
        text = "\n".join((*words, *filter(None, (blank.link,))))
        message = msgspec.structs.replace(blank, title=words[0], text=text)
        _keep(connection, message)
        return message

    def _plan_that_knows(self, connection: Connection, send: Send) -> Plan:
        """The plan in force, or that of the alert where its contact is in no other one."""
        if send.contact in self._plan_now.contact:
            return self._plan_now
        return self._plan(self._begin(connection), send)

    def _blank(
        self, row: Row[tuple[object, ...]], plan: Plan, send: Send, call: Any, now_ms: int
    ) -> Message:
        """A message about `send` without words: to whom it goes, and how it is answered."""
        # A number that was corrected while the alert runs is the one to call.
        contact = self._plan_now.contact.get(send.contact) or plan.contact[send.contact]
        tongue = wording.language(plan, send.contact)
        name = str(row.channel)
        channel = self._plan_now.channel.get(name) or plan.channel.get(name)
        kind = None if channel is None else channel.address
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
        is_new = knowledge.taken(connection, key)
        if is_new and self._plan_now.inhibit:  # what somebody knows of may go before
            targets = {one for rule in self._plan_now.inhibit for one in rule.target.hazards}
            holdrecords.stir(connection, targets)

    def not_taken(self, connection: Connection, key: str) -> None:
        knowledge.not_taken(connection, key)

    def refused(self, connection: Connection, key: str, now_ms: int) -> bool:
        out = tables.outgoing
        knowledge.not_taken(connection, key)
        row = connection.execute(select(out).where(out.c.key == key)).one_or_none()
        if row is None:
            return False
        goes_on = self._by_the_next(connection, row, now_ms)
        if row.call is None:
            return goes_on
        rows = connection.execute(select(out).where(out.c.call == row.call)).all()
        if {one.outcome for one in rows} == {"refused"}:
            return self._unreached(connection, row.call, now_ms) or goes_on
        return _hasten(connection, rows, now_ms) or goes_on

    def broken(self, connection: Connection, channels: Collection[str], now_ms: int) -> bool:
        out = tables.outgoing
        stuck = select(out.c.call).where(
            out.c.channel.in_(channels),
            out.c.done_ms.is_(None),
            out.c.not_before_ms <= now_ms,
            out.c.call.is_not(None),
        )
        later: dict[str, list[Row[tuple[object, ...]]]] = {}
        for row in connection.execute(select(out).where(out.c.call.in_(stuck))):
            if row.done_ms is not None or row.channel not in channels:
                later.setdefault(str(row.call), []).append(row)
        return sum(_hasten(connection, rows, now_ms) for rows in later.values()) > 0

    def _by_the_next(
        self, connection: Connection, row: Row[tuple[object, ...]], now_ms: int
    ) -> bool:
        """What asks for no answer goes by one channel: where that refuses it, by the next one, also
        what stood in one message with calls, which go by all channels themselves."""
        if row.sends is None:
            return False
        sends = _SENDS.decode(str(row.sends))
        news = [one for one in sends if one.kind not in CALLS]
        if not news:
            return False
        plan = self._plan_that_knows(connection, foremost(news))
        contact = plan.contact.get(str(row.contact))
        if contact is None or row.channel not in contact.channels:
            return False
        place = contact.channels.index(str(row.channel))
        later = [one for one in contact.channels[place + 1 :] if one in self._channels]
        if not later:
            return False
        base = str(row.key).removesuffix(f"/{row.channel}")
        if len(news) < len(sends):
            base += "/news"
        fresh = {
            **row._asdict(),
            "key": f"{base}/{later[0]}",
            "sends": msgspec.json.encode(news).decode(),
            "parts": parts_of(send.part for send in news),
            "call": None,
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
        known = knowledge.of(records.connection, first.contact, first.exercise, sends)
        found = []
        why = facts.OVER
        sends, ends = self._instead(records, row, sends, known), sends
        if not sends and ends:
            why = facts.BEGAN_ANEW
        for send in sends:
            plan = self._plan(records, send)
            fact = facts.of(records, plan, send, known.get(send.alert))
            if isinstance(fact, Obsolete):
                why = fact
            else:
                found.append(fact)
        found = without_ends_that_began_anew(found)
        if not found:
            _withdraw(records.connection, row.key, now_ms, why.reason)
            return None
        message = self._message(records, row, found, now_ms)
        _keep(records.connection, message)
        knowledge.composed(records.connection, message.key, found, known, now_ms)
        return message

    def _instead(
        self,
        records: Records,
        row: Row[tuple[object, ...]],
        sends: Sequence[Send],
        known: Mapping[str, Known],
    ) -> Sequence[Send]:
        """What a row tells now: of a site that is in danger again, that, and not the end of the
        danger before. It is kept, for a channel may not take it at once."""
        now = []
        for send in sends:
            plan = self._plan(records, send)
            told = send.kind is Kind.CLEAR and send.alert in known and send.contact in plan.contact
            one = facts.instead(records, send) if told else send
            if one is not None:
                now.append(one)
        if now and now != [*sends]:
            records.save()
            out = tables.outgoing
            changed = {
                "sends": msgspec.json.encode(now).decode(),
                "parts": parts_of(send.part for send in now),
            }
            records.connection.execute(update(out).where(out.c.key == row.key).values(changed))
        return now

    def _message(
        self, records: Records, row: Row[tuple[object, ...]], found: Sequence[Fact], now_ms: int
    ) -> Message:
        head = max(found, key=lambda one: (one.is_call, one.send.level))
        send = head.send
        plan, case = self._plan(records, send), records.case(send.alert)
        asks = any(one.is_call for one in found)
        call = records.call(row.call) if asks and row.call is not None else None
        blank = self._blank(row, plan, send, call, now_ms)
        others = (self._plan(records, one.send) for one in found)
        words = _words(plans.together(plan, others), found, now_ms, blank.link or "")
        return msgspec.structs.replace(
            blank,
            title=words.title,
            text=words.text,
            incident="" if case is None else case.incident,
            readings=tuple(
                read for one in found for read in (one.measured, one.other) if read is not None
            ),
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
        lines = [compose.headline(plan, one.send) for one in found]
        return wording.Wording(lines[0], "\n".join((*lines[1:], link)).strip())


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


def _keep(connection: Connection, message: Message) -> None:
    """What a row of `outgoing` says, now that it is composed."""
    out = tables.outgoing
    content = msgspec.json.encode(message).decode()
    connection.execute(update(out).where(out.c.key == message.key).values(message=content))


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
