"""Duty over HTTP, and its feed for calendar programs."""

from datetime import datetime, timedelta

import pytest

from cloud.alerts import rosterchild, rosterfile
from cloud.alerts.roster import MOST_BYTES
from tests import duty_room
from tests.duty_room import PLAN, TOKEN
from wire.messages import Level

BEARER = {"Authorization": f"Bearer {TOKEN}"}
GRID = "daping-shiqiao-3"
FEED = "word-for-calendars"


@pytest.fixture
async def room(tmp_path):
    tokens = {"screen": "another token"}
    async with duty_room.opened(tmp_path, tokens=tokens, calendar_token=FEED) as opened:
        opened.http.headers.update(BEARER)
        yield opened


async def grid(room, **asked):
    answer = await room.http.get("/api/duty", params={"area": GRID, **asked})
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["areas"]
    return one


async def test_a_cover_is_made_counts_at_once_is_listed_and_removed(room):
    cover = {"contact": "bai-ning", "area": GRID, "instead": True, "until": "+12h", "by": "Wang"}
    answer = await room.http.post("/api/duty/cover", json=cover)
    assert (answer.status_code, answer.json()["numbers"], room.woken) == (200, [1], 1)
    assert (await grid(room))["on_duty"] == ["bai-ning"]
    await room.find(Level.RED)
    assert (await room.call("bai-ning")).link  # the contact who covers the area is called
    (one,) = (await room.http.get("/api/duty/changes")).json()
    assert (one["by"], one["how"].split(",")[0], one["stands"]) == ("Wang", "API", "in force")
    answer = await room.http.post("/api/duty/changes/1/remove", json={"by": "Zhao"})
    assert answer.json()["lines"] == ["1 is removed"]
    assert (await room.http.get("/api/duty/changes")).json() == []
    (one,) = (await room.http.get("/api/duty/changes", params={"all": "true"})).json()
    assert one["stands"].startswith("removed")
    assert "bai-ning" not in (await grid(room))["on_duty"]


async def test_the_same_in_postgresql(tmp_path, shared_postgres, monkeypatch):
    # No process each time.
    monkeypatch.setattr(rosterchild, "read", lambda *given: rosterfile.read(*given[:4]))
    place = shared_postgres.database("duty")
    async with duty_room.opened(tmp_path, place=place) as room:
        room.http.headers.update(BEARER)
        await test_a_cover_is_made_counts_at_once_is_listed_and_removed(room)
        answer = await room.http.get(f"/api/duty/calendar?area={GRID}&until=+7d")
        asked = {"by": "Wang", "name": "\0\u2028x"}
        for numbers in (True, False):
            made = await room.http.post("/api/duty/import", params=asked, content=answer.content)
            assert (made.status_code, bool(made.json()["numbers"])) == (200, numbers)


async def test_an_absence_and_a_swap_with_the_program_that_made_them(room):
    headers = {"Authorization": "Bearer another token"}
    absence = {"contact": "he-lan", "until": "+2d", "by": "Wang", "said": "ill"}
    made = await room.http.post("/api/duty/absence", json=absence, headers=headers)
    assert made.json()["lines"][0].startswith("1: 何岚 (he-lan) is absent from ")
    assert [one["contact"] for one in (await grid(room))["away"]] == ["he-lan"]
    assert (await grid(room, at="+3d"))["away"] == []
    day = f"{datetime.now(PLAN.zone) + timedelta(days=20):%Y-%m-%d}"
    swap = {"first": "dongjiang-duty-day", "second": "dongjiang-duty-night", "on": day, "by": "W"}
    assert (await room.http.post("/api/duty/swap", json=swap)).json()["numbers"] == [2, 3]
    (first, _, last) = (await room.http.get("/api/duty/changes")).json()
    assert last["swap"] == 2
    assert first["how"].startswith("API (screen)")


HOUR = {"until": "+1h", "by": "W"}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("absence", {"contact": "he-lann", **HOUR}, 422, "did you mean 'he-lan'"),
        ("absence", {"contact": "he-lan", "until": "+1h", "by": " "}, 422, "by"),
        ("absence", {"contact": "he-lan", "by": "W"}, 422, "until"),
        ("cover", {"contact": "he-lan", "for": "he-lan", **HOUR}, 422, "themselves"),
        ("cover", {"contact": "he-lan", "nonsense": 1, **HOUR}, 422, "nonsense"),
        ("changes/1/remove", {"by": "W"}, 422, "there is no change 1"),
        ("changes/x/remove", {"by": "W"}, 404, "there is no change"),
        ("changes/99999999999999999999/remove", {"by": "W"}, 404, "there is no change"),
    ],
)
async def test_mistakes_are_told(room, path, body, status, says):
    answer = await room.http.post(f"/api/duty/{path}", json=body)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert (await room.http.get("/api/duty/changes")).json() == []
    nobody = {"Authorization": ""}
    closed = await room.http.post(f"/api/duty/{path}", json=body, headers=nobody)
    assert closed.status_code == 401


async def test_questions_that_cannot_be_answered(room):
    for asked in ({"area": "x"}, {"site": "x"}, {"at": "x"}, {"area": GRID, "site": "x"}):
        assert (await room.http.get("/api/duty", params=asked)).status_code == 422
    for asked in ({}, {"area": GRID, "until": "+9999d"}, {"contact": "x"}):
        assert (await room.http.get("/api/duty/calendar", params=asked)).status_code == 422


async def test_a_calendar_goes_out_and_comes_in(room):
    answer = await room.http.get(f"/api/duty/calendar?area={GRID}&until=+7d")
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    assert answer.content.startswith(b"BEGIN:VCALENDAR")
    asked = {"by": "Wang", "name": "back.ics", "dry_run": "true"}
    made = await room.http.post("/api/duty/import", params=asked, content=answer.content)
    assert "何岚 (he-lan) has" in made.json()["lines"][0]
    assert (await room.http.get("/api/duty/changes")).json() == []
    for params, content, status in (
        ({}, answer.content, 422),
        ({"by": "Wang"}, b"nonsense", 422),
        ({"by": "Wang"}, b" " * (MOST_BYTES + 1), 413),
    ):
        refused = await room.http.post("/api/duty/import", params=params, content=content)
        assert refused.status_code == status


async def test_the_feed_is_for_who_has_its_address(room):
    del room.http.headers["Authorization"]
    path = f"/duty/{FEED}/area/{GRID}.ics"
    answer = await room.http.get(path)
    assert (answer.status_code, answer.content.count(b"BEGIN:VEVENT") > 50) == (200, True)
    again = await room.http.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await room.http.get(f"/duty/{FEED}/contact/he-lan.ics")).status_code == 200
    for token, what in (("x", f"area/{GRID}"), (FEED, "area/x"), (FEED, "x/he-lan")):
        assert (await room.http.get(f"/duty/{token}/{what}.ics")).status_code == 404


async def test_without_a_word_there_is_no_feed(tmp_path):
    async with duty_room.opened(tmp_path) as room:
        for word in ("", "x"):
            assert (await room.http.get(f"/duty/{word}/area/{GRID}.ics")).status_code == 404
