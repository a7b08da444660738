"""Takes in what gateways send: decode, drop what the ledger has, store, commit the ledger, and only
then acknowledge; first to the broker, then to the gateway.

Whatever is killed at whatever point, a message is still with somebody: unacknowledged at the
broker, or in the gateway's outbox, which forgets a batch on our own ack alone. What comes twice
because of that, the ledger knows.
"""

import asyncio
import logging
import math
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Connection

from cloud import ledger, quarantine, refusals, state, tables, told
from cloud.admission import Admission
from cloud.alerts.watch import TICK_S, Findings, Watch
from cloud.config import Ingest as Settings
from cloud.errors import Rejected, Unavailable
from cloud.intake import Arrived, Intake, filters, sort
from cloud.ledger import Conflict, Key, Stream
from cloud.quarantine import Case
from cloud.refusals import Point, TooMany
from cloud.shards import Lease
from cloud.state import State
from cloud.store import Points, Store
from wire import codec, topics
from wire.authentication import Keys
from wire.messages import Ack, Batch
from wire.mqtt import Broker, Disconnected, Message, PublishRefused, Session, keep_connected
from wire.topics import What

log: Final = logging.getLogger("shuichi.ingest")

TAKE: Final = 250
"""Messages in one commit at most."""

TAKE_BYTES: Final = 2 << 20
"""Of payload in one commit at most, unless it is one message: six times what so many batches of
100 readings come to. What is unpacked of it is tens of times as much."""

STREAMS_KNOWN: Final = 32768
"""Streams that are remembered between commits; the others are in the database."""

SENDERS: Final = 2
"""Takes that are on their way to the store at once, each on a connection of its own."""

IN_FLIGHT: Final = SENDERS + 2
"""Takes in hand: one is decoded and one committed while the others are sent."""

UNACKED: Final = (IN_FLIGHT + 1) * TAKE
"""Messages that the broker may have given us and not yet have back: this bounds our memory."""

FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 5.0
"""Between tries of a store that is not available, with jitter."""

TELL_EVERY_S: Final = 60.0


@dataclass(slots=True)
class Plan:
    """What an intake comes to: what is to be written, and how the streams stand afterwards."""

    now_ms: int
    fresh: list[Arrived]
    cases: list[Case]
    streams: dict[Key, Stream]
    findings: Findings
    before: dict[Key, Stream]


class _Aside:
    """Says what goes to quarantine, and says it once a minute: a gateway may send nothing else."""

    def __init__(self) -> None:
        self._cases = 0
        self._quiet_until = -math.inf

    def tell(self, cases: int, words: str) -> None:
        self._cases += cases
        if (now := time.monotonic()) >= self._quiet_until:
            log.warning("to quarantine: %d more, among them: %s", self._cases, words)
            self._cases, self._quiet_until = 0, now + TELL_EVERY_S


class Ingest:
    """The worker of one shard."""

    def __init__(
        self,
        broker: Broker,
        settings: Settings,
        admission: Admission,
        lease: Lease,
        shard: str,
        database: State,
        store: Store,
        watch: Watch,
        wake: Callable[[], None],
        keys: Mapping[str, Keys] | None = None,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._admission = admission
        self._lease = lease
        self._shard = shard
        self._database = database
        self._store = store
        self._watch = watch
        self._wake = wake
        self._keys = keys or {}  # by gateway: what proves our acks
        self._streams = OrderedDict[Key, Stream]()  # as committed, those in use last
        self._refused: set[str] = set()
        self._senders = asyncio.Semaphore(SENDERS)
        self._aside = _Aside()
        self._down_since = 0.0
        self._turn = asyncio.Lock()  # one at a time looks at the rules and commits what they find
        self.on_sign_of_life: Callable[[], None] = lambda: None
        self._is_behind = True  # at first, and after a conflict: others may have been at work

    async def run(self) -> None:
        """Take in for ever, connection after connection."""
        await keep_connected(
            self._broker,
            f"shuichi-cloud-{self._shard}",
            self._serve,
            keep_session_s=self._settings.keep_session_s,
            receive_maximum=UNACKED,
            bulk=True,
        )

    async def _serve(self, session: Session) -> None:
        await session.subscribe(*filters(self._shard))
        log.info("shard %s: listening at %s", self._shard, self._broker)
        room = asyncio.Semaphore(IN_FLIGHT)
        before: asyncio.Task[None] | None = None
        lost: Disconnected | None = None
        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(self._tick(), name=f"shard {self._shard} tick")
            try:
                while True:
                    await room.acquire()
                    messages = await session.take(TAKE, TAKE_BYTES)
                    before = group.create_task(
                        self._handle(session, messages, before), name=f"shard {self._shard} take"
                    )
                    before.add_done_callback(lambda _: room.release())
            except Disconnected as error:
                lost = error  # what is in flight is ended first, for it comes again
                ticking.cancel()
        if lost is not None:
            raise lost

    async def _handle(
        self, session: Session, messages: Sequence[Message], before: asyncio.Task[None] | None
    ) -> None:
        """Store and acknowledge one take: the points beside those of other takes, the rest in its
        turn after the take `before`."""
        intake = sort(messages, self._admission, time.time_ns() // 1_000_000)
        if cases := [*intake.cases, *(one for part in intake.batches for one in part.cases)]:
            self._aside.tell(len(cases), cases[0].words)
        try:
            await self._insist(partial(self._send, intake))
            sent = True
        except Rejected:
            sent = False  # in our turn we shall see which of them
        if before is not None:
            await asyncio.wait((before,))
        await self._settle(intake, sent=sent)
        for message in messages:
            session.ack(message)
        self._answer(session, intake)

    async def _settle(self, intake: Intake, *, sent: bool = False) -> None:
        """Return once all of `intake` is stored and in the ledger, however long that takes."""
        try:
            if not sent:
                await self._insist(partial(self._send, intake))
            await self._insist(partial(self._commit, intake))
        except Rejected as error:
            for part in await self._narrow(intake, error):
                await self._settle(part)

    async def _narrow(self, intake: Intake, error: Rejected) -> list[Intake]:
        """`intake` without the readings that the store refuses, or in parts where it is not (or
        not yet) known which these are."""
        if not intake.batches:
            raise error  # ours to mend
        streams = await self._load(intake.keys())
        points = [
            Point(one.batch.gateway, reading, (n, m))
            for n, one in enumerate(intake.batches)
            if one.batch.number not in streams[one.key].received
            for m, reading in enumerate(one.batch.readings)
        ]
        try:
            alone = len(intake.batches) == 1
            refused = await refusals.find(self._try, points, error, at_last=alone)
        except TooMany:
            refused = {}
        if not refused:
            return intake.narrowed(str(error))
        self._aside.tell(len(refused), str(error))
        return [intake.without(refused)]

    async def _try(self, points: Sequence[Points]) -> None:
        await self._insist(partial(self._store.write, points, lambda _: None))

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` again and again until what it needs is there."""
        delay, failed = FIRST_DELAY_S, False
        while True:
            try:
                await work()
            except Conflict as conflict:
                log.info("shard %s: %s; looking again", self._shard, conflict)
                self._streams.clear()
                self._is_behind = True
                continue
            except Unavailable as error:
                failed = True
                if not self._down_since:
                    log.error("%s; nothing is acknowledged until it is back", error)
                    self._down_since = time.monotonic()
            else:
                if failed and self._down_since:
                    log.info("stored again after %.1f s", time.monotonic() - self._down_since)
                    self._down_since = 0.0
                return
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _send(self, intake: Intake) -> None:
        """Have the store take the points. Done again, or in vain, it changes nothing that counts:
        what is fresh is only known in our turn."""
        streams = await self._load(intake.keys())
        fresh = [
            one.batch for one in intake.batches if one.batch.number not in streams[one.key].received
        ]
        async with self._senders:
            await self._store.send(_points(fresh))

    async def _commit(self, intake: Intake) -> None:
        async with self._turn:
            plan = await self._plan(intake)
            save = partial(self._save, intake=intake, plan=plan)
            await self._store.commit(_points(one.batch for one in plan.fresh), save)
            self._streams |= plan.streams
            self._forget()
            self._watch.adopt(plan.findings)
        if plan.findings.changes:
            self._wake()

    async def _tick(self) -> None:
        """Tell the rules that time passes, while we listen: silence in a time in which nothing
        could be heard, or stored, is nobody's."""
        listening_ms = time.time_ns() // 1_000_000
        while True:
            self.on_sign_of_life()  # we are connected
            await asyncio.sleep(TICK_S)
            if self._down_since:
                listening_ms = time.time_ns() // 1_000_000
            else:
                await self._insist(partial(self._look, listening_ms))

    async def _look(self, listening_ms: int) -> None:
        """Commit what follows from the mere passing of time."""
        async with self._turn:
            await self._catch_up()
            now_ms = time.time_ns() // 1_000_000
            findings = self._watch.tick(now_ms, listening_ms)
            if findings.states:
                await self._database.run(
                    partial(self._save_findings, findings=findings, now_ms=now_ms)
                )
                self._watch.adopt(findings)
        if findings.changes:
            self._wake()

    def _save_findings(self, connection: Connection, findings: Findings, now_ms: int) -> None:
        self._lease.check(connection)
        self._watch.save(connection, findings, now_ms)

    async def _catch_up(self) -> None:
        """Know how the rules stand, if others may have been at work."""
        if self._is_behind:
            await self._database.run(self._watch.load)
            self._is_behind = False

    async def _load(self, keys: set[Key]) -> dict[Key, Stream]:
        """The streams of `keys`, as they were committed."""
        while unknown := keys - self._streams.keys():  # again: some may be forgotten meanwhile
            found = await self._database.run(partial(ledger.load, keys=unknown))
            for key, stream in found.items():
                self._streams.setdefault(key, stream)  # meanwhile it may have been committed
        for key in keys:
            self._streams.move_to_end(key)
        streams = {key: self._streams[key] for key in keys}
        self._forget()
        return streams

    def _forget(self) -> None:
        """Each boot of a gateway is a stream more: drop those that were not used for longest."""
        while len(self._streams) > STREAMS_KNOWN:
            self._streams.popitem(last=False)

    async def _plan(self, intake: Intake) -> Plan:
        """What `intake` comes to. Nothing of ours is changed before it is committed."""
        await self._catch_up()
        keys = intake.keys()
        before = await self._load(keys)
        now_ms = time.time_ns() // 1_000_000
        streams = {key: stream.copy() for key, stream in before.items()}
        fresh = []
        cases: list[Case] = []
        for arrived in intake.batches:
            batch = arrived.batch
            stream = streams[Key(batch.gateway, batch.stream)]
            if batch.number in stream.received:
                stream.redelivered += 1
            else:
                stream.accept(batch.number, len(batch.readings), now_ms, arrived.newest_ms)
                cases += arrived.cases
                for gap in batch.gaps:
                    log.warning("%s has lost readings: %s", batch.gateway, gap.reason)
                    stream.declare(gap)
                fresh.append(arrived)
        for case in intake.cases:
            if case.key is None or case.batch is None:
                cases.append(case)
            elif case.batch in (stream := streams[case.key]).received:
                stream.redelivered += 1
                cases.append(case.as_copy())
            else:
                stream.accept(case.batch, 0, now_ms)
                cases.append(case)
        for status in intake.statuses:
            if status.stream:
                key = Key(status.gateway, status.stream)
                streams[key].expect(status.sealed, status.readings_sealed)
        for stream in streams.values():
            stream.look_for_hole(now_ms)
        batches = [one.batch for one in fresh]
        findings = self._watch.examine(batches, intake.statuses, intake.interlocks, streams, now_ms)
        return Plan(now_ms, fresh, cases, streams, findings, before)

    def _save(self, connection: Connection, intake: Intake, plan: Plan) -> None:
        """Everything that is committed together with the points; in the database's thread. Raises
        Lost and Conflict: then nothing is committed."""
        self._lease.check(connection)
        ledger.save(connection, plan.streams, plan.before)
        quarantine.save(connection, plan.cases, plan.now_ms, self._admission.room)
        told.save(connection, plan.fresh)
        latest = {status.gateway: status for status in intake.statuses}
        knowing = {status.gateway: status for status in intake.statuses if status.stream}
        # A last will, which the broker sends, knows nothing of batches: it leaves what was known.
        for statuses in (knowing, {g: s for g, s in latest.items() if not s.stream}):
            rows = [told.status_row(one, self._shard, plan.now_ms) for one in statuses.values()]
            state.upsert(connection, tables.gateway, rows)
        interlocks = {(gateway, one.site): one for gateway, one in intake.interlocks}
        state.upsert(
            connection,
            tables.interlock,
            [told.interlock_row(gateway, one) for (gateway, _), one in interlocks.items()],
        )
        self._watch.save(connection, plan.findings, plan.now_ms)

    def _answer(self, session: Session, intake: Intake) -> None:
        """Tell the gateways what they may forget. What is lost of this they send again."""
        for key, numbers in intake.acks().items():
            topic = topics.topic(self._shard, key.gateway, What.ACK)
            ack = Ack(key.stream, tuple(numbers))
            if (keys := self._keys.get(key.gateway)) is not None:
                ack = keys.prove(ack, key.gateway)
            sent = session.send(topic, codec.encode(ack))
            sent.add_done_callback(partial(self._told, key.gateway))

    def _told(self, gateway: str, sent: asyncio.Future[bool]) -> None:
        error = None if sent.cancelled() else sent.exception()
        if isinstance(error, PublishRefused):
            if gateway not in self._refused:
                log.error("the broker refuses our acks to %s: %s", gateway, error)
                self._refused.add(gateway)
        elif error is None and gateway in self._refused:
            log.info("the broker takes our acks to %s again", gateway)
            self._refused.discard(gateway)


def _points(batches: Iterable[Batch]) -> list[Points]:
    return [Points(batch.gateway, batch.readings) for batch in batches]
