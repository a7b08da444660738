"""A controller that subscribes to leases and shows its own safe aspect when the last has ended.

It takes a lease only from a key that it knows, for its site, with a higher sequence than the last,
and with an end that lies ahead of its own clock by no more than `longest_lease_s`: a gateway whose
clock is wrong cannot hold a green beyond its death.

It is the device of somebody else, so it speaks by another MQTT library than our gateway does.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal

import aiomqtt
import msgspec
from pydantic import Field

from drivers.signals.mqtt import Shown
from firmware_sim.controllers import Controller, ControllerConfig, Stage
from wire import signing
from wire.aspect import Aspect
from wire.codec import DecodeError
from wire.messages import Lease
from wire.mqtt import Broker

_PAUSE_S: Final = 0.5
"""Between tries of a broker that is not there."""

_LOST: Final = (aiomqtt.MqttError, ExceptionGroup, OSError)
_PROTOCOLS: Final = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}


class Config(ControllerConfig):
    """`keys` are the public keys (base64) that it trusts, by name."""

    kind: Literal["mqtt"]
    broker: Broker = Broker()
    topic: str
    shown_topic: str
    site: str
    keys: dict[str, str]
    safe_aspect: Aspect = Aspect.AMBER
    longest_lease_s: Annotated[float, Field(gt=0)] = 120


class Subscriber(Controller):
    """Takes leases, and says what it shows."""

    def __init__(self, config: Config, stage: Stage) -> None:
        super().__init__(stage, config.safe_aspect)
        self.address = str(config.broker)
        self._config = config
        self._sequence = 0
        self._refused = ""
        self._news = asyncio.Event()
        self.subscribed = False

    async def run(self) -> None:
        """Keep the connection, for ever."""
        broker = self._config.broker
        while True:
            with contextlib.suppress(*_LOST):
                async with aiomqtt.Client(
                    broker.host,
                    broker.port,
                    username=broker.username,
                    password=broker.password(),
                    identifier=f"shuichi-sim-{self.name}",
                    protocol=_PROTOCOLS[broker.protocol],
                ) as client:
                    await self._session(client)
            await asyncio.sleep(_PAUSE_S)

    async def _session(self, client: aiomqtt.Client) -> None:
        await client.subscribe(self._config.topic, qos=1)
        self.subscribed = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear(client), name=f"{self.name} hears")
                group.create_task(self._say(client), name=f"{self.name} says")
        finally:
            self.subscribed = False

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if self.fault.listens(self._stage.t_s()) and isinstance(message.payload, bytes):
                self._consider(message.payload)

    async def _say(self, client: aiomqtt.Client) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            said = msgspec.json.encode(Shown(self.shows, self._sequence, self._refused))
            for delay_s, data in self.fault.sends(said, self._stage.t_s()):
                await asyncio.sleep(delay_s)
                await client.publish(self._config.shown_topic, data, qos=1, retain=True)

    def _consider(self, payload: bytes) -> None:
        try:
            lease, _ = signing.verify_lease(payload, self._config.keys)
        except (signing.SignatureError, DecodeError) as error:
            self._refused = str(error)
        else:
            if lease.sequence == self._sequence:
                return  # delivered again
            lasts_s = lease.valid_until_ms / 1000 - time.time()
            self._refused = self._objection(lease, lasts_s)
            if not self._refused:
                self._sequence = lease.sequence
                self._show(lease.aspect)
                self._fall_after(lasts_s, self._ended)
        self._news.set()

    def _objection(self, lease: Lease, lasts_s: float) -> str:
        if lease.site != self._config.site:
            return f"it is for {lease.site}, not for {self._config.site}"
        if lease.sequence < self._sequence:
            return f"sequence {lease.sequence} is not above {self._sequence}"
        if lasts_s <= 0:
            return f"it ended {-lasts_s:.1f} s ago by the controller's clock"
        if lasts_s > self._config.longest_lease_s:
            return (
                f"it would last {lasts_s:.1f} s by the controller's clock, at most "
                f"{self._config.longest_lease_s:g} s are allowed"
            )
        return ""

    def _ended(self) -> None:
        self._show(self._config.safe_aspect)
        self._news.set()


@asynccontextmanager
async def open(config: Config, stage: Stage) -> AsyncIterator[Controller]:
    """The controller; it waits for its broker."""
    controller = Subscriber(config, stage)
    try:
        async with asyncio.TaskGroup() as group:
            connection = group.create_task(controller.run(), name=f"controller {stage.name}")
            try:
                yield controller
            finally:
                connection.cancel()
    finally:
        controller.close()
