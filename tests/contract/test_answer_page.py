"""The page behind an answer link, asked over HTTP as a phone, a mail scanner and a stranger ask."""

import asyncio
import json
import re
import sqlite3

import pytest

from cloud import database
from cloud.alerts import episodes, plan
from cloud.alerts.alarm import Status
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.rule import Finding, Place
from cloud.alerts.trend import Trend
from tests import duty_room
from tests.duty_room import PLAN, SITE
from wire.messages import Level

YES = {"answer": "yes", "said": "马上到"}


@pytest.fixture
async def room(tmp_path):
    async with duty_room.opened(tmp_path) as opened:
        yield opened


async def test_to_look_is_not_to_answer(room):
    await room.find(Level.RED)
    path = await room.path()
    for method in ("GET", "HEAD", "GET"):
        page = await room.http.request(method, path)
        assert page.status_code == 200
    assert "红色预警：大坪下穿道积水" in page.text
    told = page.text.partition("此前已通知")[2]  # whoever is on duty at this hour
    assert any(one.name in told for one in PLAN.contact.values())
    assert "https://" not in page.text  # nothing from afar, and no link that a preview would follow
    assert await room.phase() == "ringing"
    assert await room.lines("answer") == []
    assert room.woken == 0


async def test_an_answer_counts_once_and_then_says_who_and_when(room):
    await room.find(Level.RED)
    path = await room.path()
    page = await room.http.post(path, data=YES)
    assert page.status_code == 200
    assert "已记录，呼叫已停止" in page.text
    assert await room.phase() == "answered"
    assert room.woken == 1
    (line,) = await room.lines("answer")
    detail = json.loads(line["detail"])
    assert line["text"] == "马上到"
    assert detail["how"] == "link, 127.0.0.1"
    assert not detail["refused"]
    assert "请何岚" in page.text or "请周青" in page.text  # what to do stays in sight
    again = await room.http.post(path, data=YES)
    asked = await room.http.get(path)
    assert (again.status_code, asked.status_code) == (410, 200)
    for one in (again, asked):
        assert PLAN.contact[line["who"]].name in one.text
        assert "20" in one.text.partition("应答人")[2]  # the year of a date
    assert "请报告处置结果" in asked.text
    assert len(await room.lines("answer")) == 1


async def test_who_has_answered_reports_what_was_done(room):
    await room.find(Level.RED)
    path = await room.path()
    early = await room.http.post(path, data={"answer": "closed"})
    assert early.status_code == 422  # not before an answer
    await room.http.post(path, data=YES)
    acting = await room.http.post(path, data={"answer": "acting", "said": "到场"})
    assert (acting.status_code, "结果已记录" in acting.text) == (200, True)
    done = await room.http.post(path, data={"answer": "evacuated", "people": "23"})
    assert done.status_code == 200
    (line,) = await room.lines("result")
    assert json.loads(line["detail"])["people"] == 23
    assert json.loads(line["detail"])["how"] == "link, 127.0.0.1"
    back = await room.http.post(path, data={"answer": "cannot-act"})
    assert back.status_code == 200
    assert await room.phase() == "ringing"


async def test_the_page_shows_how_it_stands_now(room):
    await room.find(Level.RED, value=0.31)
    path = await room.path()

    def rises(connection):
        found = episodes.Present(
            Finding(
                room.now_ms, Level.RED, 1.5, 0.3, "m", "depth", "150 cm of water", "积水约150厘米"
            ),
            Trend.RISING,
        )
        key = episodes.Key("depth", Place("gw", SITE, "ruler-1"))
        episodes.save_present(connection, {key: found})

    await room.database.run(rises)
    page = await room.http.get(path)
    assert "积水约150厘米，仍在上涨" in page.text
    assert "31厘米" not in page.text


async def test_several_alerts_are_ticked_one_by_one(tmp_path):
    tables = PLAN.model_dump(mode="json")
    names = [f"site-{n}" for n in range(9)]
    tables["site"] |= {name: tables["site"][SITE] | {"name": f"{name}下穿道"} for name in names}
    async with duty_room.opened(tmp_path, plan.parse(json.dumps(tables))) as room:
        for name in names:
            await room.find(Level.RED, site=name)
        await room.pass_time(1.1)
        page = await room.http.get(path := await room.path())
        ticks = re.findall('name="alert" value="([^"]+)"', page.text)
        assert len(ticks) > 2
        none = await room.http.post(path, data=YES)
        assert (none.status_code, "尚未勾选" in none.text) == (422, True)
        assert await room.lines("answer") == []
        done = await room.http.post(path, data=YES | {"alert": ticks[:2]})
        assert done.status_code == 200
        assert {line["alert"] for line in await room.lines("answer")} == {*ticks[:2]}
        strange = await room.http.post(path, data=YES | {"alert": ["nothing"]})
        assert strange.status_code == 422
        again = await room.http.get(path)
        assert "已有人应答" in again.text
        assert (await room.http.post(path, data=YES | {"alert": ticks[2:]})).status_code == 200


async def test_a_link_of_long_ago_asks_nothing(room):
    await room.find(Level.RED)
    path = await room.path()
    await room.find(None)
    await room.pass_time(11)
    assert (await room.http.get(path)).status_code == 200
    with connection_of(room) as connection:
        connection.execute("UPDATE call SET made_ms = made_ms - 700000000")
    assert (await room.http.get(path)).status_code == 410


def connection_of(room):
    return sqlite3.connect(room.database.place)


async def test_the_duty_room_can_be_phoned_from_the_page(tmp_path):
    async with duty_room.opened(tmp_path) as room:
        room.dispatch._settings = room.dispatch._settings._replace(duty_phone="023-6300 0000")
        await room.find(Level.RED)
        page = await room.http.get(await room.path())
        assert '<a href="tel:02363000000">023-6300 0000</a>' in page.text


async def test_two_at_the_same_moment_are_one_answer(room):
    await room.find(Level.RED)
    path = await room.path()
    pages = await asyncio.gather(*(room.http.post(path, data=YES) for _ in range(8)))
    assert sorted(page.status_code for page in pages) == [200] + [410] * 7
    assert len(await room.lines("answer")) == 1


async def test_whoever_answers_for_somebody_else_is_named(room):
    await room.find(Level.RED)
    path = await room.path()
    headers = {"X-Forwarded-For": "203.0.113.9, 10.0.0.1"}
    await room.http.post(path, data=YES | {"by": "<b>王五</b>\0"}, headers=headers)
    (line,) = await room.lines("answer")
    assert line["who"] == "<b>王五</b>"
    assert json.loads(line["detail"])["how"] == "link, 127.0.0.1 for 203.0.113.9"
    again = await room.http.get(path)
    assert "&lt;b&gt;王五&lt;/b&gt;" in again.text


async def test_no_is_recorded_and_the_next_tier_is_called_at_once(room):
    await room.find(Level.RED)
    path = await room.path()
    page = await room.http.post(path, data={"answer": "no", "said": "在外地"})
    assert page.status_code == 200
    assert "将继续呼叫" in page.text
    assert await room.phase() == "ringing"
    (line,) = await room.lines("declined")
    assert (line["text"], bool(line["who"])) == ("在外地", True)
    assert len(await room.lines("climbed")) == 1  # at once: nobody else of the tier is left
    before = len(await room.messages())
    await room.pass_time(6)
    assert len(await room.messages()) > before
    assert len(await room.lines("climbed")) == 2
    assert (await room.http.post(path, data=YES)).status_code == 200  # he can, after all


async def test_another_ones_answer_is_shown_and_one_more_is_kept(room):
    await room.find(Level.RED)
    first = await room.path()
    await room.pass_time(6)
    second = await room.path("lu-ming")
    assert first != second
    await room.http.post(first, data=YES)
    page = await room.http.get(second)
    assert page.status_code == 200
    assert "已有人应答" in page.text
    assert (await room.http.post(second, data=YES)).status_code == 200
    assert len(await room.lines("answer")) == 2


async def test_a_wrong_link_says_so_in_the_readers_language(room):
    await room.find(Level.RED)
    path = await room.path()
    for wrong in ("/a/x", "/a/%00%ff.%20", path[:-1], path + "A", "/a/" + "x" * 4000):
        for method in ("GET", "POST"):
            page = await room.http.request(method, wrong, data=None)
            assert page.status_code == 404
            assert "此链接无效" in page.text
    english = await room.http.get("/a/x", headers={"Accept-Language": "en-GB,en;q=0.9"})
    assert "This link is not valid" in english.text
    assert (await room.http.get("/a")).status_code == 404
    assert (await room.http.put(path)).status_code == 405
    assert await room.lines("answer") == []


async def test_the_link_of_an_earlier_warning_is_too_old(room):
    await room.find(Level.ORANGE)
    path = await room.path()
    await room.find(Level.RED)
    for page in (await room.http.get(path), await room.http.post(path, data=YES)):
        assert page.status_code == 409
        assert "情况已升级" in page.text
        assert "大坪下穿道" in page.text
        assert await room.path() in page.text  # it leads to the newest call
    assert await room.phase() == "ringing"
    assert (await room.http.post(await room.path(), data=YES)).status_code == 200


async def test_what_is_over_and_nobody_has_answered_waits_for_an_answer(room):
    await room.find(Level.RED)
    path = await room.path()
    await room.find(None)
    await room.pass_time(11)
    assert await room.phase() == "idle"
    assert (await room.alarm()).process is Status.RETURNED
    page = await room.http.get(path)
    assert page.status_code == 200
    assert "至今无人应答" in page.text
    assert "我已处置" in page.text
    assert "我无法处置" not in page.text
    assert (await room.http.post(path, data=YES)).status_code == 200
    assert (await room.alarm()).process is Status.NORMAL
    assert (await room.http.get(path)).status_code == 410


async def test_an_alert_that_is_over_cannot_be_answered(room):
    await room.find(Level.RED)
    path = await room.path()
    answer = ((await room.alarm()).alert, "Li", "command", "", room.now_ms)
    assert (await room.run(room.dispatch.acknowledge, *answer)).ok
    await room.find(None)
    await room.pass_time(11)
    for page in (await room.http.get(path), await room.http.post(path, data=YES)):
        assert page.status_code == 410
        assert "此预警已结束" in page.text


async def test_a_shelved_alert_can_still_be_answered(room):
    await room.find(Level.RED)
    path = await room.path()
    assert (await room.hold(10)).ok
    assert (await room.http.post(path, data=YES)).status_code == 200


async def test_in_english_for_whoever_reads_english(tmp_path):
    tables = PLAN.model_dump(mode="json")
    for contact in tables["contact"].values():
        contact["language"] = "en"
    async with duty_room.opened(tmp_path, plan.parse(json.dumps(tables))) as room:
        await room.find(Level.ORANGE)
        page = await room.http.get(await room.path())
        assert '<html lang="en">' in page.text
        assert "I have it and am acting" in page.text
        assert "Orange alert" in page.text
        thanks = await room.http.post(await room.path(), data=YES)
        assert "The calls have ended" in thanks.text


async def test_nothing_is_kept_leaked_or_run(room):
    await room.find(Level.RED)
    path = await room.path()
    for page in (
        await room.http.get(path),
        await room.http.get("/a/x"),
        await room.http.post(path, data=YES),
        await room.http.get(path),
    ):
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script" not in page.text
        assert "server" not in page.headers
    for path in ("/docs", "/redoc", "/openapi.json", "/"):
        assert (await room.http.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"answer=yes&said=" + b"x" * 70_000, 413),
        (b"", 422),
        (b"answer=maybe", 422),
        (b"\xff\xfe\x00answer", 422),
        (b"{}", 422),
        (b"&=;%%%=\x00", 422),
    ],
)
async def test_a_body_that_is_none_answers_nothing(room, body, status):
    await room.find(Level.RED)
    page = await room.http.post(await room.path(), content=body)
    assert page.status_code == status
    assert "<h1>" in page.text
    assert await room.phase() == "ringing"


async def test_a_body_that_is_cut_off_answers_nothing(room, caplog):
    await room.find(Level.RED)
    path, url = await room.path(), room.http.base_url
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nanswer=yes"
    writer.write(head.encode())
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await writer.wait_closed()
    assert (await room.http.get(path)).status_code == 200
    assert await room.phase() == "ringing"
    assert "Traceback" not in caplog.text


async def test_long_words_are_cut_and_not_refused(room):
    await room.find(Level.RED)
    await room.http.post(await room.path(), data=YES | {"said": "长" * 2000, "by": "n" * 500})
    (line,) = await room.lines("answer")
    assert (len(line["text"]), len(line["who"])) == (500, 80)


async def test_a_state_that_does_not_answer_is_said_and_answers_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED)
        path = await room.path()
        other = sqlite3.connect(tmp_path / "cloud.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            page = await room.http.post(path, data=YES)
        finally:
            other.close()
        assert page.status_code == 503
        assert "您的应答尚未记录" in page.text
        assert await room.phase() == "ringing"
        assert (await room.http.post(path, data=YES)).status_code == 200


async def test_the_page_of_an_exercise_says_that_it_is_one(room):
    exercise = room.dispatch.exercise
    place = (SITE, Hazard.UNDERPASS)
    await room.run(exercise, *place, Level.RED, Stage.NOW, room.now_ms)
    await room.deliver()
    path = await room.path()
    page = await room.http.get(path)
    assert "【演练】红色预警：大坪下穿道积水" in page.text
    assert "【演练】" in (await room.http.post(path, data=YES)).text
    assert "【演练】" in (await room.http.get(path)).text
