"""MQTT 5 as both ends need it, and the only module that imports an MQTT library.

aiomqtt, as it comes, acknowledges a message before its receiver has stored it, throws away what a
full queue cannot hold, and does not tell when the broker refuses a publish. `_Client` mends these
three things by overriding the callbacks that aiomqtt gives to paho (decision record 0002); nothing
else here reaches below aiomqtt's surface.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import BaseModel, ConfigDict, Field

log: Final = logging.getLogger("shuichi.mqtt")

PUBACK_TIMEOUT_S: Final = 20.0
_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 30.0


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
    with _ours():
        client = _Client(broker, identifier, will, keep_session_s, receive_maximum)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(client)
        except aiomqtt.exceptions.MqttConnectError as error:
            reason = str(error.rc).lower()
            raise Refused(f"broker {broker} refuses us as {identifier!r}: {reason}") from None
        except aiomqtt.MqttError as error:
            raise Unreachable(f"broker {broker} cannot be reached: {_lower(error)}") from None
        yield Session(client)


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
    in one instant. Logs the first failure and the recovery, nothing between.
    """
    delay, down = _FIRST_DELAY_S, False
    while True:
        ended = False
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
                delay, down = _FIRST_DELAY_S, False
                await run(session)
                ended = True
        except* (Unreachable, Disconnected) as group:
            trouble = _first(group)
        if ended:
            return
        if not down:
            log.warning("%s; trying again until it answers", trouble)
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
            tls_context=_tls(broker),
        )
        self._client.manual_ack_set(True)
        self._client.connect_timeout = broker.connect_timeout_s
        self._inbox: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._disconnected.add_done_callback(lambda _: self._give_up_unconfirmed())
        return self

    async def __aexit__(self, *exc: Any) -> None:
        try:
            with contextlib.suppress(aiomqtt.MqttError):  # a broker that is gone hears no goodbye
                await super().__aexit__(*exc)
        finally:
            if self._disconnected.done() and not self._disconnected.cancelled():
                self._disconnected.exception()  # seen, so that asyncio does not report it
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
    except OSError as error:  # a password or certificate file that cannot be read
        raise Refused(f"{error.strerror}: {error.filename}") from error


def _secret(file: str | None) -> str | None:
    return None if file is None else Path(file).read_text(encoding="utf-8").strip()


def _tls(broker: Broker) -> ssl.SSLContext | None:
    if not broker.tls:
        return None
    context = ssl.create_default_context(cafile=broker.ca_file)
    if broker.cert_file is not None:
        context.load_cert_chain(broker.cert_file, broker.key_file)
    return context


def _lower(error: Exception) -> str:
    text = str(error).removeprefix("[Errno ").partition("] ")[2] or str(error)
    return text[:1].lower() + text[1:]


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
