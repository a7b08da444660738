"""A worker of the aggregator without a broker: messages are handed to it, and a store is played."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from cloud import ledger, shards, state, tables
from cloud.admission import Admission
from cloud.alerts.rule import Rule
from cloud.alerts.watch import Watch
from cloud.config import Ingest as Settings
from cloud.errors import Unavailable
from cloud.ingest.take import Take
from cloud.ingest.worker import Ingest
from cloud.intake import Intake
from cloud.ledger import Key
from cloud.state import State
from cloud.store import Also, Points
from wire import codec, topics
from wire.messages import Ack, Batch
from wire.mqtt import Broker, Disconnected, Message
from wire.ranges import Intervals
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

NOW_MS = time.time_ns() // 1_000_000
KEY = Key("g", "s")


def away(_: Sequence[Points]) -> None:
    """The judgement of a store that is not there."""
    raise Unavailable("nobody there")


def takes_all(_: Sequence[Points]) -> None:
    """The judgement of a store that works."""


def message(
    number: int,
    stream: str = "s",
    *,
    gateway: str = "g",
    depth: float = 0.1,
    **more: Any,
) -> Message:
    """A batch of one reading, whose time says its number."""
    one = Reading("site", "ruler", Quantity.DEPTH, depth, NOW_MS + number, Quality.GOOD)
    payload = codec.encode_batch(Batch(gateway, stream, number, (one,), **more))
    return Message(topics.topic("0", gateway, What.DATA), payload, False, number, 1)


class Session:
    """Gives all that waits at once."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Message | None] = asyncio.Queue()
        self.taken = 0
        self.acked: list[int] = []
        self.acks = Intervals()

    async def subscribe(self, *filters: str) -> None:
        pass

    async def take(self, limit: int, limit_bytes: int) -> list[Message]:
        messages: list[Message] = []
        while not messages or (len(messages) < limit and not self.waiting.empty()):
            if (one := await self.waiting.get()) is None:
                raise Disconnected("it ended")
            messages.append(one)
        self.taken += len(messages)
        return messages

    def ack(self, one: Message) -> None:
        self.acked.append(one.mid)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[bool]:
        for first, last in codec.decode(payload, Ack).batches:
            self.acks.add_range(first, last)
        return asyncio.get_running_loop().create_future()


class Server:
    """A store beside the state whose answers a test gives, in any order."""

    def __init__(self, database: State) -> None:
        self.asked: dict[int, list[asyncio.Future[None]]] = {}
        self.committed: list[int] = []
        self.points: list[tuple[int, Reading]] = []
        self.judge: Callable[[Sequence[Points]], None] | None = None
        """Raises what the store says of these points; None: a test answers."""
        self.written: list[tuple[str, int, float | None]] = []
        """Gateway, number and value of each reading that it took, by its own judgement."""
        self._database = database

    async def write(self, points: Sequence[Points], also: Also) -> None:
        await self.send(points)
        await self._database.run(also)

    async def send(self, points: Sequence[Points]) -> None:
        if self.judge is not None:
            self.judge(points)
            self.written += [
                (gateway, one.at_ms - NOW_MS, one.value) for gateway, some in points for one in some
            ]
            return
        for _, readings in points:
            for reading in readings:
                answer = asyncio.get_running_loop().create_future()
                self.asked.setdefault(reading.at_ms - NOW_MS, []).append(answer)
                await answer

    def answer(self, number: int) -> None:
        """What was sent of this batch so far is stored."""
        for asked in self.asked[number]:
            if not asked.done():
                asked.set_result(None)

    async def commit(self, points: Sequence[Points], also: Also) -> None:
        await self._database.run(also)
        self.points += [(r.at_ms - NOW_MS, r) for _, readings in points for r in readings]
        self.committed += [r.at_ms - NOW_MS for _, readings in points for r in readings]


class Flow:
    """A worker of which only store and session are played."""

    def __init__(
        self, database: State, lease: shards.Lease, rules: Sequence[Rule[Any]], **settings: Any
    ) -> None:
        self.session = Session()
        self.store = Server(database)
        self.database = database
        self.woken = 0
        parts: Any = (self.store, Watch(rules), self._wake)
        admission = Admission({}, "accept", 3_600_000, 3_600_000)
        ours = (Broker(), Settings(**settings), admission, lease, "0", database)
        self.ingest: Any = Ingest(*ours, *parts)

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ingest._look_after())
            with suppress(Disconnected):
                await self.ingest.serve(group, self.session)

    def _wake(self) -> None:
        self.woken += 1

    def send(self, *messages: Message) -> None:
        """As the broker does."""
        for one in messages:
            self.session.waiting.put_nowait(one)

    async def table(self, name: str) -> list[dict[str, Any]]:
        asked = tables.metadata.tables[name].select()
        return await self.database.run(
            lambda connection: [dict(row) for row in connection.execute(asked).mappings()]
        )

    async def ledgered(self) -> Intervals:
        found = await self.database.run(lambda connection: ledger.load(connection, {KEY}))
        return found[KEY].received

    async def examined(self) -> Intervals:
        found = await self.database.run(lambda connection: ledger.load(connection, {KEY}))
        return found[KEY].examined


@asynccontextmanager
async def flowing(
    folder: Path, rules: Sequence[Rule[Any]] = (), **settings: Any
) -> AsyncIterator[Flow]:
    """A worker that has just begun; another one before it may have used the same folder."""
    async with state.opened(folder / "cloud.db") as database:
        leases = shards.Leases(database, 60)
        await leases.begin()
        lease = await database.run(lambda connection: leases._take(connection, "shard 0"))
        assert isinstance(lease, shards.Lease)
        flow = Flow(database, lease, rules, **settings)
        serving = asyncio.create_task(flow.serve(), name="serving")
        try:
            yield flow
        finally:
            serving.cancel()
            await asyncio.wait((serving,))
            if not serving.cancelled():
                serving.exception()  # a test may end a process so


async def settle(worker: Ingest, intake: Intake) -> Take:
    """Have the rules see `intake`, and return once all of it is stored."""
    inner: Any = worker
    nobody: Any = None  # a session: nothing is acknowledged
    take = Take(intake, (), nobody)
    await inner._writing.insist(partial(inner._examination.examine, take))
    await inner._writing.write(take, None)
    return take
