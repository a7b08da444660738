"""Stands where the cloud stands: takes what a gateway sends, remembers it, and acknowledges it."""

import asyncio
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple

from wire import codec, topics
from wire.authentication import Keys
from wire.messages import Ack, Batch, Status
from wire.mqtt import Broker, Session, keep_connected
from wire.topics import What


class Arrival(NamedTuple):
    """A batch as it came first: monotonic time, and a checksum of its bytes."""

    at: float
    checksum: int
    batch: Batch


class Counterpart:
    """`arrived` by stream and number, in the order of arrival; `repeated` counts what came again,
    `changed` names batches that came again with other bytes."""

    def __init__(
        self,
        broker: Broker,
        gateway: str,
        shard: str = "0",
        on_arrival: Callable[[Arrival], None] = lambda _: None,
    ) -> None:
        self.arrived: dict[tuple[str, int], Arrival] = {}
        self.repeated = 0
        self.changed: set[tuple[str, int]] = set()
        self.status: Status | None = None
        self.acknowledges = True
        self.keys: Keys | None = None  # proves the acks
        self.listens = asyncio.Event()
        self._broker = broker
        self._gateway = gateway
        self._shard = shard
        self._on_arrival = on_arrival

    async def run(self) -> None:
        """Take and acknowledge for ever, connection after connection."""
        await keep_connected(
            self._broker, f"counterpart-{self._gateway}", self._serve, keep_session_s=3600
        )

    async def _serve(self, session: Session) -> None:
        whats = (What.DATA, What.EVENT, What.STATUS)
        await session.subscribe(*(self._topic(what) for what in whats))
        self.listens.set()
        while True:
            messages = await session.take(100)
            now = time.monotonic()
            acks: dict[str, list[tuple[int, int]]] = {}
            for message in messages:
                if message.topic == self._topic(What.STATUS):
                    self.status = codec.decode(message.payload, Status)
                else:
                    batch = codec.decode_batch(message.payload)
                    self._take(Arrival(now, zlib.crc32(message.payload), batch))
                    acks.setdefault(batch.stream, []).append((batch.number, batch.number))
                session.ack(message)
            if self.acknowledges:
                for stream, batches in acks.items():
                    ack = Ack(stream, tuple(sorted(set(batches))))
                    if self.keys is not None:
                        ack = self.keys.prove(ack, self._gateway)
                    session.send(self._topic(What.ACK), codec.encode(ack))

    def _take(self, arrival: Arrival) -> None:
        key = (arrival.batch.stream, arrival.batch.number)
        if (first := self.arrived.get(key)) is None:
            self.arrived[key] = arrival
            self._on_arrival(arrival)
            return
        self.repeated += 1
        if first.checksum != arrival.checksum:
            self.changed.add(key)

    def _topic(self, what: What) -> str:
        return topics.topic(self._shard, self._gateway, what)
