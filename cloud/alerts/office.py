"""The office that never closes: lets the dispatch work whenever there is news or something is due,
and tells the channels."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from sqlalchemy import Connection

from cloud.alerts import everybody, keptplans, plan, setback, tokens
from cloud.alerts.buttons import Buttons
from cloud.alerts.delivery import Delivery
from cloud.alerts.dispatch import Dispatch
from cloud.channels import Channel, cap
from cloud.config import Setup
from cloud.errors import Unavailable
from cloud.http import secret
from cloud.shards import Lost
from cloud.state import State
from cloud.supervision import Supervisor
from configs.loader import ConfigError
from wire.mqtt import Broker

log: Final = logging.getLogger("shuichi.dispatch")

RETRY_S: Final = 1.0

LONGEST_S: Final = 30.0
"""Between looks without news: another process may have had some, and a clock may have been set."""


REST: Final = 200
"""A look at what is due is followed by a rest of so many times what it took: deadlines of thousands
cost half a hundredth of a core, whatever there is to do at each."""

LONGEST_REST_S: Final = 5.0


def pause_s(took_s: float, now_ms: int, due_ms: int | None) -> float:
    """How long to wait for news after a look at `now_ms` that took so long, where something is due
    at `due_ms`. What was left over at that look does not wait."""
    if due_ms is None:
        return LONGEST_S
    wait_s = (due_ms - now_ms) / 1000
    if wait_s <= 0:
        return 0.0
    return min(max(wait_s, min(REST * took_s, LONGEST_REST_S)), LONGEST_S)


LOOK_S: Final = 1.0
"""Between looks whether the clock was set back."""


class SteadyClock:
    """The wall clock, and what it would show if nobody had set it since it was read last."""

    def __init__(self) -> None:
        self._wall_ms, self._steady_s = _now_ms(), time.monotonic()

    def now_ms(self) -> int:
        """By the wall clock, whatever it shows."""
        self._wall_ms, self._steady_s = _now_ms(), time.monotonic()
        return self._wall_ms

    def expected_ms(self) -> int:
        return self._wall_ms + round(1000 * (time.monotonic() - self._steady_s))

    def was_set_back(self) -> bool:
        return self.expected_ms() - _now_ms() > setback.NOTICED_MS


class Office:
    """One at a time works: see `cloud.shards`. `beat` is called at each turn of the dispatch;
    `faults` says what of plan and secret could not be used."""

    def __init__(
        self,
        database: State,
        dispatch: Dispatch,
        delivery: Delivery,
        broker: Broker,
        name: str,
        keep_s: int,
        supervisor: Supervisor | None = None,
        beat: Callable[[], None] = lambda: None,
        news: asyncio.Event | None = None,
    ) -> None:
        self.dispatch = dispatch
        self.beat = beat
        self.faults: tuple[str, ...] = ()
        self._supervisor = supervisor or Supervisor()
        self._database = database
        self._delivery = delivery
        self._buttons = Buttons(broker, name, keep_s, database, dispatch, self.wake)
        self._news = news or asyncio.Event()
        self._turned_s = 0.0
        self._fence: Callable[[Connection], None] = lambda _: None

    def fence(self, check: Callable[[Connection], None]) -> None:
        """From now on `check` says in each transaction whether alerts are ours, or raises Lost."""
        self._fence = self._delivery.fence = check

    @property
    def plan(self) -> plan.Plan:
        """The response plan that is in force."""
        return self.dispatch.plan

    def failing(self) -> dict[str, str]:
        """The channels that take nothing, and why."""
        return self._delivery.failing()

    def rests_s(self, channel: str) -> float:
        """How long (s) the provider of a channel wants to be left alone."""
        return self._delivery.rests_s(channel)

    def works(self, channel: str) -> None:
        """Somebody has seen a channel take a message."""
        self._delivery.works(channel)

    def turned_s(self) -> float:
        """When the dispatch went round last, by the monotonic clock; 0 before the first time."""
        return self._turned_s

    def wake(self) -> None:
        """There is news: findings, an answer, a demand."""
        self._news.set()

    async def run(self) -> None:
        """Work for ever: what fails of these is begun anew, beside the others."""
        parts = {
            "delivery": self._delivery.run,
            "dispatch": self._decide,
            "buttons": self._buttons.run,
        }
        async with asyncio.TaskGroup() as group:
            for name, work in parts.items():
                group.create_task(self._supervisor.keep(name, work), name=name)

    async def _decide(self) -> None:
        failing = False
        clock = SteadyClock()
        while True:
            self.beat()
            self._news.clear()
            try:
                self.dispatch.not_before(clock.expected_ms())
                now_ms, began_s = clock.now_ms(), time.monotonic()
                due_ms = await self._database.run(partial(self._round, now_ms=now_ms))
            except (Unavailable, Lost) as error:
                if not failing:
                    log.error("%s; alerts wait until it is back", error)
                failing = True
                await asyncio.sleep(RETRY_S)
                continue
            if failing:
                log.info("alerts go on")
            failing = False
            self._turned_s = time.monotonic()
            self._delivery.wake()
            await self._wait(pause_s(time.monotonic() - began_s, now_ms, due_ms), clock)

    def _round(self, connection: Connection, now_ms: int) -> int | None:
        self._fence(connection)
        return self.dispatch.round(connection, now_ms)

    async def _wait(self, wait_s: float, clock: SteadyClock) -> None:
        """Until there is news, something is due, or the clock was set back."""
        until_s = time.monotonic() + wait_s
        while (left_s := until_s - time.monotonic()) > 0 and not clock.was_set_back():
            try:
                async with asyncio.timeout(min(left_s, LOOK_S)):
                    await self._news.wait()
                    return
            except TimeoutError:
                self.beat()


def planned_sites(setup: Setup) -> frozenset[str]:
    """The sites of the config's response plan. Raises ConfigError."""
    named = setup.config.alerts.plan
    return frozenset() if named is None else frozenset(plan.read(setup.folder / named).site)


def alert_faults(setup: Setup) -> list[str]:
    """What of the response plan and of the secret of the links cannot be used, one line each."""
    alerts, found = setup.config.alerts, []
    try:
        secret(setup.folder, alerts.secret_file)
        if alerts.plan is not None:
            plan.read(setup.folder / alerts.plan)
    except (Unavailable, ConfigError) as error:
        found.append(f"[alerts] {error}")
    return found


async def office_of(
    setup: Setup,
    database: State,
    channels: Mapping[str, Channel],
    supervisor: Supervisor | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Office:
    """Who decides on alerts and has the channels. Raises Unavailable for a database that does not
    answer."""
    faults: list[str] = []
    dispatch = await dispatch_of(setup, database, faults)
    config = setup.config
    news = asyncio.Event()
    delivery = Delivery(database, channels, supervisor, dispatch.hand_over, news.set)
    name, keep_s = await database.run(tokens.deployment), config.ingest.keep_session_s
    office = Office(
        database, dispatch, delivery, config.broker, name, keep_s, supervisor, beat, news
    )
    office.faults = tuple(faults)
    return office


async def dispatch_of(setup: Setup, database: State, faults: list[str] | None = None) -> Dispatch:
    """The dispatch of a config: without a good plan by the last one that was, else everybody is
    called; without the secret with one that the state keeps. `faults` gets a line for each."""
    alerts, channels = setup.config.alerts, setup.config.channel
    faults = [] if faults is None else faults
    signing = await database.run(tokens.kept)
    try:
        if (own := secret(setup.folder, alerts.secret_file)) is not None:
            signing = own.encode()
    except Unavailable as error:
        faults.append(f"[alerts] {error}; links are signed by the state's own secret")
    cap_channels = tuple(name for name, one in channels.items() if one.kind == cap.KIND)
    people = [name for name in channels if name not in cap_channels]
    response = None
    if alerts.plan is not None:
        try:
            response = plan.read(setup.folder / alerts.plan)
        except ConfigError as error:
            response = await database.run(keptplans.last_good)
            instead = "everybody is called" if response is None else "the last good plan serves"
            faults.append(f"{error}; {instead}")
        else:
            kept = partial(keptplans.come_into_force, plan=response, now_ms=_now_ms())
            await database.run(kept)
    response = response or everybody.plan(people)
    settings = alerts.settings._replace(publisher=setup.config.cap, cap_channels=cap_channels)
    return Dispatch(response, channels, tokens.Tokens(signing), settings)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
