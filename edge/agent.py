"""The gateway agent: puts the parts together, starts them, and stops them in the right order."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from configs import loader
from drivers.device import Device
from drivers.ports import Port
from drivers.protocols.modbus import Master
from drivers.signals import Signal, Wiring
from edge import clock, quality
from edge.config import Setup
from edge.outbox import Outbox, open_outbox
from edge.poller import Bus, Heard, Job
from edge.sealer import Sealer
from edge.signal import SignalKeeper, Tell
from edge.site import SiteInterlock
from edge.uplink import UplinkWorker
from wire.messages import Event
from wire.reading import Reading

log: Final = logging.getLogger("shuichi.edge")

TICK_S: Final = 0.25
"""How often an interlock looks at the clock when no reading comes."""

LEAVE_WITHIN_S: Final = 3.0
"""How long a stop waits for the signals to confirm their safe aspect."""


class Agent:
    """All parts of one gateway. Made by `open_agent`, which also closes its signals, ports and
    outbox."""

    def __init__(
        self,
        setup: Setup,
        outbox: Outbox,
        masters: dict[str, Master],
        signals: dict[str, Signal],
    ) -> None:
        config = setup.config
        self.setup = setup
        self.uplink = UplinkWorker(config.gateway, config.uplink, outbox)
        self.sealer = Sealer(outbox, config.outbox, self.uplink.offer)
        self.buses = {name: Bus(name, self._jobs(name, masters), self._hear) for name in masters}
        self.keepers: dict[str, SignalKeeper] = {}
        self.sites: dict[str, SiteInterlock] = {}
        for site, settings in config.interlock.items():
            tell = self._teller(site)
            keeper = SignalKeeper(
                site,
                signals[site],
                self.buses.get(settings.signal.port or ""),
                settings.refresh_every_s,
                tell,
            )
            self.keepers[site] = keeper
            self.sites[site] = SiteInterlock(
                site, settings.rule, settings.rulers, keeper, tell, self.uplink.show
            )
            keeper.on_seen = self.sites[site].announce
        self._ranges = {
            (name, measure.quantity): measure.valid_range_si
            for name, profile in setup.profiles.items()
            for measure in profile.measure
        }

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; then show the safe aspect, seal, hand over what the cloud
        will take, and end."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.set)
        try:
            async with asyncio.TaskGroup() as group:
                uplink = group.create_task(self.uplink.run(), name="uplink")
                sealer = group.create_task(self.sealer.run(), name="sealer")
                field = [
                    group.create_task(bus.run(), name=f"bus {name}")
                    for name, bus in self.buses.items()
                ]
                field += [
                    group.create_task(keeper.run(), name=f"signal {site}")
                    for site, keeper in self.keepers.items()
                ]
                field.append(group.create_task(self._tick(), name="tick"))
                for site in self.sites.values():
                    site.start()
                log.info("gateway %s runs", self.setup.config.gateway.id)
                await stop.wait()
                log.info("gateway %s stops", self.setup.config.gateway.id)
                await self._leave_safe()
                for task in (*field, sealer):
                    task.cancel()
                await asyncio.wait((*field, sealer))
                await self._hand_over()
                uplink.cancel()
        finally:
            for signum in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(signum)

    async def _leave_safe(self) -> None:
        """Nobody will watch the water: no signal may stay less restrictive than its safe aspect."""
        for site in self.sites.values():
            site.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                for keeper in self.keepers.values():
                    await keeper.obeyed()

    async def _hand_over(self) -> None:
        await self.sealer.seal()
        seconds = self.setup.config.uplink.drain_at_stop_s
        if not await self.uplink.drain(seconds):
            log.warning("the cloud has not everything yet; it stays in the outbox")
        await self.uplink.farewell()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for site in self.sites.values():
                site.tick()

    def _jobs(self, port: str, masters: dict[str, Master]) -> list[Job]:
        config = self.setup.config
        rulers = {ruler for interlock in config.interlock.values() for ruler in interlock.rulers}
        jobs = []
        for name, sensor in config.sensor.items():
            if sensor.port == port:
                profile = self.setup.profiles[name]
                device = Device(masters[port], profile, self.setup.unit(name))
                jobs += [
                    Job(name, device, block, sensor.interval_s, urgent=name in rulers)
                    for block in profile.blocks()
                ]
        return jobs

    def _hear(self, heard: Heard) -> None:
        site = self.setup.site(heard.sensor)
        for value in heard.values:
            flag, reason = quality.judge(value, self._ranges[heard.sensor, value.quantity])
            reading = Reading(
                site, heard.sensor, value.quantity, value.value, heard.at_ms, flag, reason
            )
            for interlock in self.sites.values():
                interlock.hear(reading, heard.at)
            self.sealer.add(reading)

    def _teller(self, site: str) -> Tell:
        def tell(kind: str, text: str, detail: dict[str, str | int | float | bool | None]) -> None:
            log.info("%s: %s", site, text)
            self.sealer.tell(Event(clock.utc_ms(), site, kind, text, detail))

        return tell


@asynccontextmanager
async def open_agent(setup: Setup) -> AsyncIterator[Agent]:
    """The agent for `setup`, with its outbox, ports and signals. Raises sqlite3.Error if the disk
    refuses the outbox, UserError for a signal whose library or key is missing; ports are opened by
    their first exchange."""
    async with AsyncExitStack() as stack:
        outbox = await stack.enter_async_context(
            open_outbox(setup.folder / setup.config.outbox.path, setup.config.gateway.id)
        )
        ports: dict[str, Port] = {}
        for name, port in setup.config.port.items():
            module = loader.plugin("drivers.ports", port.kind)
            ports[name] = await stack.enter_async_context(module.open(name, port))
        masters = {name: Master(port) for name, port in ports.items()}
        signals: dict[str, Signal] = {}
        for site, interlock in setup.config.interlock.items():
            module = loader.plugin("drivers.signals", interlock.signal.kind)
            wiring = Wiring(site, setup.folder, ports, masters, setup.profile)
            signals[site] = await stack.enter_async_context(module.open(interlock.signal, wiring))
        yield Agent(setup, outbox, masters, signals)
