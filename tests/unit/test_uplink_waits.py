"""How long the uplink waits for acks before it sends again, in virtual time."""

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from edge.batches import Position, Sealed
from edge.config import Gateway, Uplink
from edge.uplink import WINDOW, UplinkWorker
from tests import virtual
from wire import codec
from wire.messages import Ack
from wire.mqtt import Broker, Message

BATCHES = 200
RESEND_AFTER_S = 1


class Line:
    """A connection on which a cloud hears everything and, to begin with, acknowledges nothing."""

    most_payload = 1_000_000
    retains = True

    def __init__(self) -> None:
        self.sent: list[tuple[float, int]] = []
        self.acks: asyncio.Queue[Message] = asyncio.Queue()

    async def subscribe(self, *_: str) -> None: ...

    async def publish(self, *_: Any, **__: Any) -> bool:
        return True

    def ack(self, message: Message) -> None: ...

    async def take(self, limit: int) -> list[Message]:
        return [await self.acks.get()]

    def send(self, topic: str, payload: bytes, **_: Any) -> asyncio.Future[bool]:
        if topic.endswith("/data"):
            self.sent.append((virtual.now(), int(payload)))
        done = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done

    def times(self, number: int) -> list[float]:
        return [at for at, one in self.sent if one == number]


class Shelf:
    """What waits, oldest first, as outbox and backlog."""

    def __init__(self) -> None:
        self.waiting: dict[int, Sealed] = {}
        self.after = 0
        self.most_bytes = 0
        self.readings_lost = 0

    @property
    def sendable(self) -> int:
        return len(self.waiting)

    @property
    def position(self) -> Position:
        return Position("stream", BATCHES, 0, len(self.waiting))

    def rewind(self) -> None:
        self.after = 0

    async def take(self, limit: int) -> list[Sealed]:
        found = [one for number, one in self.waiting.items() if number > self.after][:limit]
        if found:
            self.after = found[-1].number
        return found

    async def forget(self, ranges: list[tuple[int, int]], stream: str) -> None:
        for first, last in ranges:
            for number in range(first, last + 1):
                self.waiting.pop(number, None)


async def offered_over(seconds: float) -> tuple[Line, Shelf, UplinkWorker, asyncio.Task[None]]:
    """An uplink that has sent `BATCHES` batches, evenly over so long."""
    shelf, line = Shelf(), Line()
    settings = Uplink(broker=Broker(port=1), resend_after_s=RESEND_AFTER_S, backlog_kb_per_s=10_000)
    worker = UplinkWorker(Gateway(id="gw", site="s"), settings, shelf)  # type: ignore[arg-type]
    worker._backlog = shelf  # type: ignore[assignment]
    serving = asyncio.create_task(worker._serve(line), name="uplink")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    for number in range(1, BATCHES + 1):
        await asyncio.sleep(seconds / BATCHES)
        one: Any = SimpleNamespace(
            stream="stream", number=number, payload=b"%d" % number, place=-1, key=number
        )
        shelf.waiting[number] = one
        worker.offer(one)
    return line, shelf, worker, serving


async def end(serving: asyncio.Task[None]) -> None:
    serving.cancel()
    await asyncio.wait((serving,))


@pytest.mark.parametrize("seconds", [0.1, 3, 10])
def test_however_slowly_batches_went_out_they_wait_no_longer_than_the_others(seconds):
    """On a busy machine some of them were late, and each time the rest waited twice as long."""

    async def main():
        line, _, _, serving = await offered_over(seconds)
        ended = virtual.now()
        await asyncio.sleep(6 * RESEND_AFTER_S)
        again = [number for at, number in line.sent if at > ended]
        assert len(set(again)) >= WINDOW
        await asyncio.sleep(100)
        first, *others = line.times(1)
        assert others[0] - first < 2 * RESEND_AFTER_S + 4 + seconds
        await end(serving)

    virtual.run(main())


def test_each_wait_is_twice_as_long_as_the_one_before():
    async def main():
        line, _, _, serving = await offered_over(0.1)
        await asyncio.sleep(200)
        times = line.times(1)
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        for n, wait in enumerate(waits[:6]):
            assert 2**n * RESEND_AFTER_S <= wait <= 2**n * RESEND_AFTER_S + 2.5
        assert len(waits) >= 6
        await end(serving)

    virtual.run(main())


@pytest.mark.parametrize("outage_s", [5, 70])
def test_an_ack_ends_the_long_waits(outage_s):
    async def main():
        line, shelf, _, serving = await offered_over(3)
        await asyncio.sleep(outage_s)
        known = len(line.sent)
        ack = Ack("stream", ((BATCHES, BATCHES),))
        line.acks.put_nowait(Message("shuichi/v1/0/gw/ack", codec.encode(ack), False, 1, 1))
        await asyncio.sleep(4 * RESEND_AFTER_S)
        assert len(line.sent) - known >= WINDOW
        assert BATCHES not in shelf.waiting
        await end(serving)

    virtual.run(main())
