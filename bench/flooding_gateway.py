"""`python -m bench.flooding_gateway PORT GATEWAY SECONDS`: a gateway that sends the worst messages
known, at full speed, and never waits for an ack."""

import asyncio
import random
import sys
import time
import zlib
from typing import Final

from bench.hostile_large import LARGE, Sender
from wire import topics
from wire.mqtt import Broker, Disconnected, Unreachable, connect
from wire.topics import What

ROUNDS: Final = 3
"""Variants of each attack that are made beforehand."""

OUTSTANDING: Final = 100
"""Messages without a PUBACK."""


def payloads(gateway: str, site: str) -> list[bytes]:
    """Each attack in some variants."""
    dice = random.Random(1)
    made: list[bytes] = []
    for number in range(ROUNDS):
        for n, attack in enumerate(LARGE):
            one = Sender(dice, gateway, site, 1 + number * len(LARGE) + n)
            made.append(zlib.compress(attack(one)[1], 1))
    return made


async def flood(port: int, gateway: str, until: float) -> int:
    """How many messages the broker took."""
    sent = 0
    worst = payloads(gateway, gateway)
    topic = topics.topic("0", gateway, What.DATA)
    while time.monotonic() < until:
        try:
            async with connect(Broker(port=port), gateway) as session:
                outstanding: set[asyncio.Future[bool]] = set()
                while time.monotonic() < until:
                    future = session.send(topic, worst[sent % len(worst)])
                    outstanding.add(future)
                    future.add_done_callback(outstanding.discard)
                    sent += 1
                    if len(outstanding) >= OUTSTANDING:
                        await asyncio.wait(outstanding, return_when=asyncio.FIRST_COMPLETED)
        except* (Disconnected, Unreachable):
            await asyncio.sleep(0.1)
    return sent


if __name__ == "__main__":
    port, gateway, seconds = sys.argv[1:]
    print(asyncio.run(flood(int(port), gateway, time.monotonic() + float(seconds))))
