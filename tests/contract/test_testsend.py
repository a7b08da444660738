"""Test messages: what the provider answers is said, nobody is disturbed, nothing counts."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from sqlalchemy import func, select

from cloud import config as configs_of_cloud
from cloud import desk, state, tables
from cloud.alertcli import alert as alert_group
from cloud.alerts import delivery, testsend, views
from cloud.alerts.delivery import Delivery
from cloud.alerts.dispatch import Dispatch, Settings
from cloud.alerts.testsend import Asked, Line, Result, Sender
from cloud.alerts.tokens import Tokens
from cloud.channels import ChannelConfig, Message, Receipt, running
from cloud.channels.running import Running
from cloud.errors import Rejected, Unavailable
from cloud.state import State
from configs.loader import UserError
from tests import duty_room
from tests.contract.telling import SECRET, TOKEN, message, parsed
from tests.contract.test_delivery import delivering, tell
from tests.contract.test_worst_provider import Scripted
from tests.duty_room import PLAN
from tests.waiting import until
from wire.messages import Level

CONTACT, PHONE = "he-lan", PLAN.contact["he-lan"].address["phone"]
BY: dict[str, Any] = {"by": "Li Wei"}


class Keeping(Scripted):
    """A channel that keeps what it was told."""

    def __init__(self, *answers: Exception | None) -> None:
        super().__init__(*answers)
        self.heard: list[Message] = []

    async def send(self, one: Message) -> Receipt:
        receipt = await super().send(one)
        self.heard.append(one)
        return Receipt("s-1", "ok") if receipt else receipt


CONFIG = ChannelConfig(kind="sms")


def sender(database: State, channel: Any, **line: Any) -> Sender:
    dispatch = Dispatch(PLAN, PLAN.channel, Tokens(b"k"), Settings())
    line = {"config": CONFIG, **line}
    return Sender(database, {"sms": Line(channel, **line)}, dispatch)


async def record(database: State) -> list[Any]:
    return await database.run(views.tests)


async def test_a_test_reaches_a_contact_with_its_mark_and_asks_for_nothing(tmp_path: Path) -> None:
    channel = Keeping()
    async with state.opened(tmp_path / "cloud.db") as database:
        result = await sender(database, channel).send(Asked("sms", contact=CONTACT, **BY), "here")
        (line,) = await record(database)
        count = [select(func.count()).select_from(table) for table in _OF_ALERTS]
        rows = await database.run(lambda c: [c.execute(one).scalar_one() for one in count])
    (told,) = channel.heard
    assert (result.outcome, result.provider_id, result.detail) == ("delivered", "s-1", "ok")
    assert (told.title, told.to, told.kind) == ("【测试】渠道测试", PHONE, "test")
    assert told.text.startswith("【测试】这是一条测试消息，不是预警，无需应答。Li Wei于")
    assert (told.link, told.token, told.answer_code, told.level) == (None, None, None, None)
    assert (line.who, line.text) == (CONTACT, "sms: delivered, asked for by Li Wei: ok")
    assert line.detail["how"] == "here"
    assert rows == [0] * len(_OF_ALERTS)


_OF_ALERTS = (tables.outgoing, tables.call, tables.incident, tables.knowledge, tables.alarm)


@pytest.mark.parametrize(
    ("error", "outcome", "says"),
    [
        (Rejected("the provider says 1002: number unknown"), "refused", "1002"),
        (Unavailable("no answer within 10 s"), "failed", "no answer"),
        (KeyError("x"), "failed", "the channel fails"),
        (running.Failed("TypeError: x\n  File 'a.py'"), "failed", "TypeError: x"),
    ],
)
async def test_what_the_provider_answers_is_said_and_kept(
    error: Exception, outcome: str, says: str, tmp_path: Path
) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        result = await sender(database, Keeping(error)).send(Asked("sms", to="1", **BY), "here")
        (line,) = await record(database)
        assert await database.run(views.unheard) == []
    assert result.outcome == outcome
    assert says in result.detail
    assert "\n" not in result.detail
    assert outcome in line.text


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Asked("smss", **BY), r"no channel of the cloud's config \(did you mean 'sms'"),
        (Asked("sms", contact="he-lann", **BY), r"no contact of the plan \(did you mean 'he-lan'"),
        (Asked("sms", contact=CONTACT, to="1", **BY), "either a contact or an address"),
    ],
)
async def test_what_cannot_be_meant_is_said(asked: Asked, says: str, tmp_path: Path) -> None:
    async with state.opened(tmp_path / "cloud.db") as database:
        with pytest.raises(UserError, match=says):
            await sender(database, Keeping()).send(asked, "here")


async def test_tests_do_not_take_the_room_of_real_messages(tmp_path: Path) -> None:
    """A channel of 20 a minute takes five tests a minute, and says when the next can be."""
    slow = parsed("wecom", {"token_file": "t"})
    channel = Keeping()
    async with state.opened(tmp_path / "cloud.db") as database:
        one = sender(database, channel, config=slow)
        results = [await one.send(Asked("sms", to="1", **BY), "here") for _ in range(3)]
    assert [one.outcome for one in results] == ["delivered", "not sent", "not sent"]
    assert "5 test messages a minute" in results[1].detail
    assert 0 < results[1].wait_s <= 12
    assert len(channel.heard) == 1


async def test_one_address_gets_three_in_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider lets only so many messages a day to one number: real ones need them."""
    monkeypatch.setattr(testsend, "MOST_A_MINUTE", 100_000)
    channel = Keeping()
    async with state.opened(tmp_path / "cloud.db") as database:
        one = sender(database, channel)
        told = [await one.send(Asked("sms", to="1", **BY), "here") for _ in range(5)]
        other = await one.send(Asked("sms", to="2", **BY), "here")
    assert [result.outcome for result in told] == ["delivered"] * 3 + ["not sent"] * 2
    assert told[3].detail == "1 has had its 3 test messages of ten minutes"
    assert 190 < told[3].wait_s <= 200
    assert other.outcome == "delivered"


async def test_no_test_goes_to_a_provider_that_wants_to_be_left_alone(tmp_path: Path) -> None:
    channel = Keeping()
    async with state.opened(tmp_path / "cloud.db") as database:
        one = sender(database, channel, rests_s=lambda: 40.0)
        result = await one.send(Asked("sms", to="1", **BY), "here")
    assert (result.outcome, result.wait_s, channel.heard) == ("not sent", 40, [])


async def test_a_test_is_not_behind_a_flood_and_takes_no_turn_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FIRST_DELAY_S", 0.01)
    channel = Keeping()
    config = ChannelConfig(kind="sms", rate_per_minute=240)
    async with state.opened(tmp_path / "cloud.db") as database:
        real = Running(channel, config, [])
        await tell(database, ["sms"], *(f"m{number}" for number in range(90)))
        flood = Delivery(database, {"sms": real})
        async with delivering(flood):
            await until(lambda: len(channel.heard) >= 60)  # its burst has gone
            result = await sender(database, real).send(Asked("sms", to="1", **BY), "here")
            told = [one.kind for one in channel.heard]
    assert result.outcome == "delivered"
    assert told.count("test") == 1
    assert len(told) < 80  # most of the flood waits


async def test_a_turn_that_a_real_message_has_stays_its_own() -> None:
    """The real message is composed after its turn; a test in between takes its own."""
    channel = Keeping()
    real = Running(channel, ChannelConfig(kind="sms", rate_per_minute=4), [])
    real._bucket = real._bucket._replace(tokens=1.0, at_s=asyncio.get_running_loop().time())
    await real.turn()
    beside = asyncio.create_task(real.send_beside(message(key="test")), name="test")
    await asyncio.sleep(0)
    await real.send(message(key="real"))
    assert channel.told == ["real"]
    beside.cancel()
    await asyncio.wait([beside])


async def test_a_channel_that_takes_a_test_is_not_said_to_fail_any_more(tmp_path: Path) -> None:
    channel = Keeping(*(Rejected("no") for _ in range(3)))
    async with state.opened(tmp_path / "cloud.db") as database:
        await tell(database, ["sms"], "a", "b", "c")
        one = Delivery(database, {"sms": channel})
        async with delivering(one):
            await until(lambda: one.failing())
            told = sender(database, channel, works=lambda: one.works("sms"))
            assert (await told.send(Asked("sms", to="1", **BY), "here")).outcome == "delivered"
            assert one.failing() == {}


async def test_a_board_that_may_show_a_warning_gets_no_test(tmp_path: Path) -> None:
    channel = Keeping()
    board = parsed("board", {"broker": {"host": "x"}})
    async with duty_room.opened(tmp_path, lines={"sms": Line(channel, board)}) as room:
        room.http.headers["Authorization"] = f"Bearer {duty_room.TOKEN}"
        body = {"channel": "sms", "to": "horn-1", "by": "Li"}
        assert (await room.http.post("/api/test", json=body)).json()["outcome"] == "delivered"
        await room.find(Level.RED)
        answer = await room.http.post("/api/test", json=body)
    assert (answer.status_code, len(channel.heard)) == (409, 1)
    assert "would take its place" in answer.json()["error"]


async def test_the_api_sends_tests_for_who_has_the_token(tmp_path: Path) -> None:
    channel = Keeping(None, Rejected("unknown number"))
    line = Line(channel, ChannelConfig(kind="sms", rate_per_minute=32))
    async with duty_room.opened(tmp_path, lines={"sms": line}) as room:
        body = {"channel": "sms", "contact": CONTACT, "by": "Li"}
        assert (await room.http.post("/api/test", json=body)).status_code == 401
        room.http.headers["Authorization"] = f"Bearer {duty_room.TOKEN}"
        answers = [await room.http.post("/api/test", json=body) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429]
        assert [one.json()["outcome"] for one in answers[:2]] == ["delivered", "refused"]
        assert int(answers[2].headers["Retry-After"]) >= 1
        for wrong in ({**body, "contact": "nobody"}, {**body, "by": " "}, {"channel": "sms"}):
            assert (await room.http.post("/api/test", json=wrong)).status_code == 422
        assert await room.rows("outgoing") == []
        assert [line["who"] for line in await room.lines("test message")] == [CONTACT] * 2


# The command line


def run(*words: str, answer: str = "") -> tuple[str, int]:
    found = CliRunner().invoke(alert_group, [*words], input=answer)
    if isinstance(found.exception, UserError):
        raise found.exception
    return found.output, found.exit_code


PLAN_FILE = """
title = "a plan"
[area.village]
name = "Village"
kind = "village"
[site.ford]
name = "Ford"
area = "village"
hazards = ["river"]
[channel.log]
[channel.robot]
[contact.li]
name = "Li"
area = "village"
channels = ["log", "robot"]
[contact.wu]
name = "Wu"
area = "village"
channels = ["log"]
[contact.horn]
name = "Horn"
area = "village"
channels = ["log"]
public = true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "plan.toml").write_text(PLAN_FILE)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "cloud.toml").write_text(
        '[alerts]\nplan = "plan.toml"\n[channel.log]\nkind = "log"\n'
        '[channel.robot]\nkind = "wecom"\nurl = "http://127.0.0.1:1/x"\ntoken_file = "token"\n'
    )
    return tmp_path / "cloud.toml"


def test_a_contact_is_tested_by_each_channel_and_a_failure_is_code_1(file: Path) -> None:
    out, code = run("test", "--contact", "li", "--config", str(file))
    assert code == 1
    log, robot = out.splitlines()
    assert log.startswith("log to Li: delivered, the other side has taken it")
    assert robot.startswith("robot to Li: not delivered: http://127.0.0.1:1 cannot be reached")
    assert "【测试】" in (file.parent / "alerts.jsonl").read_text()
    out, code = run("tests", "--config", str(file))
    assert (code, len(out.splitlines())) == (0, 2)
    assert "li  log: delivered" in out
    assert run("replies", "--config", str(file))[0] == "no replies\n"


def test_many_are_asked_about_before(file: Path) -> None:
    words = ("test", "--area", "village", "--channel", "log", "--config", str(file))
    with pytest.raises(UserError, match="nothing was sent"):
        run(*words, answer="n\n")
    assert not (file.parent / "alerts.jsonl").exists()
    out, code = run(*words, "--yes", "--json")
    assert code == 0
    found = msgspec.json.decode(out, type=list[Result])
    assert [(one.contact, one.outcome) for one in found] == [
        ("li", "delivered"),
        ("wu", "delivered"),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "whom"),
        (("--contact", "li", "--area", "village"), "give one of"),
        (("--contact", "lii"), "no contact of the plan"),
        (("--area", "villag"), "no area of the plan"),
        (("--contact", "wu", "--channel", "robot"), "can be reached by"),
        (("--channel", "smss"), "no channel"),
    ],
)
def test_what_cannot_be_tested_is_one_line(words: tuple[str, ...], says: str, file: Path) -> None:
    with pytest.raises(UserError, match=says) as caught:
        run("test", *words, "--config", str(file))
    assert "\n" not in str(caught.value)


async def test_a_running_service_sends_it_by_its_own_channel(file: Path) -> None:
    """Over the socket, with the channel that the service has open."""
    setup = configs_of_cloud.read(file)
    channel = Keeping(Rejected(f"bad {TOKEN}"))
    async with state.opened(setup.database) as database:
        dispatch = Dispatch(PLAN, PLAN.channel, Tokens(b"k"), Settings())
        hidden = Running(channel, parsed("log", {"rate_per_minute": 60}), [TOKEN, SECRET])
        tests = Sender(database, {"log": Line(hidden, CONFIG)}, dispatch)
        store: Any = None
        async with desk.open_desk(setup, database, store, *testsend.ALL, tests=tests):
            asked = Asked("log", to="1", **BY)
            result = await desk.ask(setup, testsend.SEND, asked)
            assert (result.outcome, result.detail) == ("refused", "bad ***")
        (line,) = await record(database)
    assert line.detail["how"].startswith("command line")
