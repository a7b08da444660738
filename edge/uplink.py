"""Carries sealed batches to the cloud: what is new at once, what is old beside it at a paced rate.

The outbox forgets a batch when our own `ack` says that the store has it, and not before; a
broker's PUBACK proves nothing. Everything else here may fail and is tried again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from edge import clock
from edge.config import Gateway, Uplink
from edge.outbox import Outbox, Sealed
from wire import codec, topics
from wire.messages import Ack, GatewayState, InterlockState, Status
from wire.mqtt import Disconnected, PublishRefused, Session, Will, keep_connected
from wire.topics import What

log: Final = logging.getLogger("shuichi.uplink")

WINDOW: Final = 64
"""Batches on their way at most; a new one goes out all the same."""

SLOWEST_RESEND_S: Final = 300.0


class UplinkWorker:
    """One gateway's connection to its broker, kept up for ever."""

    def __init__(self, gateway: Gateway, settings: Uplink, outbox: Outbox) -> None:
        self.connected = False
        self._gateway = gateway
        self._settings = settings
        self._outbox = outbox
        self._session: Session | None = None
        self._sent_at: dict[int, float] = {}
        self._next_backlog = 0
        self._interlocks: dict[str, InterlockState] = {}
        self._acked = asyncio.Event()
        self._patience_s = settings.resend_after_s

    async def run(self) -> None:
        """Connect, send, listen; again after every loss."""
        await keep_connected(
            self._settings.broker,
            f"shuichi-{self._gateway.id}",
            self._serve,
            will=Will(self._topic(What.STATUS), self._status(GatewayState.LOST)),
        )

    def offer(self, batch: Sealed) -> None:
        """Send a batch that was sealed just now, if there is a connection."""
        if self._session is not None:
            self._send(self._session, batch)

    def show(self, state: InterlockState) -> None:
        """Publish, retained, how an interlock stands; now or on the next connection."""
        self._interlocks[state.site] = state
        if self._session is not None:
            self._tell(self._session, self._topic(What.INTERLOCK, state.site), codec.encode(state))

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
        self._next_backlog = 0
        await session.subscribe(self._topic(What.ACK))
        self._session = session
        self.connected = True
        try:
            for state in self._interlocks.values():
                self.show(state)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(session), name="uplink acks")
                group.create_task(self._send_backlog(session), name="uplink backlog")
                group.create_task(self._report(session), name="uplink status")
        finally:
            self._session = None
            self.connected = False

    async def _listen(self, session: Session) -> None:
        while True:
            batches: list[tuple[int, int]] = []
            messages = await session.take(100)
            for message in messages:
                try:
                    ack = codec.decode(message.payload, Ack)
                except codec.DecodeError as error:
                    log.warning("ack skipped: %s", error)
                    continue
                if ack.stream == self._outbox.position.stream:
                    batches += ack.batches
            if batches:
                await self._outbox.forget(batches)
                self._sent_at = {
                    n: at
                    for n, at in self._sent_at.items()
                    if not any(first <= n <= last for first, last in batches)
                }
                self._acked.set()
                if self._patience_s > self._settings.resend_after_s:
                    log.info("the cloud acknowledges again")
                    self._patience_s = self._settings.resend_after_s
            for message in messages:
                session.ack(message)

    async def _send_backlog(self, session: Session) -> None:
        """Oldest first, paced, and only as much as may be on its way; then what got no ack."""
        pause_s = 1 / self._settings.backlog_batches_per_s
        while True:
            room = WINDOW - len(self._sent_at)
            sealed = self._outbox.position.sealed
            batches = await self._outbox.pending(self._next_backlog, sealed, max(0, min(room, 8)))
            for batch in batches:
                self._next_backlog = batch.number
                if batch.number not in self._sent_at:
                    self._send(session, batch)
                    await asyncio.sleep(pause_s)
            if not batches:
                self._look_for_the_unanswered()
                await asyncio.sleep(1)

    def _look_for_the_unanswered(self) -> None:
        """Send again, ever more slowly, what should have been acked: the cloud may be down while
        the broker is up."""
        overdue = clock.monotonic() - self._patience_s
        late = [number for number, at in self._sent_at.items() if at < overdue]
        if late:
            if self._patience_s == self._settings.resend_after_s:
                log.warning("the cloud acknowledges nothing; %d batches are sent again", len(late))
            self._patience_s = min(2 * self._patience_s, SLOWEST_RESEND_S)
            for number in late:
                del self._sent_at[number]
            self._next_backlog = min(late) - 1

    async def _report(self, session: Session) -> None:
        while True:
            self._tell(session, self._topic(What.STATUS), self._status(GatewayState.ONLINE))
            await asyncio.sleep(self._settings.status_every_s)

    def _send(self, session: Session, batch: Sealed) -> None:
        self._sent_at[batch.number] = clock.monotonic()
        what = What.EVENT if batch.has_events else What.DATA
        sent = session.send(self._topic(what), batch.payload)
        sent.add_done_callback(self._refusals(f"batch {batch.number}"))

    def _tell(self, session: Session, topic: str, payload: bytes) -> None:
        sent = session.send(topic, payload, retain=True)
        sent.add_done_callback(self._refusals(topic))

    def _refusals(self, what: str) -> Callable[[asyncio.Future[None]], None]:
        def look(sent: asyncio.Future[None]) -> None:
            if not sent.cancelled() and isinstance(sent.exception(), PublishRefused):
                log.error("the broker refuses %s: %s", what, sent.exception())

        return look

    def _status(self, state: GatewayState) -> bytes:
        position = self._outbox.position
        known = state is not GatewayState.LOST
        return codec.encode(
            Status(
                gateway=self._gateway.id,
                state=state,
                at_ms=clock.utc_ms(),
                stream=position.stream if known else "",
                sealed=position.sealed if known else 0,
                readings_sealed=position.readings_sealed if known else 0,
                pending=position.pending if known else 0,
            )
        )

    def _topic(self, what: What, site: str | None = None) -> str:
        return topics.topic(self._gateway.shard, self._gateway.id, what, site)
