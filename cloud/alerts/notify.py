"""Hands notices to the channels until each has taken each: one task a channel, so that one that
fails holds up no other. What is to be told is on disk, and so survives us."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection, RowMapping, case, select, update

from cloud import state
from cloud.alerts.rule import Transition
from cloud.channels import Channel, Notice
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from wire.reading import UNITS, Quantity

log: Final = logging.getLogger("shuichi.notify")

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0


class Notifier:
    """The channels by the names that the config gives them."""

    def __init__(self, database: State, channels: Mapping[str, Channel]) -> None:
        self._database = database
        self._channels = {name: (channel, asyncio.Event()) for name, channel in channels.items()}

    def wake(self) -> None:
        """There is something new to tell."""
        for _, news in self._channels.values():
            news.set()

    async def run(self) -> None:
        """Deliver for ever."""
        async with asyncio.TaskGroup() as group:
            for name, (channel, news) in self._channels.items():
                group.create_task(self._deliver(name, channel, news), name=f"channel {name}")

    async def _deliver(self, name: str, channel: Channel, news: asyncio.Event) -> None:
        delay, failing = FIRST_DELAY_S, False
        while True:
            news.clear()
            trouble = await self._round(name, channel)
            if trouble is None:
                if failing:
                    log.info("channel %s: delivers again", name)
                delay, failing = FIRST_DELAY_S, False
                await news.wait()
                continue
            if not failing:
                log.error("channel %s: %s; trying again until it is taken", name, trouble)
                failing = True
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _round(self, name: str, channel: Channel) -> Exception | None:
        """Offer all that is due, oldest first, and return the trouble that came up.

        One notice that is refused does not hold up those behind it; if the channel cannot be
        reached at all, the others need not try.
        """
        refused: Rejected | None = None
        try:
            for notice in await self._database.run(partial(_due, channel=name)):
                try:
                    await channel.send(notice)
                except Rejected as error:
                    refused = error
                else:
                    await self._database.run(partial(_delivered, key=notice.key))
        except Unavailable as error:
            return error
        return refused


def _due(connection: Connection, *, channel: str) -> list[Notice]:
    alert, notification = state.alert, state.notification
    raised = notification.c.transition == Transition.RAISED
    rows = connection.execute(
        select(
            notification.c.key,
            notification.c.transition,
            notification.c.at_ms,
            notification.c.alert,
            alert.c.rule,
            alert.c.level,
            alert.c.gateway,
            alert.c.site,
            alert.c.sensor,
            alert.c.quantity,
            case((raised, alert.c.raised_value), else_=alert.c.cleared_value).label("value"),
        )
        .join(alert)
        .where(notification.c.channel == channel, notification.c.delivered_at_ms.is_(None))
        .order_by(notification.c.at_ms, notification.c.alert)
    )
    return [_notice(row) for row in rows.mappings()]


def _notice(row: RowMapping) -> Notice:
    unit = UNITS[Quantity(row["quantity"])]
    at = datetime.fromtimestamp(row["at_ms"] / 1000, UTC)
    text = (
        "{level} alert {transition}: {site}, {quantity} {value:.4g}".format_map(row)
        + f" {unit} ({row['sensor']}, rule {row['rule']}, {at:%Y-%m-%d %H:%M:%S} UTC)"
    )
    return Notice(**row, unit=unit, text=text)


def _delivered(connection: Connection, *, key: str) -> None:
    table = state.notification
    connection.execute(
        update(table).where(table.c.key == key).values(delivered_at_ms=time.time_ns() // 1_000_000)
    )
