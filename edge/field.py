"""Everything at the end of a cable: ports with their buses, signals with their interlocks.

A new config takes the place of the old one part by part. What it does not change goes on, with its
state: a lamp is not touched because somebody has added a rain gauge. What it does change is opened
first and changed over after, so that a part which cannot be opened leaves everything as it was.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from configs import loader
from drivers.device import Device
from drivers.ports import Port, PortConfig
from drivers.protocols.modbus import Master
from drivers.signals import SignalConfig, Wiring
from edge import clock, reads
from edge.agenda import Job
from edge.config import Setup
from edge.interlock import Local
from edge.localswitch import LocalSwitch
from edge.memory import Raised
from edge.notify import Heartbeats
from edge.poller import Bus, Heard
from edge.recorder import Sensor, sensors
from edge.signal import SignalKeeper, Tell
from edge.site import SiteInterlock
from edge.supervisor import Supervisor
from wire.aspect import Aspect
from wire.messages import InterlockState

LEAVE_WITHIN_S: Final = 3.0
"""How long a stop waits for the signals to confirm their safe aspect."""


class Outlets(NamedTuple):
    """Where the field's news goes: what a bus has heard and of which sensor, what happens at a site
    (`teller(site)` records it), and how an interlock stands; none of these raises. `latched(site)`:
    whether its red waited for a person when the gateway was last here; `raised(site)`: what a
    person had raised it to then."""

    heard: Callable[[Heard, Sensor], None]
    teller: Callable[[str], Tell]
    publish: Callable[[InterlockState], None]
    latched: Callable[[str], bool]
    raised: Callable[[str], Raised | None] = lambda _: None


class Line(NamedTuple):
    """A port, opened for `config`, and its bus."""

    config: PortConfig
    port: Port
    master: Master
    bus: Bus
    closing: AsyncExitStack


class Lamp(NamedTuple):
    """A signal, opened for these settings on that line, and its keeper."""

    config: SignalConfig
    refresh_every_s: float
    line: Line | None
    keeper: SignalKeeper
    closing: AsyncExitStack


class Plan(NamedTuple):
    """What is to be: all of it open, some of it at work already."""

    setup: Setup
    lines: dict[str, Line]
    lamps: dict[str, Lamp]


class Field:
    """The lines, lamps and sites of one gateway, with their tasks, which `supervisor` keeps: buses
    and signal keepers are its core. `async with` closes all at the end."""

    def __init__(self, outlets: Outlets, heartbeats: Heartbeats, supervisor: Supervisor) -> None:
        self.lines: dict[str, Line] = {}
        self.lamps: dict[str, Lamp] = {}
        self.sites: dict[str, SiteInterlock] = {}
        self._outlets = outlets
        self._heartbeats = heartbeats
        self._supervisor = supervisor
        self._tasks: set[str] = set()
        self._sensors: dict[str, dict[str, Sensor]] = {}  # by port; changes together with its bus

    async def prepare(self, setup: Setup) -> Plan:
        """Open what `setup` has and we have not; a line itself is opened by its first exchange.

        Raises UserError, with nothing left open, for a signal whose library or key is missing.
        """
        async with AsyncExitStack() as undo:
            lines = {
                name: await self._line(name, config, setup, undo)
                for name, config in setup.config.port.items()
            }
            lamps = {
                site: await self._lamp(site, setup, lines, undo) for site in setup.config.interlock
            }
            undo.pop_all()
        return Plan(setup, lines, lamps)

    async def adopt(self, plan: Plan) -> None:
        """Change over to `plan`."""
        removed = self.sites.keys() - plan.lamps.keys()
        for site in removed & {name.removeprefix("switch ") for name in self._tasks}:
            await self._end(f"switch {site}")
        await self.leave_safe(removed)
        for site, lamp in self.lamps.items():
            if plan.lamps.get(site) is not lamp:
                await self._end(f"signal {site}")
                await lamp.closing.aclose()
        for name, line in self.lines.items():
            if plan.lines.get(name) is not line:
                await self._end(f"bus {name}")
                await line.closing.aclose()
            else:
                line.bus.change(_jobs(plan.setup, name, line.master))
                self._sensors[name] = sensors(plan.setup, name)
        for site in removed:
            del self.sites[site]
        self.lines, self.lamps = plan.lines, plan.lamps
        for name, line in self.lines.items():
            if (task := f"bus {name}") not in self._tasks:
                self._sensors[name] = sensors(plan.setup, name)
                self._start(task, line.bus.run())
        for site, lamp in self.lamps.items():
            self._put_together(site, lamp, plan.setup)
            if (task := f"signal {site}") not in self._tasks:
                self._start(task, lamp.keeper.run())
            await self._watch_switch(site, plan.setup)

    async def leave_safe(self, sites: Iterable[str]) -> None:
        """Nobody will watch the water at these sites: no signal may stay less restrictive than its
        safe aspect."""
        left = [self.sites[site] for site in sites]
        for site in left:
            site.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                for site in left:
                    await site.keeper.obeyed()

    async def rest(self) -> None:
        """End all loops; the parts stay open until the end."""
        for name in list(self._tasks):
            await self._end(name)

    def _put_together(self, name: str, lamp: Lamp, setup: Setup) -> None:
        """Join an interlock and its lamp. Either may be at work already."""
        settings = setup.config.interlock[name]
        if (site := self.sites.get(name)) is not None:
            site.change(settings.rule, settings.rulers, lamp.keeper)
        else:
            tell = self._outlets.teller(name)
            site = self.sites[name] = SiteInterlock(
                *(name, settings.rule, settings.rulers, lamp.keeper, tell, self._outlets.publish),
                latched=self._outlets.latched(name),
                switched=settings.local_switch is not None,
                raised=self._outlets.raised(name),
            )
            site.start()
        lamp.keeper.on_seen = site.announce
        lamp.keeper.on_found = site.find

    async def _watch_switch(self, name: str, setup: Setup) -> None:
        """Watch the switch beside the road, if there is one, and forget one that was there."""
        if (task := f"switch {name}") in self._tasks:
            await self._end(task)
        site = self.sites[name]
        if (config := setup.config.interlock[name].local_switch) is None:
            site.take(Local(None), clock.monotonic())
            return

        def turned(aspect: Aspect | None) -> None:
            site.take(Local(aspect), clock.monotonic())

        line = self.lines[config.port]
        switch = LocalSwitch(config, line.bus, line.master, turned)
        self._tasks.add(task)
        self._supervisor.part(task, switch.run)

    async def _line(
        self, name: str, config: PortConfig, setup: Setup, undo: AsyncExitStack
    ) -> Line:
        if (old := self.lines.get(name)) is not None and old.config == config:
            return old
        closing = AsyncExitStack()
        undo.push_async_callback(closing.aclose)
        module = loader.plugin("drivers.ports", config.kind)
        port = await closing.enter_async_context(module.open(name, config))
        master = Master(port)
        beat = partial(self._heartbeats.beat, f"bus {name}")
        heard = partial(self._heard, name)
        bus = Bus(name, _jobs(setup, name, master), heard, beat, port)
        return Line(config, port, master, bus, closing)

    async def _lamp(
        self, name: str, setup: Setup, lines: dict[str, Line], undo: AsyncExitStack
    ) -> Lamp:
        settings = setup.config.interlock[name]
        config, refresh_s = settings.signal, settings.refresh_every_s
        line = lines.get(config.port or "")
        old = self.lamps.get(name)
        if old is not None and old.line is line and old[:2] == (config, refresh_s):
            return old
        closing = AsyncExitStack()
        undo.push_async_callback(closing.aclose)
        module = loader.plugin("drivers.signals", config.kind)
        ports = {port: line.port for port, line in lines.items()}
        masters = {port: line.master.for_lamps() for port, line in lines.items()}
        wiring = Wiring(name, setup.folder, ports, masters, setup.profile)
        signal = await closing.enter_async_context(module.open(config, wiring))
        tell = self._outlets.teller(name)
        beat = partial(self._heartbeats.beat, f"signal {name}")
        bus = None if line is None else line.bus
        keeper = SignalKeeper(name, signal, bus, refresh_s, tell, beat, config.turns_within_s)
        return Lamp(config, refresh_s, line, keeper, closing)

    def _heard(self, port: str, heard: Heard) -> None:
        if (sensor := self._sensors[port].get(heard.sensor)) is not None:
            self._outlets.heard(heard, sensor)  # else it went with the old config, during a read

    def _start(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        self._heartbeats.watch(name)
        self._tasks.add(name)
        self._supervisor.core(name, loop)

    async def _end(self, name: str) -> None:
        self._heartbeats.forget(name)
        self._tasks.discard(name)
        await self._supervisor.end(name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        async with AsyncExitStack() as closing:
            for line in self.lines.values():
                closing.push_async_callback(line.closing.aclose)
            for lamp in self.lamps.values():  # closed first, for they use the lines
                closing.push_async_callback(lamp.closing.aclose)


def _jobs(setup: Setup, port: str, master: Master) -> list[Job]:
    jobs = []
    for found in reads.of(setup, port):
        device = Device(master, found.profile, found.unit)
        jobs += [
            Job(
                read.names[0],
                device,
                read.block,
                read.interval_s,
                urgent=read.urgent,
                sensors=read.sensors,
            )
            for read in found.reads
        ]
    return jobs
