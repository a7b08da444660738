"""What the demo sees while the storm goes on: messages of gateway and cloud, facts of the
simulator, lines of the alert log."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from firmware_sim import truth
from firmware_sim.demo.stage import KEY_FILE, Stage
from wire import codec, keyfile, topics
from wire.authentication import Keys
from wire.messages import Ack, Event, InterlockState, Status
from wire.mqtt import Broker, Message, Session, keep_connected
from wire.reading import Quantity, Reading
from wire.topics import What

HISTORY: Final = 4000
"""Depths kept for the picture."""

_FILES_EVERY_S: Final = 0.2
_WATCHED: Final = (What.DATA, What.EVENT, What.STATUS, What.INTERLOCK, What.ACK)


class Answer(msgspec.Struct, frozen=True):
    """Somebody has answered by the link of a message that was told at `called_ms`; `status` is the
    HTTP status of the page that came, 0 for none. Times in UTC, ms."""

    at_ms: int
    called_ms: int
    who: str
    incident: str
    status: int

    @property
    def counts(self) -> bool:
        """Whether the cloud has taken it."""
        return self.status == 200


class Picture:
    """The state of things, as far as it has been told. Depths in m, times in ms UTC."""

    def __init__(self) -> None:
        self.latest: dict[Quantity, Reading] = {}
        self.depths: deque[tuple[int, float]] = deque(maxlen=HISTORY)
        self.interlock: InterlockState | None = None
        self.status: Status | None = None
        self.events: list[Event] = []
        self.alerts: list[dict[str, Any]] = []
        self.answers: list[Answer] = []
        self.facts: list[truth.Fact] = []
        self.ended = asyncio.Event()
        self.keys: Keys | None = None  # without them no ack is believed
        self._sizes: dict[int, int] = {}
        self._acked: set[int] = set()

    @property
    def taken(self) -> int:
        """Readings in the batches that have been sealed and sent."""
        return sum(self._sizes.values())

    @property
    def stored(self) -> int:
        """Readings in the batches that the cloud has acknowledged as stored."""
        return sum(self._sizes.get(number, 0) for number in self._acked)

    def hear(self, message: Message) -> None:
        """Take in one MQTT message."""
        address = topics.parse(message.topic)
        if address is None:
            return
        match address.what:
            case What.DATA | What.EVENT:
                batch = codec.decode_batch(message.payload)
                if batch.number in self._sizes:
                    return
                self._sizes[batch.number] = len(batch.readings)
                self.events += batch.events
                for reading in batch.readings:
                    self._see(reading)
            case What.STATUS:
                self.status = codec.decode(message.payload, Status)
            case What.INTERLOCK:
                self.interlock = codec.decode(message.payload, InterlockState)
            case What.ACK:
                ack = codec.decode(message.payload, Ack)
                if self.keys is not None and self.keys.believe(ack, address.gateway):
                    for first, last in ack.batches:
                        self._acked.update(range(first, last + 1))

    @property
    def is_anybody_called(self) -> bool:
        """Whether a call of some incident is newer than the last answer to it that counted."""
        called = {one["incident"]: one["at_ms"] for one in self.alerts if one["link"]}
        for one in self.answers:
            if one.counts and called.get(one.incident, one.at_ms) < one.at_ms:
                del called[one.incident]
        return bool(called)

    def learn(self, fact: truth.Fact) -> None:
        """Take in one fact of the simulator."""
        self.facts.append(fact)
        if isinstance(fact, truth.End):
            self.ended.set()

    def _see(self, reading: Reading) -> None:
        before = self.latest.get(reading.quantity)
        if before is None or before.at_ms <= reading.at_ms:
            self.latest[reading.quantity] = reading
        if reading.quantity is Quantity.DEPTH and reading.value is not None:
            self.depths.append((reading.at_ms, reading.value))


async def watch(picture: Picture, stage: Stage, broker_port: int) -> None:
    """Keep the picture up to date, for ever."""
    facts = msgspec.json.Decoder(truth.Fact)

    async def listen(session: Session) -> None:
        site = {What.INTERLOCK: stage.site}
        await session.subscribe(
            *(topics.topic(stage.shard, stage.gateway, one, site.get(one)) for one in _WATCHED)
        )
        while True:
            for message in await session.take(100):
                with contextlib.suppress(codec.DecodeError):  # not one of ours
                    picture.hear(message)
                session.ack(message)

    picture.keys = await asyncio.to_thread(keyfile.read, stage.folder / KEY_FILE)

    async with asyncio.TaskGroup() as group:
        group.create_task(
            keep_connected(Broker(port=broker_port), "shuichi-demo", listen), name="demo messages"
        )
        group.create_task(
            _follow(stage.folder / "truth.jsonl", lambda line: picture.learn(facts.decode(line))),
            name="demo facts",
        )
        group.create_task(
            _follow(stage.alert_log, lambda line: picture.alerts.append(json.loads(line))),
            name="demo alerts",
        )


async def _follow(file: Path, take: Callable[[bytes], None]) -> None:
    """Hand over each whole line of a growing file."""
    tail = _Tail(file)
    while True:
        for line in tail.lines():
            take(line)
        await asyncio.sleep(_FILES_EVERY_S)


class _Tail:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0

    def lines(self) -> list[bytes]:
        """The whole lines that have come since the last call."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._position)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._position += len(whole) + len(newline)
        return whole.splitlines()
