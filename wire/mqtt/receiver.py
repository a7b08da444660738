"""The connection to a broker, for a gateway as for a worker that takes in thousands of messages a
second.

Of MQTT it knows what these need: QoS 0 and 1 in, QoS 1 out. What arrives is cut into messages a
whole read at a time, what goes out in one round of the event loop goes out in one write; that is
what makes it cheap. Whatever arrives, its memory is bounded (decision record 0013).
"""

import asyncio
import logging
import os
import ssl
from collections import deque
from typing import Final, NamedTuple

from wire.dial import dial
from wire.mqtt import packets
from wire.mqtt.packets import Connack, Kind, Malformed
from wire.mqtt.stream import Oversize, Stream
from wire.mqtt.terms import (
    ANY_SIZE,
    GOODBYE_S,
    HUNG_UP,
    SAID,
    TOO_LARGE,
    CannotRetain,
    Disconnected,
    Message,
    PublishRefused,
    Refused,
    Terms,
    draw,
)
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.mqtt")

TOLD_EVERY_S: Final = 3600.0
"""How often it is logged that messages of one topic are too large."""

_HEAD_BYTES: Final = 512
"""Of a packet, beside its payload: more than any topic of ours needs."""

IN_FLIGHT: Final = 1000
"""Publishes that may be without a PUBACK, if the broker does not ask for fewer."""

CONFIRMED_WITHIN_S: Final = 60.0
"""A broker that has confirmed nothing for so long, though something is in flight, confirms
nothing: another connection may be better off, and what waits for this one does not grow."""

_PUBLISH: Final = Kind.PUBLISH << 4


class _Draft(NamedTuple):
    """A publish that waits until the broker has confirmed others."""

    future: asyncio.Future[bool]
    topic: str
    payload: bytes
    retain: bool


class Receiver(asyncio.Protocol):
    """A connection, as `Session` uses it. Made for one `open` and one `leave`.

    `kept`: the broker still had our session. `retains`: it keeps retained messages, as far as it
    says. `skipped`: messages that were too large for us.
    """

    def __init__(self, terms: Terms, password: str | None = None) -> None:
        self.kept = False
        self.retains = True
        self.skipped = 0
        self._too_large = Seldom(TOLD_EVERY_S)
        self._terms = terms
        self._v5 = terms.broker.protocol == "5"
        self._password = password
        self._loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[Connack] = self._loop.create_future()
        self._hung_up: asyncio.Future[None] = self._loop.create_future()
        self._over: Disconnected | None = None
        self._leaving = False
        # In.
        self._stream = Stream(terms.room.packet_bytes)
        self._inbox: deque[Message] = deque()
        self._inbox_bytes = 0
        self._is_full = False
        self._news = asyncio.Event()
        self._heard_at = self._spoke_at = self._loop.time()
        self._silence_s: float = terms.broker.keepalive_s
        # Out.
        self._out = bytearray()
        self._in_flight = IN_FLIGHT
        self._maximum_packet: int | None = None
        self._mid = 0
        self._unconfirmed: dict[int, asyncio.Future[bool]] = {}
        self._drafts: deque[_Draft] = deque()
        self._draft_bytes = 0
        self._confirmed_at = self._loop.time()
        self._subscribing: dict[int, asyncio.Future[int]] = {}
        self._clock: asyncio.TimerHandle | None = None

    async def open(self, tls: ssl.SSLContext | None) -> None:
        """Connect. Raises OSError, or Refused with the broker's reason alone. Sets no time limit;
        leaves nothing open if it fails or is cancelled."""
        broker = self._terms.broker
        line = await dial(broker.host, broker.port, None, unanswered_s=broker.keepalive_s)
        await self._loop.create_connection(
            lambda: self, sock=line, ssl=tls, server_hostname=broker.host if tls else None
        )
        try:
            self._put(packets.connect(self._terms, self._password))
            connack = await self._connected
            if connack.code == packets.RETAIN_NOT_SUPPORTED:
                raise CannotRetain(packets.reason(connack.code))
            if connack.reason is not None:
                raise Refused(connack.reason)
            if connack.maximum_qos < 1:
                raise Refused(packets.reason(packets.QOS_NOT_SUPPORTED))
        except BaseException:
            self._hang_up()
            raise
        self._agree(connack)

    async def leave(self) -> None:
        """Say goodbye, and hang up within `GOODBYE_S`."""
        try:
            if self._over is None:
                self._leaving = True
                self._put(packets.disconnect(self._v5))
                if self._is_full:
                    self._transport.resume_reading()
                # The broker hangs up when it has read that. If we did, with something of its own
                # unread, the kernel would reset the connection, and what is on its way be lost.
                await asyncio.wait((self._hung_up,), timeout=GOODBYE_S)
        finally:
            self._hang_up()

    async def subscribe(self, topic_filter: str) -> str | None:
        """The broker's reason if it does not grant QoS 1. Raises Disconnected."""
        self._check()
        mid = self._next_mid()
        answer = self._subscribing[mid] = self._loop.create_future()
        self._put(packets.subscribe(mid, topic_filter, self._v5))
        self._resume()
        try:
            async with asyncio.timeout(self._terms.broker.connect_timeout_s):
                code = await answer
        except TimeoutError:
            raise Disconnected("no SUBACK: the broker does not answer") from None
        finally:
            self._subscribing.pop(mid, None)
        return None if code < packets.FAILURE else packets.reason(code)

    async def take(self, limit: int, limit_bytes: int = ANY_SIZE) -> list[Message]:
        """What waits, as `draw` has it, and at least one message. Raises Disconnected."""
        while not self._inbox:
            self._check()
            self._news.clear()
            await self._news.wait()
        messages = draw(self._inbox, limit, limit_bytes)
        self._inbox_bytes -= sum(map(_size, messages))
        self._resume()
        return messages

    def acknowledge(self, message: Message) -> None:
        """Let the broker forget `message`."""
        if message.qos:
            self._put(packets.puback(message.mid))

    def send(self, topic: str, payload: bytes, *, retain: bool) -> asyncio.Future[bool]:
        """Publish at QoS 1; see `Session.send`."""
        draft = _Draft(self._loop.create_future(), topic, payload, retain)
        if self._over is not None:
            _fail(draft.future, Disconnected("the connection has ended"))
        elif self._drafts or len(self._unconfirmed) >= self._in_flight:
            if self._draft_bytes > self._terms.room.inbox_bytes:
                _fail(draft.future, Disconnected("more waits for the broker than can be kept"))
                return draft.future
            self._draft_bytes += _HEAD_BYTES + len(payload)
            self._drafts.append(draft)
        else:
            self._publish(draft)
        return draft.future

    def _publish(self, draft: _Draft) -> None:
        mid = self._next_mid()
        retain = draft.retain and self.retains
        packet = packets.publish(mid, draft.topic, draft.payload, retain, self._v5)
        if self._maximum_packet is not None and len(packet) > self._maximum_packet:
            _fail(draft.future, PublishRefused(TOO_LARGE))
            return
        if not self._unconfirmed:
            self._confirmed_at = self._loop.time()
        self._unconfirmed[mid] = draft.future
        self._put(packet)

    @property
    def most_payload(self) -> int:
        """Bytes that a message may have which we publish, whatever its topic."""
        return ANY_SIZE if self._maximum_packet is None else self._maximum_packet - _HEAD_BYTES

    def _next_mid(self) -> int:
        while True:
            self._mid = self._mid % packets.MAX_MID + 1
            if self._mid not in self._unconfirmed and self._mid not in self._subscribing:
                return self._mid

    def _agree(self, connack: Connack) -> None:
        """Keep to what the broker asks of us."""
        self.kept, self.retains = connack.kept, connack.retains
        self._maximum_packet = connack.maximum_packet
        self._in_flight = min(IN_FLIGHT, connack.receive_maximum)
        if connack.keepalive_s:  # one that wants none, or a long one, may still be dead
            self._silence_s = min(self._silence_s, connack.keepalive_s)
        self._heard_at = self._spoke_at = self._loop.time()
        if self._over is None:
            self._watch()

    def _put(self, packet: bytes) -> None:
        """Send it, with all that is put until the event loop's next round."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += packet

    def _flush(self) -> None:
        if self._out and self._over is None:
            self._transport.write(bytes(self._out))
            self._spoke_at = self._loop.time()
        self._out.clear()

    # What asyncio tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._leaving or self._over is not None:
            return
        self._heard_at = self._loop.time()
        self._stream.feed(data)
        if not self._is_full:
            self._digest()

    def eof_received(self) -> None:
        self._end(HUNG_UP)

    def connection_lost(self, exc: Exception | None) -> None:
        why = HUNG_UP
        if self._connected.done() and isinstance(exc, OSError) and exc.errno is not None:
            why = os.strerror(exc.errno).lower()
        self._end(why)
        if not self._hung_up.done():
            self._hung_up.set_result(None)

    # What the broker says.

    def _digest(self) -> None:
        """Take what has arrived apart, until there is no more or no room for it: a broker that
        does not know MQTT 5 keeps the rest when we stop to read."""
        peek, drop = self._stream.peek, self._stream.drop
        try:
            while (found := peek()) is not None:
                if isinstance(found, Oversize):
                    self._check_connected()
                    self._skip(found)
                elif found.first & 0xF0 != _PUBLISH:
                    self._hear(*found)
                elif self._has_room():
                    one = packets.message(*found, self._v5)
                    self._inbox.append(one)
                    self._inbox_bytes += _size(one)
                else:
                    self._is_full = True
                    self._transport.pause_reading()
                    break
                drop()
        except Malformed as error:
            self._put(packets.disconnect(self._v5, packets.PROTOCOL_ERROR))
            self._flush()
            self._end(f"what it says is not MQTT: {error}")
            self._transport.abort()
        if self._inbox:
            self._news.set()

    def _skip(self, message: Oversize) -> None:
        """Let the broker forget what we shall never take: else it would send it again for ever."""
        self.skipped += 1
        if message.mid:
            self._put(packets.puback(message.mid))
        if self._too_large.says(message.topic[:_HEAD_BYTES]) is not None:
            log.warning(
                "a message of %d bytes on %a is skipped: at most %d are taken",
                message.size,
                message.topic[:_HEAD_BYTES],
                self._terms.room.packet_bytes,
            )

    def _check_connected(self) -> None:
        if not self._connected.done():
            raise Malformed("a message before its CONNACK")

    def _has_room(self) -> bool:
        self._check_connected()
        # A SUBACK may come behind more messages of a kept session than anybody has taken yet.
        few = len(self._inbox) < self._terms.receive_maximum or self._subscribing
        return bool(few) and self._inbox_bytes < self._terms.room.inbox_bytes

    def _resume(self) -> None:
        """Go on where there was no room."""
        if self._is_full:
            self._is_full = False
            self._digest()
            if not self._is_full:
                self._heard_at = self._confirmed_at = self._loop.time()
                self._transport.resume_reading()

    def _hear(self, first: int, data: bytes, start: int, end: int) -> None:
        if self._connected.done() is (first == Kind.CONNACK << 4):
            raise Malformed("a CONNACK where there should be none, or none where there should be")
        match first:
            case 0x20:
                self._connected.set_result(packets.connack(data, start, end, self._v5))
            case 0x40:
                self._confirm(*packets.confirmed(data, start, end))
            case 0x90:
                mid, code = packets.granted(data, start, end, self._v5)
                if (answer := self._subscribing.get(mid)) is not None and not answer.done():
                    answer.set_result(code)
            case 0xD0:
                pass  # PINGRESP: that we heard something is noted
            case 0xE0 if self._v5:
                self._end(f"{SAID}: {packets.farewell(data, start, end)}")
                self._transport.abort()
            case _:
                raise Malformed(f"a packet that begins with {first:#04x}")

    def _confirm(self, mid: int, code: int) -> None:
        future = self._unconfirmed.pop(mid, None)
        self._confirmed_at = self._heard_at
        if future is not None and not future.done():
            if code >= packets.FAILURE:
                future.set_exception(PublishRefused(packets.reason(code)))
            else:
                future.set_result(code != packets.NO_SUBSCRIBERS)
        while self._drafts and len(self._unconfirmed) < self._in_flight:
            draft = self._drafts.popleft()
            self._draft_bytes -= _HEAD_BYTES + len(draft.payload)
            self._publish(draft)

    # The end.

    def _watch(self) -> None:
        """Four times in a keepalive: ask after half of one in which one side said nothing; end
        after one and a half in which the broker said nothing, as it does with us (3.1.2.10), and
        where it confirms nothing."""
        now, silence = self._loop.time(), self._silence_s
        why = ""
        if now - self._heard_at > 1.5 * silence:
            why = f"no word from the broker for {now - self._heard_at:.0f} s"
        elif self._unconfirmed and now - self._confirmed_at > CONFIRMED_WITHIN_S:
            why = f"the broker confirms nothing: no PUBACK for {now - self._confirmed_at:.0f} s"
        if why and not self._is_full:
            self._end(why)
            self._transport.abort()
            return
        if now - min(self._heard_at, self._spoke_at) >= silence / 2:
            self._put(packets.PINGREQ)
        self._clock = self._loop.call_later(silence / 4, self._watch)

    def _check(self) -> None:
        if self._over is not None:
            raise self._over

    def _hang_up(self) -> None:
        self._end("we have left")
        self._transport.abort()

    def _end(self, why: str) -> None:
        """Nothing goes in or out any more; everybody who waits is told."""
        if self._over is not None:
            return
        broker = self._terms.broker
        self._over = Disconnected(f"the connection to {broker} ended: {why}")
        if self._clock is not None:
            self._clock.cancel()
        if not self._connected.done():
            self._connected.set_exception(ConnectionError(why))
            self._connected.exception()  # seen: who opened may have given up
        for answer in self._subscribing.values():
            _fail(answer, self._over)
        lost = Disconnected("the connection ended before the PUBACK")
        for future in [*self._unconfirmed.values(), *(draft.future for draft in self._drafts)]:
            _fail(future, lost)
        self._unconfirmed.clear()
        self._drafts.clear()
        self._news.set()


def _size(message: Message) -> int:
    return len(message.topic) + len(message.payload)


def _fail(future: asyncio.Future[bool] | asyncio.Future[int], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen: nobody need await what was given up
