"""What was sealed, stored, missing, received twice and put aside: from the ledger, and from a count
of what is really in the store."""

import asyncio
from typing import Final

import msgspec
from sqlalchemy import Connection, func, select

from cloud import ledger, quarantine, state
from cloud.ledger import Range
from cloud.state import State
from cloud.store import Query, Store

_TRIES: Final = 5
_PAUSE_S: Final = 0.5


class StreamAccount(msgspec.Struct, frozen=True):
    """One life of an outbox. `sealed_*` and `readings_sealed` are what the gateway said last,
    `lost` and `readings_lost` what it has declared will never come."""

    gateway: str
    stream: str
    sealed_batches: int
    received_batches: int
    missing: list[Range]
    redelivered_batches: int
    readings_sealed: int
    readings_ledgered: int
    lost: list[Range]
    readings_lost: int
    first_at_ms: int | None
    last_at_ms: int | None


class AlertAccount(msgspec.Struct, frozen=True):
    """One alert; values in the SI unit of `quantity`. `undelivered` counts the channels that have
    not taken it yet, whether raised or cleared."""

    id: int
    rule: str
    level: str
    gateway: str
    site: str
    sensor: str
    quantity: str
    raised_at_ms: int
    raised_value: float
    received_at_ms: int
    cleared_at_ms: int | None
    cleared_value: float | None
    undelivered: int


class Account(msgspec.Struct, frozen=True):
    """`ok`: no batch is missing, and the store holds as many readings as the ledger says."""

    streams: list[StreamAccount]
    readings_sealed: int
    readings_ledgered: int
    readings_in_store: int
    missing_batches: int
    readings_lost: int
    redelivered_batches: int
    quarantined: int
    alerts: list[AlertAccount]
    ok: bool


async def take(database: State, store: Store, gateway: str | None = None) -> Account:
    """The account of one gateway or of all. Raises Unavailable."""
    query = Query(gateway=gateway)
    for _ in range(_TRIES):
        before = await database.run(lambda connection: _streams(connection, gateway))
        in_store = await store.count(query)
        streams = await database.run(lambda connection: _streams(connection, gateway))
        if streams == before and in_store == sum(one.readings_ledgered for one in streams):
            break
        await asyncio.sleep(_PAUSE_S)  # a service that runs may have stored in between
    quarantined, alerts = await database.run(
        lambda connection: (quarantine.count(connection, gateway), _alerts(connection, gateway))
    )
    ledgered = sum(one.readings_ledgered for one in streams)
    missing = sum(last - first + 1 for one in streams for first, last in one.missing)
    return Account(
        streams=streams,
        readings_sealed=sum(one.readings_sealed for one in streams),
        readings_ledgered=ledgered,
        readings_in_store=in_store,
        missing_batches=missing,
        readings_lost=sum(one.readings_lost for one in streams),
        redelivered_batches=sum(one.redelivered_batches for one in streams),
        quarantined=quarantined,
        alerts=alerts,
        ok=not missing and in_store == ledgered,
    )


def _streams(connection: Connection, gateway: str | None) -> list[StreamAccount]:
    return [
        StreamAccount(
            gateway=key.gateway,
            stream=key.stream,
            sealed_batches=one.sealed,
            received_batches=len(one.received),
            missing=one.missing,
            redelivered_batches=one.redelivered,
            readings_sealed=one.readings_sealed,
            readings_ledgered=one.readings,
            lost=list(one.lost),
            readings_lost=one.readings_lost,
            first_at_ms=one.first_at_ms,
            last_at_ms=one.last_at_ms,
        )
        for key, one in ledger.load(connection).items()
        if gateway in (None, key.gateway)
    ]


def _alerts(connection: Connection, gateway: str | None) -> list[AlertAccount]:
    alert, notification = state.alert, state.notification
    undelivered = (
        select(func.count())
        .where(notification.c.alert == alert.c.id, notification.c.delivered_at_ms.is_(None))
        .scalar_subquery()
    )
    wanted = select(alert, undelivered.label("undelivered")).order_by(alert.c.id)
    if gateway is not None:
        wanted = wanted.where(alert.c.gateway == gateway)
    return [AlertAccount(**row) for row in connection.execute(wanted).mappings()]
