"""The gateway agent: puts the parts together, starts them, changes them, and stops them in the
right order. What a signal needs is the core; everything else is a part, and may fail without it
(`edge.supervisor`)."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from configs.loader import ConfigError, Fault, UserError
from edge import clock, config, metrics, status
from edge.acks import proof_of_gateway
from edge.batches import Sealed
from edge.clock import Clock, ThisMachine
from edge.commands import CommandDesk
from edge.config import Setup
from edge.doors import Answer, Door, Reloaded
from edge.eventlog import EventLog
from edge.field import Field, Outlets, Plan
from edge.keeper import Keeper
from edge.memory import LatchMemory, Raised, RaiseMemory, SequenceMemory, ShardMemory
from edge.notify import Heartbeats, Notifier
from edge.outbox import Outbox, open_outbox
from edge.recorder import Recorder
from edge.rulers import Notice
from edge.sealer import Sealer
from edge.shelf import Priority
from edge.supervisor import ANY_FAULT, CoreFailed, Supervisor
from edge.uplink import UplinkWorker
from wire.loop import Loop
from wire.messages import Command, InterlockState, Outcome, Reply
from wire.seldom import Seldom

log: Final = logging.getLogger("shuichi.edge")

TICK_S: Final = 0.25
"""How often an interlock looks at the clock when no reading comes."""

TICK: Final = "interlocks"
"""Name of the loop that does so."""

EVENT_LOG: Final = "events.jsonl"
SEQUENCES: Final = "commands.json"
LATCHES: Final = "latches.json"
RAISES: Final = "raises.json"
SHARD: Final = "shard.json"
"""Files in the state folder."""

SEAL_WITHIN_S: Final = 10.0
"""How long a stop waits for the disk."""

STATUS_EVERY_S: Final = 5.0
"""How often systemd is told in a line how we are."""

UPLINK: Final = "uplink"
METRICS: Final = "metrics"
COMMANDS: Final = "commands"
SOCKET: Final = "status socket"
"""Names of parts."""


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
        self.supervisor = Supervisor(self._tell_part)
        guard = self.supervisor.guard
        self.events = EventLog(setup.state / EVENT_LOG)
        self.shards = ShardMemory(setup.state / SHARD)
        self._proof = proof_of_gateway(setup)
        self.uplink = self._new_uplink(setup)
        self.sealer = Sealer(
            *(outbox, config.outbox, self._offer, time, _urgent(setup)),
            will_wait=lambda: not self.uplink.keeps_up,
        )
        self.keeper = Keeper(
            outbox, self.sealer, time, config.outbox, self._tell_notice, self._offer
        )
        self.heartbeats = Heartbeats(
            partial(guard, "systemd", notifier.alive), partial(guard, "systemd", notifier.ready)
        )
        self.latches = LatchMemory(setup.state / LATCHES)
        self.raises = RaiseMemory(setup.state / RAISES)
        self.sequences = SequenceMemory(setup.state / SEQUENCES)
        outlets = Outlets(
            lambda heard, sensor: self._recorder.hear(heard, sensor),
            lambda site: self._recorder.teller(site),
            self._show,
            latched=self.latches.__contains__,
            raised=self._raised_before,
        )
        self.field = Field(outlets, self.heartbeats, self.supervisor)
        self._recorder = Recorder(self.supervisor, time, self.sealer, self.events, self.field.sites)
        self.desk = CommandDesk(
            config.gateway.id,
            config.command.keys,
            self.field.sites,
            self.sequences,
            time.best_utc_ms,
            lambda: time.trusted,
            self._tell_at,
            lambda reply: self.uplink.reply(reply),
            self._move,
        )
        self.desk.rules.fresh_for_s = config.command.fresh_for_s
        self._file = file
        self._notifier = notifier
        # What the outside asks for, in order; None is to stop.
        self._asked: asyncio.Queue[asyncio.Future[str] | Command | None] = asyncio.Queue()
        self._stops = asyncio.Event()
        self._next_reload: asyncio.Future[str] | None = None  # of those that have not begun
        self._reloads = Seldom(burst=10, now=clock.monotonic)

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; then show the safe aspect, seal, hand over what the cloud
        will take, and end. SIGHUP reads the config again.

        Raises UserError for a signal whose library or key is missing, CoreFailed if something has
        failed that the signals need.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._ask_stop)
        loop.add_signal_handler(signal.SIGHUP, self.ask_reload)
        loop.set_exception_handler(self._callback_failed)
        if isinstance(loop, Loop):
            loop.contains_exits = True
        try:
            async with self.field:
                plan = await self.field.prepare(self.setup)
                async with self.supervisor:
                    self.heartbeats.watch(TICK)
                    self.supervisor.core(TICK, self._tick())
                    await self.field.adopt(plan)
                    self._start_parts()
                    await self._attend_while_the_core_lives()
        finally:
            loop.set_exception_handler(None)
            if isinstance(loop, Loop):
                loop.contains_exits = False
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(signum)

    def _start_parts(self) -> None:
        part = self.supervisor.part
        part("sealer", self.sealer.run)
        part("outbox keeper", self.keeper.run)
        part("event log", self.events.run)
        part("latches", self._keep_latches)
        part(COMMANDS, self._follow_commands)
        part("systemd", self._tell_systemd)
        self._start_uplink()
        part(SOCKET, lambda: self._door(SOCKET, self._answer).socket(self.setup.socket))
        self._start_metrics()
        self._tell_of_memories()

    async def _attend_while_the_core_lives(self) -> None:
        try:
            await self.supervisor.until(self._attend())
        except (CoreFailed, *ANY_FAULT):
            self._notifier.status("the core failed: the signals fall back")
            with contextlib.suppress(*ANY_FAULT):  # what still works of the core may help
                await self.field.leave_safe(self.field.sites)
            raise

    async def _attend(self) -> None:
        name = self.setup.config.gateway.id
        log.info("gateway %s runs", name)
        while (asked := await self._asked.get()) is not None and not self._stops.is_set():
            if isinstance(asked, Command):
                await self.supervisor.attempt(UPLINK, self._change_shard(asked))
                continue
            self._next_reload = None
            faults = await self._reload()
            if not asked.done():
                asked.set_result(faults)

        self._notifier.stopping()
        log.info("gateway %s stops", name)
        end = self.supervisor.end
        await end(SOCKET)
        await end(METRICS)
        await self.field.leave_safe(self.field.sites)
        await self.field.rest()
        for part in (TICK, "sealer", "outbox keeper", "event log", "latches"):
            await end(part)
        await self.supervisor.attempt("event log", self.events.flush())
        await self.supervisor.attempt("sealer", self._hand_over())
        await end(UPLINK)

    def _ask_stop(self) -> None:
        """End, before all else that was asked for."""
        self._stops.set()
        self._asked.put_nowait(None)

    def ask_reload(self) -> asyncio.Future[str]:
        """Read the config again, soon; the result is what is wrong with it, or "" once it holds.
        Who asks before it begins gets the same."""
        if self._next_reload is None or self._next_reload.done():
            self._next_reload = asyncio.get_running_loop().create_future()
            self._asked.put_nowait(self._next_reload)
        return self._next_reload

    async def _reload(self) -> str:
        """Change over to the config as it stands in its file now; the faults for which it was
        refused, or ""."""
        self._notifier.reloading()
        faults = ""
        try:
            setup = await self._read_again()
            if unchangeable := tuple(_unchangeable(self.setup, setup)):
                raise ConfigError(self._file, unchangeable)
            plan = await self.field.prepare(setup)
        except UserError as error:
            faults = str(error)
            for line in faults.splitlines():
                log.error("config not taken: %s", line)
        except ANY_FAULT as error:
            self.supervisor.report("reload", error)
            faults = f"the config cannot be read: {type(error).__name__} {error}"
        else:
            await self.field.adopt(plan)
            await self.supervisor.attempt("reload", self._adopt(plan))
            if (more := self._reloads.says()) is not None:
                text = "a new config is in force"
                self._tell_at(
                    "", "config_taken", f"{text} ({more} more before)" if more else text, {}
                )
        self._notifier.ready()
        return faults

    async def _read_again(self) -> Setup:
        """What the config says now. Raises UserError. A stop waits for no disk."""
        # In a thread: it takes long, and the buses must not wait.
        reading = asyncio.create_task(asyncio.to_thread(_read, self._file), name="read config")
        stops = asyncio.create_task(self._stops.wait(), name="stop while reading")
        try:
            await asyncio.wait((reading, stops), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stops.cancel()
            reading.cancel()
        if not reading.done():
            raise UserError("the gateway stops")
        return reading.result()

    async def _adopt(self, plan: Plan) -> None:
        """The same for the parts."""
        before, self.setup = self.setup.config, plan.setup
        after = self.setup.config
        self.sealer.urgent = _urgent(self.setup)
        self.desk.keys = after.command.keys
        self.desk.rules.fresh_for_s = after.command.fresh_for_s
        # The key may be another one.
        self._proof = await asyncio.to_thread(proof_of_gateway, self.setup)
        self.uplink.acks.proof = self._proof
        if (after.gateway, after.uplink) != (before.gateway, before.uplink):
            await self.supervisor.end(UPLINK)
            self.uplink = self._new_uplink(self.setup)
            self._start_uplink()
        if after.metrics != before.metrics:
            await self.supervisor.end(METRICS)
            self._start_metrics()

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

    async def _change_shard(self, command: Command) -> None:
        log.info("moving to shard %s", command.shard)
        await self.uplink.told()
        await self.supervisor.end(UPLINK)
        self.uplink = self._new_uplink(self.setup)
        self.uplink.announce(Reply(command.id, Outcome.CONFIRMED, self.time.best_utc_ms()))
        self._start_uplink()

    def _start_uplink(self) -> None:
        self.supervisor.part(UPLINK, lambda: self.uplink.run())
        for site in self.field.sites.values():
            site.announce()

    def _start_metrics(self) -> None:
        if (settings := self.setup.config.metrics) is not None:
            door = self._door(METRICS, self._respond)
            self.supervisor.part(METRICS, lambda: door.http(settings.host, settings.port))

    def _door(self, name: str, answer: Answer) -> Door:
        return Door(answer, partial(self.supervisor.report, name))

    async def _respond(self, head: bytes) -> bytes:
        return metrics.respond(head, status.of(self))

    async def _answer(self, request: bytes) -> bytes:
        if request.strip() == b"reload":
            return msgspec.json.encode(Reloaded(await asyncio.shield(self.ask_reload())))
        return msgspec.json.encode(status.of(self))

    async def _hand_over(self) -> None:
        async with asyncio.timeout(SEAL_WITHIN_S):  # the disk may never answer
            await self.sealer.seal()
        seconds = self.setup.config.uplink.drain_at_stop_s
        if not await self.uplink.drain(seconds):
            log.warning("the cloud has not everything yet; it stays in the outbox")
        await self.uplink.farewell()

    async def _tick(self) -> None:
        while True:
            self.heartbeats.beat(TICK)
            await asyncio.sleep(_to_next_tick_s())
            for site in self.field.sites.values():
                site.tick()

    async def _follow_commands(self) -> None:
        while True:
            await asyncio.sleep(_to_next_tick_s())
            self.desk.look()

    async def _tell_systemd(self) -> None:
        while True:
            self._notifier.status(status.line(self))
            await asyncio.sleep(STATUS_EVERY_S)

    async def _keep_latches(self) -> None:
        # Beside the tick, which must not wait for the disk.
        while True:
            await asyncio.sleep(_to_next_tick_s())
            sites = self.field.sites
            await self.latches.keep([name for name, site in sites.items() if site.latched])
            raised = {name: one for name, site in sites.items() if (one := site.raised)}
            await self.raises.keep(raised)

    def _raised_before(self, site: str) -> Raised | None:
        """What a person had raised a site to. Where nobody may give an order, nobody has."""
        return self.raises.get(site) if self.setup.config.command.keys else None

    def _tell_of_memories(self) -> None:
        """What cannot be read of the state folder, and what follows from it."""
        latched = [name for name, site in self.field.sites.items() if site.latched]
        held = f"red waits for a person at {', '.join(latched)}" if latched else "no site has one"
        for memory, follows in (
            (self.latches, f"which latches held is unknown: {held}"),
            (self.raises, "every site is red until a person cancels that, where orders are obeyed"),
            (self.sequences, "commands that lower, clear or move are refused until it is mended"),
            (self.shards, "the shard is that of the config"),
        ):
            if memory.trouble:
                text = f"{memory.trouble}; {follows}"
                self._tell_at("", "memory_unreadable", text, {"trouble": memory.trouble})

    def _show(self, state: InterlockState) -> None:
        self.supervisor.guard(UPLINK, self.uplink.show, state)

    def _tell_at(self, site: str, *told: Any) -> None:
        self._recorder.teller(site or self.setup.config.gateway.site)(*told)

    def _tell_part(self, *told: Any) -> None:
        self._tell_at("", *told)

    def _tell_notice(self, notice: Notice) -> None:
        self._tell_at("", *notice)

    async def _obey(self, payload: bytes) -> None:
        await self.supervisor.attempt(COMMANDS, self.desk.receive(payload))

    def _offer(self, batch: Sealed) -> None:
        self.supervisor.guard(UPLINK, self.uplink.offer, batch)

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        """Something has raised where nobody waits for it."""
        if (error := about.get("exception")) is not None:
            self.supervisor.report("callbacks", error)
        else:
            loop.default_exception_handler(about)


@asynccontextmanager
async def open_agent(file: Path, setup: Setup, *, attended: bool = False) -> AsyncIterator[Agent]:
    """The agent for `setup`, which was read from `file`, with its outbox, which is opened while
    the agent runs already. Where a person is there (`attended`) it is opened first: raises
    sqlite3.Error for what that person must mend."""
    async with AsyncExitStack() as stack:
        notifier = Notifier.of()
        stack.callback(notifier.close)
        time = Clock(ThisMachine(), setup.config.clock.source)
        outbox = await stack.enter_async_context(
            open_outbox(setup.outbox, setup.config.gateway.id, time.boot, later=True)
        )
        if attended:
            await outbox.open(demand=True)
        yield Agent(file, setup, outbox, time, notifier)


def _to_next_tick_s() -> float:
    """All that goes round with the ticks wakes up at the same moments, those of the buses
    (`edge.agenda.MOST_SLACK_S`): each one alone would cost as much as what it does."""
    return TICK_S - clock.monotonic() % TICK_S


def _read(file: Path) -> Setup:
    setup = config.read(file)
    _ = setup.profiles  # found now, in this thread
    return setup


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
