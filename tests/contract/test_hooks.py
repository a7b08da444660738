"""Replies by SMS and keypress, as providers pass them on."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest

from cloud.alerts import plan
from cloud.alerts.alarm import Status
from cloud.alerts.hazard import Hazard
from cloud.web.settings import Hook
from tests import duty_room
from tests.duty_room import PLAN, SECRET
from wire.messages import Level

JSON = Hook(secret_file="x", sender="reply.mobile", text="reply.content", message_id="id")
FORM = Hook(secret_file="x", format="form", sender="From", text="Digits", success="<Response/>")
SIGNED = Hook(secret_file="x", signed=True, secret_header="X-Sign")
KEYED = Hook(secret_file="x", key="id")
TIMED = Hook(secret_file="x", signed=True, secret_header="X-Sign", time="at")
HOOKS = {"timed": TIMED, "keyed": KEYED, "sms": JSON, "voice": FORM, "signed": SIGNED}
AUTH = {"X-Shuichi-Secret": SECRET}


@pytest.fixture
async def room(tmp_path):
    async with duty_room.opened(tmp_path, hooks=HOOKS) as opened:
        await opened.find(Level.RED)
        yield opened


async def sms(room, sender, text, number="", headers=AUTH):
    body = {"reply": {"mobile": sender, "content": text}, "id": number}
    return await room.http.post("/hooks/sms", json=body, headers=headers)


async def phone(room):
    """The number that was called first, without its country."""
    to = (await room.call()).to
    assert to.startswith("+86")
    return to.removeprefix("+86").replace(" ", "")


@pytest.mark.parametrize("form", ["{}", "+86{}", "0086{}", "86{}", "+86 {}", "({})"])
async def test_a_number_is_known_however_it_is_written(room, form):
    number = await phone(room)
    spaced = f"{number[:3]} {number[3:7]}-{number[7:]}"
    code = (await room.call()).answer_code
    answer = await sms(room, form.format(spaced), f"收到{code}马上到")
    assert (answer.status_code, answer.text) == (200, "ok")
    assert await room.phase() == "answered"
    (line,) = await room.lines("answer")
    assert line["text"] == f"收到{code}马上到"
    assert json.loads(line["detail"])["how"].startswith("sms, ")


@pytest.mark.parametrize(
    ("text", "phase", "kind"),
    [
        ("{code}", "answered", "answer"),
        ("{code} 9", "ringing", "declined"),
        ("{wide}", "answered", "answer"),
        ("1", "answered", "answer"),
        ("１", "answered", "answer"),
        ("收到，马上到", "answered", "answer"),
        ("YES", "answered", "answer"),
        ("9", "ringing", "declined"),
        ("No", "ringing", "declined"),
        ("我在外地去不了", "ringing", "declined"),
        ("{code}去不了", "ringing", "declined"),
        ("好的", "answered", "answer"),
        ("没收到", "ringing", "reply"),
        ("{code}？", "ringing", "reply"),
        ("已封路", "answered", "result"),
        ("{code} on the way", "answered", "acting"),
        ("过不去", "ringing", "result"),
        ("{other}", "ringing", "reply"),
        ("", "ringing", "reply"),
        ("\0", "ringing", "reply"),
    ],
)
async def test_what_a_reply_means(room, text, phase, kind):
    code = (await room.call()).answer_code
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in code)
    other = f"{(int(code) + 1) % 10_000:04}"
    said = text.format(code=code, wide=wide, other=other)
    answer = await sms(room, await phone(room), said)
    assert answer.status_code == 200
    assert await room.phase() == phase
    (line,) = await room.lines(kind)
    assert line["text"].startswith(said.replace("\0", ""))
    assert room.woken == 1


async def test_called_again_a_word_is_enough_and_an_earlier_code_too(room):
    first = await room.call()
    await room.pass_time(1)
    await room.pass_time(1)
    assert len(await room.rows("call")) > 1
    await sms(room, await phone(room), "收到")
    assert await room.phase() == "answered"
    await room.find(Level.ORANGE, site="daping-slope", hazard=Hazard.LANDSLIDE)
    assert (await sms(room, first.to, f"{first.answer_code}")).status_code == 200
    assert len(await room.lines("answer")) == 2


async def test_a_word_is_no_answer_to_two_alerts_but_a_code_is(tmp_path):
    each_alone = PLAN.model_copy(update={"digest_window_s": 0})
    async with duty_room.opened(tmp_path, each_alone, HOOKS) as room:
        await room.find(Level.RED)
        first = await room.call()
        await room.find(Level.ORANGE, rule="lamp", hazard=Hazard.EQUIPMENT)
        await sms(room, first.to, "1")
        (line,) = await room.lines("reply")
        assert "several alerts" in line["text"]
        await sms(room, first.to, first.answer_code)
        (line,) = await room.lines("answer")
        assert ".underpass." in line["alert"]
        await sms(room, first.to, "1")  # now only one waits
        assert len(await room.lines("answer")) == 2


async def test_a_key_tells_which_call_it_was_whoever_picked_it_up(tmp_path):
    each_alone = PLAN.model_copy(update={"digest_window_s": 0})
    async with duty_room.opened(tmp_path, each_alone, HOOKS) as room:
        await room.find(Level.RED)
        first = await room.call()
        await room.find(Level.ORANGE, rule="lamp", hazard=Hazard.EQUIPMENT)
        for key, count in (("none", 0), (first.key, 1), (first.key, 1)):
            reply = {"from": "unknown", "text": "1", "id": key}
            answer = await room.http.post("/hooks/keyed", json=reply, headers=AUTH)
            assert answer.status_code == 200
            assert len(await room.lines("answer")) == count
        (line,) = await room.lines("answer")
        assert ".underpass." in line["alert"]
        assert ["no call with key" in one["text"] for one in await room.lines("reply")] == [
            True
        ] * 2


async def test_a_call_of_an_alert_that_is_over_does_not_blur_the_next(room):
    number = await phone(room)
    await room.find(None)
    await room.pass_time(11)
    await sms(room, number, "1")  # late, and it counts: nobody had answered
    assert (await room.alarm()).process is Status.NORMAL
    await sms(room, number, "1")
    (line,) = await room.lines("reply")
    assert "no call to this number is open" in line["text"]
    await room.find(Level.RED)
    await sms(room, number, "1")
    assert await room.phase() == "answered"


async def test_what_comes_again_counts_once(room):
    number = await phone(room)
    for _ in range(3):
        assert (await sms(room, number, "9", "m-1")).status_code == 200
    assert len(await room.lines("declined")) == 1
    await sms(room, number, "9", "m-2")
    assert len(await room.lines("declined")) == 2
    await sms(room, number, "9")  # without a name nobody can tell
    await sms(room, number, "9")
    assert len(await room.lines("declined")) == 4


async def test_a_stranger_is_recorded_and_answers_nothing(room):
    for sender in ("13900009999", "", "+49 30 1234", "anonymous", "1" * 200):
        assert (await sms(room, sender, "1")).status_code == 200
    assert len(await room.lines("reply")) == 5
    assert await room.phase() == "ringing"


async def test_a_form_of_keypresses(room):
    number = await phone(room)
    data = {"From": f"+86{number}", "Digits": "1"}
    answer = await room.http.post("/hooks/voice", data=data, headers=AUTH)
    assert (answer.status_code, answer.text) == (200, "<Response/>")
    assert await room.phase() == "answered"


async def test_without_the_secret_nobody_is_heard(room):
    number = await phone(room)
    for headers in ({}, {"X-Shuichi-Secret": "wrong"}, {"X-Shuichi-Secret": SECRET + "x"}):
        assert (await sms(room, number, "1", headers=headers)).status_code == 401
    body = json.dumps({"from": number, "text": "1"}).encode()
    good = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    for signature in (SECRET, good[:-1] + "x", ""):
        headers = {"X-Sign": signature}
        refused = await room.http.post("/hooks/signed", content=body, headers=headers)
        assert refused.status_code == 401
    assert await room.phase() == "ringing"
    other = body.replace(b'"1"', b'"9"')
    refused = await room.http.post("/hooks/signed", content=other, headers={"X-Sign": good})
    assert refused.status_code == 401
    taken = await room.http.post("/hooks/signed", content=body, headers={"X-Sign": good})
    assert taken.status_code == 200
    assert await room.phase() == "answered"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 422, "is not json"),
        (b"\xff", 422, "is not json"),
        (b"[]", 422, "has no reply.mobile"),
        (b'{"reply": 1}', 422, "has no reply.mobile"),
        (b'{"reply": {"mobile": [1], "content": ""}, "id": ""}', 422, "neither a text nor"),
        (b'{"reply": {"mobile": "1", "content": "x"}}', 422, "has no id"),
        (b'{"reply": {"mobile": "\\ud800", "content": "x"}, "id": ""}', 422, "is not json"),
        (b"[" * 60_000, 422, "is not json"),
        (b" " * 70_000, 413, "65536 bytes"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(room, body, status, says):
    answer = await room.http.post("/hooks/sms", content=body, headers=AUTH)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert await room.phase() == "ringing"


async def test_there_is_no_other_hook(room):
    assert (await room.http.post("/hooks/other", content=b"{}")).status_code == 404
    assert (await room.http.get("/hooks/sms")).status_code == 405


@pytest.mark.parametrize(
    ("written", "status"),
    [
        (lambda s: s, 200),
        (lambda s: s * 1000, 200),
        (lambda s: str(s), 200),
        (lambda s: datetime.fromtimestamp(s, UTC).isoformat(), 200),
        (lambda s: s - 3600, 401),
        (lambda s: s + 3600, 401),
        (lambda s: "yesterday", 422),
        (lambda s: None, 422),
        (lambda s: 10**30, 422),
        (lambda s: datetime.fromtimestamp(s, UTC).replace(tzinfo=None).isoformat(), 422),
    ],
)
async def test_a_reply_that_was_overheard_does_not_count_later(room, written, status):
    said = {"from": await phone(room), "text": "1", "at": written(int(time.time()))}
    body = json.dumps(said).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    answer = await room.http.post("/hooks/timed", content=body, headers={"X-Sign": signature})
    assert answer.status_code == status
    assert await room.phase() == ("answered" if status == 200 else "ringing")


async def test_a_code_answers_what_its_message_names_and_nothing_else(tmp_path):
    tables = duty_room.PLAN.model_dump(mode="json")
    names = [f"site-{n}" for n in range(14)]
    site = tables["site"][duty_room.SITE]
    tables["site"] |= {name: site | {"name": f"{name}下穿道"} for name in names}
    hooks = {"sms": Hook(secret_file="x")}
    async with duty_room.opened(tmp_path, plan.parse(json.dumps(tables)), hooks) as room:
        for name in names:
            await room.find(Level.ORANGE, site=name)
        await room.pass_time(1.1)
        call = await room.call()
        assert len(call.named) == 5
        assert "另有" in call.text
        reply = {"from": call.to, "text": f"{call.answer_code}收到"}
        headers = {"X-Shuichi-Secret": duty_room.SECRET}
        assert (await room.http.post("/hooks/sms", json=reply, headers=headers)).is_success
        assert {line["alert"] for line in await room.lines("answer")} == {*call.named}
