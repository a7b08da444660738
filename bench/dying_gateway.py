"""`python -m bench.dying_gateway GATEWAY_TOML SECOND_PORT`: a gateway that is made to be killed.

Each line on stdin begins a life: a process of its own, forked from this one, which has imported all
that it needs; so that a life takes milliseconds to begin. It is the whole agent, but for the field:
readings are made up, 20 every 5 ms, and their values count on and on.

"until-commit N": it kills itself (SIGKILL) within half a millisecond after the N-th time that
SQLite is asked to commit. "drain": it makes up nothing, and hands over what the outbox has.

Told on stdout, unbuffered, one line each: `begun PID`, `commit` before SQLite is asked to commit,
`sealed STREAM NUMBER CHECKSUM` after it has, `drained STREAM SEALED` once the cloud has everything,
`ended STATUS`.
"""

import asyncio
import os
import sys
import zlib
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from bench.mortal import die_soon, lives, tell
from edge import config
from edge.agent import Agent, open_agent
from edge.batches import Sealed
from wire.messages import Event
from wire.reading import Quality, Quantity, Reading

SENSORS: Final = 20
EVERY_S: Final = 0.005
DRAINED_WITHIN_S: Final = 60.0
EVENT_EVERY: Final = 7
"""Rounds: some batches have an event, and are sealed at once."""


def watch(agent: Agent, die_in: int) -> None:
    """Tell of every commit, and die in that one."""
    commits = count(1)

    def look(statement: str) -> None:
        if statement == "COMMIT":
            tell("commit")
            if next(commits) == die_in:
                die_soon()

    agent.outbox._database.set_trace_callback(look)


async def live(file: Path, begin: int, how: str, die_in: int = 0) -> None:
    async with open_agent(file, config.read(file), attended=True) as agent:
        await agent.keeper.start()
        watch(agent, die_in)
        offer = agent.sealer._on_sealed

        def sealed(batch: Sealed) -> None:
            tell("sealed", batch.stream, batch.number, zlib.crc32(batch.payload))
            offer(batch)

        agent.sealer._on_sealed = sealed
        running = asyncio.create_task(agent.run(), name="agent")
        tell("begun", os.getpid())
        try:
            await (wait_until_drained(agent) if how == "drain" else feed(agent, begin))
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def feed(agent: Agent, begin: int) -> None:
    values = count(begin)
    for i in count():
        at_ms = agent.time.now()
        for sensor in range(SENSORS):
            value = next(values) / 1000
            agent.sealer.add(
                Reading("site", f"level-{sensor}", Quantity.LEVEL, value, at_ms, Quality.GOOD)
            )
        if i % EVENT_EVERY == 0:
            agent.sealer.tell(Event(at_ms, "site", "round", str(i)))
        await asyncio.sleep(EVERY_S)


async def wait_until_drained(agent: Agent) -> None:
    if await agent.uplink.drain(DRAINED_WITHIN_S):
        position = agent.outbox.position
        tell("drained", position.stream, position.sealed)


def main() -> None:
    file = Path(sys.argv[1])
    # Values of different lives do not meet: none seals a hundred million.
    lives(lambda i, how, *die_in: live(file, i * 100_000_000, how, *map(int, die_in)))


if __name__ == "__main__":
    main()
