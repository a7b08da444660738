"""The gateway agent: puts the parts together, starts them, changes them, and stops them in the
right order."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from configs.loader import ConfigError, Fault, UserError
from edge import clock, config, metrics, quality, status
from edge.acks import proof_of
from edge.batches import Sealed
from edge.clock import Clock, ThisMachine
from edge.commands import CommandDesk
from edge.config import Setup
from edge.dating import doubtful
from edge.doors import Doors, Reloaded
from edge.eventlog import EventLog
from edge.field import Field, Outlets, Plan
from edge.keeper import Keeper
from edge.memory import LatchMemory, SequenceMemory, ShardMemory
from edge.notify import Heartbeats, Notifier
from edge.outbox import Outbox, open_outbox
from edge.poller import Heard
from edge.rulers import Notice
from edge.sealer import Sealer
from edge.shelf import Priority
from edge.signal import Tell
from edge.uplink import UplinkWorker
from wire.messages import Command, Event, Outcome, Reply
from wire.reading import Quantity, Reading

log: Final = logging.getLogger("shuichi.edge")

TICK_S: Final = 0.25
"""How often an interlock looks at the clock when no reading comes."""

TICK: Final = "interlocks"
"""Name of the loop that does so."""

ALARMING: Final = frozenset(
    {
        *("signal_unconfirmed", "ruler_lost", "rulers_disagree"),
        *("outbox_damaged", "outbox_in_memory", "disk_full", "clock_jump"),
    }
)
"""Events that are warnings in the log."""

EVENT_LOG: Final = "events.jsonl"
SEQUENCES: Final = "commands.json"
LATCHES: Final = "latches.json"
SHARD: Final = "shard.json"
"""Files in the state folder."""

STATUS_EVERY_S: Final = 5.0
"""How often systemd is told in a line how we are."""


class Sensor(NamedTuple):
    """What must be known of a sensor when it has spoken."""

    site: str
    ranges: dict[Quantity, quality.Range]


class Agent:
    """All parts of one gateway. Made by `open_agent`, which also closes its outbox."""

    def __init__(
        self, file: Path, setup: Setup, outbox: Outbox, time: Clock, notifier: Notifier
    ) -> None:
        config = setup.config
        self.setup = setup
        self.outbox = outbox
        self.time = time
        self.began_at = clock.monotonic()
        self.events = EventLog(setup.state / EVENT_LOG)
        self.shards = ShardMemory(setup.state / SHARD)
        self._proof = proof_of(setup)
        self.uplink = self._new_uplink(setup)
        self.sealer = Sealer(
            *(outbox, config.outbox, self._offer, time, _urgent(setup)),
            will_wait=lambda: not self.uplink.keeps_up,
        )
        self.keeper = Keeper(
            outbox, self.sealer, time, config.outbox, self._tell_notice, self._offer
        )
        self.heartbeats = Heartbeats(notifier.alive, notifier.ready)
        self.latches = LatchMemory(setup.state / LATCHES)
        outlets = Outlets(
            *(self._hear, self._teller, lambda state: self.uplink.show(state)),
            latched=self.latches.__contains__,
        )
        self.field = Field(outlets, self.heartbeats)
        self.desk = CommandDesk(
            config.gateway.id,
            config.command.keys,
            self.field.sites,
            SequenceMemory(setup.state / SEQUENCES),
            time.best_utc_ms,
            lambda: time.trusted,
            self._tell_at,
            lambda reply: self.uplink.reply(reply),
            self._move,
        )
        self._file = file
        self._notifier = notifier
        self._sensors = _sensors(setup)
        self._uplink_task: asyncio.Task[None] | None = None
        # What the outside asks for, in order; None is to stop.
        self._asked: asyncio.Queue[asyncio.Future[str] | Command | None] = asyncio.Queue()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; then show the safe aspect, seal, hand over what the cloud
        will take, and end. SIGHUP reads the config again.

        Raises UserError for a signal whose library or key is missing.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._asked.put_nowait, None)
        loop.add_signal_handler(signal.SIGHUP, self.ask_reload)
        try:
            async with self.field:
                plan = await self.field.prepare(self.setup)
                async with asyncio.TaskGroup() as group:
                    await self._work(group, plan)
        finally:
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(signum)

    async def _work(self, group: asyncio.TaskGroup, plan: Plan) -> None:
        name = self.setup.config.gateway.id
        doors = Doors(group)
        self.heartbeats.watch(TICK)
        tick = group.create_task(self._tick(), name=TICK)
        sealer = group.create_task(self.sealer.run(), name="sealer")
        keeper = group.create_task(self.keeper.run(), name="keeper")
        events = group.create_task(self.events.run(), name="event log")
        latches = group.create_task(self._keep_latches(), name="latches")
        await self.field.adopt(plan, group)
        self._start_uplink(group)
        await doors.socket(self.setup.socket, self._answer)
        await self._open_metrics(doors)
        log.info("gateway %s runs", name)

        while (asked := await self._asked.get()) is not None:
            if isinstance(asked, Command):
                await self._change_shard(group, asked)
                continue
            faults = await self._reload(group, doors)
            if not asked.done():
                asked.set_result(faults)

        self._notifier.stopping()
        log.info("gateway %s stops", name)
        doors.close()
        await self.field.leave_safe(self.field.sites)
        await self.field.rest()
        for task in (tick, sealer, keeper, events, latches):
            task.cancel()
        await asyncio.wait((tick, sealer, keeper, events, latches))
        await self.events.flush()
        await self._hand_over()
        await self._stop_uplink()

    def ask_reload(self) -> asyncio.Future[str]:
        """Read the config again, soon; the result is what is wrong with it, or "" once it holds."""
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait(done)
        return done

    async def _reload(self, group: asyncio.TaskGroup, doors: Doors) -> str:
        """Change over to the config as it stands in its file now; the faults for which it was
        refused, or ""."""
        self._notifier.reloading()
        faults = ""
        try:
            # In a thread: it takes long, and the buses must not wait.
            setup, sensors = await asyncio.to_thread(_read, self._file)
            if unchangeable := tuple(_unchangeable(self.setup, setup)):
                raise ConfigError(self._file, unchangeable)
            plan = await self.field.prepare(setup)
        except UserError as error:
            faults = str(error)
            for line in faults.splitlines():
                log.error("config not taken: %s", line)
        else:
            await self._adopt(plan, sensors, group, doors)
            self._teller(setup.config.gateway.site)("config_taken", "a new config is in force", {})
        self._notifier.ready()
        return faults

    async def _adopt(
        self, plan: Plan, sensors: dict[str, Sensor], group: asyncio.TaskGroup, doors: Doors
    ) -> None:
        before, self.setup = self.setup.config, plan.setup
        after = self.setup.config
        self._sensors = sensors
        await self.field.adopt(plan, group)
        self.sealer.urgent = _urgent(self.setup)
        self.desk.keys = after.command.keys
        self._proof = await asyncio.to_thread(proof_of, self.setup)  # the key may be another one
        self.uplink.acks.proof = self._proof
        if (after.gateway, after.uplink) != (before.gateway, before.uplink):
            await self._stop_uplink()
            self.uplink = self._new_uplink(self.setup)
            self._start_uplink(group)
        if after.metrics != before.metrics:
            await self._open_metrics(doors)

    def _new_uplink(self, setup: Setup) -> UplinkWorker:
        gateway = setup.config.gateway
        gateway = gateway.model_copy(update={"shard": self.shards.current(gateway.shard)})
        settings, proof = setup.config.uplink, self._proof
        return UplinkWorker(
            gateway, settings, self.outbox, self.time, self._obey, self.shards, proof
        )

    async def _move(self, command: Command) -> None:
        """A signed order: remember the shard, and change over once this has been answered."""
        configured = self.setup.config.gateway.shard
        await asyncio.to_thread(self.shards.move, configured, command.shard)
        self._asked.put_nowait(command)

    async def _change_shard(self, group: asyncio.TaskGroup, command: Command) -> None:
        log.info("moving to shard %s", command.shard)
        await self.uplink.told()
        await self._stop_uplink()
        self.uplink = self._new_uplink(self.setup)
        self.uplink.announce(Reply(command.id, Outcome.CONFIRMED, self.time.best_utc_ms()))
        self._start_uplink(group)

    def _start_uplink(self, group: asyncio.TaskGroup) -> None:
        self._uplink_task = group.create_task(self.uplink.run(), name="uplink")
        for site in self.field.sites.values():
            site.announce()

    async def _stop_uplink(self) -> None:
        assert self._uplink_task is not None
        self._uplink_task.cancel()
        await asyncio.wait((self._uplink_task,))

    async def _open_metrics(self, doors: Doors) -> None:
        if (settings := self.setup.config.metrics) is not None:
            await doors.http(settings.host, settings.port, self._respond)
        else:
            doors.close_http()

    async def _respond(self, head: bytes) -> bytes:
        return metrics.respond(head, status.of(self))

    async def _answer(self, request: bytes) -> bytes:
        if request.strip() == b"reload":
            return msgspec.json.encode(Reloaded(await self.ask_reload()))
        return msgspec.json.encode(status.of(self))

    async def _hand_over(self) -> None:
        await self.sealer.seal()
        seconds = self.setup.config.uplink.drain_at_stop_s
        if not await self.uplink.drain(seconds):
            log.warning("the cloud has not everything yet; it stays in the outbox")
        await self.uplink.farewell()

    async def _tick(self) -> None:
        told_at = float("-inf")
        while True:
            self.heartbeats.beat(TICK)
            if clock.monotonic() - told_at >= STATUS_EVERY_S:
                told_at = clock.monotonic()
                self._notifier.status(status.line(self))
            await asyncio.sleep(TICK_S)
            for site in self.field.sites.values():
                site.tick()
            self.desk.look()

    async def _keep_latches(self) -> None:
        # Beside the tick, which must not wait for the disk.
        while True:
            await asyncio.sleep(TICK_S)
            await self.latches.keep([n for n, site in self.field.sites.items() if site.latched])

    def _hear(self, heard: Heard) -> None:
        if (sensor := self._sensors.get(heard.sensor)) is None:
            return  # it went with the old config, in the middle of a read
        at_ms, is_sure = self.time.stamp(heard.at), self.time.sure(heard.at)
        for value in heard.values:
            flag, reason = quality.judge(value, sensor.ranges[value.quantity])
            reading = Reading(
                sensor.site, heard.sensor, value.quantity, value.value, at_ms, flag, reason
            )
            for interlock in self.field.sites.values():
                interlock.hear(reading, heard.at)
            self.sealer.add(reading if is_sure else doubtful(reading))

    def _teller(self, site: str) -> Tell:
        def tell(kind: str, text: str, detail: dict[str, str | int | float | bool | None]) -> None:
            level = logging.WARNING if kind in ALARMING else logging.INFO
            log.log(level, "%s: %s", site, text, extra={"site": site})
            event = Event(self.time.now(), site, kind, text, detail)
            self.sealer.tell(event)
            self.events.add(event)

        return tell

    def _tell_at(self, site: str, *told: Any) -> None:
        self._teller(site or self.setup.config.gateway.site)(*told)

    async def _obey(self, payload: bytes) -> None:
        await self.desk.receive(payload)

    def _tell_notice(self, notice: Notice) -> None:
        self._teller(self.setup.config.gateway.site)(*notice)

    def _offer(self, batch: Sealed) -> None:
        self.uplink.offer(batch)


@asynccontextmanager
async def open_agent(file: Path, setup: Setup) -> AsyncIterator[Agent]:
    """The agent for `setup`, which was read from `file`, with its outbox. Raises sqlite3.Error if
    the disk refuses it."""
    async with AsyncExitStack() as stack:
        notifier = Notifier.of()
        stack.callback(notifier.close)
        time = Clock(ThisMachine(), setup.config.clock.source)
        outbox = await stack.enter_async_context(
            open_outbox(setup.outbox, setup.config.gateway.id, time.boot)
        )
        agent = Agent(file, setup, outbox, time, notifier)
        await agent.keeper.start()
        yield agent


def _read(file: Path) -> tuple[Setup, dict[str, Sensor]]:
    setup = config.read(file)
    return setup, _sensors(setup)


def _sensors(setup: Setup) -> dict[str, Sensor]:
    return {
        name: Sensor(setup.site(name), {m.quantity: m.valid_range_si for m in profile.measure})
        for name, profile in setup.profiles.items()
    }


def _urgent(setup: Setup) -> frozenset[str]:
    """The sensors whose readings go before routine ones."""
    config = setup.config
    rulers = {ruler for interlock in config.interlock.values() for ruler in interlock.rulers}
    named = {n for n, s in config.sensor.items() if s.priority is Priority.INTERLOCK}
    return frozenset(rulers | named)


def _unchangeable(before: Setup, after: Setup) -> Iterator[Fault]:
    """What a reload cannot change, because batches are named by it or lie in it."""
    for key, old, new in (
        ("gateway.id", before.config.gateway.id, after.config.gateway.id),
        ("outbox", before.config.outbox, after.config.outbox),
        ("clock", before.config.clock, after.config.clock),
    ):
        if old != new:
            yield Fault(key, "cannot change while the gateway runs: restart it")
