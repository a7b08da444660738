"""The all-well message: some times a day a person reads that the platform works, with the numbers
that they look at first. It is a dead man's switch without a machine at the other end: the message
says when the next one is due, and that its absence means that nobody is being warned.

It never says that all is well while alerts are late, a channel fails or the dispatch stands still:
then it says that. It goes through the same tables and the same channel as the calls, so that it
arrives only if they would, and is given up after `LATE_MS`: an all-well that comes late is none.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as datetime_time
from functools import partial
from typing import Final, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, func, select

from cloud import database, health, tables
from cloud.alerts import views, wording
from cloud.alerts.plan import Plan
from cloud.alerts.rule import SERVICE
from cloud.channels import Language, Message
from cloud.errors import Unavailable
from cloud.heartbeat import STALE_S, Daily
from cloud.state import State
from wire.messages import GatewayState, Level

log: Final = logging.getLogger("shuichi.cloud")

KIND: Final = "all-well"

EVERY_S: Final = 10.0
"""Between looks at the clock."""

LATE_MS: Final = 300_000
"""After its time the message is not sent any more: its absence is what should be noticed."""

ABSENT_MIN: Final = 30
"""So long after its time a person should wait for it before they check the platform."""

SILENT_MS: Final = 300_000
"""A gateway that has said nothing for so long is silent; it says how it is each few seconds."""

_DAY_MS: Final = 86_400_000
_NAMED: Final = 3
"""Silent gateways and failing channels that are named; the rest is counted."""


class Standing(NamedTuple):
    """How the platform stands: open alerts by level, those of them that nobody has answered,
    gateways in all and the silent ones, messages of the last 24 hours; whether an alert of the
    platform itself is open; and what is wrong with alerting, in each language: nothing, if all is
    well."""

    levels: Mapping[Level, int]
    unanswered: int
    gateways: int
    silent: Sequence[str]
    messages: int
    is_faulty: bool
    wrong: Mapping[Language, Sequence[str]]

    @property
    def is_well(self) -> bool:
        return not any(self.wrong.values())


class Alerting(Protocol):
    """What is asked of whoever decides on alerts: see `alerts.office.Office`."""

    @property
    def plan(self) -> Plan: ...

    def turned_s(self) -> float: ...


class AllWell:
    """`failing` are the channels that take nothing or cannot be opened, `gateways` those that the
    config names, `channels` all of its channels. `fault` is why somebody cannot be written to, ""
    if all can."""

    def __init__(
        self,
        config: Daily,
        state: State,
        alerting: Alerting,
        failing: Callable[[], Mapping[str, str]],
        gateways: Sequence[str],
        channels: Sequence[str],
    ) -> None:
        self.fault = ""
        self._config = config
        self._state = state
        self._alerting = alerting
        self._failing = failing
        self._gateways = gateways
        self._channels = channels
        self._written_ms = 0

    async def run(self) -> None:
        """Write it whenever its time has come. A database that does not answer is waited for, as
        long as it is not too late."""
        while True:
            await asyncio.sleep(EVERY_S)  # at first: so that the dispatch has gone round once
            try:
                await self.look(time.time_ns() // 1_000_000)
            except Unavailable as error:
                log.error("the all-well message waits: %s", error)

    async def look(self, now_ms: int) -> None:
        """Write what is due, once."""
        plan = self._alerting.plan
        due_ms = last_ms(plan, self._config.at, now_ms)
        if due_ms == self._written_ms or now_ms - due_ms > LATE_MS:
            return
        stalled_s = time.monotonic() - self._alerting.turned_s()
        work = partial(self._write, plan=plan, due_ms=due_ms, now_ms=now_ms, stalled_s=stalled_s)
        await self._state.run(work)
        self._written_ms = due_ms

    def _write(
        self, connection: Connection, plan: Plan, due_ms: int, now_ms: int, stalled_s: float
    ) -> None:
        late = health.late(connection, self._channels, now_ms)
        standing = _standing(connection, self._gateways, now_ms)
        wrong = _wrong(self._failing(), bool(late), stalled_s, standing.is_faulty)
        standing = standing._replace(wrong=wrong)
        if self._config.channel not in self._channels:
            self.fault = f"[heartbeat.daily] channel: {self._config.channel!r} cannot be used"
            return
        faults: list[str] = []
        next_ms = following_ms(plan, self._config.at, due_ms)
        for contact, address, language in recipients(plan, self._config, faults):
            title, text = composed(plan, standing, (due_ms, next_ms), language)
            key = f"{KIND}/{due_ms}/{contact or address}/{self._config.channel}"
            message = Message(
                key=key,
                title=title,
                text=text,
                kind=KIND,
                at_ms=now_ms,
                to=address,
                language=language,
                expires_ms=due_ms + LATE_MS + 60_000,
            )
            row = {
                "key": key,
                "incident": "",
                "contact": contact or address or KIND,
                "channel": self._config.channel,
                "parts": "[]",
                "message": msgspec.json.encode(message).decode(),
                "made_ms": now_ms,
                "not_before_ms": now_ms,
                "outcome": "",
                "detail": "",
            }
            connection.execute(
                database.insert(connection, tables.outgoing).values(row).on_conflict_do_nothing()
            )
        self.fault = "; ".join(faults)


def recipients(plan: Plan, config: Daily, faults: list[str]) -> list[tuple[str, str, Language]]:
    """Contact ("" for an address of the config), address, language; `faults` gets a line for each
    contact who cannot be written to."""
    found: list[tuple[str, str, Language]] = []
    for name in config.contacts:
        contact = plan.contact.get(name)
        channel = plan.channel.get(config.channel)
        address = "" if channel is None or contact is None else channel.address
        if contact is None:
            faults.append(f"[heartbeat.daily] contacts: {name!r} is no contact of the plan")
        elif address and not contact.address.get(address):
            faults.append(f"[heartbeat.daily] contacts: {name!r} has no address {address!r}")
        else:
            found.append(
                (name, contact.address.get(address or "", ""), wording.language(plan, name))
            )
    if config.to or not config.contacts:
        found.append(("", config.to, plan.language))
    return found


def last_ms(plan: Plan, clocks: Sequence[str], now_ms: int) -> int:
    """The newest of the times of day that has come (UTC, ms)."""
    return max(one for one in _times(plan, clocks, now_ms) if one <= now_ms)


def following_ms(plan: Plan, clocks: Sequence[str], at_ms: int) -> int:
    """The first of the times of day after `at_ms`."""
    return min(one for one in _times(plan, clocks, at_ms) if one > at_ms)


def _times(plan: Plan, clocks: Sequence[str], about_ms: int) -> list[int]:
    today = datetime.fromtimestamp(about_ms / 1000, UTC).astimezone(plan.zone).date()
    days = [today + timedelta(days=days) for days in (-2, -1, 0, 1, 2)]
    times = [datetime_time.fromisoformat(clock) for clock in clocks]
    found = [datetime.combine(day, one, plan.zone) for day in days for one in times]
    return [round(one.timestamp() * 1000) for one in found]


def _standing(connection: Connection, gateways: Sequence[str], now_ms: int) -> Standing:
    open_ones = [one for one in views.alerts(connection) if not one.exercise]
    levels = Counter(Level[one.level.upper()] for one in open_ones if one.level)
    gateway, out = tables.gateway, tables.outgoing
    heard = {
        row.gateway: row.state == GatewayState.ONLINE and now_ms - row.received_at_ms < SILENT_MS
        for row in connection.execute(
            select(gateway.c.gateway, gateway.c.state, gateway.c.received_at_ms)
        )
    }
    known = gateways or sorted(heard)
    number = connection.execute(
        select(func.count()).where(
            out.c.done_ms > now_ms - _DAY_MS, out.c.outcome == "delivered", out.c.incident != ""
        )
    ).scalar_one()
    silent = [name for name in known if not heard.get(name)]
    unanswered = sum(one.phase == "ringing" for one in open_ones)
    is_faulty = any(one.site == SERVICE for one in open_ones)
    return Standing(levels, unanswered, len(known), silent, number, is_faulty, {})


def _wrong(
    failing: Mapping[str, str], is_late: bool, stalled_s: float, is_faulty: bool
) -> dict[Language, list[str]]:
    """What is wrong with alerting."""
    zh, en = [], []
    if stalled_s > STALE_S:
        zh.append("预警程序没有运行")
        en.append("no alerts are handled")
    if is_late:
        zh.append("通知发送延迟")
        en.append("messages are late")
    if names := [name.removeprefix("channel ") for name in failing]:
        zh.append(f"渠道发不出通知（{_few(names, 'zh')}）")
        en.append(f"messages are not taken by {_few(names, 'en')}")
    if is_faulty:
        zh.append("平台自身的故障预警尚未解除")
        en.append("an alert of the platform itself is open")
    return {"zh": zh, "en": en}


def composed(
    plan: Plan, standing: Standing, times_ms: tuple[int, int], language: Language
) -> tuple[str, str]:
    """Title and text of the message of one time, with that of the next."""
    at, following = (_moment(plan, one, language) for one in times_ms)
    absent = wording.clock(plan, times_ms[1] + ABSENT_MIN * 60_000)
    wrong = standing.wrong.get(language, ())
    if language == "zh":
        title = "值班平台正常" if standing.is_well else "值班平台异常"
        begins = "预警发送正常" if standing.is_well else f"{'；'.join(wrong)}。请立即检查"
        gone = f"失联{len(standing.silent)}个：{_few(standing.silent, 'zh')}"
        lines = (
            f"{at}，{begins}。",
            _alerts_zh(standing),
            f"网关{standing.gateways}个，{gone if standing.silent else '均在线'}。"
            if standing.gateways
            else "没有网关上报过数据。",
            f"过去24小时发出通知{standing.messages}条。",
            f"下次平安短信：{following}。如{absent}仍未收到，平台可能已停止工作，请立即检查。",
        )
        return title, "\n".join(lines)
    title = "The platform works" if standing.is_well else "The platform has a fault"
    begins = "alerts are delivered" if standing.is_well else f"{'; '.join(wrong)}. Check it now"
    silent = f"{len(standing.silent)} silent: {_few(standing.silent, 'en')}."
    lines = (
        f"{at}: {begins}.",
        _alerts_en(standing),
        f"{standing.gateways} gateways, " + (silent if standing.silent else "all online.")
        if standing.gateways
        else "No gateway has ever reported.",
        f"{standing.messages} messages in the last 24 hours.",
        f"The next message of this kind is due on {following}. If it is not there at {absent}, the "
        "platform may have stopped: check it at once.",
    )
    return title, "\n".join(lines)


def _alerts_zh(standing: Standing) -> str:
    if not standing.levels:
        return "没有未结束的预警。"
    worst = sorted(standing.levels.items(), reverse=True)
    each = "、".join(f"{wording.LEVEL['zh'][level]}{number}起" for level, number in worst)
    total = sum(standing.levels.values())
    return f"未结束预警{total}起（{each}），其中{standing.unanswered}起无人应答。"


def _alerts_en(standing: Standing) -> str:
    if not standing.levels:
        return "No alert is open."
    worst = sorted(standing.levels.items(), reverse=True)
    each = ", ".join(f"{number} {wording.LEVEL['en'][level]}" for level, number in worst)
    total = sum(standing.levels.values())
    return f"{total} alerts are open ({each}), {standing.unanswered} of them unanswered."


def _few(names: Sequence[str], language: Language) -> str:
    zh = language == "zh"
    shown = ("、" if zh else ", ").join(names[:_NAMED])
    more = len(names) - _NAMED
    if more <= 0:
        return shown
    return f"{shown}等{len(names)}个" if zh else f"{shown} and {more} more"


def _moment(plan: Plan, at_ms: int, language: Language) -> str:
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(plan.zone)
    if language == "zh":
        return f"{local.month}月{local.day}日{local:%H:%M}"
    return f"{local:%Y-%m-%d} at {local:%H:%M}"
