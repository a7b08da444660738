"""The office that never closes: lets the dispatch work whenever there is news or something is due,
and tells the channels."""

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Final

from cloud.alerts import everybody, plan, tokens
from cloud.alerts.buttons import Buttons
from cloud.alerts.delivery import Delivery
from cloud.alerts.dispatch import Dispatch
from cloud.channels import Channel, cap
from cloud.config import Setup
from cloud.errors import Unavailable
from cloud.http import secret
from cloud.state import State
from cloud.supervision import Supervisor
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


class Office:
    """One at a time works: see `cloud.shards`."""

    def __init__(
        self,
        database: State,
        dispatch: Dispatch,
        delivery: Delivery,
        broker: Broker,
        name: str,
        keep_s: int,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.dispatch = dispatch
        self._supervisor = supervisor or Supervisor()
        self._database = database
        self._delivery = delivery
        self._buttons = Buttons(broker, name, keep_s, database, dispatch, self.wake)
        self._news = asyncio.Event()

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
        while True:
            self._news.clear()
            try:
                now_ms, began_s = time.time_ns() // 1_000_000, time.monotonic()
                due_ms = await self._database.run(partial(self.dispatch.round, now_ms=now_ms))
            except Unavailable as error:
                if not failing:
                    log.error("%s; alerts wait until it is back", error)
                failing = True
                await asyncio.sleep(RETRY_S)
                continue
            if failing:
                log.info("alerts go on")
            failing = False
            self._delivery.wake()
            wait_s = pause_s(time.monotonic() - began_s, now_ms, due_ms)
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                pass


def planned_sites(setup: Setup) -> frozenset[str]:
    """The sites of the config's response plan. Raises ConfigError."""
    named = setup.config.alerts.plan
    return frozenset() if named is None else frozenset(plan.read(setup.folder / named).site)


async def office_of(
    setup: Setup,
    database: State,
    channels: Mapping[str, Channel],
    supervisor: Supervisor | None = None,
) -> Office:
    """Who decides on alerts and has the channels. Raises as `dispatch_of` does."""
    dispatch = await dispatch_of(setup, database)
    config = setup.config
    delivery = Delivery(database, channels, supervisor)
    name, keep_s = await database.run(tokens.deployment), config.ingest.keep_session_s
    return Office(database, dispatch, delivery, config.broker, name, keep_s, supervisor)


async def dispatch_of(setup: Setup, database: State) -> Dispatch:
    """The dispatch of a config. Raises Unavailable for a secret that cannot be read, ConfigError
    for a plan."""
    alerts, channels = setup.config.alerts, setup.config.channel
    own = secret(setup.folder, alerts.secret_file)
    signing = await database.run(tokens.kept) if own is None else own.encode()
    cap_channels = tuple(name for name, one in channels.items() if one.kind == cap.KIND)
    people = [name for name in channels if name not in cap_channels]
    response = (
        everybody.plan(people) if alerts.plan is None else plan.read(setup.folder / alerts.plan)
    )
    settings = alerts.settings._replace(publisher=setup.config.cap, cap_channels=cap_channels)
    return Dispatch(response, channels, tokens.Tokens(signing), settings)
