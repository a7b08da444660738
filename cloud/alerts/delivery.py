"""Hands messages to the channels until each has taken each: one task a channel, so that one that
fails holds up no other. What is to be told is on disk, and so survives us; what was handed over
when we were killed is handed over again, under the same key."""

import asyncio
import logging
import random
import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select, update

from cloud import tables
from cloud.alerts import backlog
from cloud.channels import Channel, Message, Receipt
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from cloud.supervision import Supervisor

log: Final = logging.getLogger("shuichi.delivery")

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0
AT_A_TIME: Final = 50

IT_IS_THE_CHANNEL: Final = 3
"""Messages in a row that are not taken, after which the others wait too."""

AWAY_S: Final = 1.0
"""Between tries of a database that does not answer."""

TRIES_OF_A_FAULT: Final = 3
"""At which a message is set aside that the channel fails on in a way that it does not declare."""


CANNOT_BE_SENT: Final = "it cannot be sent"


class _One(NamedTuple):
    contact: str
    message: Message


class _Due(NamedTuple):
    """What may be told now, oldest first; the keys of rows that cannot be read, and why; and when
    (UTC, ms) the next may be told, if there is nothing now."""

    messages: list[_One]
    unreadable: dict[str, str]
    next_ms: int | None


class _Line:
    """One channel: what is new on it; which contacts are not tried before when (s, by a clock that
    nobody sets), after how long a pause (s); how often each message has failed in a way that no
    channel declares; and why the database could not be asked the last time."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.news = asyncio.Event()
        self.later: dict[str, tuple[float, float]] = {}
        self.faults: dict[str, int] = {}
        self.is_failing = False
        self.trouble = ""

    def put_off(self, contact: str) -> None:
        """A message was not taken; the next try comes later each time, with jitter."""
        _, before = self.later.get(contact, (0, FIRST_DELAY_S / 2))
        delay_s = min(2 * before, LONGEST_DELAY_S)
        at_s = time.monotonic() + delay_s * random.uniform(0.5, 1.0)
        self.later[contact] = (at_s, delay_s)

    def waits(self) -> dict[str, float]:
        """How long (s) each contact is not to be tried yet."""
        now_s = time.monotonic()
        return {name: at_s - now_s for name, (at_s, _) in self.later.items() if at_s > now_s}


class Delivery:
    """The channels by the names that the config gives them."""

    def __init__(
        self,
        database: State,
        channels: Mapping[str, Channel],
        supervisor: Supervisor | None = None,
    ) -> None:
        self._database = database
        self._supervisor = supervisor or Supervisor()
        self._lines = {name: _Line(channel) for name, channel in channels.items()}

    def wake(self) -> None:
        """There is something new to tell, or less."""
        for line in self._lines.values():
            line.news.set()

    async def run(self) -> None:
        """Deliver for ever; a database that does not answer is waited for, and a channel whose
        task fails is begun anew, beside the others."""
        async with asyncio.TaskGroup() as group:
            for name, line in self._lines.items():
                work = partial(self._deliver, name, line)
                group.create_task(
                    self._supervisor.keep(f"channel {name}", work), name=f"channel {name}"
                )

    async def _deliver(self, name: str, line: _Line) -> None:
        while True:
            line.news.clear()
            try:
                wait_s = await self._round(name, line)
            except Unavailable as error:
                if str(error) != line.trouble:
                    log.error("channel %s: %s; it waits until it is back", name, error)
                line.trouble = str(error)
                wait_s = AWAY_S
            else:
                if line.trouble:
                    log.info("channel %s: goes on", name)
                line.trouble = ""
            try:
                async with asyncio.timeout(wait_s):
                    await line.news.wait()
            except TimeoutError:
                pass

    async def _round(self, name: str, line: _Line) -> float | None:
        """Offer what may be told, one by one, and look each time whether it still is to be: an
        answer may have come. In how many seconds there is more, None if only news can bring it.

        What a contact is told comes in order. One who cannot be told now holds up no other; but if
        several in a row cannot, it is the channel, and the others need not try.
        """
        in_a_row = 0
        while True:
            now_ms = _now_ms()
            put_off = line.waits()
            due = await self._database.run(
                partial(_due, channel=name, now_ms=now_ms, without=put_off)
            )
            for key, why in due.unreadable.items():
                await self._set_aside(name, key, why)
            if not due.messages and not due.unreadable:
                waits = [*put_off.values()]
                if due.next_ms is not None:
                    waits.append(max(0.0, (due.next_ms - now_ms) / 1000))
                return min(waits, default=None)
            for contact, message in due.messages:
                if contact in line.waits():
                    continue  # an earlier message was not taken just now
                if contact in line.later:  # nobody wants each call of an outage, one by one
                    thin = partial(backlog.thin, channel=name, contact=contact)
                    await self._database.run(partial(thin, now_ms=_now_ms()))
                if not await self._database.run(partial(_is_wanted, key=message.key)):
                    continue
                try:
                    receipt = await line.channel.send(message)
                except Unavailable as error:
                    if not line.is_failing:
                        log.error("channel %s: %s; trying again until it is taken", name, error)
                    line.is_failing = True
                    line.put_off(contact)
                    in_a_row += 1
                    if in_a_row >= IT_IS_THE_CHANNEL:
                        return min(line.waits().values(), default=0.0)
                    continue
                except Rejected as error:
                    log.error("channel %s refuses %s: %s", name, message.key, error)
                    done = partial(_done, outcome="refused", receipt=Receipt(detail=str(error)))
                except Exception as error:  # noqa: BLE001  # it must cost no other message
                    if not self._failed(name, line, message.key, error):
                        line.put_off(contact)
                        continue
                    words = f"{CANNOT_BE_SENT}: {_line(error)}"
                    done = partial(_done, outcome="refused", receipt=Receipt(detail=words))
                else:
                    done = partial(_done, outcome="delivered", receipt=receipt)
                    if line.is_failing:
                        log.info("channel %s: delivers again", name)
                    line.is_failing, in_a_row = False, 0
                line.later.pop(contact, None)
                line.faults.pop(message.key, None)
                await self._database.run(partial(done, key=message.key, now_ms=_now_ms()))

    def _failed(self, name: str, line: _Line, key: str, error: Exception) -> bool:
        """A channel failed on a message in a way that it does not declare: whether that was once
        too often, and the message is set aside, so that those behind it have their turn."""
        line.faults[key] = line.faults.get(key, 0) + 1
        is_last = line.faults[key] >= TRIES_OF_A_FAULT
        if is_last:
            log.error("channel %s: %s is set aside after %d tries", name, key, TRIES_OF_A_FAULT)
        elif line.faults[key] == 1:
            log.error("channel %s fails on %s", name, key, exc_info=error)
        return is_last

    async def _set_aside(self, name: str, key: str, why: str) -> None:
        log.error("channel %s: %s cannot be read and is set aside: %s", name, key, why)
        receipt = Receipt(detail=f"{CANNOT_BE_SENT}: {why}")
        done = partial(_done, outcome="refused", receipt=receipt)
        await self._database.run(partial(done, key=key, now_ms=_now_ms()))


def _line(error: Exception) -> str:
    """An error in one line; what follows is its traceback."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _due(connection: Connection, *, channel: str, now_ms: int, without: Collection[str]) -> _Due:
    out = tables.outgoing
    waiting = (out.c.channel == channel, out.c.done_ms.is_(None))
    found = connection.execute(
        select(out.c.key, out.c.contact, out.c.message)
        .where(*waiting, out.c.not_before_ms <= now_ms, out.c.contact.not_in(without))
        .order_by(out.c.not_before_ms, out.c.key)
        .limit(AT_A_TIME)
    )
    messages, unreadable = [], {}
    for row in found:
        try:
            messages.append(_One(row.contact, msgspec.json.decode(row.message, type=Message)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            unreadable[row.key] = f"{type(error).__name__}: {error}"
    if messages or unreadable:
        return _Due(messages, unreadable, None)
    later = select(func.min(out.c.not_before_ms)).where(*waiting, out.c.contact.not_in(without))
    next_ms = connection.execute(later).scalar_one()
    return _Due([], {}, next_ms)


def _is_wanted(connection: Connection, *, key: str) -> bool:
    out = tables.outgoing
    found = connection.execute(select(out.c.done_ms).where(out.c.key == key)).one_or_none()
    return found is not None and found.done_ms is None


def _done(connection: Connection, *, key: str, outcome: str, receipt: Receipt, now_ms: int) -> None:
    out = tables.outgoing
    connection.execute(
        update(out)
        .where(out.c.key == key)
        .values(
            done_ms=now_ms,
            outcome=outcome,
            provider_id=receipt.provider_id,
            detail=receipt.detail,
        )
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
