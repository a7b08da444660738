"""A whole field in virtual time: lines, rulers, gauges and relays that answer as their profiles
say, under the gateway's own buses, interlocks and signal keepers."""

import asyncio
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

from configs import loader
from drivers.errors import Unavailable
from drivers.ports import PortConfig, serial, tcp
from drivers.ports.line import Line
from drivers.profiles import Profile
from edge import reads
from edge.config import GatewayConfig, Setup
from edge.field import Field, Outlets
from edge.notify import Heartbeats
from edge.poller import Heard
from edge.recorder import Sensor
from edge.supervisor import Supervisor
from tests import virtual
from tests.scripted_line import crc
from wire.aspect import Aspect
from wire.messages import InterlockState
from wire.reading import Quality, Quantity, Reading

NEVER_S: Final = 60.0


class Wire(Line):
    """A line with its devices. `depth_cm` of each ruler, by unit; `coils` of each relay; `silent`
    units do not answer; a `broken` line cannot be used, and each attempt takes its time."""

    def __init__(self, name: str, settings: PortConfig, profiles: dict[int, Profile]) -> None:
        super().__init__(name)
        self.settings = settings
        self.framing = "tcp" if settings.answers_numbered else "rtu"
        self.byte_s, self.gap_s = settings.byte_s, settings.gap_s
        self.may_vanish = settings.open_within_s > 0
        self.profiles = profiles
        self.depth_cm: dict[int, int] = {}
        self.coils: dict[int, list[bool]] = {}
        self.silent: set[int] = set()
        self.broken = False
        self._open = False

    @property
    def is_open(self) -> bool:
        return self._open

    async def open(self) -> None:
        if self.broken:
            await asyncio.sleep(self.settings.open_within_s)
            raise Unavailable("nobody there")
        self._open = True

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(len(data) * self.byte_s, self._hear, data)

    async def close(self) -> None:
        self._open = False

    def anew(self) -> "Wire":
        """Another line to the same devices."""
        other = Wire(self.name, self.settings, self.profiles)
        other.depth_cm, other.coils, other.silent = self.depth_cm, self.coils, self.silent
        return other

    def drop(self, why: str) -> None:
        self._open = False
        self.lost(why)

    def break_off(self) -> None:
        self.broken, self._open = True, False
        self.lost("hung up")

    def _hear(self, data: bytes) -> None:
        head = data[:6] if self.framing == "tcp" else b""
        frame = data[6:] if head else data[:-2]
        unit = frame[0]
        if unit in self.silent or self.broken or unit not in self.profiles:
            return
        body = frame[:1] + self._reply(unit, frame[1:])
        answer = head[:4] + len(body).to_bytes(2, "big") + body if head else body + crc(body)
        delay_s = self.profiles[unit].line.answers_in_ms / 1000 + len(answer) * self.byte_s
        asyncio.get_running_loop().call_later(delay_s, self._say, answer)

    def _say(self, answer: bytes) -> None:
        if self._open:
            self.received(answer)

    def _reply(self, unit: int, request: bytes) -> bytes:
        function, count = request[0], int.from_bytes(request[3:5], "big")
        if function == 15:
            bits = int.from_bytes(request[6:], "little")
            self.coils[unit] = [bool(bits >> i & 1) for i in range(8)]
            return request[:5]
        if function == 1:
            return bytes((1, 1, sum(on << i for i, on in enumerate(self.coils[unit]))))
        if function == 2:  # a switch that is off
            return bytes((2, 1, 0))
        words = self.depth_cm.get(unit, 0).to_bytes(2, "big") * count
        return bytes((function, len(words))) + words


class Roadside:
    """The field of one gateway. `confirmed` says when each aspect was last seen to be shown."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.wires: dict[str, Wire] = {}
        self.reloading: asyncio.Task[None] | None = None
        self.confirmed: list[tuple[float, str, Aspect]] = []
        self.supervisor = Supervisor(lambda *_: None)
        outlets = Outlets(self._heard, lambda _: lambda *_: None, self._publish, lambda _: False)
        self.field = Field(outlets, Heartbeats(lambda: None, lambda: None), self.supervisor)
        for name, settings in setup.config.port.items():
            profiles = {found.unit: found.profile for found in reads.of(setup, name)}
            self.wires[name] = Wire(name, settings, profiles)
        for interlock in setup.config.interlock.values():
            signal: Any = interlock.signal
            wire = self.wires[signal.port]
            unit = signal.unit(setup.profile)
            wire.profiles[unit] = setup.profile(signal.profile)
            wire.coils[unit] = [True] + [False] * 7  # green
            if (switch := interlock.local_switch) is not None:
                profiles = self.wires[switch.port].profiles
                profiles[switch.unit_id or 0] = setup.profile(signal.profile)

    async def start(self) -> None:
        with self._ports():
            await self.field.adopt(await self.field.prepare(self.setup))

    async def until_red(self, site: str, since: float) -> float:
        """How long after `since` the lamp of the site was seen to show red; infinity for never."""
        while virtual.now() < since + NEVER_S:
            for at, where, aspect in self.confirmed:
                if where == site and aspect is Aspect.RED and at >= since:
                    return at - since
            await asyncio.sleep(0.01)
        return float("inf")

    def reload_after(self, seconds: float) -> None:
        """Some time later a new config opens every port anew."""

        async def reload() -> None:
            await asyncio.sleep(seconds)
            ports = {
                name: settings.model_copy(update={"gap_ms": 4.0})
                if isinstance(settings, serial.Config)
                else settings.model_copy(update={"connect_within_ms": 3001})
                for name, settings in self.setup.config.port.items()
            }
            config = self.setup.config.model_copy(update={"port": ports})
            for name, wire in self.wires.items():
                await wire.close()
                self.wires[name] = wire.anew()
            with self._ports():
                await self.field.adopt(await self.field.prepare(Setup(config, self.setup.folder)))

        self.reloading = asyncio.create_task(reload(), name="reload")

    @contextmanager
    def _ports(self) -> Iterator[None]:
        @asynccontextmanager
        async def opened(name: str, _: PortConfig) -> AsyncIterator[Wire]:
            yield self.wires[name]

        with mock.patch.object(serial, "open", opened), mock.patch.object(tcp, "open", opened):
            yield

    def _heard(self, heard: Heard, _: Sensor) -> None:
        for value in heard.values:
            flag = Quality.MISSING if value.value is None else Quality.GOOD
            reading = Reading("", heard.sensor, value.quantity, value.value, 0, flag, value.reason)
            if value.quantity is Quantity.DEPTH:
                for site in self.field.sites.values():
                    site.hear(reading, heard.at)

    def _publish(self, state: InterlockState) -> None:
        if state.confirmed is not None:
            self.confirmed.append((virtual.now(), state.site, state.confirmed))


@asynccontextmanager
async def roadside(setup: Setup) -> AsyncIterator[Roadside]:
    here = Roadside(setup)
    ticking = None
    try:
        async with here.supervisor, here.field:

            async def tick() -> None:
                while True:
                    await asyncio.sleep(0.25)
                    for site in here.field.sites.values():
                        site.tick()

            ticking = asyncio.create_task(tick(), name="tick")
            yield here
            if here.reloading is not None:
                await here.reloading
            await here.field.rest()
    finally:
        if ticking is not None:
            ticking.cancel()
            await asyncio.wait((ticking,))


def read(folder: Path, text: str) -> Setup:
    """The setup of a config, whether or not `edge check` would take it."""
    return Setup(loader.parse(tomllib.loads(text), GatewayConfig, "test"), folder)
