"""MQTT 5 as both ends need it, and the only module that imports an MQTT library.

aiomqtt, as it comes, acknowledges a message before its receiver has stored it, throws away what a
full queue cannot hold, does not tell when the broker refuses a publish, and connects in a thread
that nobody can stop. `_Client` mends these things by overriding the callbacks that aiomqtt gives to
paho, and by bringing its own socket (decision record 0002); nothing else here reaches below
aiomqtt's surface.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import BaseModel, ConfigDict, Field

from wire.dial import dial

log: Final = logging.getLogger("shuichi.mqtt")

PUBACK_TIMEOUT_S: Final = 20.0
_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 30.0
_STEADY_AFTER_S: Final = 10.0
_GOODBYE_S: Final = 1.0


class Unreachable(Exception):
    """No connection could be made: nobody listens, no route, no name, no answer."""


class Refused(Unreachable):
    """The broker answered and said no: wrong password, not authorised, wrong version."""


class Disconnected(Exception):
    """The connection ended while it was in use."""


class PublishRefused(Exception):
    """The broker acknowledged a publish with a reason code that means failure."""


class Broker(BaseModel):
    """Where the broker is and who we are to it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str | None = None
    password_file: str | None = None
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    connect_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Will(NamedTuple):
    """What the broker says for us, retained, when we vanish."""

    topic: str
    payload: bytes


class Message(NamedTuple):
    """A message that arrived and that nobody has acknowledged yet."""

    topic: str
    payload: bytes
    retained: bool
    mid: int
    qos: int


class Session:
    """One connection to the broker, from CONNACK to its end."""

    def __init__(self, client: "_Client") -> None:
        self._client = client

    async def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1. Raises Refused for a filter that the broker does not grant."""
        for topic_filter in filters:
            with _ours():
                codes = await self._client.subscribe(topic_filter, qos=1)
            if any(code.is_failure for code in codes if isinstance(code, ReasonCode)):
                raise Refused(f"the broker does not let us subscribe to {topic_filter}: {codes[0]}")

    async def take(self, limit: int) -> list[Message]:
        """1 to `limit` messages, oldest first; waits for the first. Raises Disconnected."""
        return await self._client.take(limit)

    def ack(self, message: Message) -> None:
        """Tell the broker that it may forget `message`: call it once the message is stored."""
        self._client.acknowledge(message)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[None]:
        """Publish at QoS 1; the future ends with the broker's PUBACK, PublishRefused or
        Disconnected."""
        return self._client.send(topic, payload, retain=retain)

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the broker's PUBACK. Raises as `send` does."""
        try:
            async with asyncio.timeout(PUBACK_TIMEOUT_S):
                await self.send(topic, payload, retain=retain)
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
) -> AsyncIterator[Session]:
    """One connection. `keep_session_s` > 0 lets the broker keep our subscriptions and unacked
    messages that long after the connection has ended; `receive_maximum` bounds how many messages
    it may send before we acknowledge (MQTT 5, 3.1.2.11.3), which is our back-pressure.

    Raises Unreachable or Refused on entry, Disconnected from within.
    """
    with _files():
        client = _Client(broker, identifier, will, keep_session_s, receive_maximum)
        # In a thread: the certificates of all authorities take a while to read.
        tls = await asyncio.to_thread(_tls, broker) if broker.tls else None
    try:
        async with asyncio.timeout(broker.connect_timeout_s):
            await client.open(tls)
    except aiomqtt.exceptions.MqttConnectError as error:
        reason = str(error.rc).lower()
        raise Refused(f"broker {broker} refuses us as {identifier!r}: {reason}") from None
    except TimeoutError:
        raise Unreachable(
            f"broker {broker} cannot be reached: no answer within {broker.connect_timeout_s:g} s"
        ) from None
    except (OSError, aiomqtt.MqttError) as error:
        raise Unreachable(f"broker {broker} cannot be reached: {_reason(error)}") from None
    try:
        yield Session(client)
    finally:
        await client.leave()


async def keep_connected(
    broker: Broker,
    identifier: str,
    run: Callable[[Session], Awaitable[None]],
    *,
    will: Will | None = None,
    keep_session_s: int = 0,
    receive_maximum: int = 1000,
) -> None:
    """Call `run(session)` for connection after connection until it returns by itself.

    Waits 0.5 s to 30 s, with jitter, between tries, so that a city of gateways does not come back
    in one instant; and only a connection that has lasted is taken for a recovery. Logs the first
    failure and the recovery, nothing between.
    """
    loop = asyncio.get_running_loop()
    delay, down = _FIRST_DELAY_S, False
    while True:
        ended = False
        since = loop.time()
        trouble: Exception | None = None
        try:
            async with connect(
                broker,
                identifier,
                will=will,
                keep_session_s=keep_session_s,
                receive_maximum=receive_maximum,
            ) as session:
                if down:
                    log.info("broker %s: connected again", broker)
                down, since = False, loop.time()
                await run(session)
                ended = True
        except* (Unreachable, Disconnected) as group:
            trouble = _first(group)
        if ended:
            return
        if not down:
            log.warning("%s; trying again until it answers", trouble)
            if loop.time() - since >= _STEADY_AFTER_S:
                delay = _FIRST_DELAY_S
            down = True
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))
        delay = min(2 * delay, _LONGEST_DELAY_S)


class _Client(aiomqtt.Client):
    def __init__(
        self,
        broker: Broker,
        identifier: str,
        will: Will | None,
        keep_session_s: int,
        receive_maximum: int,
    ) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = keep_session_s
        properties.ReceiveMaximum = receive_maximum
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username,
            password=_secret(broker.password_file),
            identifier=identifier,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=None if will is None else aiomqtt.Will(*will, qos=1, retain=True),
            clean_start=keep_session_s == 0,
            properties=properties,
            keepalive=broker.keepalive_s,
            timeout=broker.connect_timeout_s,
        )
        self._client.manual_ack_set(True)
        self._inbox: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}

    async def open(self, tls: ssl.SSLContext | None) -> None:
        """Connect, in place of `__aenter__`: without a thread, and leaving nothing open if it
        fails or is cancelled. Raises OSError or MqttError; sets no time limit."""
        host, port = self._hostname, self._port
        line = await dial(host, port, tls, unanswered_s=self._keepalive)
        # paho has no other way to be given a socket.
        self._client._create_socket = lambda: line  # type: ignore[method-assign]
        try:
            self._client_connect()  # only puts CONNECT on the line
            await asyncio.wait((self._connected,))
            self._connected.result()
        except BaseException:
            self._hang_up()
            raise
        self._disconnected.add_done_callback(lambda _: self._give_up_unconfirmed())

    async def leave(self) -> None:
        """Say goodbye, in place of `__aexit__`, to a broker that may not listen any more."""
        try:
            if not self._disconnected.done() and not self._client.disconnect():
                await asyncio.wait((self._disconnected,), timeout=_GOODBYE_S)
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        self._client._sock_close()
        for future in (self._connected, self._disconnected):
            if future.done():
                future.exception()  # seen, so that asyncio does not report it
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        self._give_up_unconfirmed()

    def _give_up_unconfirmed(self) -> None:
        for future in self._unconfirmed.values():
            if not future.done():
                future.set_exception(Disconnected("the connection ended before the PUBACK"))
                future.exception()  # seen: nobody need await a publish that was given up
        self._unconfirmed.clear()

    async def take(self, limit: int) -> list[Message]:
        while not self._inbox:
            self._arrived.clear()
            arrived = asyncio.ensure_future(self._arrived.wait())
            try:
                await asyncio.wait(
                    (arrived, self._disconnected), return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                arrived.cancel()
            if self._disconnected.done() and not self._inbox:
                raise Disconnected(f"the connection to {self._hostname}:{self._port} ended")
        return [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]

    def acknowledge(self, message: Message) -> None:
        if message.qos:
            self._client.ack(message.mid, message.qos)

    def send(self, topic: str, payload: bytes, *, retain: bool) -> asyncio.Future[None]:
        future = self._loop.create_future()
        if self._disconnected.done():
            future.set_exception(Disconnected("the connection has ended"))
            return future
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc:
            future.set_exception(Disconnected(f"publish to {topic} failed: code {info.rc}"))
        else:
            self._unconfirmed[info.mid] = future
        return future

    def _on_socket_close(self, client: PahoClient, userdata: Any, sock: Any) -> None:
        super()._on_socket_close(client, userdata, sock)
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("it hung up without a word"))

    def _on_socket_register_write(self, client: PahoClient, userdata: Any, sock: Any) -> None:
        # At once. aiomqtt leaves it to the loop's next round: by then the socket may be closed,
        # and its number that of another one.
        self._loop.add_writer(sock, client.loop_write)

    def _on_message(self, client: PahoClient, userdata: Any, message: MQTTMessage) -> None:
        self._inbox.append(
            Message(message.topic, bytes(message.payload), message.retain, message.mid, message.qos)
        )
        self._arrived.set()

    def _on_publish(
        self,
        client: PahoClient,
        userdata: Any,
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,
    ) -> None:
        future = self._unconfirmed.pop(mid, None)
        if future is None or future.done():
            return
        if reason_code.is_failure:
            future.set_exception(PublishRefused(str(reason_code).lower()))
        else:
            future.set_result(None)


@contextlib.contextmanager
def _ours() -> Iterator[None]:
    """Foreign exceptions become ours at this seam."""
    try:
        yield
    except aiomqtt.MqttError as error:
        raise Disconnected(str(error)) from error


@contextlib.contextmanager
def _files() -> Iterator[None]:
    """A password or certificate file that cannot be used."""
    try:
        yield
    except ssl.SSLError as error:
        raise Refused(f"the certificate files cannot be used: {error.reason}") from None
    except OSError as error:
        raise Refused(f"{error.strerror}: {error.filename}") from None


def _secret(file: str | None) -> str | None:
    return None if file is None else Path(file).read_text(encoding="utf-8").strip()


def _tls(broker: Broker) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=broker.ca_file)
    if broker.cert_file is not None:
        context.load_cert_chain(broker.cert_file, broker.key_file)
    return context


def _reason(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not to be trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            text = str(error.strerror)
        case OSError() if error.errno is not None:
            text = os.strerror(error.errno)
        case _:
            text = str(error)
    return text[:1].lower() + text[1:]


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
