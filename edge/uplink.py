"""Carries sealed batches to the cloud: what is new at once, what is old beside it at a paced rate.

The outbox forgets a batch when our own `ack` says that the store has it, and not before; a
broker's PUBACK proves nothing. Everything else here may fail and is tried again.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from msgspec.structs import replace

from edge import clock, machine
from edge.acks import NO_PROOF, Acks, Proof
from edge.backlog import Backlog
from edge.batches import Sealed
from edge.brokerno import BrokerNo
from edge.clock import Clock
from edge.config import Gateway, Uplink
from edge.memory import ShardMemory
from edge.outbox import Outbox
from edge.shelf import LADDERS, Priority, Range
from wire import bounded, codec, topics
from wire.messages import Ack, GatewayState, InterlockState, Reply, Status
from wire.mqtt import (
    TO_GATEWAY,
    Disconnected,
    PublishRefused,
    Session,
    Subscriptions,
    Will,
    keep_connected,
)
from wire.ranges import Intervals
from wire.topics import What

log: Final = logging.getLogger("shuichi.uplink")

WINDOW: Final = 64
"""Batches of the backlog that may be without an ack."""

MOST_SENT: Final = 256
"""Batches that are remembered as sent. When the cloud acknowledges nothing, the oldest become
backlog again, and new ones go out all the same."""

BESIDE: Final = 2
"""Batches of the backlog that the broker may not have confirmed yet: a new one waits for no more
than these on a slow line, whatever its rate."""

KEEPING_UP: Final = 8
"""Batches without an ack up to which nothing piles up."""

TAKEN_AT_ONCE: Final = 8

TOLD_WITHIN_S: Final = 2.0

SLOWEST_RESEND_S: Final = 300.0

FIRST_SEEK_S: Final = 2.0
SLOWEST_SEEK_S: Final = 60.0
"""While the broker says that nobody subscribes to our batches, one of the backlog goes out after so
long, each time twice as long; as soon as one is heard, all others follow."""


class _Sent(NamedTuple):
    """When a batch was sent, and how long we meant to wait for its ack then; monotonic, s."""

    at: float
    patience_s: float


Obey = Callable[[bytes], Awaitable[None]]
"""Takes the payload of a command; never raises."""


class UplinkWorker:
    """One gateway's connection to its broker, kept up for ever."""

    def __init__(
        self,
        gateway: Gateway,
        settings: Uplink,
        outbox: Outbox,
        time: Clock | None = None,
        obey: Obey | None = None,
        shards: ShardMemory | None = None,
        proof: Proof = NO_PROOF,
    ) -> None:
        self.acks = Acks(gateway.id, proof, outbox.position)
        self.broker = BrokerNo()
        self.connected = False
        self.acked_at: float | None = None
        self._gateway = gateway
        self._settings = settings
        self._outbox = outbox
        self._time = time
        self._obey = obey
        self._shards = shards
        self._session: Session | None = None
        self._subscriptions = Subscriptions(*map(self._topic, (What.ACK, What.COMMAND)))
        self.broker.unheard = self._subscriptions.denied
        self._sent_at: dict[tuple[str, int], _Sent] = {}
        self._backlog = Backlog(outbox)
        self._interlocks: dict[str, InterlockState] = {}
        self._replies: set[asyncio.Future[bool]] = set()
        self._announced: list[Reply] = []
        self._acked = asyncio.Event()
        self._progress = asyncio.Event()
        self._patience_s = settings.resend_after_s
        self._seek_s = 0.0  # not 0 while nobody subscribes
        self._seek_at = 0.0

    @property
    def in_flight(self) -> int:
        """Batches that were sent and have no ack yet."""
        return len(self._sent_at)

    @property
    def keeps_up(self) -> bool:
        """Whether what is sealed now goes out and is acknowledged, and need not wait."""
        return self.connected and not self._seek_s and len(self._sent_at) < KEEPING_UP

    async def run(self) -> None:
        """Connect, send, listen; again after every loss."""
        await keep_connected(
            self._settings.broker,
            f"shuichi-{self._gateway.id}",
            self._serve,
            will=Will(self._topic(What.STATUS), self._status(GatewayState.LOST)),
            room=TO_GATEWAY,
            on_trouble=self.broker.ended,
        )

    def offer(self, batch: Sealed) -> None:
        """Send a batch that was sealed just now, if there is a connection."""
        if self._session is not None and self.broker.takes(batch):
            self._send(self._session, batch)

    def show(self, state: InterlockState) -> None:
        """Publish, retained, how an interlock stands; now or on the next connection."""
        if self._time is not None:
            state = replace(state, at_ms=self._time.best_utc_ms())
        self._interlocks[state.site] = state
        if self._session is not None:
            self._tell_interlock(self._session, state)

    def reply(self, reply: Reply) -> None:
        """Answer a command, if there is a connection; the event log has it in any case."""
        if self._session is not None:
            reply = bounded.small(reply)  # before it is proven
            if (keys := self.acks.proof.keys) is not None:
                reply = keys.prove(reply, self._gateway.id)
            sent = self._session.send(self._topic(What.REPLY), codec.encode(reply))
            sent.add_done_callback(self.broker.watch(self._topic(What.REPLY)))
            self._replies.add(sent)
            sent.add_done_callback(self._replies.discard)

    def announce(self, reply: Reply) -> None:
        """Answer a command on the next connection."""
        self._announced.append(reply)

    async def told(self) -> None:
        """Wait until the broker has the replies, for a moment at most."""
        if self._replies:
            await asyncio.wait(self._replies, timeout=TOLD_WITHIN_S)

    async def drain(self, seconds: float) -> bool:
        """Wait until the cloud has everything, at most so long; True if it has."""
        try:
            async with asyncio.timeout(seconds):
                while self._outbox.position.pending:
                    self._acked.clear()
                    await self._acked.wait()
        except TimeoutError:
            return False
        return True

    async def farewell(self) -> None:
        """Say that the gateway stops on purpose, with its last position."""
        if self._session is not None:
            with contextlib.suppress(Disconnected, PublishRefused):
                await self._session.publish(
                    self._topic(What.STATUS), self._status(GatewayState.STOPPED), retain=True
                )

    async def _serve(self, session: Session) -> None:
        # What the last connection carried may be lost: everything not acked is backlog now.
        self._sent_at.clear()
        self._seek_s = 0.0
        self._backlog.rewind()
        self.broker.connected(session)
        self._outbox.most_bytes = self.broker.most_payload
        await self._subscriptions.begin(session)
        self._session = session
        self.connected = True
        try:
            for state in self._interlocks.values():
                self._tell_interlock(session, state)
            while self._announced:
                self.reply(self._announced.pop(0))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._clear_left(session), name="uplink shards left")
                group.create_task(self._listen(session), name="uplink acks")
                group.create_task(self._subscriptions.keep(session), name="uplink subscriptions")
                group.create_task(self._send_backlog(session), name="uplink backlog")
                group.create_task(self._report(session), name="uplink status")
        finally:
            self._session = None
            self.connected = False

    async def _clear_left(self, session: Session) -> None:
        """In a shard that we have left nothing retained may tell how we were there."""
        if self._shards is None or not (left := self._shards.left):
            return
        for shard in left:
            places = [(What.STATUS, None), *((What.INTERLOCK, site) for site in self._interlocks)]
            for what, site in places:
                topic = topics.topic(shard, self._gateway.id, what, site)
                try:
                    await session.publish(topic, b"", retain=True)
                except PublishRefused as error:
                    log.warning("%s stays as it is: the broker refuses: %s", topic, error)
        with contextlib.suppress(OSError):  # then it is done again
            await asyncio.to_thread(self._shards.cleared, left)

    async def _listen(self, session: Session) -> None:
        while True:
            acked: dict[str, list[Range]] = defaultdict(list)
            messages = await session.take(100)
            for message in messages:
                if message.topic == self._topic(What.COMMAND):
                    if self._obey is not None:
                        await self._obey(message.payload)
                    continue
                try:
                    ack = codec.decode(message.payload, Ack)
                except codec.DecodeError as error:
                    self.acks.skip(error)
                    continue
                if (believed := await self.acks.believed_anew(ack)) is not None:
                    acked[ack.stream] += believed
            for stream, batches in acked.items():
                await self._forget(stream, batches)
            for message in messages:
                session.ack(message)

    async def _forget(self, stream: str, batches: list[Range]) -> None:
        self.acked_at = clock.monotonic()
        try:
            await self._outbox.forget(batches, stream)
        except sqlite3.Error as error:  # they are sent, and acknowledged, again
            await self._mend(error)
        acked = Intervals()
        for first, last in batches:
            acked.add_range(first, last)
        for key in [*self._sent_at]:
            if key[0] == stream and key[1] in acked:
                del self._sent_at[key]
        self._acked.set()
        self._progress.set()
        if self._patience_s > self._settings.resend_after_s:
            log.info("the cloud acknowledges again")
            self._patience_s = self._settings.resend_after_s

    async def _send_backlog(self, session: Session) -> None:
        """Most important first, then oldest first; paced, and only as much as may be on its way."""
        beside: set[asyncio.Future[bool]] = set()
        while True:
            for batch in await self._next_of_backlog():
                key = (batch.stream, batch.number)
                if key in self._sent_at or not self.broker.takes(batch):
                    continue
                beside.add(self._send(session, batch))
                await asyncio.sleep(len(batch.payload) / (1000 * self._settings.backlog_kb_per_s))
                beside = {sent for sent in beside if not sent.done()}
                if len(beside) >= BESIDE:
                    await asyncio.wait(beside, return_when=asyncio.FIRST_COMPLETED)

    async def _next_of_backlog(self) -> list[Sealed]:
        """Some batches, or none after a while in which there was nothing to send."""
        room = self._room()
        self.broker.look_again()
        # What is on its way is in the outbox too, and what is set aside: without more there is
        # nothing to look for.
        if room > 0 and self._outbox.sendable > len(self._sent_at) + len(self.broker.aside):
            try:
                if batches := await self._backlog.take(min(room, TAKEN_AT_ONCE)):
                    return batches
            except sqlite3.Error as error:
                await self._mend(error)
            self._backlog.rewind()
        self._look_for_the_unanswered()
        self._progress.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._progress.wait()
        return []

    def _room(self) -> int:
        """How many batches of the backlog may go out now."""
        room = WINDOW - len(self._sent_at)
        if not self._seek_s:
            return room
        self._backlog.rewind()  # what nobody heard waits again
        now = clock.monotonic()
        if now < self._seek_at:
            return 0
        self._seek_s = min(2 * self._seek_s, SLOWEST_SEEK_S)
        self._seek_at = now + self._seek_s
        return min(room, 1)

    def _confirmed(self, key: tuple[str, int], sent: asyncio.Future[bool]) -> None:
        """The broker's answer to a batch. That somebody subscribes proves nothing; that nobody does
        (the cloud's first start is still to come) spares us the wait for an ack."""
        if not self.broker.confirmed(key, sent):
            if key in self.broker.aside:  # refused: it waits, and makes room for others
                self._sent_at.pop(key, None)
                self._progress.set()
            return
        if sent.result():
            if self._seek_s:
                log.info("somebody listens at the broker")
                self._seek_s = 0.0
                self._progress.set()
        elif self._sent_at.pop(key, None) is not None and not self._seek_s:
            log.warning("nobody listens at the broker yet; trying again until somebody does")
            self._seek_s = FIRST_SEEK_S
            self._seek_at = clock.monotonic() + self._seek_s

    def _look_for_the_unanswered(self) -> None:
        """Send again, ever more slowly, what should have been acked: the cloud may be down while
        the broker is up."""
        now, patience_s = clock.monotonic(), self._patience_s
        late = {
            key: one
            for key, one in self._sent_at.items()
            if now - one.at > min(one.patience_s, patience_s)
        }
        if late:
            # What was sent together does not wait longer because others of it were late before.
            if any(one.patience_s == patience_s for one in late.values()):
                if patience_s == self._settings.resend_after_s:
                    log.warning(
                        "the cloud acknowledges nothing; %d batches are sent again", len(late)
                    )
                self._patience_s = min(2 * patience_s, SLOWEST_RESEND_S)
            for key in late:
                del self._sent_at[key]
            self._backlog.rewind()

    async def _mend(self, error: sqlite3.Error) -> None:
        with contextlib.suppress(sqlite3.Error):  # the sealer says so, once
            await self._outbox.mend(error)

    async def _report(self, session: Session) -> None:
        while True:
            self._tell(session, self._topic(What.STATUS), self._status(GatewayState.ONLINE))
            await asyncio.sleep(self._settings.status_every_s)

    def _send(self, session: Session, batch: Sealed) -> asyncio.Future[bool]:
        while len(self._sent_at) >= MOST_SENT:
            del self._sent_at[next(iter(self._sent_at))]
        key = (batch.stream, batch.number)
        self._sent_at[key] = _Sent(clock.monotonic(), self._patience_s)
        self.acks.sent(*key)
        self.broker.sent(batch)
        what = What.EVENT if batch.place in LADDERS[Priority.EVENT] else What.DATA
        sent = session.send(self._topic(what), batch.payload)
        sent.add_done_callback(self.broker.watch(self._topic(what)))
        sent.add_done_callback(partial(self._confirmed, key))
        return sent

    def _tell_interlock(self, session: Session, state: InterlockState) -> None:
        self._tell(session, self._topic(What.INTERLOCK, state.site), codec.encode(state))

    def _tell(self, session: Session, topic: str, payload: bytes) -> None:
        sent = session.send(topic, payload, retain=True)
        sent.add_done_callback(self.broker.watch(topic))

    def _status(self, state: GatewayState) -> bytes:
        at_ms = clock.utc_ms() if self._time is None else self._time.best_utc_ms()
        if state is GatewayState.LOST:
            return codec.encode(Status(self._gateway.id, state, at_ms))
        position = self._outbox.position
        return codec.encode(
            Status(
                gateway=self._gateway.id,
                state=state,
                at_ms=at_ms,
                stream=position.stream,
                sealed=position.sealed,
                readings_sealed=position.readings_sealed,
                pending=position.pending,
                clock_trusted=self._time is None or self._time.trusted,
                readings_lost=self._outbox.readings_lost,
                machine=machine.identity(),
                acks_refused=self.acks.refused,
                acks_unproven=self.acks.unproven,
            )
        )

    def _topic(self, what: What, site: str | None = None) -> str:
        return topics.topic(self._gateway.shard, self._gateway.id, what, site)
