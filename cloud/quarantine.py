"""Where goes what can be neither used nor thrown away: whole messages, and single readings and
events of a batch whose others are stored. Each with the reason; each ends by a person's hand."""

import hashlib
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import case as sql_case

from cloud import database, room
from cloud.ledger import Key
from cloud.room import Room, Surplus, Thing
from cloud.tables import overflow, quarantine, quarantine_log
from configs.text import clean
from wire.messages import Event
from wire.reading import Reading
from wire.senml import pack

UNNAMED: Final = "the config has no "
"""Begins the words of a case of a gateway that the config does not name."""

SHORTEST_ID: Final = 10
"""Hexadecimal digits of a digest that are shown; as many as are unique will do to name a case."""

_DIGITS: Final = 64
"""Of a whole digest."""

_LONGEST_WORDS: Final = 1000

_UNTOUCHABLE: Final = 10_000

_encode: Final = msgspec.json.Encoder().encode


class Kind(StrEnum):
    """What a case holds. A state (a status, an interlock's state) is retained at the broker: only
    the newest of a topic counts, and only that is kept."""

    MESSAGE = "message"
    STATE = "state"
    READING = "reading"
    EVENT = "event"


class Reason(StrEnum):
    """Why it could not be used."""

    UNREADABLE = "unreadable"
    NOT_ALLOWED = "not-allowed"
    UNPLANNED = "unplanned-site"
    TIME = "absurd-time"
    REFUSED = "refused"  # by the store
    QUOTA = "over-quota"
    FAILED = "failed"  # something of ours failed over it


class Verdict(StrEnum):
    """How a case ended. A duplicate is a message whose batch the ledger has from another one."""

    STORED = "stored"
    DROPPED = "dropped"
    DUPLICATE = "duplicate"


class Case(NamedTuple):
    """One thing in quarantine.

    `payload` is a message as it came; of a reading a SenML record that is a pack of its own; of an
    event its JSON. `gateway` is the one whose topic it came on, None where the topic says no such
    thing; `stream` and `batch` are set where they could be read, `position` is the place of a
    reading or event in its batch. `ledgered`: the ledger has the batch because of this case, or of
    the batch to which it belongs; then `readings` of the stream are here, None if nobody knows how
    many. `words` are what was wrong: ours, or the store's own.

    With a `surplus` it is so many things that are not kept, but only counted: `words` is then the
    quota that `gateway` is beyond.

    `undated` is what of a message has a time that cannot be true, for the rules; it is not kept.
    """

    kind: Kind
    reason: Reason
    words: str
    topic: str
    payload: bytes
    gateway: str | None = None
    stream: str | None = None
    batch: int | None = None
    position: int | None = None
    readings: int | None = 0
    ledgered: bool = False
    surplus: int = 0
    undated: tuple[Reading | Event, ...] = ()

    @property
    def key(self) -> Key | None:
        """The stream of its batch, if both could be read."""
        if self.gateway is None or self.stream is None:
            return None
        return Key(self.gateway, self.stream)

    @property
    def digest(self) -> bytes:
        """Its name for ever. The same message, or the same place in the same batch, is one case."""
        match self.kind:
            case Kind.MESSAGE:
                named = self.topic.encode() + b"\0" + self.payload
            case Kind.STATE:
                named = self.topic.encode()
            case _:
                named = _encode((self.kind, self.gateway, self.stream, self.batch, self.position))
        return hashlib.sha256(named).digest()

    @property
    def is_copy(self) -> bool:
        """Whether the ledger has its batch from elsewhere."""
        return self.batch is not None and not self.ledgered

    def as_copy(self) -> Self:
        return self._replace(ledgered=False, readings=0)


class Kept(NamedTuple):
    """A case as it lies there."""

    case: Case
    times: int
    first_at_ms: int
    last_at_ms: int

    @property
    def id(self) -> str:
        return self.case.digest.hex()[:SHORTEST_ID]


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which cases: None takes all. `ids` are beginnings of digests, in hexadecimal; `since_ms` is
    a time at which one has been seen, by the cloud's clock."""

    ids: tuple[str, ...] | None = None
    gateway: str | None = None
    reason: Reason | None = None
    since_ms: int | None = None


def record(gateway: str, reading: Reading) -> bytes:
    """A reading as a case holds it."""
    return _encode(next(pack(gateway, [reading])))


def event_json(event: Event) -> bytes:
    """An event as a case holds it."""
    return _encode(event)


def save(
    connection: Connection, cases: Iterable[Case], now_ms: int, space: Room | None = None
) -> None:
    """Keep the cases, as far as there is `space`; the others are counted. What is there already is
    not kept again, but counted: a gateway sends a batch until it is acked, and what cannot be named
    cannot be acked.

    A copy whose case has ended is a late repetition, of which the ledger knows.
    """
    kept: list[tuple[bytes, Case]] = []
    surplus: list[Case] = []
    for case in cases:
        if case.surplus:
            surplus.append(case)
        elif not (case.is_copy and _has_ended(connection, case.digest)):
            kept.append((case.digest, case))
    if space is not None and kept:
        there = room.there(connection, [digest for digest, _ in kept])
        fits = []
        for digest, case in kept:
            thing = Thing(case.gateway, _size(case), case.ledgered)
            quota = "" if digest in there else space.refusal(connection, thing, now_ms)
            if quota:
                surplus.append(case._replace(surplus=1, words=quota))
            else:
                fits.append((digest, case))
                there.add(digest)
        kept = fits
    if surplus:
        room.count(connection, [_surplus(case, space) for case in surplus], now_ms)
    rows = [
        _row(case) | {"digest": digest, "times": 1, "first_at_ms": now_ms, "last_at_ms": now_ms}
        for digest, case in kept
    ]
    if not rows:
        return
    new = database.insert(connection, quarantine)
    renewed = {name: new.excluded[name] for name in ("reason", "words", "payload", "last_at_ms")}
    connection.execute(
        new.on_conflict_do_update(
            index_elements=["digest"], set_=renewed | {"times": quarantine.c.times + 1}
        ),
        rows,
    )


def find(connection: Connection, wanted: Filter, limit: int | None = None) -> list[Kept]:
    """The cases that `wanted` asks for, those seen last first."""
    order = (quarantine.c.last_at_ms.desc(), quarantine.c.digest)
    asked = _asked(select(quarantine), wanted).order_by(*order).limit(limit)
    return [_kept(row) for row in connection.execute(asked)]


def untouchable(connection: Connection) -> set[bytes]:
    """The names of messages that nobody could even read the number of, because something of ours
    fails over them: they come again and again, and must not be decoded again."""
    asked = select(quarantine.c.digest).where(
        quarantine.c.reason == Reason.FAILED,
        quarantine.c.kind == Kind.MESSAGE,
        quarantine.c.batch.is_(None),
    )
    return {*connection.execute(asked.limit(_UNTOUCHABLE)).scalars()}


def digests(connection: Connection, wanted: Filter) -> list[bytes]:
    """The names of the cases that `wanted` asks for, oldest first: what waits for another comes
    after it."""
    order = (quarantine.c.first_at_ms, quarantine.c.batch, quarantine.c.position)
    asked = _asked(select(quarantine.c.digest), wanted).order_by(*order)
    return [*connection.execute(asked).scalars()]


def load(connection: Connection, digests: Collection[bytes]) -> list[Case]:
    """The cases of these names, as far as they are still there, and as they are until the
    transaction that is open ends."""
    asked = select(quarantine).where(quarantine.c.digest.in_(digests)).with_for_update()
    return [_kept(row).case for row in connection.execute(asked)]


def are_there(connection: Connection, digests: Collection[bytes]) -> bool:
    """Whether all of them are, until the transaction that is open ends."""
    asked = select(quarantine.c.digest).where(quarantine.c.digest.in_(digests)).with_for_update()
    return len(connection.execute(asked).all()) == len(digests)


def _asked(asked: Select[Any], wanted: Filter) -> Select[Any]:
    if wanted.gateway is not None:
        asked = asked.where(quarantine.c.gateway == wanted.gateway)
    if wanted.reason is not None:
        asked = asked.where(quarantine.c.reason == wanted.reason)
    if wanted.since_ms is not None:
        asked = asked.where(quarantine.c.last_at_ms >= wanted.since_ms)
    if wanted.ids is not None:
        whole = [bytes.fromhex(one) for one in wanted.ids if len(one) == _DIGITS]
        begun = [_span(one) for one in wanted.ids if len(one) < _DIGITS]
        named = [quarantine.c.digest.in_(whole)] if whole else []
        named += [quarantine.c.digest.between(*one) for one in begun]
        asked = asked.where(or_(false(), *named))
    return asked


def end(
    connection: Connection, cases: Collection[Case], verdict: Verdict, who: str, now_ms: int
) -> None:
    """Take the cases out, and write down how they ended and by whose hand."""
    if not cases:
        return
    told = {"at_ms": now_ms, "who": who, "verdict": verdict}
    rows = [_row(one) | told for one in cases]
    for row in rows:
        del row["topic"], row["payload"]
    connection.execute(insert(quarantine_log), rows)
    gone = delete(quarantine).where(quarantine.c.digest == bindparam("ended"))
    connection.execute(gone, [{"ended": row["digest"]} for row in rows])


def blame(connection: Connection, failed: Iterable[tuple[Case, Reason, str]], now_ms: int) -> None:
    """Another try of each has failed, for this reason and in these words."""
    rows = [
        {"of": case.digest, "new_reason": reason, "new_words": _words(words)}
        for case, reason, words in failed
    ]
    if rows:
        connection.execute(
            update(quarantine)
            .where(quarantine.c.digest == bindparam("of"))
            .values(
                reason=bindparam("new_reason"),
                words=bindparam("new_words"),
                times=quarantine.c.times + 1,
                last_at_ms=now_ms,
            ),
            rows,
        )


def count(connection: Connection, gateway: str | None = None) -> int:
    """How many cases there are; of one gateway, or all."""
    wanted = select(func.count()).select_from(quarantine)
    if gateway is not None:
        wanted = wanted.where(quarantine.c.gateway == gateway)
    return int(connection.execute(wanted).scalar_one())


class Held(NamedTuple):
    """What of one stream is in quarantine, or was dropped from there by a person or for want of
    room: readings, and cases of which nobody knows how many readings they hold."""

    readings: int = 0
    unknown: int = 0
    dropped: int = 0
    dropped_unknown: int = 0


def held(connection: Connection) -> dict[Key, Held]:
    """By stream, as far as the ledger counts it."""
    found: dict[Key, Held] = {}
    for row in connection.execute(_sums(quarantine, quarantine.c.ledgered)):
        found[Key(row.gateway, row.stream)] = Held(int(row.readings or 0), int(row.unknown))
    gone = quarantine_log.c.ledgered & (quarantine_log.c.verdict == Verdict.DROPPED)
    for row in connection.execute(_sums(quarantine_log, gone)):
        _drop(found, row)
    for row in connection.execute(select(overflow).where(overflow.c.stream != "")):
        _drop(found, row)
    return found


def _drop(found: dict[Key, Held], row: Row[Any]) -> None:
    key = Key(row.gateway, row.stream)
    held = found.get(key, Held())
    found[key] = held._replace(
        dropped=held.dropped + int(row.readings or 0),
        dropped_unknown=held.dropped_unknown + int(row.unknown),
    )


def _sums(table: Table, wanted: ColumnElement[bool]) -> Select[Any]:
    return (
        select(
            table.c.gateway,
            table.c.stream,
            func.sum(table.c.readings).label("readings"),
            func.sum(sql_case((table.c.readings.is_(None), 1), else_=0)).label("unknown"),
        )
        .where(wanted)
        .group_by(table.c.gateway, table.c.stream)
    )


def _has_ended(connection: Connection, digest: bytes) -> bool:
    ended = select(quarantine_log.c.id).where(quarantine_log.c.digest == digest).limit(1)
    return connection.execute(ended).first() is not None


def _row(case: Case) -> dict[str, Any]:
    row = case._asdict() | {"digest": case.digest, "words": _words(case.words)}
    del row["undated"]
    del row["surplus"]
    return row


def _size(case: Case) -> int:
    words = min(len(case.words), _LONGEST_WORDS)
    return len(case.payload) + words + len(case.topic) + room.CASE_BYTES


def _surplus(case: Case, space: Room | None) -> Surplus:
    owner = (case.gateway or "") if space is None else space.owner(case.gateway)
    if case.ledgered and case.gateway is not None and case.stream is not None:
        counted = case.readings
        return Surplus(case.gateway, case.words, case.surplus, case.stream, counted, is_lost=True)
    is_lost = bool(case.topic)  # else it was refused for a rate: its gateway has it
    return Surplus(owner, case.words, case.surplus, is_lost=is_lost)


def _kept(row: Row[Any]) -> Kept:
    found = row._asdict()
    fields = {name: found[name] for name in Case._fields if name in found}
    fields |= {"kind": Kind(row.kind), "reason": Reason(row.reason)}
    return Kept(Case(**fields), row.times, row.first_at_ms, row.last_at_ms)


def _span(beginning: str) -> tuple[bytes, bytes]:
    """The first and the last digest that begin so."""
    return bytes.fromhex(beginning.ljust(64, "0")), bytes.fromhex(beginning.ljust(64, "f"))


def _words(words: str) -> str:
    """As every database holds it and any terminal may show it: decoders quote what they read."""
    return clean(words, _LONGEST_WORDS)
