"""Test messages: somebody wants to see that a channel works, or that it reaches a person.

A test goes by the real channel, at once and beside what waits for it: it is no alert, is in no
statistics, and asks for no answer. It is kept in the record, with what came of it. Real messages
come first: a channel takes a few tests a minute, one at a time, and none while its provider wants
to be left alone.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import replace
from sqlalchemy import Connection, insert

from cloud import tables
from cloud.alerts import views, wording
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.office import Office, dispatch_of
from cloud.alerts.plan import Plan
from cloud.channels import (
    TEST_KIND,
    Channel,
    ChannelConfig,
    Language,
    Message,
    Receipt,
    cap,
    rate,
    running,
)
from cloud.desk import Clerk, Operation
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from configs.loader import UserError, suggest
from configs.text import clean

MOST_A_MINUTE: Final = 12
"""Tests by one channel, and at most a quarter of its own pace."""

TO_ONE: Final = rate.Rate(3, 3 / 600)
"""Tests to one address by one channel: three at once, and three in ten minutes. Providers let only
so many messages a day to one number, and real ones need them."""

_MOST_ADDRESSES: Final = 1000
"""That are remembered."""

WITHIN_S: Final = 90.0
"""A test that the pace of its channel does not let go in this time is given up."""

_BOARD: Final = "board"

Outcome = Literal["delivered", "refused", "failed", "not sent"]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One test by one channel: to a contact of the plan, to an address, or, without both, to the
    address that the channel has itself, such as a group."""

    channel: Annotated[str, Meta(min_length=1, max_length=64)]
    by: Annotated[str, Meta(pattern=r"^[^\x00]*[^\x00\s][^\x00]*$", max_length=80)]
    contact: Annotated[str, Meta(max_length=64)] = ""
    to: Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=200)] = ""


class Result(msgspec.Struct, frozen=True):
    """What came of it: the provider has taken it, has refused it for good, or could not be used; or
    it was not sent at all, and can be in `wait_s` (0: not so soon). `detail` says why, in the
    provider's words where it has said something."""

    channel: str
    contact: str
    name: str
    to: str
    outcome: Outcome
    detail: str = ""
    provider_id: str | None = None
    took_s: float = 0.0
    wait_s: float = 0.0


class Whom(msgspec.Struct, frozen=True):
    """The tests that reach a contact, or all people of an area, by each of their channels or by
    one."""

    contact: str = ""
    area: str = ""
    channel: str = ""


class Pairs(msgspec.Struct, frozen=True):
    """Contacts and channels, in the order of the plan."""

    pairs: list[tuple[str, str]]


class _Recipient(NamedTuple):
    name: str
    to: str
    language: Language


class Line(NamedTuple):
    """A channel as tests use it. `rests_s` is how long (s) its provider wants to be left alone;
    `works` is told that it has taken a message."""

    channel: Channel
    config: ChannelConfig
    rests_s: Callable[[], float] = lambda: 0.0
    works: Callable[[], object] = lambda: None


class Sender:
    """Sends tests by `lines`, to the people of the plan in force."""

    def __init__(self, database: State, lines: Mapping[str, Line], dispatch: Dispatch) -> None:
        self._database = database
        self._lines = lines
        self._dispatch = dispatch
        self._turns = {name: asyncio.Lock() for name in lines}
        self._rates = {name: rate.per_minute(_most(line.config)) for name, line in lines.items()}
        self._buckets = {
            name: rate.Bucket(float(one.burst), 0.0) for name, one in self._rates.items()
        }
        self._to_one: dict[tuple[str, str], rate.Bucket] = {}

    async def send(self, asked: Asked, how: str) -> Result:
        """One test, and what came of it; `how` says on what way it was asked for. Raises UserError
        for what cannot be meant."""
        plan = self._dispatch.plan
        line = self._line(asked.channel)
        one = _recipient(plan, asked)
        async with self._turns[asked.channel]:
            why, wait_s = await self._held_back(asked.channel, one.to, line)
            if why:
                return replace(_result(asked, one, "not sent", why), wait_s=wait_s)
            message = _message(plan, asked, one, _now_ms())
            began_s = time.monotonic()
            result = await _sent(asked, one, line, message)
            result = replace(result, took_s=round(time.monotonic() - began_s, 3))
        if result.outcome == "delivered":
            line.works()
        try:
            await self._database.run(partial(_keep, result=result, by=asked.by, how=how))
        except (Unavailable, Rejected) as error:
            return replace(result, detail=f"{result.detail} (not in the record: {error})".strip())
        return result

    def _line(self, channel: str) -> Line:
        line = self._lines.get(channel)
        if line is None:
            guess = suggest(channel, self._lines)
            raise UserError(f"{channel!r} is no channel of the cloud's config{guess}")
        if line.config.kind == cap.KIND:
            raise UserError(
                f"channel {channel!r} takes CAP documents and no messages: "
                "`shuichi alert exercise` sends it one"
            )
        return line

    async def _held_back(self, channel: str, to: str, line: Line) -> tuple[str, float]:
        """Why nothing may be sent now, and in how many seconds it may."""
        if (rest_s := line.rests_s()) > 0:
            return f"the provider wants no messages for another {rest_s:.0f} s", rest_s
        if line.config.kind == _BOARD and await self._database.run(_is_anything_open):
            # A board shows what it was told last.
            return "an alert is open, and a test would take its place on the board", 0.0
        now_s = asyncio.get_running_loop().time()
        bucket, wait_s = rate.take(self._rates[channel], self._buckets[channel], now_s)
        if wait_s:
            most = _most(line.config)
            return f"channel {channel!r} takes {most} test messages a minute at most", wait_s
        before = self._to_one.pop((channel, to), rate.Bucket(float(TO_ONE.burst), now_s))
        after, wait_s = rate.take(TO_ONE, before, now_s)
        self._to_one[channel, to] = after  # the newest last
        if len(self._to_one) > _MOST_ADDRESSES:
            del self._to_one[next(iter(self._to_one))]
        if wait_s:
            said = f"{to or 'this channel'} has had its {TO_ONE.burst} test messages of ten minutes"
            return said, wait_s
        self._buckets[channel] = bucket
        return "", 0.0


def sender(
    database: State,
    channels: Mapping[str, Channel],
    configs: Mapping[str, ChannelConfig],
    office: Office,
) -> Sender:
    """For the channels of a service."""
    lines = {
        name: Line(
            channel, configs[name], partial(office.rests_s, name), partial(office.works, name)
        )
        for name, channel in channels.items()
    }
    return Sender(database, lines, office.dispatch)


async def send(clerk: Clerk, asked: Asked) -> Result:
    """By the service, or from here where none runs."""
    how = f"command line, {clerk.who}"
    if clerk.tests is not None:
        return await clerk.tests.send(asked, how)
    config = clerk.setup.config.channel.get(asked.channel)
    if config is None:
        guess = suggest(asked.channel, clerk.setup.config.channel)
        raise UserError(f"{asked.channel!r} is no channel of the cloud's config{guess}")
    dispatch = await dispatch_of(clerk.setup, clerk.database)
    async with running.kept(config, clerk.setup.folder) as channel:
        alone = Sender(clerk.database, {asked.channel: Line(channel, config)}, dispatch)
        return await alone.send(asked, how)


async def whom(clerk: Clerk, given: Whom) -> Pairs:
    """Whom a test would reach. Raises UserError for a name that the plan does not have."""
    dispatch = clerk.dispatch or await dispatch_of(clerk.setup, clerk.database)
    return Pairs(_pairs(dispatch.plan, given))


def _pairs(plan: Plan, given: Whom) -> list[tuple[str, str]]:
    if given.contact:
        if given.contact not in plan.contact:
            guess = suggest(given.contact, plan.contact)
            raise UserError(f"{given.contact!r} is no contact of the plan{guess}")
        names: tuple[str, ...] = (given.contact,)
    elif given.area in plan.area:
        names = plan.members(given.area)  # not the loudspeakers: each of them by name
    else:
        raise UserError(f"{given.area!r} is no area of the plan{suggest(given.area, plan.area)}")
    found = [
        (name, channel)
        for name in names
        for channel in plan.contact[name].channels
        if given.channel in ("", channel)
    ]
    if not found:
        by = f" by {given.channel!r}" if given.channel else ""
        raise UserError(f"nobody of {given.contact or given.area!r} can be reached{by}")
    return found


def _recipient(plan: Plan, asked: Asked) -> _Recipient:
    if not asked.contact:
        return _Recipient("", asked.to, plan.language)
    if asked.to:
        raise UserError("give either a contact or an address")
    contact = plan.contact.get(asked.contact)
    if contact is None:
        guess = suggest(asked.contact, plan.contact)
        raise UserError(f"{asked.contact!r} is no contact of the plan{guess}")
    if asked.channel not in contact.channels:
        theirs = ", ".join(contact.channels)
        raise UserError(f"{asked.contact!r} is not reached by {asked.channel!r}, but by {theirs}")
    tongue = wording.language(plan, asked.contact)
    kind = plan.channel[asked.channel].address
    name = wording.named(contact.name, contact.name_en, tongue)
    return _Recipient(name, contact.address.get(kind or "", ""), tongue)


def _message(plan: Plan, asked: Asked, one: _Recipient, now_ms: int) -> Message:
    at = f"{datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(plan.zone):%H:%M}"
    by, zh = clean(asked.by, 80), one.language == "zh"
    return Message(
        key=f"test/{secrets.token_hex(8)}",
        title="渠道测试" if zh else "test message",
        text=(
            f"这是一条测试消息，不是预警，无需应答。{by}于{at}发出，渠道{asked.channel}。"
            if zh
            else "This is a test message, not an alert. No answer is needed. "
            f"{by} sent it at {at} by channel {asked.channel}."
        ),
        kind=TEST_KIND,
        at_ms=now_ms,
        to=one.to,
        name=one.name,
        language=one.language,
        expires_ms=now_ms + round(WITHIN_S * 1000),
    )


async def _sent(asked: Asked, one: _Recipient, line: Line, message: Message) -> Result:
    try:
        async with asyncio.timeout(WITHIN_S):
            receipt = await _beside(line.channel, message)
    except TimeoutError:
        return _result(asked, one, "failed", "the pace of the channel left no room for it")
    except Rejected as error:
        return _result(asked, one, "refused", str(error))
    except Unavailable as error:
        return _result(asked, one, "failed", str(error))
    except Exception as error:  # noqa: BLE001  # a fault of ours, without its traceback
        said = (str(error).splitlines() or [""])[0]
        return _result(asked, one, "failed", f"the channel fails: {said}")
    taken = _result(asked, one, "delivered", receipt.detail)
    return replace(taken, provider_id=receipt.provider_id)


async def _beside(channel: Channel, message: Message) -> Receipt:
    if isinstance(channel, running.Kept | running.Running):
        return await channel.send_beside(message)
    return await channel.send(message)


def _result(asked: Asked, one: _Recipient, outcome: Outcome, detail: str) -> Result:
    return Result(asked.channel, asked.contact, one.name, one.to, outcome, detail)


def _keep(connection: Connection, result: Result, by: str, how: str) -> None:
    """In the record, beside all alerts."""
    detail = {
        "channel": result.channel,
        "outcome": result.outcome,
        "how": clean(how, 200),
        "to": clean(result.to, 200),
    }
    row = {
        "incident": "",
        "alert": "",
        "at_ms": _now_ms(),
        "kind": views.TEST,
        "who": clean(result.contact or result.to or result.channel, 200),
        "area": "",
        "text": clean(f"{result.channel}: {result.outcome}, asked for by {by}: {result.detail}"),
        "detail": msgspec.json.encode(detail).decode(),
    }
    connection.execute(insert(tables.timeline).values(row))


def _is_anything_open(connection: Connection) -> bool:
    return any(not one.exercise for one in views.alerts(connection))


def _most(config: ChannelConfig) -> int:
    pace = config.rate_per_minute
    return MOST_A_MINUTE if pace is None else max(1, min(MOST_A_MINUTE, pace // 4))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


SEND: Final = Operation("alert test", Asked, Result, send)
WHOM: Final = Operation("alert test whom", Whom, Pairs, whom)
ALL: Final = (SEND, WHOM)
