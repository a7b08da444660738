"""The aggregator: puts the parts together, starts them, and stops them."""

import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

from cloud import (
    cases,
    damage,
    descriptors,
    overflow,
    proofs,
    room,
    secretfiles,
    shards,
    state,
    upkeep,
    writeoffs,
)
from cloud.admission import Admission, clock_fault
from cloud.alerts import demands, drilldesk, dutydesk, planlife, testsend
from cloud.alerts.office import Office, office_of
from cloud.alerts.plan import Plan
from cloud.alerts.watch import Watch
from cloud.allwell import AllWell
from cloud.channels import running
from cloud.channels.running import Kept
from cloud.config import NOBODY_NAMED, Config, Setup
from cloud.desk import Clerk, open_desk
from cloud.errors import Unavailable
from cloud.health import Health
from cloud.heartbeat import Pulse
from cloud.ingest.worker import Ingest
from cloud.shards import Lease, Leases
from cloud.state import State
from cloud.store import Store
from cloud.store.kept import Kept as KeptStore
from cloud.store.kept import kept
from cloud.storeserver import StoreServer
from cloud.supervision import Supervisor
from cloud.upkeep import Chore
from configs.loader import UserError
from configs.notify import BEAT_EVERY_S, Heartbeats, Notifier

log: Final = logging.getLogger("shuichi.cloud")

NEWS_S: Final = 1.0
"""Between looks for what other workers want to have told."""

_LOOP: Final = "event loop"
_DISPATCH: Final = "dispatch"
"""What must go round, or the watchdog of systemd strikes."""

REOPEN_S: Final = 60.0
"""Between tries of a channel that cannot be opened, where no message is tried on it."""

PATIENCE_S: Final = 60.0
"""With a server of the state that does not answer; what is done in one go takes far less."""

HEALTH_PATIENCE_S: Final = 30.0
"""For which a shard may be without a worker: while another takes it over, or the broker is away."""


async def serve(setup: Setup, faults: Sequence[str] = (), *, unattended: bool = False) -> None:
    """Run until SIGTERM or SIGINT. `faults` are those of the config that it does without.

    Raises Unavailable if the state's file cannot be opened, Rejected if a newer release laid the
    state out; broker, store and channels, and a state on a server, may come later. Once it runs,
    what fails of it fails alone: see `supervision`.
    """
    descriptors.raise_limit()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    read_again = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, read_again.set)
    async with AsyncExitStack() as stack:
        told = [*faults]
        place, mended = setup.database, told if unattended else None
        found = await damage.arrive(stack, place, partial(opened, setup), stop, mended)
        if found is None:
            return
        service = await _Service.of(stack, setup, *found, told)
        service.read_again = read_again
        desk = open_desk(
            *(
                setup,
                *found,
                cases.RETRY,
                cases.DROP,
                writeoffs.CLOSE,
                *(*demands.ALL, *drilldesk.ALL, *dutydesk.ALL, *testsend.ALL),
                planlife.RELOAD,
            ),
            wake=service.office.wake,
            dispatch=service.office.dispatch,
            tests=service.tests,
        )
        async with desk, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(service.supervisor.keep(name, work), name=name)
                for name, work in service.parts().items()
            ]
            _settle_in()
            log.info("started")
            if fault := clock_fault(time.time_ns() // 1_000_000):
                log.error("%s", fault)
            if not setup.config.gateway:
                log.warning("%s", NOBODY_NAMED)
            await stop.wait()
            log.info("stopping")
            service.notifier.stopping()
            for task in tasks:
                task.cancel()


class _Service:
    """The parts, and what they share."""

    def __init__(
        self, setup: Setup, database: State, store: Store, leases: Leases, faults: Sequence[str]
    ) -> None:
        self.supervisor = Supervisor()
        self.notifier = Notifier.of()
        self.read_again = asyncio.Event()
        """Set by SIGHUP: the response plan is to be read again."""
        self.office: Office
        self.tests: testsend.Sender
        self._beats = Heartbeats(self.notifier.alive, self.notifier.ready)
        self._setup = setup
        self._database = database
        self._store = store
        self._leases = leases
        self._faults = [*faults]
        self._store_server = StoreServer(store)
        self._channels: dict[str, Kept] = {}
        self._workers: dict[str, Ingest] = {}
        self._keys = proofs.Ring()
        self._pulse: Pulse | None = None
        self._health: Health | None = None
        self._all_well: AllWell | None = None

    @classmethod
    async def of(
        cls,
        stack: AsyncExitStack,
        setup: Setup,
        database: State,
        store: Store,
        faults: Sequence[str],
    ) -> "_Service":
        """All that is needed before the first part begins."""
        leases = Leases(database, setup.config.ingest.lease_s)
        if database.shared:
            database.patience_s = PATIENCE_S
        await leases.begin()
        with suppress(Unavailable):  # it is tried again
            await database.keep_reserve()
        made = cls(setup, database, store, leases, faults)
        stack.callback(made.notifier.close)
        secretfiles.tell(setup)
        made._keys = await asyncio.to_thread(proofs.Ring, proofs.files(setup))
        for name, one in setup.config.channel.items():
            channel = await stack.enter_async_context(running.kept(one, setup.folder))
            made._channels[name] = channel
        beat = partial(made._beats.beat, _DISPATCH)
        made.office = await office_of(setup, database, made._channels, made.supervisor, beat)
        made.tests = testsend.sender(database, made._channels, setup.config.channel, made.office)
        made._faults += made.office.faults
        made.office.dispatch.on_plan.append(made._mend)
        if (beat_of := setup.config.heartbeat) is not None:
            if beat_of.url is not None:
                made._pulse = Pulse(beat_of, beat_of.url, made.office.turned_s, made._unwell)
            if beat_of.daily is not None:
                made._all_well = AllWell(
                    *(beat_of.daily, database, made.office, made._mute),
                    [*setup.config.gateway],
                    [*setup.config.channel],
                )
        for line in (*made._faults, *{**made._closed(), **made._closed_store()}.values()):
            log.error("%s", line)
        return made

    def parts(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What works for ever, by name."""
        keep = self._leases.keep
        parts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        for shard in self._setup.config.ingest.shards:
            name = shards.name_of(shard)
            parts[name] = partial(keep, name, partial(self._take_in, shard=shard))
        parts["heartbeat"] = self._beat
        parts["store server"] = self._store_server.watch
        parts["plan"] = self._follow_plan
        parts["channels"] = self._reopen
        parts["alerts"] = partial(keep, "alerts", self._alert)
        parts["upkeep"] = partial(keep, "upkeep", self._tend)
        if self._setup.config.web is not None:
            parts["web"] = self._web
        if self._pulse is not None:
            parts["outgoing heartbeat"] = self._pulse.run
        if self._database.shared:
            parts["news of other workers"] = partial(_wake, self.office)
        return parts

    async def _take_in(self, lease: Lease, shard: str) -> None:
        config = self._setup.config
        admission = Admission.of(config, frozenset(self.office.dispatch.plan.site))
        await self._database.run(partial(room.load, quotas=admission.quotas))
        dispatch = self.office.dispatch
        follow = partial(_replan, admission, config)
        dispatch.on_plan.append(follow)
        try:
            await self._ingest(lease, shard, admission)
        finally:
            dispatch.on_plan.remove(follow)

    async def _ingest(self, lease: Lease, shard: str, admission: Admission) -> None:
        config = self._setup.config
        ours = (config.broker, config.ingest, admission, lease, shard)
        keep_ms = round(1000 * config.alerts.off_delay_s) + 60_000
        watch = Watch(config.rules, admission.quotas.may_find, keep_ms)
        ingest = Ingest(*(*ours, self._database, self._store, watch, self.office.wake, self._keys))
        ingest.on_sign_of_life = partial(self._leases.worked, lease.name)
        self._workers[shard] = ingest
        await ingest.run()

    def _hard_of_hearing(self) -> dict[str, str]:
        """The shards that do not hear all that they should at the broker."""
        return {f"shard-{s}": one.trouble for s, one in self._workers.items() if one.trouble}

    async def _alert(self, lease: Lease) -> None:
        """The dispatch and its channels; and whoever sees that the rest works, for they tell of
        it."""
        config = self._setup.config
        self.office.fence(lease.check)
        health = Health(
            self._database,
            lease,
            Watch(config.rules),
            # A file is ours alone: who serves other shards has another, and is not seen from here.
            self._setup.all_shards if self._database.shared else config.ingest.shards,
            max(HEALTH_PATIENCE_S, 3 * config.ingest.lease_s),
            (
                ("part_failing", self.supervisor.failing),
                ("part_failing", self._set_aside),
                ("part_failing", self._closed_store),
                ("part_failing", self._unheard),
                ("part_failing", self._database.failing),
                ("part_failing", self._hard_of_hearing),
                ("channel_failing", self._mute),
            ),
            self._faults,
            self.office.wake,
            config.channel,
        )
        self._health = health
        self._beats.watch(_DISPATCH)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.office.run(), name="alerts office")
                group.create_task(self.supervisor.keep("health", health.run), name="health")
                if self._all_well is not None:
                    written = self.supervisor.keep("all-well message", self._all_well.run)
                    group.create_task(written, name="all-well message")
        finally:
            self._beats.forget(_DISPATCH)

    async def _beat(self) -> None:
        """Tell systemd that the event loop turns; and the dispatch, while the alerts are ours."""
        self._beats.watch(_LOOP)
        while True:
            self._beats.beat(_LOOP)
            await asyncio.sleep(BEAT_EVERY_S)

    async def _tend(self, _: Lease) -> None:
        limit = overflow.Limit(self._database, self._setup.config.quarantine.most_bytes)
        await upkeep.run(
            Chore("the room for alerts", lambda *_: self._database.keep_reserve()),
            Chore("rollups and retention", self._store.upkeep),
            Chore("the limit of the quarantine", lambda _, earliest_ms: limit.keep(earliest_ms)),
        )

    async def _web(self) -> None:
        """Serve HTTP. Raises Unavailable for a port that is taken or a secret that cannot be
        read: both may be there at the next try."""
        config, office = self._setup.config, self.office
        assert config.web is not None
        from cloud.web import server  # half a second that nobody else should pay
        from cloud.web.desk import Desk

        token, hooks = server.secrets_of(self._setup.folder, config.web, config.hook)
        async with state.connected(self._database.place, read_only=True) as reader:
            desk = Desk(
                database=self._database,
                reader=reader,
                dispatch=office.dispatch,
                wake=office.wake,
                hooks=hooks,
                token=token,
                tokens=server.tokens_of(self._setup.folder, config.web),
                calendar_token=server.calendar_token_of(self._setup.folder, config.web),
                publisher=config.cap,
                url=config.alerts.settings.answer_url,
                tests=self.tests,
                store_server=self._store_server,
                spoken=frozenset(n for n, one in config.channel.items() if one.kind == "voice"),
            )
            with server.bound(config.web) as listening:
                await server.serve(desk, listening)

    def _closed(self) -> dict[str, str]:
        """The channels that cannot be opened, and why."""
        return {
            f"channel {name}": f"[channel.{name}] {one.fault}"
            for name, one in self._channels.items()
            if one.fault
        }

    def _closed_store(self) -> dict[str, str]:
        """The store, if it cannot be opened, and why."""
        fault = self._store.fault if isinstance(self._store, KeptStore) else ""
        return {"store": f"[store] {fault}"} if fault else {}

    async def _follow_plan(self) -> None:
        """Read the response plan again whenever that is wanted; a bad one changes nothing."""
        clerk = Clerk(
            *(self._setup, self._database, self._store, "SIGHUP"),
            *(self.office.wake, self.office.dispatch),
        )
        while True:
            await self.read_again.wait()
            self.read_again.clear()
            try:
                log.info("%s", (await planlife.reload(clerk, planlife.Reload())).text)
            except UserError as error:
                log.error("%s", error)

    def _mend(self, _: Plan) -> None:
        """What was wrong with the plan is not any more."""
        self._faults[:] = [one for one in self._faults if one not in self.office.faults]

    def _unheard(self) -> dict[str, str]:
        """That nobody outside hears that we live."""
        heard = {"outgoing heartbeat": self._pulse, "all-well message": self._all_well}
        return {name: one.fault for name, one in heard.items() if one is not None and one.fault}

    def _mute(self) -> dict[str, str]:
        """The channels by which nobody is told now, and why."""
        return self._closed() | self.office.failing()

    def _unwell(self) -> dict[str, str]:
        """What is wrong with alerting."""
        is_late = self._health is not None and self._health.is_late
        return self._mute() | ({"alerts": "messages to people are late"} if is_late else {})

    async def _reopen(self) -> None:
        """Try the channels that could not be opened, so that it is known when they can."""
        while True:
            await asyncio.sleep(REOPEN_S)
            for channel in self._channels.values():
                if channel.fault:
                    with suppress(Unavailable):
                        await channel.open()

    def _set_aside(self) -> dict[str, str]:
        """What the dispatch cannot do anything with."""
        errors = self.office.dispatch.errors
        return {"dispatch": errors[0]} if errors else {}


def _replan(admission: Admission, config: Config, plan: Plan) -> None:
    admission.replan(config, plan.site)


def _settle_in() -> None:
    """What readings cost from now on: see `python -m bench worker_cpu`."""
    gc.freeze()  # what is there by now stays, and need not be looked through again and again
    # A take has thousands of lists, none in a cycle, and a look at one is a look at all its
    # elements. They are gone by themselves before so many more are made.
    gc.set_threshold(50_000, 10, 10)
    # A thread that works row by row asks the event loop for the GIL after each: not 5 ms long.
    sys.setswitchinterval(0.0005)


async def _wake(office: Office) -> None:
    """Workers that hold other shards raise alerts that this one may have to tell."""
    while True:
        await asyncio.sleep(NEWS_S)
        office.wake()


@asynccontextmanager
async def opened(setup: Setup, *, read_only: bool = False) -> AsyncIterator[tuple[State, Store]]:
    """The state database and the store of a config, which may come later. Raises Unavailable on
    entry."""
    async with (
        state.opened(setup.database, read_only=read_only) as database,
        kept(setup.config.store, setup.folder, database) as store,
    ):
        yield database, store
