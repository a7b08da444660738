"""Signal controllers that do not exist. One file a kind, named after the driver that it answers.

Each module exports `Config` and `open(config, stage)`, an async context manager that gives a
`Controller`, alive at its `address` until the block ends.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Container
from pathlib import Path
from typing import NamedTuple, TypeAlias

from configs.loader import Model
from firmware_sim import truth
from firmware_sim.faults import Fault, NoFault
from firmware_sim.framing import Request
from firmware_sim.lines import Sending
from wire.aspect import Aspect

Address: TypeAlias = str | tuple[str, int]
"""The path of a terminal, or host and port."""


class ControllerConfig(Model):
    """What every controller has: its kind, which is the name of the file that brings it to life."""

    kind: str

    @property
    def links(self) -> tuple[str, ...]:
        """Links to terminals that it will make, relative to the config's folder."""
        return ()


class Stage(NamedTuple):
    """Where a controller stands: its name, the folder of the config, scenario time in s, and whom
    to tell what it shows."""

    name: str
    folder: Path
    t_s: Callable[[], float]
    tell: truth.Tell


class Controller:
    """One controller. `fault` may be set at any time."""

    def __init__(self, stage: Stage, shows: Aspect) -> None:
        self.name = stage.name
        self.address: Address = ""
        self.fault: Fault = NoFault()
        self._stage = stage
        self._shows = shows
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def shows(self) -> Aspect:
        """What the lamps show now."""
        return self._shows

    async def wait_shows(self, wanted: Container[Aspect], timeout_s: float = 5.0) -> Aspect:
        """What is shown, as soon as it is among the `wanted`. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self._shows not in wanted:
                await self._changed.wait()
        return self._shows

    def close(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()

    def _show(self, aspect: Aspect) -> None:
        """Lamps that are burnt in stay as they are."""
        if aspect is self._shows or not self.fault.obeys(self._stage.t_s()):
            return
        self._shows = aspect
        self._changed.set()
        self._changed = asyncio.Event()
        self._stage.tell(truth.Shows(at_ms=truth.now_ms(), device=self.name, aspect=aspect))

    def _fall_after(self, seconds: float | None, fall: Callable[[], None]) -> None:
        """The watchdog starts anew; None stops it."""
        self.close()
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, fall)


def _nothing() -> None:
    """Nobody keeps account of what a controller says."""


class Responder(Controller, ABC):
    """A controller that is asked, and answers."""

    @abstractmethod
    def answer(self, message: bytes) -> bytes | None:
        """What to say to a message that has come in whole, None for silence."""

    def hear(self, request: Request, wrap: Callable[[bytes], bytes]) -> list[Sending]:
        """A message reached the controller: what it puts on the line."""
        t_s = self._stage.t_s()
        if not self.fault.listens(t_s):
            return []
        if (answer := self.answer(request.pdu)) is None:
            return []
        return [
            Sending(delay_s, data, _nothing)
            for delay_s, data in self.fault.sends(wrap(answer), t_s)
        ]
