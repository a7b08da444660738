"""MQTT as both ends need it: manual acknowledgement, kept sessions, a publish whose fate is known,
and memory that is bounded whatever the broker sends. Decision record 0013 says why the connection
(`wire.mqtt.receiver`) is our own.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from wire.mqtt.access import Access, Shown
from wire.mqtt.address import BrokerAddress, parse_address
from wire.mqtt.receiver import Receiver
from wire.mqtt.subscriptions import Subscriptions
from wire.mqtt.terms import (
    ANY_SIZE,
    SAID,
    TO_CLOUD,
    TO_GATEWAY,
    Broker,
    CannotRetain,
    Disconnected,
    Message,
    PublishRefused,
    Refused,
    Room,
    Terms,
    Unreachable,
    Will,
)
from wire.tasks import CancelledAlone, apart

__all__ = [
    "TO_CLOUD",
    "TO_GATEWAY",
    "Access",
    "Broker",
    "BrokerAddress",
    "Disconnected",
    "Message",
    "PublishRefused",
    "Refused",
    "Room",
    "Session",
    "Subscriptions",
    "Unreachable",
    "Will",
    "connect",
    "keep_connected",
    "parse_address",
]

log: Final = logging.getLogger("shuichi.mqtt")

PUBACK_TIMEOUT_S: Final = 20.0
_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 30.0
_STEADY_AFTER_S: Final = 10.0
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""

_MOST_TOLD: Final = 20
"""Reasons that are logged until a connection lasts."""


class Session:
    """One connection to the broker, from CONNACK to its end."""

    def __init__(self, client: Receiver) -> None:
        self._client = client

    @property
    def kept(self) -> bool:
        """Whether the broker still had our session: subscriptions and what was not acknowledged."""
        return self._client.kept

    @property
    def retains(self) -> bool:
        """Whether the broker keeps retained messages, as far as it says. Where it does not, what is
        sent to be retained is sent all the same, to those who listen now."""
        return self._client.retains

    @property
    def most_payload(self) -> int:
        """Bytes of payload that the broker takes in one message, as far as it says."""
        return self._client.most_payload

    @property
    def skipped(self) -> int:
        """Messages that came, were too large, and were let go."""
        return self._client.skipped

    async def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1. Raises Refused for a filter that the broker does not grant."""
        for topic_filter in filters:
            if (reason := await self._client.subscribe(topic_filter)) is not None:
                raise Refused(f"the broker does not let us subscribe to {topic_filter}: {reason}")

    async def take(self, limit: int, limit_bytes: int = ANY_SIZE) -> list[Message]:
        """1 to `limit` messages, oldest first; waits for the first. A second one and those after
        it only as far as their payloads are `limit_bytes` together. Raises Disconnected."""
        return await self._client.take(limit, limit_bytes)

    def ack(self, message: Message) -> None:
        """Tell the broker that it may forget `message`: call it once the message is stored."""
        self._client.acknowledge(message)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[bool]:
        """Publish at QoS 1. The future ends with the broker's PUBACK: False if the broker says
        that nobody subscribes to the topic (MQTT 5, reason code 16), else True; with MQTT 3.1.1
        always True, even where the broker refuses. Or it ends with PublishRefused or Disconnected.
        """
        return self._client.send(topic, payload, retain=retain)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Publish at QoS 1 and wait for the broker's PUBACK. Says and raises as `send` does."""
        try:
            async with asyncio.timeout(PUBACK_TIMEOUT_S):
                return await self.send(topic, payload, retain=retain)
        except TimeoutError:
            raise Disconnected(f"no PUBACK within {PUBACK_TIMEOUT_S:g} s") from None


@contextlib.asynccontextmanager
async def connect(
    broker: Broker,
    identifier: str,
    *,
    will: Will | None = None,
    keep_session_s: int = 0,
    receive_maximum: int = 1000,
    room: Room = TO_CLOUD,
    access: Access | None = None,
) -> AsyncIterator[Session]:
    """One connection. `keep_session_s` > 0 lets the broker keep our subscriptions and unacked
    messages that long after the connection has ended (MQTT 3.1.1: as long as it likes).

    `receive_maximum` bounds our memory: the broker may send so many messages before we acknowledge
    (MQTT 5, 3.1.2.11.3), and so many may wait for a `take` until we stop to read. MQTT 3.1.1 has no
    other bound; there a `publish` is answered only while somebody takes, and while a `subscribe`
    waits for its answer more may come in. `room` bounds it in bytes; a message that is larger is
    acknowledged, skipped and logged, once an hour for each topic.

    A broker that cannot keep a retained message gets the will without that. `access` remembers over
    many connections what the broker has taken; where it refuses what the files hold now, that is
    tried at once.

    Raises Unreachable or Refused on entry, Disconnected from within.
    """
    terms = Terms(broker, identifier, will, keep_session_s, receive_maximum, room)
    client = await _opened(terms, access or Access(broker))
    try:
        yield Session(client)
    finally:
        await client.leave()


async def _opened(terms: Terms, access: Access) -> Receiver:
    """Connect with what the files hold now, or else with what the broker took last. Raises
    Unreachable or Refused, for what the files hold now."""
    # In a thread: a disk may not answer, and whoever else works on this loop must not wait.
    shown, *others = await asyncio.to_thread(access.candidates)
    try:
        client = await _open(terms, shown)
    except Unreachable:
        for before in others:
            with contextlib.suppress(Unreachable):
                client = await _open(terms, before)
                access.taken(before, refused=shown)
                return client
        raise
    access.taken(shown, refused=None)
    return client


async def _open(terms: Terms, shown: Shown) -> Receiver:
    broker, will = terms.broker, terms.will
    client = Receiver(terms, shown.password)
    try:
        async with asyncio.timeout(broker.connect_timeout_s):
            try:
                await client.open(shown.tls)
            except CannotRetain:
                if will is None:
                    raise
                terms = terms._replace(will=will._replace(retain=False))
                client = Receiver(terms, shown.password)
                await client.open(shown.tls)
                client.retains = False
    except Refused as error:
        old = broker.protocol == "5" and "protocol version" in str(error)
        hint = ': try protocol = "3.1.1"' if old else ""
        raise Refused(
            f"broker {broker} refuses us as {terms.identifier!r}: {error}{hint}"
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"broker {broker} cannot be reached: no answer within {broker.connect_timeout_s:g} s"
        ) from None
    except OSError as error:
        raise Unreachable(f"broker {broker} cannot be reached: {_reason(error)}") from None
    return client


async def keep_connected(
    broker: Broker,
    identifier: str,
    run: Callable[[Session], Awaitable[None]],
    *,
    will: Will | None = None,
    keep_session_s: int = 0,
    receive_maximum: int = 1000,
    room: Room = TO_CLOUD,
    on_trouble: Callable[[str], None] = lambda _: None,
) -> None:
    """Call `run(session)` for connection after connection until it returns by itself.

    Waits 0.5 s to 30 s, with jitter, between tries, so that a city of gateways does not come back
    in one instant; and only a connection that has lasted is taken for a recovery. Logs each reason
    once, and the recovery: at once where the broker was away, else after 10 s, so that two clients
    that throw each other out do not fill the log. `on_trouble` is called with each reason, logged
    or not. Each connection has a task of its own: whatever `run` leaves pending there
    (`wire.tasks.apart`) does not spoil the next one.
    """
    loop = asyncio.get_running_loop()
    access = Access(broker)
    delay, since = _FIRST_DELAY_S, loop.time()
    told: set[str] = set()
    recovery: asyncio.TimerHandle | None = None
    trouble: Exception | None = None

    def recovered() -> None:
        log.info("broker %s: connected again", broker)
        told.clear()

    async def once() -> None:
        nonlocal recovery, since
        async with connect(
            broker,
            identifier,
            will=will,
            keep_session_s=keep_session_s,
            receive_maximum=receive_maximum,
            room=room,
            access=access,
        ) as session:
            since = loop.time()
            if told and isinstance(trouble, Unreachable):
                recovered()
            elif told:
                recovery = loop.call_later(_STEADY_AFTER_S, recovered)
            await run(session)

    while True:
        since = loop.time()
        try:
            await apart(once(), f"{identifier} connection")
        except* (Unreachable, Disconnected, CancelledAlone) as group:
            trouble = _first(group)
        else:
            return
        finally:
            if recovery is not None:
                recovery.cancel()
        reason = str(trouble)
        on_trouble(reason)
        if not told:
            log.warning("%s; trying again until it answers", reason)
        elif reason not in told and _by_the_broker(trouble) and len(told) < _MOST_TOLD:
            log.warning("%s", reason)
        if len(told) < _MOST_TOLD:
            told.add(reason)
        if isinstance(trouble, Disconnected) and loop.time() - since >= _STEADY_AFTER_S:
            delay = _FIRST_DELAY_S
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))
        delay = min(2 * delay, _LONGEST_DELAY_S)


def _by_the_broker(trouble: Exception | None) -> bool:
    """Whether the broker itself has said why."""
    return isinstance(trouble, Refused) or SAID in str(trouble)


def _reason(error: OSError) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not to be trusted: {error.verify_message}{_clock(error)}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            text = str(error.strerror)
        case OSError() if error.errno is not None:
            text = os.strerror(error.errno)
        case _:
            text = str(error)
    return text[:1].lower() + text[1:]


def _clock(error: ssl.SSLCertVerificationError) -> str:
    """What to look at where a certificate is said not to hold now: a machine without a battery for
    its clock begins in 1970, or when it was switched off."""
    if getattr(error, "verify_code", 0) not in (_NOT_YET_VALID, _EXPIRED):
        return ""
    return f"; the clock of this machine shows {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
