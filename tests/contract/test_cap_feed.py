"""The CAP feed over HTTP: who has it already is told so, and nobody misses anything by that."""

from email.utils import formatdate
from itertools import count
from xml.etree import ElementTree

import pytest

from cloud.alerts import cap, capfeed
from cloud.web import warnings
from tests import caprules, duty_room
from tests.contract.test_press import PLACE, PUBLISHER, SETTINGS, placed
from tests.duty_room import URL
from wire.messages import Level


@pytest.fixture
async def room(tmp_path):
    async with duty_room.opened(tmp_path, placed(**PLACE), settings=SETTINGS) as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch):
    """What the web takes for now, some seconds later than it is."""
    now = cap.HOUR_MS // 3600 * 5
    monkeypatch.setattr(warnings, "_now_ms", lambda: real() + now)
    return now


real = warnings._now_ms


async def name_of(room):
    rows = await room.rows("cap_document")
    return max(rows, key=lambda row: row["number"])["identifier"]


async def test_a_poll_that_brings_nothing_new_is_answered_with_304(room, clock):
    await room.find(Level.RED)
    for path, kind in (
        ("/cap", "application/atom+xml"),
        (f"/cap/{await name_of(room)}", "application/cap+xml"),
    ):
        first = await room.http.get(path)
        assert first.headers["Content-Type"] == kind
        assert first.headers["Cache-Control"] == "no-cache"
        tag, changed = first.headers["ETag"], first.headers["Last-Modified"]
        for headers in (
            {"If-None-Match": tag},
            {"If-None-Match": f'"x", W/{tag}'},
            {"If-None-Match": "*"},
            {"If-Modified-Since": changed},
            {"If-None-Match": tag, "If-Modified-Since": formatdate(0, usegmt=True)},
        ):
            again = await room.http.get(path, headers=headers)
            assert (again.status_code, again.content) == (304, b"")
            assert (again.headers["ETag"], again.headers["Last-Modified"]) == (tag, changed)
        for headers in (
            {"If-None-Match": '"x"'},
            {"If-None-Match": '"x"', "If-Modified-Since": changed},  # the tag counts
            {"If-Modified-Since": formatdate(0, usegmt=True)},
            {"If-Modified-Since": "yesterday"},
            {"If-Modified-Since": ""},
        ):
            again = await room.http.get(path, headers=headers)
            assert (again.status_code, again.content) == (200, first.content)


async def test_head_says_what_get_would_say(room, clock):
    await room.find(Level.RED)
    for path in ("/cap", f"/cap/{await name_of(room)}"):
        whole, head = await room.http.get(path), await room.http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        for key in ("ETag", "Last-Modified", "Content-Type", "Content-Length", "Cache-Control"):
            assert head.headers[key] == whole.headers[key]
        tag = {"If-None-Match": whole.headers["ETag"]}
        assert (await room.http.head(path, headers=tag)).status_code == 304
    assert (await room.http.head("/cap/none")).status_code == 404
    assert (await room.http.post("/cap")).status_code == 405


async def test_every_change_has_a_tag_of_its_own(room):
    """Within one second, as a storm brings them."""
    tags, bodies = set(), set()
    for level in (None, Level.ORANGE, Level.RED):
        if level is not None:
            await room.find(level)
        answer = await room.http.get("/cap")
        assert caprules.broken_feed(answer.content) == []
        tags.add(answer.headers["ETag"])
        bodies.add(answer.content)
    assert len(tags) == len(bodies) == 3


async def test_what_changed_a_moment_ago_has_no_time_by_which_one_could_miss_the_next(room):
    await room.find(Level.ORANGE)
    fresh = await room.http.get("/cap")
    assert "Last-Modified" not in fresh.headers
    later = {"If-Modified-Since": formatdate(real() / 1000 + 3600, usegmt=True)}
    await room.find(Level.RED)
    assert (await room.http.get("/cap", headers=later)).status_code == 200


async def test_what_has_ended_by_itself_is_gone_though_nobody_took_it_out(room, monkeypatch):
    await room.find(Level.RED)
    before = await room.http.get("/cap")
    monkeypatch.setattr(warnings, "_now_ms", lambda: real() + 7 * cap.HOUR_MS)
    after = await room.http.get("/cap", headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert ElementTree.fromstring(after.content).find("a:entry", caprules.NS) is None
    assert caprules.broken_feed(after.content) == []
    since = {"If-Modified-Since": formatdate(real() / 1000 + 60, usegmt=True)}
    assert (await room.http.get("/cap", headers=since)).status_code == 200
    assert (await room.http.get(f"/cap/{await name_of(room)}")).status_code == 200


async def test_the_feed_is_made_once_for_all_who_poll(room, monkeypatch):
    made, counted = cap.feed, count()
    monkeypatch.setattr(
        cap, "feed", lambda *given, **named: (next(counted), made(*given, **named))[1]
    )
    await room.find(Level.RED)
    for _ in range(5):
        assert (await room.http.get("/cap")).status_code == 200
    await room.find(Level.ORANGE)
    await room.pass_time(11)
    for _ in range(5):
        assert b"Severe" in (await room.http.get("/cap")).content
    assert next(counted) == 2


async def test_documents_link_to_the_page_of_the_publisher(tmp_path):
    page = "https://www.flood.example/now"
    settings = SETTINGS._replace(publisher=PUBLISHER.model_copy(update={"web": page}))
    async with duty_room.opened(tmp_path, placed(**PLACE), settings=settings) as room:
        await room.find(Level.RED)
        answer = await room.http.get(f"/cap/{await name_of(room)}")
        assert caprules.said(ElementTree.fromstring(answer.content), "info/web") == page
        feed = ElementTree.fromstring((await room.http.get("/cap")).content)
        links = [one.attrib["rel"] for one in feed.findall("a:link", caprules.NS)]
        assert links == ["self", "alternate"]


async def test_a_feed_that_would_be_too_large_only_links_to_the_documents(room, monkeypatch):
    monkeypatch.setattr(capfeed, "LARGEST", 1000)
    await room.find(Level.RED)
    root = ElementTree.fromstring((await room.http.get("/cap")).content)
    assert root.find("a:entry/a:content", caprules.NS) is None
    (link,) = root.findall("a:entry/a:link", caprules.NS)
    answer = await room.http.get(link.attrib["href"].removeprefix(URL))
    assert caprules.SCHEMA.is_valid(answer.text)
