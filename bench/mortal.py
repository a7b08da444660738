"""Programs that are made to be killed, many times a second.

A process imports all that it needs and then begins lives: each is forked from it, in milliseconds,
and does the program's work until it is killed or ends. One line on its stdin begins one; what a
life tells comes on stdout, one line each, unbuffered: `begun PID` from the life, `ended STATUS`
from the process that forked it, and what the program adds.
"""

import asyncio
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from configs.loader import UserError
from wire import loop


class Mortal:
    """The process that begins lives, for those who kill them. `last` is the last word told."""

    def __init__(self, name: str, folder: Path, module: str, *arguments: str) -> None:
        self.last = ""
        self._name = name
        self._log = folder / f"{name}.log"
        self._command = (sys.executable, "-m", module, *arguments)

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def live(self, how: str = "live") -> int:
        """Begin a life; its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{how}\n".encode())
        return int((await self.hear("begun"))[0])

    async def hear(self, word: str) -> list[str]:
        """Listen until it tells `word`; the rest of that line. Raises UserError if it ends."""
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode().split():
            if line[0] == word:
                return line[1:]
            self.overhear(line[0], line[1:])
            if line[0] == "ended":
                break
        said = self._log.read_text("utf-8", "replace").splitlines()
        raise UserError(
            f"the {self._name} ended by itself: {said[-1] if said else 'without a word'}"
        )

    def overhear(self, word: str, rest: list[str]) -> None:
        """What it tells while something else is waited for."""
        self.last = word


def lives(begin: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Live `begin(i, *words)` for the i-th line of stdin, each in a process of its own, one after
    the other; until stdin ends."""
    logging.basicConfig(level=logging.WARNING)
    for i, line in enumerate(sys.stdin):
        if (child := os.fork()) == 0:
            loop.run(begin(i, *line.split()))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        tell("ended", status)


def tell(*words: object) -> None:
    """A write of this size to a pipe is atomic, and outlives us."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def die_soon() -> None:
    """SIGKILL within half a millisecond, whatever we do until then."""

    def die() -> None:
        end = time.perf_counter() + random.uniform(0, 0.0005)
        while time.perf_counter() < end:
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=die, name="death", daemon=True).start()
