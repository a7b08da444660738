"""What was sealed, stored, missing, received twice and put aside: from the ledger, and from a count
of what is really in the store."""

import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud import ledger, overflow, problems, quarantine, tables
from cloud.comparison import Mismatch, Step, compare
from cloud.ledger import Key, Stream
from cloud.missing import GRACE_MS, Word, judge
from cloud.quarantine import UNNAMED, Held, Reason
from cloud.state import State
from cloud.store import Store, marks
from wire.ranges import Range


class GapAccount(msgspec.Struct, frozen=True):
    """A loss that the gateway has declared; `readings` None: nobody knows how many."""

    reason: str
    from_ms: int
    to_ms: int
    readings: int | None
    batches: list[Range]


class StreamAccount(msgspec.Struct, frozen=True):
    """One life of an outbox. `sealed_*` and `readings_sealed` are what the gateway said last,
    `expected_batches` is the highest that must exist; `lost`, `readings_lost` and `gaps` are what
    it has declared will never come.

    Of the batches that are not here it still has those `on_the_way`, as far as can be known; those
    that are `missing` it has not. The lowest of both is `hole`, and has been since `hole_since_ms`.
    Readings are in the store (`readings_ledgered`), in quarantine, or dropped from there; beside
    the last two stands the number of batches of which nobody knows how many they held. What is then
    left of those sealed is `readings_unaccounted`, None while that cannot be known.
    """

    gateway: str
    stream: str
    expected_batches: int
    sealed_batches: int
    received_batches: int
    missing: list[Range]
    on_the_way: list[Range]
    hole: int | None
    hole_since_ms: int | None
    redelivered_batches: int
    readings_sealed: int
    readings_ledgered: int
    readings_quarantined: int
    quarantined_unknown: int
    readings_dropped: int
    dropped_unknown: int
    readings_unaccounted: int | None
    lost: list[Range]
    readings_lost: int
    gaps: list[GapAccount]
    first_at_ms: int | None
    last_at_ms: int | None
    newest_ms: int | None


class GatewayAccount(msgspec.Struct, frozen=True):
    """What a gateway last said of itself, and when (`at_ms` by its clock): `pending` batches wait
    there for our ack; of those that it got, it did not believe `acks_refused`, and believes none
    while they are `acks_unproven`. None where it has not said."""

    gateway: str
    shard: str
    state: str
    stream: str | None
    pending: int | None
    at_ms: int
    received_at_ms: int
    acks_refused: int | None = None
    acks_unproven: bool | None = None


class AlertAccount(msgspec.Struct, frozen=True):
    """One episode of a rule; values in `unit`."""

    id: int
    rule: str
    part: str
    hazard: str
    level: str
    gateway: str
    site: str
    sensor: str
    quantity: str
    unit: str
    raised_at_ms: int
    raised_value: float | None
    received_at_ms: int
    cleared_at_ms: int | None
    cleared_value: float | None


class RefusedAccount(msgspec.Struct, frozen=True):
    """What was beyond a quota of a gateway ("": of all that nobody knows) so far."""

    gateway: str
    quota: str
    things: int
    last_at_ms: int


class Account(msgspec.Struct, frozen=True):
    """`ok`: there are no `problems`. Nothing is missing, the store holds the readings of the
    ledger, gateway by gateway and day by day (`mismatches`), together with those that its retention
    has taken (`readings_retired`), few are in quarantine, and none is refused. `notes` are what
    somebody should know all the same. `strangers` are gateways of which something is in quarantine
    because the config does not name them. `cases_let_go`: the quarantine had
    no room for them; the readings in them are among `readings_dropped`. `readings_in_store` None:
    the store does not answer, as `store_fault` says. `rollups_refused` are those that a server did
    not take, the newest for `rollup_fault`, until one of the tries in each hour settles them."""

    at_ms: int
    gateways: list[GatewayAccount]
    streams: list[StreamAccount]
    readings_sealed: int
    readings_ledgered: int
    readings_in_store: int | None
    store_fault: str
    readings_retired: int
    readings_unaccounted: int
    missing_batches: int
    batches_on_the_way: int
    readings_lost: int
    readings_quarantined: int
    readings_dropped: int
    redelivered_batches: int
    quarantined: int
    cases_let_go: int
    alerts: list[AlertAccount]
    mismatches: list[Mismatch]
    refused: list[RefusedAccount]
    strangers: list[str]
    problems: list[str]
    notes: list[str]
    ok: bool
    rollups_refused: int = 0
    rollup_fault: str = ""


class _Books(NamedTuple):
    """What the state says at one moment."""

    gateways: dict[str, GatewayAccount]
    streams: dict[Key, Stream]
    held: dict[Key, Held]
    gaps: dict[Key, list[GapAccount]]
    cases: int
    let_go: int
    alerts: list[AlertAccount]
    refused: list[RefusedAccount]
    strangers: list[str]
    rollups_refused: int
    rollup_fault: str


async def take(
    database: State,
    store: Store,
    gateway: str | None = None,
    since_ms: int | None = None,
    step: Step = lambda *_: None,
) -> Account:
    """The account of one gateway or of all, of the streams that were active since then (cloud's
    time). `step` is told how far the count of the store is. Raises Unavailable for the state; a
    store that is away is part of the account."""
    compared = await compare(database, store, gateway, since_ms, step)
    books = await database.run(partial(_read, gateway=gateway))
    now_ms = time.time_ns() // 1_000_000
    streams = [one for one in _streams(books, now_ms) if _is_active(one, books, since_ms)]
    active = {one.gateway for one in streams}
    silent = books.gateways.keys() - {key.gateway for key in books.streams}
    active |= {one for one in silent if books.gateways[one].received_at_ms >= (since_ms or 0)}
    found = Account(
        at_ms=now_ms,
        gateways=[one for name, one in books.gateways.items() if name in active],
        streams=streams,
        readings_sealed=sum(one.readings_sealed for one in streams),
        readings_ledgered=compared.in_ledger,
        readings_in_store=compared.in_store,
        store_fault=compared.fault,
        readings_retired=compared.retired,
        readings_unaccounted=sum(max(0, one.readings_unaccounted or 0) for one in streams),
        missing_batches=sum(b - a + 1 for one in streams for a, b in one.missing),
        batches_on_the_way=sum(b - a + 1 for one in streams for a, b in one.on_the_way),
        readings_lost=sum(one.readings_lost for one in streams),
        readings_quarantined=sum(one.readings_quarantined for one in streams),
        readings_dropped=sum(one.readings_dropped for one in streams),
        redelivered_batches=sum(one.redelivered_batches for one in streams),
        quarantined=books.cases,
        cases_let_go=books.let_go,
        alerts=[one for one in books.alerts if _is_lately(one, since_ms)],
        mismatches=compared.mismatches,
        refused=books.refused,
        strangers=books.strangers,
        problems=[],
        notes=[],
        ok=True,
        rollups_refused=books.rollups_refused,
        rollup_fault=books.rollup_fault,
    )
    wrong = problems.of(found)
    return msgspec.structs.replace(found, problems=wrong, notes=problems.notes(found), ok=not wrong)


def _read(connection: Connection, gateway: str | None) -> _Books:
    def wanted(name: str) -> bool:
        return gateway in (None, name)

    said = {
        row.gateway: GatewayAccount(*(row._mapping[n] for n in GatewayAccount.__struct_fields__))
        for row in connection.execute(select(tables.gateway).order_by(tables.gateway.c.gateway))
        if wanted(row.gateway)
    }
    gaps: dict[Key, list[GapAccount]] = {}
    for row in connection.execute(select(tables.gap).order_by(*tables.gap.primary_key)):
        batches = msgspec.json.decode(row.batches, type=list[Range])
        gaps.setdefault(Key(row.gateway, row.stream), []).append(
            GapAccount(row.reason, row.from_ms, row.to_ms, row.readings, batches)
        )
    return _Books(
        said,
        {key: one for key, one in ledger.load(connection).items() if wanted(key.gateway)},
        quarantine.held(connection),
        gaps,
        quarantine.count(connection, gateway),
        overflow.count(connection, gateway),
        _alerts(connection, gateway),
        _refused(connection, gateway),
        _strangers(connection, gateway),
        *marks.aside(connection),
    )


def _streams(books: _Books, now_ms: int) -> Iterator[StreamAccount]:
    by_gateway = itertools.groupby(books.streams.items(), key=lambda one: one[0].gateway)
    for gateway, some in by_gateway:
        streams = dict(some)
        said = books.gateways.get(gateway)
        word = None if said is None else Word(said.stream, said.pending, said.received_at_ms)
        judged = judge(streams, word, now_ms)
        for key, one in streams.items():
            held = books.held.get(key, Held())
            has_hole = bool(judged[key].missing or judged[key].on_the_way)
            yield StreamAccount(
                gateway=key.gateway,
                stream=key.stream,
                expected_batches=one.expected,
                sealed_batches=one.sealed,
                received_batches=one.received.count,
                missing=judged[key].missing,
                on_the_way=judged[key].on_the_way,
                hole=one.hole if has_hole else None,
                hole_since_ms=one.hole_since_ms if has_hole else None,
                redelivered_batches=one.redelivered,
                readings_sealed=one.readings_sealed,
                readings_ledgered=one.readings,
                readings_quarantined=held.readings,
                quarantined_unknown=held.unknown,
                readings_dropped=held.dropped,
                dropped_unknown=held.dropped_unknown,
                readings_unaccounted=_unaccounted(one, held, has_hole, now_ms),
                lost=list(one.lost),
                readings_lost=one.readings_lost,
                gaps=books.gaps.get(key, []),
                first_at_ms=one.first_at_ms,
                last_at_ms=one.last_at_ms,
                newest_ms=one.newest_ms,
            )


def _unaccounted(one: Stream, held: Held, has_hole: bool, now_ms: int) -> int | None:
    """Readings that were sealed and are nowhere; less than 0 where a loss was declared of readings
    that came all the same. Not to be known while something is still to come: a batch, the sum of
    what was sealed, or the gap that tells of a batch that was thinned."""
    is_quiet = one.last_at_ms is None or now_ms - one.last_at_ms >= GRACE_MS
    if has_hole or held.unknown or held.dropped_unknown or one.sealed < one.expected:
        return None
    if not is_quiet:
        return None
    found = one.readings + held.readings + held.dropped + one.readings_lost
    return one.readings_sealed - found


def _is_active(one: StreamAccount, books: _Books, since_ms: int | None) -> bool:
    if since_ms is None:
        return True
    if one.last_at_ms is None:  # known by the gateway's word alone
        said = books.gateways.get(one.gateway)
        return said is None or said.received_at_ms >= since_ms
    return one.last_at_ms >= since_ms


def _is_lately(one: AlertAccount, since_ms: int | None) -> bool:
    """Whether it lasts, or lasted then."""
    return since_ms is None or one.cleared_at_ms is None or one.cleared_at_ms >= since_ms


def _refused(connection: Connection, gateway: str | None) -> list[RefusedAccount]:
    table = tables.refused
    wanted = select(table).order_by(table.c.gateway, table.c.quota)
    if gateway is not None:
        wanted = wanted.where(table.c.gateway == gateway)
    return [
        RefusedAccount(row.gateway, row.quota, row.things, row.last_at_ms)
        for row in connection.execute(wanted)
    ]


def _strangers(connection: Connection, gateway: str | None) -> list[str]:
    table = tables.quarantine
    wanted = select(table.c.gateway).where(
        table.c.reason == str(Reason.NOT_ALLOWED), table.c.words.startswith(UNNAMED)
    )
    if gateway is not None:
        wanted = wanted.where(table.c.gateway == gateway)
    return [*connection.execute(wanted.distinct().order_by(table.c.gateway)).scalars()]


def _alerts(connection: Connection, gateway: str | None) -> list[AlertAccount]:
    wanted = select(tables.alert).order_by(tables.alert.c.id)
    if gateway is not None:
        wanted = wanted.where(tables.alert.c.gateway == gateway)
    return [AlertAccount(**row) for row in connection.execute(wanted).mappings()]
