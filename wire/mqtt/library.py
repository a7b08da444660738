"""A connection by aiomqtt, and the only module that imports an MQTT library.

aiomqtt, as it comes, acknowledges a message before its receiver has stored it, throws away what a
full queue cannot hold, does not tell when the broker refuses a publish, and connects in a thread
that nobody can stop. `Library` mends these things by overriding the callbacks that aiomqtt gives to
paho, by reading by itself, and by bringing its own socket (decision record 0002); nothing else here
reaches below aiomqtt's surface.
"""

import asyncio
import ssl
from collections import deque
from typing import Any, Final

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from wire.dial import dial
from wire.mqtt.terms import (
    ANY_SIZE,
    GOODBYE_S,
    HUNG_UP,
    Disconnected,
    Message,
    PublishRefused,
    Refused,
    Terms,
    draw,
)

AT_ONCE: Final = 20
"""Packets that are read before others have their turn in the event loop."""

_NO_SUBSCRIBERS: Final = 16


class Library(aiomqtt.Client):
    """A `Client` for whoever has a handful of messages a second. Raises OSError if the password
    file cannot be read.

    Whoever leaves a full inbox alone for two keepalives is disconnected: paho, which reads nothing
    meanwhile, misses the broker's answer to its ping. The broker has what was not acknowledged.
    """

    def __init__(self, terms: Terms) -> None:
        broker, will = terms.broker, terms.will
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password(),
            identifier=terms.identifier,
            will=None if will is None else aiomqtt.Will(*will, qos=1, retain=True),
            keepalive=broker.keepalive_s,
            timeout=broker.connect_timeout_s,
            **_by_version(terms),
        )
        self.kept = False
        self._most = terms.receive_maximum
        self._subscribing = 0
        self._client.manual_ack_set(True)
        self._inbox: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._unconfirmed: dict[int, asyncio.Future[bool]] = {}

    async def open(self, tls: ssl.SSLContext | None) -> None:
        """In place of `__aenter__`: without a thread."""
        host, port = self._hostname, self._port
        line = await dial(host, port, tls, unanswered_s=self._keepalive)
        # paho has no other way to be given a socket.
        self._client._create_socket = lambda: line  # type: ignore[method-assign]
        try:
            self._client_connect()  # only puts CONNECT on the line
            await asyncio.wait((self._connected,))
            self._connected.result()
        except BaseException as error:
            self._hang_up()
            match error:
                case aiomqtt.exceptions.MqttConnectError():
                    raise Refused(str(error.rc).lower()) from None
                case aiomqtt.MqttError():
                    raise ConnectionError(str(error)) from None
            raise
        self._disconnected.add_done_callback(lambda _: self._give_up_unconfirmed())

    async def leave(self) -> None:
        """In place of `__aexit__`."""
        try:
            if not self._disconnected.done() and not self._client.disconnect():
                await asyncio.wait((self._disconnected,), timeout=GOODBYE_S)
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

    # aiomqtt's own has other types.
    async def subscribe(self, topic_filter: str) -> str | None:  # type: ignore[override]
        was_full = self._is_full
        self._subscribing += 1
        self._resume(was_full)
        try:
            (code,) = await super().subscribe(topic_filter, qos=1)
        except aiomqtt.MqttError as error:
            raise Disconnected(str(error)) from error
        finally:
            self._subscribing -= 1
        return str(code) if isinstance(code, ReasonCode) and code.is_failure else None

    async def take(self, limit: int, limit_bytes: int = ANY_SIZE) -> list[Message]:
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
        was_full = self._is_full
        messages = draw(self._inbox, limit, limit_bytes)
        self._resume(was_full)
        return messages

    def acknowledge(self, message: Message) -> None:
        if message.qos:
            self._client.ack(message.mid, message.qos)

    def send(self, topic: str, payload: bytes, *, retain: bool) -> asyncio.Future[bool]:
        future = self._loop.create_future()
        error: str | None = None
        if self._disconnected.done():
            error = "the connection has ended"
        else:
            info = self._client.publish(topic, payload, qos=1, retain=retain)
            if info.rc:
                error = f"publish to {topic} failed: code {info.rc}"
            else:
                self._unconfirmed[info.mid] = future
        if error is not None:
            future.set_exception(Disconnected(error))
            future.exception()  # seen, as above
        return future

    @property
    def _is_full(self) -> bool:
        # A SUBACK may come behind more messages of a kept session than anybody has taken yet.
        return len(self._inbox) >= self._most and not self._subscribing

    def _resume(self, was_full: bool) -> None:
        """Go on where there was no room."""
        if was_full and (line := self._client.socket()) is not None:
            self._loop.add_reader(line.fileno(), self._read)
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        """Some of what has arrived, if there is room for it: a broker that does not know MQTT 5
        keeps the rest when we stop to read."""
        try:
            for _ in range(AT_ONCE):
                if (line := self._client.socket()) is None:
                    return
                if self._is_full:
                    self._loop.remove_reader(line.fileno())
                    return
                if (code := self._client._packet_read()) == MQTTErrorCode.MQTT_ERR_AGAIN:
                    return
                if code > 0:
                    self._client._loop_rc_handle(code)
                    return
        # The seam: paho lets through whatever a broken packet does to its decoder.
        except Exception as error:  # noqa: BLE001
            if not self._disconnected.done():
                self._disconnected.set_exception(error)
            return
        if isinstance(line, ssl.SSLSocket) and line.pending():
            self._loop.call_soon(self._read)  # what TLS has decrypted already shows nowhere

    def _on_connect(
        self,
        client: PahoClient,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.kept = flags.session_present
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_socket_open(self, client: PahoClient, userdata: Any, sock: Any) -> None:
        # In place of aiomqtt's: with a reader that can stop.
        self._loop.add_reader(sock.fileno(), self._read)
        self._misc_task = self._loop.create_task(self._misc_loop(), name="mqtt keepalive")

    def _on_socket_close(self, client: PahoClient, userdata: Any, sock: Any) -> None:
        super()._on_socket_close(client, userdata, sock)
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError(HUNG_UP))

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
            future.set_result(reason_code.value != _NO_SUBSCRIBERS)


def _by_version(terms: Terms) -> dict[str, Any]:
    afresh = terms.keep_session_s == 0
    if terms.broker.protocol == "3.1.1":
        return {"protocol": aiomqtt.ProtocolVersion.V311, "clean_session": afresh}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = terms.keep_session_s
    properties.ReceiveMaximum = terms.receive_maximum
    return {
        "protocol": aiomqtt.ProtocolVersion.V5,
        "clean_start": afresh,
        "properties": properties,
    }
