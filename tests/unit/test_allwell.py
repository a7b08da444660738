"""The all-well message: it comes once at its time, never says that all is well when it is not, and
says when its absence means something."""

import time
from datetime import datetime

import msgspec
import pytest
from sqlalchemy import insert, select

from cloud import config, state, tables
from cloud.alerts import delivery
from cloud.alerts.delivery import Delivery
from cloud.alerts.hazard import Hazard
from cloud.allwell import LATE_MS, AllWell, Standing, composed, following_ms, last_ms
from cloud.channels import Language, Message, running
from cloud.heartbeat import Config, Daily
from configs import loader
from configs.loader import ConfigError
from tests import duty_room
from tests.contract.telling import parsed
from tests.contract.test_delivery import delivering
from tests.contract.test_worst_provider import Scripted
from tests.dispatching import PLAN
from tests.waiting import until
from wire.messages import Level

MIN = 60_000


def at(text):
    """A moment where the plan is."""
    return round(datetime.fromisoformat(text).replace(tzinfo=PLAN.zone).timestamp() * 1000)


EIGHT = at("2026-11-30 08:00")


class World:
    """What the message is asked of."""

    def __init__(self, database, **daily):
        self.plan = PLAN
        self.turned = time.monotonic()
        self.failing: dict[str, str] = {}
        self.database = database
        given = {"channel": "sms", "contacts": ("he-lan",), **daily}
        self.all_well = AllWell(
            Daily(**given), database, self, lambda: self.failing, ["gw-1", "gw-2"], ["sms"]
        )

    def turned_s(self):
        return self.turned

    async def messages(self):
        rows = await self.database.run(lambda c: c.execute(select(tables.outgoing)).all())
        return [msgspec.json.decode(row.message, type=Message) for row in rows]

    async def heard(self, gateway, at_ms, state="online"):
        row = {
            "gateway": gateway, "shard": "0", "state": state,
            "at_ms": at_ms, "received_at_ms": at_ms,
        }  # fmt: skip
        await self.database.run(lambda c: c.execute(insert(tables.gateway).values(row)))


@pytest.fixture
async def database(tmp_path):
    async with state.opened(tmp_path / "cloud.db") as opened:
        yield opened


async def test_it_comes_once_at_its_time_over_restarts_too(database):
    world = World(database)
    for minutes in (-600, -1):
        await world.all_well.look(EIGHT + minutes * MIN)
    assert await world.messages() == []
    for again in (world, world, World(database)):
        await again.all_well.look(EIGHT + 1000)
        await again.all_well.look(EIGHT + 2 * MIN)
    (told,) = await world.messages()
    assert (told.to, told.kind) == (PLAN.contact["he-lan"].address["phone"], "all-well")
    assert (told.answer_code, told.link, told.level) == (None, None, None)
    await world.all_well.look(at("2026-12-01 08:00"))
    assert len(await world.messages()) == 2


async def test_what_is_too_late_is_left_out_for_its_absence_is_the_message(database):
    world = World(database)
    await world.all_well.look(EIGHT + LATE_MS + 1000)
    assert await world.messages() == []


async def test_it_has_the_numbers(database):
    world = World(database)
    await world.heard("gw-1", EIGHT - 3000)
    await world.all_well.look(EIGHT)
    (told,) = await world.messages()
    assert told.title == "值班平台正常"
    assert told.text.splitlines() == [
        "11月30日08:00，预警发送正常。",
        "没有未结束的预警。",
        "网关2个，失联1个：gw-2。",
        "过去24小时发出通知0条。",
        "下次平安短信：12月1日08:00。如08:30仍未收到，平台可能已停止工作，请立即检查。",
    ]


@pytest.mark.parametrize(
    ("state_of", "since_ms"), [("lost", 1000), ("stopped", 1000), ("online", 301_000)]
)
async def test_a_gateway_that_is_not_there_is_silent(state_of, since_ms, database):
    world = World(database)
    await world.heard("gw-1", EIGHT - 1000)
    await world.heard("gw-2", EIGHT - since_ms, state_of)
    await world.all_well.look(EIGHT)
    (told,) = await world.messages()
    assert "失联1个：gw-2" in told.text


async def test_open_alerts_are_counted_and_an_exercise_is_not(tmp_path):
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED)
        world = World(room.database)
        now_ms = room.now_ms
        world.all_well._config = Daily(channel="sms", at=(clock_of(now_ms),), contacts=("he-lan",))
        await world.all_well.look(now_ms)
        told = (await room.messages())[-1]
    assert told.title == "值班平台正常"
    assert "未结束预警1起（红色1起），其中1起无人应答。" in told.text


async def test_an_open_fault_of_the_platform_is_not_well(tmp_path):
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED, site="cloud-service", hazard=Hazard.EQUIPMENT)
        world = World(room.database)
        now_ms = room.now_ms
        world.all_well._config = Daily(channel="sms", at=(clock_of(now_ms),), contacts=("he-lan",))
        await world.all_well.look(now_ms)
        told = [one for one in await room.messages() if one.kind == "all-well"]
    assert [one.title for one in told] == ["值班平台异常"]
    assert "平台自身的故障预警尚未解除。请立即检查。" in told[0].text


def test_where_no_gateway_has_ever_been_heard_it_does_not_say_that_all_are_online():
    expected: dict[Language, str] = {
        "zh": "没有网关上报过数据。",
        "en": "No gateway has ever reported.",
    }
    for language, says in expected.items():
        standing = Standing({}, 0, 0, [], 0, False, {})
        _, text = composed(PLAN, standing, (EIGHT, EIGHT + 1), language)
        assert says in text
        assert "在线" not in text


def clock_of(at_ms):
    return f"{datetime.fromtimestamp(at_ms / 1000, PLAN.zone):%H:%M}"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("stalled", "预警程序没有运行"),
        ("failing", "渠道发不出通知（voice、mail、hook等4个）"),
        ("late", "通知发送延迟"),
    ],
)
async def test_it_never_says_that_all_is_well_when_it_is_not(fault, says, database):
    world = World(database)
    if fault == "stalled":
        world.turned -= 1000
    elif fault == "failing":
        world.failing = {f"channel {name}": "no" for name in ("voice", "mail", "hook", "x")}
    else:
        waiting = {
            "key": "k", "incident": "i", "contact": "c", "channel": "sms", "parts": "[]",
            "message": "{}", "made_ms": 0, "not_before_ms": EIGHT - 61_000, "outcome": "",
            "detail": "",
        }  # fmt: skip
        await database.run(lambda c: c.execute(insert(tables.outgoing).values(waiting)))
    await world.all_well.look(EIGHT)
    rows = await database.run(lambda c: c.execute(select(tables.outgoing)).all())
    (told,) = [msgspec.json.decode(one.message, type=Message) for one in rows if one.key != "k"]
    assert told.title == "值班平台异常"
    assert f"{says}。请立即检查。" in told.text
    assert "正常" not in told.text


async def test_a_contact_who_cannot_be_written_to_is_a_fault_and_costs_no_other(database):
    world = World(database, contacts=("nobody", "he-lan"))
    await world.all_well.look(EIGHT)
    assert "'nobody' is no contact of the plan" in world.all_well.fault
    assert len(await world.messages()) == 1


async def test_an_all_well_that_could_not_go_in_time_never_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "FIRST_DELAY_S", 0.01)
    channel = Scripted()
    async with state.opened(tmp_path / "cloud.db") as database:
        world = World(database)
        await world.all_well.look(EIGHT)  # which is long ago
        real = running.Running(channel, parsed("log", {}), [])
        async with delivering(Delivery(database, {"sms": real})):

            async def done():
                rows = await database.run(lambda c: c.execute(select(tables.outgoing)).all())
                return [row.outcome for row in rows] == ["refused"]

            await until(done)
    assert channel.told == []


def test_the_times_of_a_day():
    clocks = ("08:00", "20:00")
    assert last_ms(PLAN, clocks, EIGHT) == EIGHT
    assert last_ms(PLAN, clocks, EIGHT - 1) == at("2026-11-29 20:00")
    assert following_ms(PLAN, clocks, EIGHT) == at("2026-11-30 20:00")
    assert following_ms(PLAN, ("08:00",), EIGHT) == at("2026-12-01 08:00")


def test_english():
    standing = Standing({Level.RED: 1, Level.BLUE: 2}, 1, 5, ["a", "b", "c", "d"], 9, False, {})
    title, text = composed(PLAN, standing, (EIGHT, at("2026-12-01 08:00")), "en")
    assert title == "The platform works"
    assert text.splitlines() == [
        "2026-11-30 at 08:00: alerts are delivered.",
        "3 alerts are open (1 red, 2 blue), 1 of them unanswered.",
        "5 gateways, 4 silent: a, b, c and 1 more.",
        "9 messages in the last 24 hours.",
        "The next message of this kind is due on 2026-12-01 at 08:00. If it is not there at 08:30, "
        "the platform may have stopped: check it at once.",
    ]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({}, "nobody would hear it"),
        ({"fail_url": "https://a.example"}, "nobody would hear it"),
        ({"daily": {"channel": "sms", "at": []}}, "at"),
        ({"daily": {"channel": "sms", "at": ["8:00"]}}, "at"),
        ({"daily": {"channel": "sms", "at": ["24:00"]}}, "at"),
        ({"daily": {"channel": "sms", "at": ["08:00"] * 5}}, "at"),
        ({"daily": {"channel": "sms", "contacts": ["a"] * 6}}, "contacts"),
        ({"daily": {"channel": "sms"}, "fail_url": "https://a.example"}, "url, which is missing"),
    ],
)
def test_a_heartbeat_that_cannot_be_is_refused(written, says):
    with pytest.raises(ConfigError, match=says):
        loader.parse(written, Config, "cloud.toml")


@pytest.mark.parametrize(
    ("channel", "says"),
    [("smss", r"no channel \(did you mean 'sms'"), ("cap", "takes no messages")],
)
def test_its_channel_is_one_of_the_config(channel, says, tmp_path):
    (tmp_path / "cloud.toml").write_text(
        f'[heartbeat.daily]\nchannel = "{channel}"\n[channel.sms]\nkind = "log"\n'
        '[channel.cap]\nkind = "cap"\nurl = "https://a.example"\n[cap]\nsender = "a.example"\n'
        'name = "a"\ncontact = "b"\n'
    )
    with pytest.raises(ConfigError, match=says):
        config.read(tmp_path / "cloud.toml")
    setup, faults = config.read_in_part(tmp_path / "cloud.toml")
    assert [one.key for one in faults] == ["heartbeat.daily.channel"]
    assert setup.config.channel.keys() == {"sms", "cap"}


def test_a_webhook_alone_is_still_a_heartbeat():
    assert loader.parse({"url": "https://a.example"}, Config, "x").daily is None
