"""A controller that subscribes: the aspect is a signed lease, retained on a topic.

The controller shows an aspect only while its lease lasts, and then its own safe aspect: nobody need
tell it that the gateway is dead. It says on another topic what it shows and which lease made it
(`Shown`); only the word for the lease that was sent last counts as read-back. That word is not
signed: the broker's access list must leave the topic to the controller.

Time. A lease ends at a UTC time and is judged by the controller's clock. A gateway whose clock is
behind sends leases that have ended; one whose clock is ahead sends leases that would outlive it by
hours, so a controller must refuse what reaches further than a lease may (`longest_lease_s` there).
Either way the safe aspect shows, and the read-back tells. Sequence numbers are UTC milliseconds,
but always above the last one sent; after a restart the gateway first reads its own last lease from
the broker, where it is retained, and goes on above it, so that a clock that was set back cannot
make it count again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from pydantic import Field, StringConstraints, model_validator

from configs.loader import UserError
from drivers.errors import BadReply, Misconfigured, Unavailable
from drivers.signals import FindProfile, Signal, SignalConfig, Wiring
from wire import mqtt, secretfile, signing
from wire.aspect import Aspect
from wire.codec import DecodeError
from wire.messages import Lease
from wire.mqtt import Broker, Disconnected, Message, PublishRefused, Session, Subscriptions
from wire.secretfile import InUse

log: Final = logging.getLogger("shuichi.signal")

_MOST_AT_ONCE: Final = 20

Topic = Annotated[str, StringConstraints(pattern=r"^[^+#]+$", max_length=200)]


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the controller says, retained, whenever that changes and after each lease it hears.

    `sequence` is that of the last lease it took. `refused` says why it did not take the last
    message on the topic, "" if it did.
    """

    aspect: Aspect
    sequence: int
    refused: str = ""


class Config(SignalConfig):
    """`topic` carries the lease, `shown_topic` what the controller says. The lease is signed with
    the private key in `key_file` (32 bytes in base64), which the controller knows as `key`."""

    watchdog_key: ClassVar = "lease_s"

    kind: Literal["mqtt"]
    port: None = None
    broker: Broker = Broker()
    topic: Topic
    shown_topic: Topic
    key: Annotated[str, Field(min_length=1)]
    key_file: Annotated[str, Field(min_length=1)]
    lease_s: Annotated[float, Field(ge=1, le=3600)] = 30
    within_ms: Annotated[int, Field(ge=20, le=20_000)] = 2000  # two of them in an attempt: the
    # watchdog of the gateway must not take them for a loop that hangs

    @property
    def refresh_within_s(self) -> float:
        return self.lease_s

    def wait_s(self, profile: FindProfile) -> float:
        return self.within_ms / 1000

    @model_validator(mode="after")
    def _two_topics(self) -> "Config":
        if self.topic == self.shown_topic:
            raise ValueError("topic and shown_topic are the same")
        return self


class Mqtt:
    """Sends a lease for each `show`, and waits in `read_back` for the word on that lease. After a
    lease that was refused the private key's file is read again."""

    def __init__(self, config: Config, site: str, key: InUse[str]) -> None:
        self._config = config
        self._site = site
        self._key = key
        self._trial: str | None = None  # another key, which the controller has not taken yet
        self._is_refused = False
        self.connection: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._subscriptions = Subscriptions(config.topic, config.shown_topic)
        self._ready = asyncio.Event()
        self._sequence = 0
        self._sent: int | None = None
        self._heard: Shown | None = None
        self._nonsense = False
        self._news = asyncio.Event()

    async def show(self, aspect: Aspect) -> None:
        if self.connection is not None and self.connection.done():
            why = self._ended(self.connection)
            self.start()
            raise Unavailable(f"the connection to broker {self._config.broker} ended: {why}")
        try:
            async with asyncio.timeout(self._config.within_ms / 1000):
                await self._ready.wait()
                if self._is_refused:
                    self._trial = await asyncio.to_thread(self._key.instead, self._key.value)
                await self._lease(aspect)
        except TimeoutError:
            what = "does not acknowledge" if self._ready.is_set() else "is not connected"
            raise Unavailable(f"broker {self._config.broker} {what}") from None
        except Disconnected as error:
            raise Unavailable(f"broker {self._config.broker}: {error}") from None
        except PublishRefused as error:
            raise Misconfigured(
                f"broker {self._config.broker} refuses a lease on {self._config.topic}: {error}"
            ) from None

    async def read_back(self) -> Aspect | None:
        if self._sent is None:
            raise Unavailable("the controller has had no lease from us yet")
        if (why := self._subscriptions.denied.get(self._config.shown_topic)) is not None:
            raise Misconfigured(why)
        try:
            async with asyncio.timeout(self._config.within_ms / 1000):
                while (aspect := self._told(self._sent)) is None:
                    self._news.clear()
                    await self._news.wait()
                return aspect
        except TimeoutError:
            raise Unavailable(
                f"the controller says nothing of our lease on {self._config.shown_topic}"
            ) from None

    def start(self) -> None:
        """Connect, in a task of its own. One that ends, whatever ended it, is started again by the
        next `show`."""
        self.connection = asyncio.create_task(self.run(), name=f"signal {self._site} mqtt")

    async def stop(self) -> None:
        """End the connection."""
        if self.connection is not None:
            self.connection.cancel()
            await asyncio.wait([self.connection])

    @staticmethod
    def _ended(connection: asyncio.Task[None]) -> str:
        if connection.cancelled():
            return "its task was cancelled"
        error = connection.exception()
        return "nobody knows why" if error is None else f"{type(error).__name__} {error}"[:200]

    async def run(self) -> None:
        """Keep the connection, for ever."""
        identifier = f"shuichi-signal-{self._site}-{token_hex(4)}"
        await mqtt.keep_connected(
            self._config.broker, identifier, self._listen, room=mqtt.TO_GATEWAY
        )

    async def _lease(self, aspect: Aspect) -> None:
        assert self._session is not None
        now_ms = time.time_ns() // 1_000_000
        self._sequence = max(self._sequence + 1, now_ms)
        end_ms = now_ms + round(self._config.lease_s * 1000)
        lease = Lease(self._site, aspect, end_ms, self._sequence)
        self._sent, self._heard, self._nonsense = self._sequence, None, False
        private = self._key.value if self._trial is None else self._trial
        payload = signing.sign(lease, self._config.key, private)
        await self._session.publish(self._config.topic, payload, retain=True)

    def _told(self, sequence: int) -> Aspect | None:
        """None while the controller has not spoken of the lease with this number."""
        if self._nonsense:
            raise BadReply(f"{self._config.shown_topic}: not what a controller would say")
        if (heard := self._heard) is None:
            return None
        if heard.refused:
            self._is_refused = True
            if self._trial is not None:
                self._key.decline(self._trial)
            raise Misconfigured(f"the controller refuses our lease: {heard.refused}")
        if heard.sequence != sequence:
            return None
        if self._trial is not None:
            self._key.accept(self._trial)
        self._trial, self._is_refused = None, False
        return heard.aspect

    async def _listen(self, session: Session) -> None:
        """One connection. Our own lease, which is retained, says where to go on counting; without
        it the clock does. A lease goes out whether or not the broker lets us listen."""
        self._session = session
        await self._subscriptions.begin(session)
        self._ready.set()
        asking = asyncio.create_task(
            self._subscriptions.keep(session), name=f"signal {self._site} subscriptions"
        )
        try:
            while True:
                for message in await session.take(_MOST_AT_ONCE):
                    try:
                        self._take(message)
                    except Exception as error:  # noqa: BLE001 - no message ends the connection
                        log.warning("%s: skipped: %s", message.topic, type(error).__name__)
                    session.ack(message)
        finally:
            asking.cancel()
            self._ready.clear()
            self._session = None

    def _take(self, message: Message) -> None:
        if message.topic == self._config.topic:
            self._go_on_above(message.payload)
        else:
            self._hear(message)

    def _go_on_above(self, payload: bytes) -> None:
        public = signing.public_of(self._key.value)
        try:
            lease, _ = signing.verify_lease(payload, {self._config.key: public})
        except (signing.SignatureError, DecodeError):
            return  # not ours
        self._sequence = max(self._sequence, lease.sequence)

    def _hear(self, message: Message) -> None:
        try:
            heard = msgspec.json.decode(message.payload, type=Shown)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._nonsense = True
        else:
            if heard.refused and message.retained:
                return  # of a lease that is long gone
            self._heard, self._nonsense = heard, False
        self._news.set()


@asynccontextmanager
async def open(config: Config, wiring: Wiring) -> AsyncIterator[Signal]:
    """The signal that `config` describes. Raises UserError for a key that cannot be used; the
    broker may come later."""
    where = f"interlock.{wiring.site}.signal.key_file"
    file = wiring.folder / config.key_file
    broker = config.broker.beside(wiring.folder)
    config = config.model_copy(update={"broker": broker})
    try:
        key = InUse(where, partial(_read, file), (OSError, ValueError))
        signal = Mqtt(config, wiring.site, key)
    except OSError as error:
        raise UserError(f"{where}: {file}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{where}: {file}: {error}") from None
    signal.start()
    try:
        yield signal
    finally:
        await signal.stop()


def _read(file: Path) -> str:
    """The private key. Raises OSError, or ValueError for what is none."""
    private = secretfile.text(file)
    signing.public_of(private)
    return private
