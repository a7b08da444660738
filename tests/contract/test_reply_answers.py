"""What a reply by SMS is answered, and what it does to the calls."""

import itertools
import json

import pytest

from cloud.alerts import replywording
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.replyanswers import EVERY_MS
from cloud.web import hearing
from cloud.web.hearing import Heard
from cloud.web.replies import Reply
from cloud.web.settings import Hook
from tests import duty_room
from tests.duty_room import PLAN, SITE
from wire.messages import Level

HOOK = Hook(secret_file="x")
ALONE = PLAN.model_copy(update={"digest_window_s": 0})


class Phone:
    """The telephone of who was called first. Each text is one that was never heard before."""

    def __init__(self, room, number, spoken=()):
        self.room = room
        self.number = number
        self.spoken = frozenset(spoken)
        self.names = itertools.count()
        self.later_ms = 0

    async def send(self, text, name=None):
        """The answers that are to be sent now that were not before."""
        before = {row["key"] for row in await self.answers()}
        name = f"m-{next(self.names)}" if name is None else name
        reply = Reply(self.number, text, name)
        heard = Heard("sms", HOOK, reply, self.spoken)
        now_ms = self.room.now_ms + self.later_ms

        def take(connection):
            if not self.room.dispatch.heard_before(connection, f"sms/{name}", now_ms):
                hearing.take(connection, self.room.dispatch, heard, now_ms)

        await self.room.run(take)
        return [row for row in await self.answers() if row["key"] not in before]

    async def said(self, text):
        """The one answer: title and text."""
        self.later_ms += EVERY_MS
        (row,) = await self.send(text)
        message = json.loads(row["message"])
        assert message["to"] == self.number
        return message["title"], message["text"]

    async def answers(self):
        return [row for row in await self.room.rows("outgoing") if row["key"].startswith("reply/")]


@pytest.fixture
async def room(tmp_path):
    async with duty_room.opened(tmp_path, ALONE) as opened:
        await opened.find(Level.RED)
        yield opened


@pytest.fixture
async def phone(room):
    return Phone(room, (await room.call()).to)


async def test_a_yes_is_answered_by_the_channel_of_the_call(room, phone):
    call = await room.call()
    (row,) = await phone.send("收到，马上到")
    (carried,) = [one for one in await room.rows("outgoing") if one["key"] == call.key]
    assert row["channel"] == carried["channel"]
    assert (row["contact"], row["incident"]) == (carried["contact"], carried["incident"])
    message = json.loads(row["message"])
    assert message["text"].startswith("已记录：")
    assert "红色预警由您应答。处置后请回复结果" in message["text"]
    assert message["kind"] == "reply"
    assert row["done_ms"] is None
    assert row["call"] is None


async def test_the_end_of_the_calls_does_not_take_the_answer_back(room, phone):
    await phone.send("4 of us")
    phone.later_ms += EVERY_MS
    await phone.send("收到")
    await room.find(None)
    await room.pass_time(11)
    (row,) = [one for one in await phone.answers() if "由您应答" in one["message"]]
    assert row["outcome"] != "withdrawn"


async def test_each_reply_gets_its_words(room, phone):
    code = (await room.call()).answer_code
    assert (await phone.said("哈哈"))[1].startswith("没有看懂。")
    assert f"收到请回复{code}；去不了请回复“{code}去不了”" in (await phone.said("啊？"))[1]
    other = f"{(int(code) + 1) % 10_000:04}"
    assert "没有这个编号" in (await phone.said(f"{other}收到"))[1]
    assert "您无法到场" in (await phone.said(f"{code}去不了"))[1]
    assert "现场无法处置" in (await phone.said("过不去"))[1]
    assert await room.phase() == "ringing"
    assert "由您处置" in (await phone.said("在路上"))[1]
    assert await room.phase() == "answered"
    assert "道路已封闭" in (await phone.said("已封路"))[1]
    assert "已转移23人" in (await phone.said(f"{code}已转移二十三人"))[1]
    assert "已由" in (await phone.said("收到"))[1]
    await room.find(None)
    await room.pass_time(11)
    assert "已结束" in (await phone.said(code))[1]


async def test_what_was_done_is_kept_with_its_details(room, phone):
    await phone.send("已转移23人")
    await phone.send("正在封路")
    await phone.send("误报")
    results = [json.loads(line["detail"]) for line in await room.lines("result")]
    assert [(one["result"], one.get("people")) for one in results] == [
        ("evacuated", 23),
        ("false alarm", None),
    ]
    (acting,) = await room.lines("acting")
    assert acting["alert"]
    assert acting["incident"]
    assert len(await room.lines("answer")) == 1


async def test_who_answered_and_cannot_act_takes_it_back_and_others_are_called(room, phone):
    await phone.send("收到")
    _, text = await phone.said("车坏了，去不了")
    assert "正在呼叫其他责任人" in text
    assert await room.phase() == "ringing"
    assert len(await room.lines("declined")) == 1


async def test_a_reply_is_answered_once(room, phone):
    assert len(await phone.send("收到", "same")) == 1
    phone.later_ms += 2 * EVERY_MS
    assert await phone.send("收到", "same") == []


async def test_two_machines_do_not_answer_each_other(room, phone):
    sent = 0
    for _ in range(30):
        phone.later_ms += 4000
        sent += len(await phone.send("Welcome to our service"))
    assert sent <= 3


async def test_what_was_recorded_is_said_when_the_minute_is_over(room, phone):
    (first,) = await phone.send("哈哈")
    (second,) = await phone.send("收到")
    assert second["not_before_ms"] == first["not_before_ms"] + EVERY_MS
    (third,) = await phone.send("已封路")
    assert third["not_before_ms"] == second["not_before_ms"]
    waiting = [row for row in await phone.answers() if row["done_ms"] is None]
    assert [row["key"] for row in waiting] == [third["key"]]


@pytest.mark.parametrize("text", ["退订", "STOP", "自动回复：收到", "I'm driving, auto reply"])
async def test_nobody_answers_a_machine_or_who_wants_no_messages(room, phone, text):
    assert await phone.send(text) == []
    assert await room.phase() == "ringing"
    (line,) = await room.lines("reply")
    assert line["text"].startswith(text)


async def test_a_number_that_was_not_called_gets_nothing(room, phone):
    stranger = Phone(room, "+8613900009999")
    assert await stranger.send("收到") == []
    assert await Phone(room, phone.number, spoken=ALONE.channel).send("收到") == []


async def test_two_codes_answer_two_calls_and_a_thumb_none(room, phone):
    first = await room.call()
    await room.find(Level.ORANGE, rule="lamp", hazard=Hazard.EQUIPMENT)
    second = max(await room.messages(), key=lambda one: one.at_ms)
    calls = {row["code"]: row["contact"] for row in await room.rows("call")}
    codes = [code for code, who in calls.items() if who == calls[first.answer_code]]
    assert second.site == SITE
    assert len(codes) == 2
    _, text = await phone.said("👍")
    assert all(code in text for code in codes)
    assert "几条" in (await phone.said("收到"))[1]
    assert await room.lines("answer") == []
    await phone.said(" ".join(codes) + " 收到")
    assert len(await room.lines("answer")) == 2


async def test_called_again_about_the_same_a_thumb_is_enough(room, phone):
    for _ in range(3):
        await room.pass_time(2)
    assert len([row for row in await room.rows("call") if row["answered_ms"] is None]) > 2
    await phone.send("👍")
    assert await room.phase() == "answered"


async def test_who_signs_is_understood(room, phone):
    row = (await room.rows("call"))[0]
    name = ALONE.contact[row["contact"]].name
    area = ALONE.area[ALONE.contact[row["contact"]].area].name
    await phone.send(f"{area}收到。{name}")
    assert await room.phase() == "answered"


async def test_our_words_that_come_back_are_no_answer(room, phone):
    call = await room.call()
    for text in (call.text, f"{call.title}\n{call.text}", f"> {call.text}", call.reply):
        await phone.send(text)
        assert await room.phase() == "ringing", text
    await phone.send(f"收到\n{call.text}")
    assert await room.phase() == "answered"


async def test_a_text_that_is_too_long_is_recorded_and_not_read(room, phone):
    await phone.send("收到" + " " * 1500 + "去不了")
    assert await room.phase() == "ringing"
    (line,) = await room.lines("reply")
    assert len(line["text"]) < 600


async def test_a_yes_counts_even_if_it_cannot_be_answered(room, phone, monkeypatch):
    def fails(*_):
        raise ValueError("no words")

    monkeypatch.setattr(replywording, "write", fails)
    assert await phone.send("收到") == []
    assert await room.phase() == "answered"


async def test_an_exercise_says_so(tmp_path):
    async with duty_room.opened(tmp_path, ALONE) as room:
        await room.run(
            room.dispatch.exercise, SITE, Hazard.UNDERPASS, Level.RED, Stage.NOW, room.now_ms
        )
        await room.deliver()
        title, text = await Phone(room, (await room.call()).to).said("收到")
        assert title.startswith("【演练】")
        assert text.count("演练") == 1


async def test_beside_an_exercise_it_is_said_which_call_is_the_real_one(tmp_path):
    async with duty_room.opened(tmp_path, ALONE.model_copy(deep=True)) as room:
        await room.find(Level.RED)
        number = (await room.call()).to
        river = ("jialing-huangshaxi", Hazard.RIVER)
        await room.run(room.dispatch.exercise, *river, Level.RED, Stage.NOW, room.now_ms)
        exercised = {row["contact"] for row in await room.rows("call", exercise=True)}
        for row in await room.rows("call"):  # the same telephone
            if row["contact"] in exercised:
                contact = room.dispatch.plan.contact[row["contact"]]
                contact.address["phone"] = number
        await room.deliver()
        title, text = await Phone(room, number).said("收到")
        assert "演练" not in title
        lines = [line for line in text.splitlines() if "预警" in line]
        told = [part for line in lines for part in line.split("。") if "预警" in part]
        assert any("大坪下穿道" in part and "演练" not in part for part in told)
        assert all("【演练】" in part for part in told if "黄沙溪" in part)
        assert any("黄沙溪" in part for part in told)
        assert await room.phase() == "ringing"
