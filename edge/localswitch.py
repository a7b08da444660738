"""The switch beside the road: a key or a button on an input, with which a police officer raises the
aspect without any network. It can only raise."""

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import Field

from configs.loader import Model
from drivers.errors import DriverError
from drivers.profiles import Unit
from drivers.protocols.modbus import Master
from edge.agenda import DEAD_SHARE
from edge.health import SILENT_AFTER
from edge.poller import Bus
from wire.aspect import Aspect

log: Final = logging.getLogger("shuichi.switch")


class LocalSwitchConfig(Model):
    """A discrete input (Modbus function 2). While it is on, or off with `inverted`, at least
    `aspect` shows. An input that cannot be read changes nothing."""

    port: str
    unit_id: Unit
    input: Annotated[int, Field(ge=0, le=0xFFFF)] = 0
    inverted: bool = False
    aspect: Aspect = Aspect.RED
    every_s: Annotated[float, Field(ge=0.1, le=60)] = 1
    within_ms: Annotated[int, Field(ge=10, le=5000)] = 300


class LocalSwitch:
    """Reads the input on its bus, and calls `turned` with the aspect it asks for, or None."""

    def __init__(
        self,
        config: LocalSwitchConfig,
        bus: Bus,
        master: Master,
        turned: Callable[[Aspect | None], None],
    ) -> None:
        self._config = config
        self._bus = bus
        self._master = master
        self._turned = turned
        self._on: bool | None = None
        self._failures = 0

    async def run(self) -> None:
        """Watch the input for ever. One that keeps silent is asked as seldom as other dead devices:
        each question costs its wait, and as long a rest."""
        seldom_s = 2 * self._config.within_ms / 1000 / DEAD_SHARE
        while True:
            try:
                await self._bus.first(self._look)
            except DriverError as error:
                if not self._failures:
                    log.warning("the local switch cannot be read: %s", error)
                self._failures += 1
            else:
                if self._failures:
                    log.info("the local switch can be read again")
                self._failures = 0
            is_dead = self._failures >= SILENT_AFTER
            await asyncio.sleep(max(self._config.every_s, seldom_s if is_dead else 0.0))

    async def _look(self) -> None:
        config = self._config
        (closed,) = await self._master.read_inputs(
            config.unit_id, config.input, 1, within_s=config.within_ms / 1000
        )
        on = closed != config.inverted
        if on != self._on:
            self._on = on
            self._turned(config.aspect if on else None)
