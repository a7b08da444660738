"""Hands messages to the channels until each has taken each: one task a channel, so that one that
fails holds up no other. What is to be told is on disk, and so survives us; what was handed over
when we were killed is handed over again, under the same key."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol, runtime_checkable

from sqlalchemy import Connection, func, select, update

from cloud import tables
from cloud.alerts.handover import CANNOT_BE_SENT, Desk, Stored
from cloud.alerts.waiting import is_exercise
from cloud.channels import Channel, Message, Receipt
from cloud.channels.running import Expired
from cloud.errors import Rejected, Unavailable
from cloud.shards import Lost
from cloud.state import State
from cloud.supervision import Supervisor

log: Final = logging.getLogger("shuichi.delivery")

FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0
LONGEST_REST_S: Final = 300.0
"""Whatever a provider wants: a warning that is late by more is of no use."""

SHORT_REST_S: Final = 5.0
"""A provider that wants to be left alone for longer is not waited for by other channels."""

FAILING_S: Final = 60.0
"""For how long a channel takes nothing before somebody is told by the others."""

AT_A_TIME: Final = 50

IT_IS_THE_CHANNEL: Final = 3
"""Messages in a row that are not taken, after which the others wait too; or that are refused for
good, after which somebody is told: a token that has run out refuses everything."""

FRESH_S: Final = 30.0
"""Between the question what is to be sent and the answer, beyond which it is asked again."""

AWAY_S: Final = 1.0
"""Between tries of a database that does not answer."""

TRIES_OF_A_FAULT: Final = 3
"""At which a message is set aside that the channel fails on in a way that it does not declare."""


@runtime_checkable
class Paced(Protocol):
    """A channel with a pace: what is composed before its turn would be old when it is sent."""

    async def turn(self) -> None: ...


class _Due(NamedTuple):
    """The contacts who may be told something now, who has waited longest first; and when (UTC, ms)
    the next may be, if there is nobody now. While anything real waits nobody is told of an
    exercise, and then one at a time: a real alert may come meanwhile."""

    contacts: list[str]
    next_ms: int | None
    exercise: bool = False


class _Line:
    """One channel: what is new on it; which contacts are not tried before when (s, by a clock that
    nobody sets), after how long a pause (s); how often each message has failed in a way that no
    channel declares; until when (s) the provider wants to be left alone; how many messages in a row
    it has refused; and why the database could not be asked the last time."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.news = asyncio.Event()
        self.later: dict[str, tuple[float, float]] = {}
        self.faults: dict[str, int] = {}
        self.is_failing = False
        self.failing_since_s = 0.0
        self.last_error = ""
        self.in_a_row = 0
        self.refused = 0
        self.not_before_s = 0.0
        self.trouble = ""
        self.owed: list[Callable[[], Awaitable[None]]] = []
        """What became of messages and is not in the database yet."""

    def put_off(self, contact: str, after_s: float | None = None) -> None:
        """A message was not taken; the next try comes later each time, with jitter, and not before
        the provider wants it, in `after_s`."""
        _, before = self.later.get(contact, (0, FIRST_DELAY_S / 2))
        delay_s = min(2 * before, LONGEST_DELAY_S)
        at_s = time.monotonic() + delay_s * random.uniform(0.5, 1.0)
        if after_s is not None:
            self.not_before_s = time.monotonic() + min(after_s, LONGEST_REST_S)
            at_s = max(at_s, self.not_before_s)
        self.later[contact] = (at_s, delay_s)

    def is_broken(self) -> bool:
        """Whether somebody is to be told."""
        if self.refused >= IT_IS_THE_CHANNEL:
            return True
        return self.is_failing and time.monotonic() - self.failing_since_s >= FAILING_S

    def works(self) -> bool:
        """It has taken a message; whether it had not before."""
        before = self.is_failing
        self.is_failing, self.in_a_row, self.refused = False, 0, 0
        return before

    def rests_s(self) -> float:
        """How long (s) the provider wants to be left alone."""
        return max(0.0, self.not_before_s - time.monotonic())

    def waits(self) -> dict[str, float]:
        """How long (s) each contact is not to be tried yet."""
        now_s = time.monotonic()
        return {name: at_s - now_s for name, (at_s, _) in self.later.items() if at_s > now_s}


class Delivery:
    """The channels by the names that the config gives them. `desk` composes what they hand over;
    `news` is called when more is to be done because a message was refused."""

    def __init__(
        self,
        database: State,
        channels: Mapping[str, Channel],
        supervisor: Supervisor | None = None,
        desk: Desk | None = None,
        news: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._desk: Desk = desk or Stored()
        self.fence: Callable[[Connection], None] = lambda _: None
        """Raises Lost, in a transaction, where another process delivers now."""
        self._news = news
        self._supervisor = supervisor or Supervisor()
        self._lines = {name: _Line(channel) for name, channel in channels.items()}

    def failing(self) -> dict[str, str]:
        """The channels that have taken nothing for `FAILING_S`, or have refused all of the last
        messages, and their last errors."""
        return {
            f"channel {name}": line.last_error
            for name, line in self._lines.items()
            if line.is_broken()
        }

    def rests_s(self, channel: str) -> float:
        """How long (s) the provider of a channel wants to be left alone."""
        return self._lines[channel].rests_s()

    def works(self, channel: str) -> None:
        """Somebody has seen a channel take a message."""
        if self._lines[channel].works():
            log.info("channel %s: works again", channel)
            self._lines[channel].later.clear()
            self._lines[channel].news.set()

    def wake(self) -> None:
        """There is something new to tell, or less."""
        for line in self._lines.values():
            line.news.set()

    async def run(self) -> None:
        """Deliver for ever; a database that does not answer is waited for, and a channel whose
        task fails is begun anew, beside the others."""
        if not self._lines:
            await asyncio.Event().wait()  # without a channel there is nothing to begin anew
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
            except (Unavailable, Lost) as error:
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
        line.in_a_row = 0
        await self._settle(line)
        while True:
            if (rest_s := line.rests_s()) > 0:
                await self._pass_over()
                return rest_s
            now_ms = _now_ms()
            put_off = line.waits()
            due = await self._database.run(
                partial(_due, channel=name, now_ms=now_ms, without=put_off)
            )
            if not due.contacts:
                waits = [*put_off.values()]
                if due.next_ms is not None:
                    waits.append(max(0.0, (due.next_ms - now_ms) / 1000))
                return min(waits, default=None)
            for contact in due.contacts:
                try:
                    if isinstance(line.channel, Paced):
                        await line.channel.turn()
                except Unavailable as error:
                    is_the_channel = self._not_taken(name, line, contact, error)
                    await self._pass_over()
                    if is_the_channel:
                        return max(min(line.waits().values(), default=0.0), line.rests_s())
                    continue
                compose = partial(self._compose, channel=name, due=due, without=put_off)
                told, message = await self._composed(partial(compose, contact=contact))
                if message is None:
                    continue  # nothing is left to say
                try:
                    receipt = await line.channel.send(message)
                except Unavailable as error:
                    if not error.unsure:
                        untold = partial(self._desk.not_taken, key=message.key)
                        await self._database.run(untold)
                    is_the_channel = self._not_taken(name, line, told, error)
                    await self._pass_over()
                    if is_the_channel:
                        return max(min(line.waits().values(), default=0.0), line.rests_s())
                    continue
                except Rejected as error:
                    log.error("channel %s refuses %s: %s", name, message.key, error)
                    if not isinstance(error, Expired):
                        line.refused += 1
                        line.last_error = f"it refuses all messages: {error}"
                    line.owed.append(partial(self._refused, message.key, str(error)))
                except Exception as error:  # noqa: BLE001  # it must cost no other message
                    if not self._failed(name, line, message.key, error):
                        line.put_off(told)
                        continue
                    why = f"{CANNOT_BE_SENT}: {_line(error)}"
                    line.owed.append(partial(self._refused, message.key, why))
                else:
                    taken = partial(self._taken, key=message.key, receipt=receipt, now_ms=_now_ms())
                    line.owed.append(partial(self._database.run, taken))
                    if line.works():
                        log.info("channel %s: delivers again", name)
                line.later.pop(told, None)
                line.faults.pop(message.key, None)
                await self._settle(line)

    async def _settle(self, line: _Line) -> None:
        """Write down what became of messages: before that is done none is sent, or one that was
        taken would be sent again."""
        while line.owed:
            await line.owed[0]()
            line.owed.pop(0)

    async def _composed(
        self, compose: Callable[[Connection], tuple[str, Message | None]]
    ) -> tuple[str, Message | None]:
        """What is to be sent, and to whom. Where we were stopped behind that (SIGSTOP, a machine
        that sleeps), another process may have sent it by now, and it is not how things stand: it is
        composed again, by the database as it is."""
        for _ in range(2):
            began_s, began_ms = time.monotonic(), _now_ms()
            found = await self._database.run(compose)
            passed_s = max(time.monotonic() - began_s, (_now_ms() - began_ms) / 1000)
            if passed_s < FRESH_S:
                break
        return found

    def _compose(
        self,
        connection: Connection,
        *,
        channel: str,
        contact: str,
        due: _Due,
        without: Collection[str],
    ) -> tuple[str, Message | None]:
        """The next message to `contact`. Where it is of an exercise, and something real has come
        while it waited for its turn, that goes first, to whomever."""
        self.fence(connection)
        now_ms = _now_ms()
        if due.exercise:
            again = _due(connection, channel=channel, now_ms=now_ms, without=without)
            contact = next(iter(again.contacts), contact)
        return contact, self._desk.next(connection, channel, contact, now_ms)

    def _not_taken(self, name: str, line: _Line, contact: str, error: Unavailable) -> bool:
        """A contact's message was not taken: whether it is the channel, and the others wait too."""
        if not line.is_failing:
            log.error("channel %s: %s; trying again until it is taken", name, error)
            line.failing_since_s = time.monotonic()
        line.is_failing, line.last_error = True, str(error)
        line.put_off(contact, error.retry_after_s)
        line.in_a_row += 1
        return line.in_a_row >= IT_IS_THE_CHANNEL or line.rests_s() > 0

    async def _pass_over(self) -> None:
        """Nobody waits for a message that does not go out: what was to follow it by another channel
        goes now."""
        broken = {
            name
            for name, line in self._lines.items()
            if line.is_broken() or line.rests_s() > SHORT_REST_S
        }
        if not broken:
            return
        work = partial(self._desk.broken, channels=broken)
        if await self._database.run(lambda connection: work(connection, now_ms=_now_ms())):
            self.wake()

    async def _refused(self, key: str, why: str) -> None:
        def work(connection: Connection) -> bool:
            now_ms = _now_ms()
            _done(connection, key, "refused", Receipt(detail=why), now_ms)
            return self._desk.refused(connection, key, now_ms)

        if await self._database.run(work):
            self.wake()
            self._news()

    def _taken(self, connection: Connection, key: str, receipt: Receipt, now_ms: int) -> None:
        _done(connection, key, "delivered", receipt, now_ms)
        self._desk.delivered(connection, key)

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


def _line(error: Exception) -> str:
    """An error in one line; what follows is its traceback."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _due(connection: Connection, *, channel: str, now_ms: int, without: Collection[str]) -> _Due:
    out = tables.outgoing
    waiting = (
        out.c.channel == channel,
        out.c.done_ms.is_(None),
        out.c.contact.not_in(without),
    )
    first, exercise = func.min(out.c.not_before_ms), func.min(is_exercise())
    found = connection.execute(
        select(out.c.contact, exercise.label("exercise"))
        .where(*waiting, out.c.not_before_ms <= now_ms)
        .group_by(out.c.contact)
        .order_by(exercise, first, out.c.contact)
        .limit(AT_A_TIME)
    ).all()
    if real := [row.contact for row in found if not row.exercise]:
        return _Due(real, None)
    if found:
        return _Due([found[0].contact], None, exercise=True)
    return _Due([], connection.execute(select(first).where(*waiting)).scalar_one())


def _done(connection: Connection, key: str, outcome: str, receipt: Receipt, now_ms: int) -> None:
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
