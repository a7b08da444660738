"""A night of duty in virtual time: water that rises and falls at some sites, rules, alerts, people
who answer, decline and report, channels that fail, and a process that is killed.

It is the cloud's own watch, dispatch and hand-over with a database; only readings, people and
channels are played. What each person was told is kept, with what was true at that moment.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select, update

from cloud import tables
from cloud.alerts import plan as plans
from cloud.alerts.alarm import Alarm
from cloud.alerts.dispatch import Dispatch, News, Settings
from cloud.alerts.escalation import Phase
from cloud.alerts.hazard import Hazard
from cloud.alerts.ladder import Band
from cloud.alerts.plan import Plan
from cloud.alerts.records import AlarmKey, Records
from cloud.alerts.rules.threshold import Config as Threshold
from cloud.alerts.tokens import Tokens
from cloud.alerts.watch import Watch
from cloud.channels import Message
from configs import loader
from wire.messages import Batch
from wire.reading import Quality, Quantity, Reading

START_MS: Final = 1_782_000_000_000
STEP_MS: Final = 5_000
"""Between readings of a ruler."""

SITES: Final = ("north", "south", "east")
OFF_DELAY_S: Final = 60
QUIET_MS: Final = 120_000 + 1000 * OFF_DELAY_S
"""After which everybody must know how it stands."""

RULES: Final = Threshold(
    kind="threshold",
    quantity=Quantity.DEPTH,
    orange=Band(over_cm=15, clear_cm=12),
    red=Band(over_cm=30, clear_cm=27),
).rules("depth")


def plan_of() -> Plan:
    """Three underpasses of a village, under a township, a district; each with two people. One more
    is to know of red ones, and a loudspeaker tells everybody."""
    areas = {
        "district": {"name": "东江区", "kind": "district"},
        "township": {"name": "大坪街道", "kind": "township", "parent": "district"},
        "village": {"name": "石桥社区", "kind": "village", "parent": "township"},
    }
    contacts: dict[str, dict[str, Any]] = {
        f"{area}-{n}": {
            "name": f"{one['name']}{n}",
            "area": area,
            "channels": ["sms", "voice"],
            "address": {"phone": f"+86123000000{len(area)}{n}"},
        }
        for area, one in areas.items()
        for n in (1, 2)
    }
    contacts["traffic"] = {**contacts["township-1"], "name": "交警甲", "roles": ["traffic"]}
    contacts["horn"] = {
        "name": "石桥喇叭",
        "area": "village",
        "channels": ["board"],
        "address": {"board": "horn-1"},
        "public": True,
    }
    names = dict(zip(SITES, ("北门下穿道", "南桥下穿道", "东站下穿道"), strict=True))
    written: dict[str, Any] = {
        "title": "a night",
        "area": areas,
        "site": {
            key: {"name": name, "area": "village", "hazards": ["underpass"]}
            for key, name in names.items()
        },
        "channel": {
            "sms": {"address": "phone"},
            "voice": {"address": "phone", "after_s": 30},
            "board": {"address": "board"},
        },
        "tell": [{"at": ["raise", "climb"], "roles": ["traffic"], "levels": ["red"]}],
        "contact": contacts,
        "hazard": {"underpass": {"climbs_to": {"orange": "township"}}},
        "instruction": [{"hazard": "underpass", "zh": "请封闭{site}。", "en": "Close {site}."}],
    }
    return loader.parse(written, Plan, "night", plans.faults)


@dataclass(frozen=True)
class Handed:
    """A message that a channel has taken, and the newest reading of each ruler at that moment."""

    at_ms: int
    contact: str
    channel: str
    message: Message
    newest: dict[str, tuple[int, float]]


@dataclass
class Night:
    """One night, by its seed. `handed` are the messages in order."""

    connection: Connection
    seed: int
    plan: Plan = field(default_factory=plan_of)
    handed: list[Handed] = field(default_factory=list)
    kills: int = 0
    ignorant: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.now_ms = START_MS
        self._depth = dict.fromkeys(SITES, 0.0)
        self._slope = dict.fromkeys(SITES, 0.0)
        self._newest: dict[str, tuple[int, float]] = {}
        self._away = {"sms": False, "voice": False, "board": False}
        self._dead: set[str] = set()
        self._begin()

    def run(self, minutes: int) -> None:
        """So long a storm, then steady water or none, until everybody must know."""
        for _ in range(minutes * 60_000 // STEP_MS):
            self._weather()
            self._disturb()
            self._step()
        self._away = dict.fromkeys(self._away, False)
        self._dead.clear()
        for site in SITES:
            if self.chance.random() < 0.7:
                self._depth[site] = 0.0
            self._slope[site] = 0.0
        for _ in range(QUIET_MS // STEP_MS + 24):
            self._step()

    # What is wrong

    def untrue(self) -> Iterator[str]:
        """Messages whose value was not the newest when they were taken, or a minute older than what
        another gauge of the site, which it does not name, had measured."""
        for one in self.handed:
            read: dict[str, int] = {}
            for reading in one.message.readings:
                site = reading.sensor.rpartition("-")[0]
                read[site] = max(read.get(site, 0), reading.at_ms)
                _, value = one.newest[reading.sensor]
                if abs(value - reading.value) > 1e-9:
                    yield f"{one}: {reading.value} m, it was {value} m"
            for site, at_ms in read.items():
                newest = max(one.newest.get(f"{site}-{gauge}", (0, 0.0))[0] for gauge in "ab")
                if newest - at_ms > 60_000:
                    yield f"{one}: of {newest - at_ms} ms before the newest"
            if one.contact == "horn" and "应答" in one.message.text:
                yield f"{one}: everybody hears what is for those on duty"

    def judge(self) -> None:
        """Work out what needs the database, before it is gone."""
        self.ignorant = [*self._ignorant()]

    def _ignorant(self) -> Iterator[str]:
        """People whose last message about a site contradicts how it stands in the end, of those
        whom it concerns."""
        last: dict[tuple[str, str], tuple[int, str]] = {}
        for one in self.handed:
            text = f"{one.message.title}\n{one.message.text}"
            for site in SITES:
                name = self.plan.site[site].name
                said = [line for line in text.splitlines() if name in line]
                if said:
                    last[one.contact, site] = (one.at_ms, "\n".join(said))
        for (contact, site), (_, words) in last.items():
            alarm = self._alarm(site)
            if alarm.level is None:
                if "解除" not in words:
                    yield f"{contact}, {site} is over, and was told last: {words}"
            elif "解除" in words and self._concerns(alarm.alert, contact):
                yield f"{contact}, {site} is {alarm.level.name}, and was told last: {words}"

    # What happens

    def _begin(self) -> None:
        """As after a start: only the database is known."""
        self.dispatch = Dispatch(
            self.plan,
            self.plan.channel,
            Tokens(b"a secret"),
            Settings(off_delay_ms=1000 * OFF_DELAY_S, answer_url="https://flood.example"),
        )
        self._watch = Watch(RULES)
        with self.connection.begin():
            self._watch.load(self.connection)

    def _weather(self) -> None:
        for site in SITES:
            if self.chance.random() < 0.05:
                self._slope[site] = self.chance.uniform(-0.02, 0.02)
            self._depth[site] = min(1.8, max(0.0, self._depth[site] + self._slope[site]))

    def _disturb(self) -> None:
        for channel, away in self._away.items():
            if self.chance.random() < (0.1 if away else 0.02):
                self._away[channel] = not away
        if self.chance.random() < 0.002:  # both providers at once
            self._away |= {"sms": True, "voice": True}
        site = self.chance.choice(SITES)
        if self.chance.random() < 0.02 and self._depth[site] > 0.2:
            self._dead ^= {f"{site}-{self.chance.choice('ab')}"}
        if self.chance.random() < 0.02:
            self.kills += 1
            self._begin()
        if self.chance.random() < 0.03:
            self._answer()

    def _answer(self) -> None:
        """Somebody who was called says something."""
        with self.connection.begin():
            call, out = tables.call, tables.outgoing
            calls = self.connection.execute(
                select(call.c.id, call.c.contact)
                .join(out, out.c.call == call.c.id)
                .where(out.c.outcome == "delivered", call.c.answered_ms.is_(None))
                .distinct()
                .order_by(call.c.made_ms.desc())
            ).all()
            if not calls:
                return
            one = self.chance.choice(calls[:4])
            what = self.chance.choice(["yes", "yes", "no", "closed", "acting", "cannot act"])
            if what == "yes":
                self.dispatch.answer(self.connection, one.id, "", "sms", "收到", self.now_ms)
            elif what == "no":
                self.dispatch.decline(self.connection, one.id, "", "sms", "去不了", self.now_ms)
            else:
                kind = "acting" if what == "acting" else "result"
                detail = {} if what == "acting" else {"result": what}
                news = News(kind, "sms", what, detail)
                self.dispatch.report(self.connection, one.id, news, self.now_ms)

    def _step(self) -> None:
        self.now_ms += STEP_MS
        readings, newest = [], {}
        for site in SITES:
            for gauge, lower in (("a", 0.0), ("b", 0.01)):
                ruler = f"{site}-{gauge}"
                if ruler in self._dead:
                    continue
                depth = round(max(0.0, self._depth[site] - lower), 3)
                newest[ruler] = (self.now_ms, depth)
                readings.append(
                    Reading(site, ruler, Quantity.DEPTH, depth, self.now_ms, Quality.GOOD)
                )
        batch = Batch("gw", "s", self.now_ms, tuple(readings))
        findings = self._watch.examine([batch], [], [], {}, self.now_ms)
        if not self._in_one(lambda c: self._watch.save(c, findings, self.now_ms)):
            return  # killed: it comes again with the next reading
        self._watch.adopt(findings)
        self._newest |= newest
        self._in_one(lambda c: self.dispatch.round(c, self.now_ms))
        self._deliver()

    def _in_one(self, work: Callable[[Connection], object]) -> bool:
        """Do it in a transaction, which a kill may end in vain; then it begins anew."""
        try:
            with self.connection.begin():
                work(self.connection)
                if self.chance.random() < 0.01:
                    raise InterruptedError
        except InterruptedError:
            self.kills += 1
            self._begin()
            return False
        return True

    def _deliver(self) -> None:
        out = tables.outgoing
        while True:
            with self.connection.begin():
                waiting = (out.c.done_ms.is_(None), out.c.not_before_ms <= self.now_ms)
                rows = self.connection.execute(
                    select(out.c.channel, out.c.contact).where(*waiting).distinct()
                ).all()
            rows = [row for row in rows if not self._away[row.channel]]
            if not rows:
                return
            for row in rows:
                self._hand_over(row.channel, row.contact)

    def _hand_over(self, channel: str, contact: str) -> None:
        out, desk = tables.outgoing, self.dispatch.hand_over
        with self.connection.begin():
            message = desk.next(self.connection, channel, contact, self.now_ms)
        if message is None:
            return
        refused = self.chance.random() < 0.02 and channel != "board"  # it has no other one
        outcome = "refused" if refused else "delivered"
        if not refused:
            self.handed.append(Handed(self.now_ms, contact, channel, message, dict(self._newest)))
        with self.connection.begin():
            ended = update(out).where(out.c.key == message.key)
            self.connection.execute(ended.values(done_ms=self.now_ms, outcome=outcome))
            if refused:
                desk.refused(self.connection, message.key, self.now_ms)
            else:
                desk.delivered(self.connection, message.key)

    def _concerns(self, alert: str, contact: str) -> bool:
        """Whether somebody is to know of the present alert: those who were called or told of it,
        and, once somebody has answered, whoever was told that an earlier one is over."""
        with self.connection.begin():
            case = Records(self.connection, 1000 * OFF_DELAY_S).case(alert)
        if case is None:
            return False
        return contact in case.escalation.told or case.escalation.phase is Phase.ANSWERED

    def _alarm(self, site: str) -> Alarm:
        with self.connection.begin():
            records = Records(self.connection, 1000 * OFF_DELAY_S)
            return records.alarm(AlarmKey(site, Hazard.UNDERPASS))[0]
