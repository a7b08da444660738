"""How long honest gateways wait for their acks beside one that sends the worst messages known, at
full speed, over how long they wait without it.

mosquitto, `shuichi cloud run` with an SQLite store, and the hostile gateway are processes of their
own, on the same cores. The honest gateways send a batch each second, and again what is not
acknowledged, as real ones do: a broker throws away what it has no room for. The clock runs from
giving it to the broker for the first time to our own ack.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sized
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Final

from bench import aggregator
from bench.aggregator import Worker
from bench.figure import Figure, Goal, Progress, Result, percentile, spread
from bench.programs import Mosquitto, Process, free_port
from configs.loader import UserError
from wire import codec, topics
from wire.messages import Ack
from wire.mqtt import Broker, Session, connect
from wire.topics import What

HONEST: Final = 10
"""Gateways, each with a batch of 100 readings a second."""

ALONE_S: Final = 8
BESIDE_S: Final = 20
RESEND_S: Final = 10.0
"""As `[uplink] resend_after_s`."""

LOST_AFTER_S: Final = 20.0

FIGURE: Final = Figure(
    "honest batches' wait for their acks beside a flood of the worst messages ÷ alone, median",
    "ratio",
    Goal("<=", 3),
)


async def measure(progress: Progress) -> Result:
    """A minute. Raises UserError if a program fails, or if a batch is never acknowledged."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        broker = Mosquitto(folder, port)
        worker = Worker(folder / "cloud", Broker(port=port), {"kind": "sqlite"})
        flood = Process(
            "flood",
            folder,
            [sys.executable, "-m", "bench.flooding_gateway", str(port), "hostile", "600"],
        )
        with broker:
            broker.wait_until(broker.accepts)
            with worker.program:
                worker.program.wait_until(lambda: worker.listens)
                progress(0.1, "alone")
                alone = await _waits(port, 1, ALONE_S)
                with flood:
                    progress(0.4, "beside the flood")
                    await asyncio.sleep(5)  # it makes its messages first
                    flood.look()
                    beside = await _waits(port, 10_000, BESIDE_S)
                    flood.look()
                worker.program.look()
    return Result(
        median(beside) / median(alone),
        {
            "alone, s": spread(alone),
            "beside, s": spread(beside),
            "beside, p90, s": percentile(beside, 90),
            "beside, sent again": sum(one >= RESEND_S for one in beside),
            "batches beside": len(beside),
        },
    )


async def _waits(port: int, first: int, seconds: int) -> list[float]:
    """Of each batch that honest gateways send in so many seconds (s)."""
    sent: dict[tuple[str, int], float] = {}
    waits: dict[tuple[str, int], float] = {}
    payloads: dict[tuple[str, int], bytes] = {}
    async with connect(Broker(port=port), "bench-honest") as session:
        await session.subscribe(topics.every_gateway("0", What.ACK))
        listening = asyncio.create_task(_listen(session, sent, waits), name="acks")
        resending = asyncio.create_task(_resend(session, payloads, waits), name="resend")
        try:
            for number in range(first, first + seconds):
                for gateway in range(HONEST):
                    now_ms = time.time_ns() // 1_000_000
                    age_ms = (number + 1) * aggregator.EACH * 1000
                    one = aggregator.batch(gateway, number, now_ms - age_ms)
                    payloads[one.gateway, number] = codec.encode_batch(one)
                    sent[one.gateway, number] = time.monotonic()
                    _send(session, one.gateway, payloads[one.gateway, number])
                    await asyncio.sleep(1 / HONEST)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOST_AFTER_S):
                    await _all(sent, waits)
        finally:
            for task in (listening, resending):
                task.cancel()
            await asyncio.wait((listening, resending))
    if not waits:
        raise UserError("no honest batch was acknowledged")
    now = time.monotonic()  # one that was never acknowledged has waited until now
    return [waits.get(key, now - at) for key, at in sent.items()]


def _send(session: Session, gateway: str, payload: bytes) -> None:
    session.send(topics.topic("0", gateway, What.DATA), payload)


async def _resend(
    session: Session,
    payloads: dict[tuple[str, int], bytes],
    waits: dict[tuple[str, int], float],
) -> None:
    while True:
        late = [key for key in payloads if key not in waits]
        await asyncio.sleep(RESEND_S)
        for gateway, number in late:
            if (gateway, number) not in waits:
                _send(session, gateway, payloads[gateway, number])


async def _all(sent: Sized, waits: Sized) -> None:
    while len(waits) < len(sent):  # noqa: ASYNC110 - it is not worth an event
        await asyncio.sleep(0.1)


async def _listen(
    session: Session, sent: dict[tuple[str, int], float], waits: dict[tuple[str, int], float]
) -> None:
    while True:
        for message in await session.take(100):
            session.ack(message)
            if (address := topics.parse(message.topic)) is None:
                continue
            for begin, end in codec.decode(message.payload, Ack).batches:
                for number in range(begin, end + 1):
                    key = (address.gateway, number)
                    if key in sent:
                        waits.setdefault(key, time.monotonic() - sent[key])
