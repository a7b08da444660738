"""Takes in what gateways send: decode, drop what the ledger has, store, commit the ledger, and only
then acknowledge; first to the broker, then to the gateway.

Whatever is killed at whatever point, a message is still with somebody: unacknowledged at the
broker, or in the gateway's outbox, which forgets a batch on our own ack alone. What comes twice
because of that, the ledger knows.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
from sqlalchemy import Connection, insert

from cloud import ledger, quarantine, state
from cloud.alerts.watch import Findings, Watch
from cloud.config import Ingest as Settings
from cloud.errors import Rejected, Unavailable
from cloud.intake import Intake, filters, sort
from cloud.ledger import Key, Stream
from cloud.state import State
from cloud.store import Points, Store
from wire import codec, topics
from wire.messages import Ack, Batch, InterlockState, Status
from wire.mqtt import Broker, PublishRefused, Session, keep_connected
from wire.topics import What

log: Final = logging.getLogger("shuichi.ingest")

TAKE: Final = 500
"""Messages in one commit at most."""

UNACKED: Final = 1000
"""Messages that the broker may have given us and not yet have back: this bounds our memory."""

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 5.0
"""Between tries of a store that is not available, with jitter."""


@dataclass(slots=True)
class Plan:
    """What an intake comes to: what is to be written, and how the streams stand afterwards."""

    now_ms: int
    fresh: list[Batch]
    streams: dict[Key, Stream]
    findings: Findings


class Ingest:
    """The worker of one shard."""

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        database: State,
        store: Store,
        watch: Watch,
        wake: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._database = database
        self._store = store
        self._watch = watch
        self._wake = wake
        self._streams: dict[Key, Stream] = {}
        self._refused: set[str] = set()

    async def run(self) -> None:
        """Take in for ever, connection after connection."""
        await keep_connected(
            self._broker,
            f"shuichi-cloud-{self._settings.shard}",
            self._serve,
            keep_session_s=self._settings.keep_session_s,
            receive_maximum=UNACKED,
        )

    async def _serve(self, session: Session) -> None:
        shard = self._settings.shard
        await session.subscribe(*filters(shard))
        log.info("shard %s: listening at %s", shard, self._broker)
        while True:
            messages = await session.take(TAKE)
            intake = sort(messages)
            if intake.cases:
                log.warning(
                    "%d of %d messages go to quarantine, the first because: %s",
                    len(intake.cases),
                    len(messages),
                    intake.cases[0].reason,
                )
            await self._settle(intake)
            for message in messages:
                session.ack(message)
            self._answer(session, intake)

    async def _settle(self, intake: Intake) -> None:
        """Return once all of `intake` is stored and in the ledger, however long that takes."""
        delay, down_since = FIRST_DELAY_S, 0.0
        while True:
            try:
                await self._commit(intake)
            except Rejected as error:
                for part in intake.narrowed(str(error)):
                    await self._settle(part)
                return
            except Unavailable as error:
                if not down_since:
                    log.error("%s; nothing is acknowledged until it is back", error)
                    down_since = time.monotonic()
            else:
                if down_since:
                    log.info("stored again after %.1f s", time.monotonic() - down_since)
                return
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _commit(self, intake: Intake) -> None:
        plan = await self._plan(intake)
        points = [Points(batch.gateway, batch.readings) for batch in plan.fresh]
        await self._store.write(points, partial(self._save, intake=intake, plan=plan))
        self._streams |= plan.streams
        self._watch.adopt(plan.findings)
        if plan.findings.changes:
            self._wake()

    async def _plan(self, intake: Intake) -> Plan:
        """What `intake` comes to. Nothing of ours is changed before it is committed."""
        keys = intake.keys()
        if unknown := keys - self._streams.keys():
            self._streams |= await self._database.run(partial(ledger.load, keys=unknown))
        now_ms = time.time_ns() // 1_000_000
        streams = {key: self._streams[key].copy() for key in keys}
        fresh = []
        for batch, _ in intake.batches:
            stream = streams[Key(batch.gateway, batch.stream)]
            if batch.number in stream.received:
                stream.redelivered += 1
            else:
                stream.accept(batch.number, len(batch.readings), now_ms)
                for gap in batch.gaps:
                    log.warning("%s has lost readings: %s", batch.gateway, gap.reason)
                    stream.declare(gap)
                fresh.append(batch)
        for key, number in intake.named:
            if number not in streams[key].received:
                streams[key].accept(number, 0, now_ms)
        for status in intake.statuses:
            if status.stream:
                key = Key(status.gateway, status.stream)
                streams[key].expect(status.sealed, status.readings_sealed)
        return Plan(now_ms, fresh, streams, self._watch.examine(fresh, now_ms))

    def _save(self, connection: Connection, intake: Intake, plan: Plan) -> None:
        """Everything that is committed together with the points; in the database's thread."""
        ledger.save(connection, plan.streams, self._streams)
        quarantine.save(connection, intake.cases, plan.now_ms)
        if events := [row for batch in plan.fresh for row in _event_rows(batch)]:
            connection.execute(insert(state.event_log), events)
        if gaps := [row for batch in plan.fresh for row in _gap_rows(batch)]:
            connection.execute(insert(state.gap), gaps)
        statuses = {status.gateway: status for status in intake.statuses}
        state.upsert(
            connection, state.gateway, [_status_row(s, plan.now_ms) for s in statuses.values()]
        )
        interlocks = {(gateway, one.site): one for gateway, one in intake.interlocks}
        state.upsert(
            connection,
            state.interlock,
            [_interlock_row(gateway, one) for (gateway, _), one in interlocks.items()],
        )
        self._watch.save(connection, plan.findings, plan.now_ms)

    def _answer(self, session: Session, intake: Intake) -> None:
        """Tell the gateways what they may forget. What is lost of this they send again."""
        for key, numbers in intake.acks().items():
            topic = topics.topic(self._settings.shard, key.gateway, What.ACK)
            ack = codec.encode(Ack(key.stream, tuple(numbers)))
            session.send(topic, ack).add_done_callback(partial(self._told, key.gateway))

    def _told(self, gateway: str, sent: asyncio.Future[None]) -> None:
        error = None if sent.cancelled() else sent.exception()
        if isinstance(error, PublishRefused):
            if gateway not in self._refused:
                log.error("the broker refuses our acks to %s: %s", gateway, error)
                self._refused.add(gateway)
        elif error is None and gateway in self._refused:
            log.info("the broker takes our acks to %s again", gateway)
            self._refused.discard(gateway)


def _event_rows(batch: Batch) -> Iterator[dict[str, object]]:
    for position, event in enumerate(batch.events):
        yield {
            "gateway": batch.gateway,
            "stream": batch.stream,
            "batch": batch.number,
            "position": position,
            "at_ms": event.at_ms,
            "site": event.site,
            "kind": event.kind,
            "text": event.text,
            "detail": msgspec.json.encode(event.detail).decode(),
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


def _status_row(status: Status, now_ms: int) -> dict[str, object]:
    return {
        "gateway": status.gateway,
        "state": status.state,
        "pending": status.pending,
        "at_ms": status.at_ms,
        "received_at_ms": now_ms,
    }


def _interlock_row(gateway: str, interlock: InterlockState) -> dict[str, object]:
    return {
        "gateway": gateway,
        "site": interlock.site,
        "wanted": interlock.wanted,
        "confirmed": interlock.confirmed,
        "depth": interlock.depth,
        "cause": interlock.cause,
        "at_ms": interlock.at_ms,
    }
