"""What gateways tell beside readings: events, gaps, how they are and how their interlocks stand."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, insert

from cloud import state, tables, tally
from cloud.intake import Arrived, Intake
from wire.messages import Batch, Event, InterlockState, Status

LATE_MS: Final = 60_000
"""A status that is older has waited at the broker: its gateway may be dead since."""


def save(connection: Connection, batches: Iterable[Arrived]) -> None:
    """Add the events and the gaps of batches that are new, the series that are, and count their
    readings by day."""
    many = [*batches]
    tally.add(connection, (one.batch for one in many))
    now_ms = time.time_ns() // 1_000_000
    series = [row for one in many if one.new for row in _series_rows(one, now_ms)]
    state.insert(connection, tables.known_series, series, or_leave=True)
    if events := [row for one in many if one.batch.events for row in _event_rows(one)]:
        connection.execute(insert(tables.event_log), events)
    if gaps := [row for one in many if one.batch.gaps for row in _gap_rows(one.batch)]:
        connection.execute(insert(tables.gap), gaps)


def save_states(connection: Connection, intake: Intake, shard: str, now_ms: int) -> None:
    """Keep what gateways last said of themselves and of their interlocks."""
    latest = {status.gateway: status for status in intake.statuses}
    knowing = {status.gateway: status for status in intake.statuses if status.stream}
    # A last will, which the broker sends, knows nothing of batches: it leaves what was known.
    # Nor is it a sign of life: it does not change when the gateway was heard.
    for statuses, fixed in (
        (knowing, ()),
        ({g: s for g, s in latest.items() if not s.stream}, ("received_at_ms",)),
    ):
        rows = [status_row(one, shard, now_ms) for one in statuses.values()]
        state.upsert(connection, tables.gateway, rows, fixed=fixed)
    interlocks = {(gateway, one.site): one for gateway, one in intake.interlocks}
    rows = [interlock_row(gateway, one) for (gateway, _), one in interlocks.items()]
    state.upsert(connection, tables.interlock, rows)


def event_row(
    gateway: str, stream: str, batch: int, position: int, event: Event
) -> dict[str, object]:
    """An event and its place."""
    return {
        "gateway": gateway,
        "stream": stream,
        "batch": batch,
        "position": position,
        "at_ms": event.at_ms,
        "site": event.site,
        "kind": event.kind,
        "text": event.text,
        "detail": msgspec.json.encode(event.detail).decode(),
    }


def status_row(status: Status, shard: str, now_ms: int) -> dict[str, object]:
    """What a gateway says of itself, and in which shard."""
    row: dict[str, object] = {
        "gateway": status.gateway,
        "shard": shard,
        "state": status.state,
        "at_ms": status.at_ms,
        "received_at_ms": heard_ms(status, now_ms),
    }
    if status.stream:
        row |= {"stream": status.stream, "pending": status.pending}
        row |= {"acks_refused": status.acks_refused, "acks_unproven": status.acks_unproven}
    return row


def heard_ms(status: Status, now_ms: int) -> int:
    """When a gateway was heard by this status, on the cloud's clock: now; but a status that the
    broker has kept is as old as it says, where the gateway's clock can be trusted."""
    is_old = status.clock_trusted and now_ms - status.at_ms > LATE_MS
    return status.at_ms if is_old else now_ms


def interlock_row(gateway: str, interlock: InterlockState) -> dict[str, object]:
    """How an interlock of a gateway stands."""
    return {
        "gateway": gateway,
        "site": interlock.site,
        "wanted": interlock.wanted,
        "confirmed": interlock.confirmed,
        "depth": interlock.depth,
        "cause": interlock.cause,
        "at_ms": interlock.at_ms,
    }


def _event_rows(arrived: Arrived) -> Iterator[dict[str, object]]:
    batch = arrived.batch
    places: Sequence[int] = range(len(batch.events)) if arrived.events is None else arrived.events
    for place, event in zip(places, batch.events, strict=True):
        yield event_row(batch.gateway, batch.stream, batch.number, place, event)


def _series_rows(arrived: Arrived, now_ms: int) -> Iterator[dict[str, object]]:
    for site, sensor, quantity in arrived.new:
        yield {
            "gateway": arrived.batch.gateway,
            "site": site,
            "sensor": sensor,
            "quantity": quantity,
            "first_at_ms": now_ms,
        }


def _gap_rows(batch: Batch) -> Iterator[dict[str, object]]:
    for position, gap in enumerate(batch.gaps):
        yield {
            "gateway": batch.gateway,
            "stream": batch.stream,
            "batch": batch.number,
            "position": position,
            "reason": gap.reason,
            "from_ms": gap.from_ms,
            "to_ms": gap.to_ms,
            "readings": gap.readings,
            "batches": msgspec.json.encode(gap.batches).decode(),
        }
