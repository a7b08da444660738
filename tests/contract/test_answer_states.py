"""What an answer page says as events go on: after a rise, a second call, an end, our own fault."""

import json
import re

import pytest
from starlette.exceptions import HTTPException

from cloud.alerts import plan
from cloud.alerts.hazard import Hazard, Stage
from cloud.web import calls
from tests import duty_room
from tests.duty_room import PLAN, SITE
from tests.pageparts import Parts
from wire.messages import Level

YES = {"answer": "yes"}
DETOUR = "绕行"
DEADLINE = re.compile("前应答。|请立即应答")


@pytest.fixture
async def room(tmp_path):
    async with duty_room.opened(tmp_path) as opened:
        yield opened


def ticks(page):
    return re.findall('name="alert" value="([^"]+)"', page.text)


async def several(room, number=3):
    """So many red sites in one call of one person; the path of its page."""
    for n in range(9):
        await room.find(Level.RED, site=f"site-{n}")
    await room.pass_time(1.1)
    path = await room.path()
    assert len(ticks(await room.http.get(path))) >= number
    return path


def plan_of_sites():
    tables = PLAN.model_dump(mode="json")
    named = {f"site-{n}": tables["site"][SITE] | {"name": f"{n}号下穿道"} for n in range(9)}
    return plan.parse(json.dumps(tables | {"site": tables["site"] | named}))


async def test_the_page_after_an_answer_keeps_the_order_and_asks_what_was_done(room):
    await room.find(Level.RED)
    path = await room.path()
    before = await room.http.get(path)
    assert DEADLINE.search(before.text)
    thanks = await room.http.post(path, data=YES)
    twice = await room.http.post(path, data=YES)
    for page in (thanks, twice, await room.http.get(path)):
        assert DETOUR in page.text
        assert not DEADLINE.search(page.text)
        assert {one.get("value") for one in Parts(page.text).all("button")} >= {"closed", "done"}
    assert (thanks.status_code, twice.status_code) == (200, 410)


async def test_a_used_link_after_a_rise_leads_to_the_newest_call(room):
    await room.find(Level.ORANGE)
    path = await room.path()
    await room.http.post(path, data=YES)
    await room.find(Level.RED)
    await room.pass_time(1.1)  # the same person has been called just now
    newest = await room.path()
    assert newest != path
    for page in (await room.http.get(path), await room.http.post(path, data=YES)):
        assert page.status_code == 409
        assert "情况已升级" in page.text
        assert "已有应答" not in page.text
        assert f'href="{newest}"' in page.text
        assert "红色预警" in page.text
    assert (await room.http.post(newest, data=YES)).status_code == 200
    old = await room.http.get(path)  # whoever has answered finds how to report
    assert f'href="{newest}"' in old.text
    assert "应答人" in old.text


async def test_who_is_called_again_is_not_told_that_it_is_worse(room):
    await room.find(Level.RED)
    path = await room.path()
    await room.http.post(path, data=YES)
    back = await room.http.post(path, data={"answer": "cannot-act"})
    assert "将继续呼叫" in back.text
    assert f'href="{path}"' in back.text
    page = await room.http.get(path)
    assert page.status_code == 409
    assert "已重新呼叫" in page.text
    assert "升级" not in page.text


async def test_what_is_over_gives_no_order(room):
    await room.find(Level.RED)
    path = await room.path()
    await room.find(None)
    await room.pass_time(11)
    asked = Parts((await room.http.get(path)).text).text
    assert asked.index("险情已解除") < asked.index("当时的预警") < asked.index(DETOUR)
    done = await room.http.post(path, data=YES)
    assert done.status_code == 200
    over = await room.http.get(path)
    assert (over.status_code, "此预警已结束" in over.text) == (410, True)
    for page in (done, over):
        assert DETOUR not in page.text
        assert not DEADLINE.search(page.text)
        assert "大坪下穿道" in page.text


async def test_an_exercise_says_so_on_every_page(room):
    exercise = (SITE, Hazard.UNDERPASS, Level.RED, Stage.NOW)
    await room.run(room.dispatch.exercise, *exercise, room.now_ms)
    await room.deliver()
    path = await room.path()
    for page in (
        await room.http.get(path),
        await room.http.post(path, data=YES),
        await room.http.post(path, data={"answer": "closed"}),
        await room.http.post(path, data={"answer": "cannot-act"}),
        await room.http.get(path),
    ):
        assert Parts(page.text).text.startswith("演练，并非真实险情")


async def test_of_several_some_are_answered_and_each_has_its_own_result(tmp_path):
    async with duty_room.opened(tmp_path, plan_of_sites()) as room:
        path = await several(room)
        all_of_them = ticks(await room.http.get(path))
        some = await room.http.post(path, data=YES | {"alert": all_of_them[:1]})
        assert "其余仍在等待应答" in some.text
        await room.http.post(path, data=YES | {"alert": all_of_them[1:]})
        asked = await room.http.get(path)
        assert ticks(asked) == all_of_them
        closed = {"answer": "closed"}
        assert (await room.http.post(path, data=closed)).status_code == 422
        assert await room.lines("result") == []
        given = await room.http.post(path, data=closed | {"alert": all_of_them[1]})
        assert "结果已记录" in given.text
        assert [line["alert"] for line in await room.lines("result")] == [all_of_them[1]]
        assert given.text.count("报告：已封路") == 1


async def test_what_is_ticked_is_all_that_is_answered_though_the_list_has_become_shorter(tmp_path):
    async with duty_room.opened(tmp_path, plan_of_sites()) as room:
        path = await several(room, 2)
        asked = ticks(await room.http.get(path))
        ended, *rest = asked
        for alert in rest[:-1]:  # two are left
            await room.http.post(path, data=YES | {"alert": alert})
            await room.find(None, site=alert.split(".")[0])
        await room.find(None, site=ended.split(".")[0])
        await room.pass_time(11)
        assert ticks(await room.http.get(path)) == []  # one is left
        before = len(await room.lines("answer"))
        await room.http.post(path, data=YES | {"alert": rest[-1]})
        after = (await room.lines("answer"))[before:]
        assert [line["alert"] for line in after] == [rest[-1]]


@pytest.mark.parametrize(
    ("people", "number", "said"),
    [
        ("23", 23, ""),
        ("２３", 23, ""),
        ("约20人", 20, "约20人"),
        ("很多", None, "很多"),
        ("1234567", None, "1234567"),
        ("", None, ""),
    ],
)
async def test_how_many_people_is_understood_or_kept_as_it_was_written(room, people, number, said):
    await room.find(Level.RED)
    path = await room.path()
    await room.http.post(path, data=YES)
    done = await room.http.post(path, data={"answer": "evacuated", "people": people})
    assert done.status_code == 200
    (line,) = await room.lines("result")
    assert json.loads(line["detail"]).get("people") == number
    assert line["text"] == said


async def test_a_button_that_is_none_of_ours_records_nothing_and_says_so(room):
    await room.find(Level.RED)
    path = await room.path()
    page = await room.http.post(path, data={"answer": "maybe"})
    assert page.status_code == 422
    assert 'role="alert">尚未记录' in page.text


@pytest.mark.parametrize("tongue", ["zh", "en"])
async def test_what_goes_wrong_has_a_page_with_the_number_of_the_duty_room(
    room, tongue, monkeypatch
):
    room.dispatch._settings = room.dispatch._settings._replace(duty_phone="023-6300 0000")
    await room.find(Level.RED)
    path = await room.path()
    headers = {"Accept-Language": tongue}

    def broken(*_, **__):
        raise RuntimeError("a fault of ours")

    unknown = await room.http.get("/a/x", headers=headers)
    long = await room.http.post(path, content=b"x" * 70_000, headers=headers)
    monkeypatch.setattr(calls, "find", broken)
    seen = await room.http.get(path, headers=headers)
    said = await room.http.post(path, data=YES, headers=headers)
    other = await room.http.get("/x")
    monkeypatch.undo()
    assert [page.status_code for page in (unknown, long, seen, said)] == [404, 413, 500, 500]
    heads = {
        "zh": ["此链接无效", "无法识别您的应答", "暂时无法显示", "暂时无法记录"],
        "en": ["This link is not valid", "cannot be read", "cannot be shown", "cannot be recorded"],
    }[tongue]
    for page, head in zip((unknown, long, seen, said), heads, strict=True):
        assert head in page.text
        assert '<a href="tel:02363000000">' in page.text
        assert "RuntimeError" not in page.text
        assert page.headers["Cache-Control"] == "no-store"
    assert other.headers["Content-Type"] == "application/json"
    assert await room.phase() == "ringing"


@pytest.mark.parametrize(
    ("status", "head"), [(429, "暂时无法"), (408, "暂时无法"), (403, "无法识别")]
)
async def test_who_is_to_try_again_is_told_so(room, status, head, monkeypatch):
    await room.find(Level.RED)
    path = await room.path()

    def refused(*_, **__):
        raise HTTPException(status, "too many requests")

    monkeypatch.setattr(calls, "find", refused)
    for page in (await room.http.get(path), await room.http.post(path, data=YES)):
        assert page.status_code == status
        assert head in page.text
        assert "too many requests" not in page.text
