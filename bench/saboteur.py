"""A gateway whose parts are made to fail: `python -m bench.saboteur SEED EVERY_S edge run ...`.

About every EVERY_S seconds (0: never) a part that the supervisor keeps is made to fail, by chance:
it raises something, it ends, it is cancelled, or the core's next call of it raises. Lines on
`saboteur.jsonl` say how many failures there were and the longest gap of each ruler since the last
line.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final
from unittest import mock

from edge import supervisor
from edge.poller import Heard
from edge.recorder import Recorder, Sensor
from edge.supervisor import Supervisor
from shuichi import main

REPORT: Final = Path("saboteur.jsonl")
LONGEST_PAUSE_S: Final = 1.0
"""Parts start again so soon: else most would be at rest when their turn comes."""


def _recursion() -> None:
    _recursion()


def _group() -> None:
    raise ExceptionGroup("two", [ValueError("a"), ExceptionGroup("more", [KeyError("b")])])


def _raises(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


WAYS: Final = (
    _recursion,
    _group,
    _raises(MemoryError()),
    _raises(ValueError("nonsense")),
    _raises(asyncio.CancelledError()),
    _raises(SystemExit(0)),
    lambda: None,
)


class Saboteur:
    """Stands between the supervisor and its parts."""

    def __init__(self, seed: int, every_s: float) -> None:
        self.dice = random.Random(seed)
        self.every_s = every_s
        self.failures = 0
        self.armed: dict[str, Callable[[], None]] = {}
        self.doomed: dict[str, asyncio.Future[Callable[[], None]]] = {}
        self.heard_at: dict[str, float] = {}
        self.gaps: dict[str, float] = {}

    def place(self) -> None:
        """Take the places of what the agent calls."""
        part, guard, hear = Supervisor.part, Supervisor.guard, Recorder.hear
        until = Supervisor.until
        saboteur = self

        def sabotaged_part(one: Supervisor, name: str, run: supervisor.Run) -> None:
            part(one, name, lambda: saboteur.run(name, run))

        def sabotaged_guard(one: Supervisor, name: str, call: Any, *args: Any, **more: Any) -> Any:
            way = saboteur.armed.pop(name, None)
            if way is not None:
                saboteur.failures += 1
                guard(one, name, call, *args, **more)
                return guard(one, name, way)
            return guard(one, name, call, *args, **more)

        def noted_hear(one: Recorder, heard: Heard, sensor: Sensor) -> None:
            saboteur.note(heard)
            hear(one, heard, sensor)

        async def sabotaged_until(one: Supervisor, work: Coroutine[Any, Any, None]) -> None:
            spoiling = asyncio.create_task(saboteur.spoil(), name="saboteur")
            try:
                await until(one, work)
            finally:
                spoiling.cancel()

        for owner, name, substitute in (
            (supervisor, "LONGEST_DELAY_S", LONGEST_PAUSE_S),
            (Supervisor, "part", sabotaged_part),
            (Supervisor, "guard", sabotaged_guard),
            (Supervisor, "until", sabotaged_until),
            (Recorder, "hear", noted_hear),
        ):
            mock.patch.object(owner, name, substitute).start()

    async def run(self, name: str, run: supervisor.Run) -> None:
        """`run()`, until it is doomed."""
        doom = self.doomed[name] = asyncio.get_running_loop().create_future()
        work = asyncio.create_task(run(), name=name)
        try:
            await asyncio.wait((work, doom), return_when=asyncio.FIRST_COMPLETED)
            if doom.done():
                doom.result()()
                return
        finally:
            self.doomed.pop(name, None)
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))
        work.result()

    async def spoil(self) -> None:
        """Let parts fail, and report, for ever."""
        reported_at = time.monotonic()
        while True:
            pause_s = self.every_s * self.dice.uniform(0.2, 1.8) if self.every_s else 0.5
            await asyncio.sleep(pause_s)
            if self.every_s:
                self.fail_one()
            if time.monotonic() - reported_at >= 0.5:
                reported_at = time.monotonic()
                said = {"at": time.time(), "failures": self.failures, "gaps_s": self.gaps}
                with REPORT.open("a", encoding="utf-8") as file:  # noqa: ASYNC230 - a line
                    file.write(json.dumps(said) + "\n")
                self.gaps = {}

    def fail_one(self) -> None:
        """One part, in one way."""
        way = self.dice.choice(WAYS)
        if self.dice.random() < 0.3:
            self.armed[self.dice.choice(("sealer", "event log", "uplink", "systemd"))] = way
        elif self.doomed:
            doom = self.doomed[self.dice.choice(sorted(self.doomed))]
            if not doom.done():
                self.failures += 1
                doom.set_result(way)

    def note(self, heard: Heard) -> None:
        """A ruler has answered."""
        if heard.sensor in self.heard_at:
            gap_s = heard.at - self.heard_at[heard.sensor]
            self.gaps[heard.sensor] = max(gap_s, self.gaps.get(heard.sensor, 0.0))
        self.heard_at[heard.sensor] = heard.at


if __name__ == "__main__":
    Saboteur(int(sys.argv[1]), float(sys.argv[2])).place()
    sys.argv[1:] = sys.argv[3:]
    main()
