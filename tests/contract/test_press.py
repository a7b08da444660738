"""What the public is told as an alert goes, and the feed of it."""

from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import xmlschema

from cloud import config
from cloud.alerts import cap, plan
from cloud.alerts.cap import Publisher
from cloud.alerts.dispatch import Settings
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import AlarmKey
from cloud.channels import Message
from cloud.web.settings import Hook
from configs import loader
from configs.loader import ConfigError
from tests import duty_room
from tests.conftest import ROOT
from tests.duty_room import PLAN, SITE, URL
from wire.messages import Level

SCHEMA = xmlschema.XMLSchema(ROOT / "tests" / "unit" / "cap-1.2.xsd")
NS = {"c": cap.NAMESPACE, "a": cap.ATOM}
PUBLISHER = Publisher(sender="water.example", name="防汛办", name_en="Flood office")
SETTINGS = Settings(answer_url=URL, publisher=PUBLISHER, cap_channels=("warnings",))
KEY = AlarmKey(SITE, Hazard.UNDERPASS)
PLACE = {
    "polygon": "29.551,106.512 29.552,106.514 29.550,106.515",
    "circle": "29.551,106.512 0.3",
    "geocode": {"GB/T 2260": "500103"},
}


def placed(**place):
    """The example plan, with a place for the underpass."""
    tables = PLAN.model_dump(mode="json", exclude_none=True)
    tables["site"][SITE] |= place
    return loader.parse(tables, plan.Plan, "plan.toml", plan.faults)


@pytest.fixture
async def room(tmp_path):
    async with duty_room.opened(tmp_path, placed(**PLACE), settings=SETTINGS) as opened:
        yield opened


async def documents(room):
    rows = await room.rows("cap_document")
    rows.sort(key=lambda row: (row["alert"], row["number"]))
    for row in rows:
        SCHEMA.validate(row["document"].decode())
    return [ElementTree.fromstring(row["document"]) for row in rows]


def said(root, path):
    return root.findtext(path, "", NS)


async def feed(room) -> Any:
    answer = await room.http.get("/cap")
    assert answer.headers["Content-Type"] == "application/atom+xml"
    return ElementTree.fromstring(answer.content)


async def identifiers(room):
    """Of what is in force."""
    return [
        said(one, "a:content/c:alert/c:identifier")
        for one in (await feed(room)).iterfind("a:entry", NS)
    ]


async def test_raise_rise_fall_end(room):
    assert await identifiers(room) == []
    await room.find(Level.ORANGE)
    (first,) = await documents(room)
    alert = (await room.rows("escalation"))[0]["alert"]
    assert said(first, "c:identifier") == f"{alert}.1"
    assert [said(first, f"c:{tag}") for tag in ("msgType", "status", "sender")] == [
        "Alert",
        "Actual",
        "water.example",
    ]
    chinese, english = first.findall("c:info", NS)
    assert said(chinese, "c:headline") == "橙色预警：大坪下穿道积水"
    assert said(english, "c:headline") == "Orange alert: flooding at Daping underpass"
    assert "34 cm of water" in said(english, "c:description")
    assert said(english, "c:senderName") == "Flood office"
    assert said(chinese, "c:area/c:areaDesc") == "大坪下穿道"
    corners = said(chinese, "c:area/c:polygon").split()
    assert (len(corners), corners[0]) == (4, corners[-1])
    assert said(chinese, "c:area/c:circle") == "29.551,106.512 0.3"
    assert said(chinese, "c:area/c:geocode/c:value") == "500103"
    assert "何岚" not in ElementTree.tostring(first, "unicode")  # no names of people
    assert await identifiers(room) == [f"{alert}.1"]

    await room.find(Level.RED)
    await room.find(Level.RED, value=0.4)  # worse water, the same level: nothing new
    _, second = await documents(room)
    assert said(second, "c:msgType") == "Update"
    assert said(second, "c:references").split()[0].startswith(f"water.example,{alert}.1,")
    assert said(second, "c:info/c:severity") == "Extreme"
    assert await identifiers(room) == [f"{alert}.2"]

    await room.find(Level.ORANGE)
    await room.pass_time(11)
    *_, third = await documents(room)
    assert said(third, "c:info/c:headline") == "降为橙色预警：大坪下穿道积水"
    assert len(said(third, "c:references").split()) == 2

    await room.find(None)
    await room.pass_time(11)
    *_, last = await documents(room)
    assert said(last, "c:msgType") == "Cancel"
    assert len(said(last, "c:references").split()) == 3
    assert said(last, "c:info/c:responseType") == "AllClear"
    assert await identifiers(room) == [f"{alert}.4"]  # whoever polls learns of the end
    assert (await room.http.get(f"/cap/{alert}.2")).content.count(b"Update") == 1

    await room.find(Level.RED)  # nobody has answered: it is the same episode
    *_, again = await documents(room)
    assert (said(again, "c:identifier"), said(again, "c:msgType")) == (f"{alert}.5", "Alert")
    assert await identifiers(room) == [f"{alert}.5", f"{alert}.4"]


async def test_the_links_of_the_feed_lead_to_the_documents(room):
    await room.find(Level.RED)
    root = await feed(room)
    sent = said(root, "a:entry/a:updated")
    assert said(root, "a:updated") == sent  # and not the time at which it is asked
    link = root.find("a:entry/a:link", NS)
    own = root.find("a:link", NS)
    assert said(root, "a:title") == "防汛办"
    assert own.attrib["href"] == f"{URL}/cap"
    answer = await room.http.get(link.attrib["href"].removeprefix(URL))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/cap+xml")
    SCHEMA.validate(answer.text)
    assert (await room.http.get("/cap/none")).status_code == 404


async def test_each_document_is_pushed_once_and_people_get_none(room):
    await room.find(Level.ORANGE)
    await room.find(Level.RED)
    pushed = [
        msgspec.json.decode(row["message"], type=Message)
        for row in await room.rows("outgoing", channel="warnings")
    ]
    assert len({one.key for one in pushed}) == 2
    assert [b"Update" in (one.cap or b"") for one in pushed] == [False, True]
    others = [one for one in await room.messages() if one.cap is not None]
    assert len(others) == 2
    path = await room.path()
    await room.http.post(path, data={"answer": "yes"})
    rows = await room.rows("outgoing", channel="warnings")
    assert {row["outcome"] for row in rows} == {"delivered"}  # an answer takes none back


async def test_an_exercise_is_one_in_the_document_too(room):
    await room.run(
        room.dispatch.exercise, SITE, Hazard.UNDERPASS, Level.RED, Stage.NOW, room.now_ms
    )
    (document,) = await documents(room)
    assert said(document, "c:status") == "Exercise"
    assert said(document, "c:info/c:headline").startswith("【演练】")
    assert said(document, "c:identifier").endswith(".exercise.1")
    (row,) = await room.rows("outgoing", channel="warnings")
    assert msgspec.json.decode(row["message"], type=Message).exercise


async def test_what_is_held_back_tells_nothing_new_until_it_ends(room):
    await room.find(Level.ORANGE)
    assert (await room.hold()).ok
    await room.find(Level.RED)
    assert len(await documents(room)) == 1
    assert len(await identifiers(room)) == 1  # nobody has said that the road is safe
    assert (await room.release(1)).ok
    assert [said(one, "c:msgType") for one in await documents(room)] == ["Alert", "Update"]
    assert (await room.hold()).ok
    await room.find(None)
    await room.pass_time(11)
    (name,) = await identifiers(room)
    assert b"<msgType>Cancel" in (await room.http.get(f"/cap/{name}")).content


async def test_of_equipment_the_public_is_told_nothing(room):
    await room.find(Level.RED, hazard=Hazard.EQUIPMENT, rule="lamp")
    assert await documents(room) == []


async def test_the_same_in_postgresql(tmp_path, shared_postgres):
    place = shared_postgres.database("press")
    hooks = {"sms": Hook(secret_file="x")}
    async with duty_room.opened(tmp_path, PLAN, hooks, settings=SETTINGS, place=place) as room:
        await room.find(Level.ORANGE)
        await room.find(Level.RED)
        assert [said(one, "c:msgType") for one in await documents(room)] == ["Alert", "Update"]
        assert len(await identifiers(room)) == 1
        call = await room.call()
        reply = {"from": call.to, "text": f"{call.answer_code}\0收到"}
        headers = {"X-Shuichi-Secret": duty_room.SECRET}
        for _ in range(2):
            assert (await room.http.post("/hooks/sms", json=reply, headers=headers)).is_success
        assert await room.phase() == "answered"
        page = await room.http.get(await room.path())
        assert (page.status_code, "请报告处置结果" in page.text) == (200, True)


async def test_without_a_publisher_there_is_nothing(tmp_path):
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED)
        assert await room.rows("cap_document") == []
        assert (await room.http.get("/cap")).status_code == 404


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"polygon": "29.5,106.5 29.6,106.5"}, "three corners"),
        ({"polygon": "29.5 106.5 29.6"}, "is not such as"),
        ({"polygon": "x,106.5 1,2 3,4"}, "'x' is no number"),
        ({"polygon": "106.5,29.5 106.6,29.5 106.6,29.6"}, "no latitude and longitude"),
        ({"circle": "29.5,106.5"}, "the radius in km"),
        ({"circle": "29.5,106.5 -1"}, "no radius"),
        ({"circle": "29.5,106.5 nan"}, "no radius"),
        ({"geocode": {"GB/T 2260": ""}}, "geocode"),
    ],
)
def test_a_place_that_is_none_is_told(place, says):
    with pytest.raises(ConfigError, match=says):
        placed(**place)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[channel.c]\nkind = "cap"\nurl = "https://a.example"', "cap"),
        ('[cap]\nsender = "a.example"\n[web]', "alerts.answer_url"),
        ('[hook.h]\nsecret_file = "x"', "web"),
        ('[cap]\nsender = "a b"', "cap.sender"),
    ],
)
def test_a_config_that_could_not_publish_is_refused(tmp_path, text, key):
    file = tmp_path / "cloud.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.read(file)
    assert [fault.key for fault in caught.value.faults] == [key]
