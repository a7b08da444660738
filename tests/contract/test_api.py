"""The API and the server, over HTTP."""

import asyncio
import socket

import pytest

from cloud import config, outside
from cloud.errors import Unavailable
from cloud.web import server
from cloud.web.settings import Web
from tests import duty_room
from tests.duty_room import SITE, TOKEN
from tests.services import free_port
from wire.messages import Level

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def room(tmp_path):
    async with duty_room.opened(tmp_path) as opened:
        opened.http.headers.update(BEARER)
        yield opened


async def alert_of(room):
    (one,) = (await room.http.get("/api/alerts")).json()
    return one


async def test_it_tells_what_stands_and_how_it_went(room):
    assert (await room.http.get("/api/alerts")).json() == []
    await room.find(Level.RED)
    one = await alert_of(room)
    assert (one["site"], one["level"], one["phase"]) == (SITE, "red", "ringing")
    answer = await room.http.get(f"/api/alerts/{one['id']}")
    assert [line["kind"] for line in answer.json()][:2] == ["incident", "rise"]
    assert answer.headers["Cache-Control"] == "no-store"
    (incident,) = (await room.http.get("/api/incidents")).json()
    assert incident["alerts"] == [one["id"]]


async def test_an_acknowledgement_ends_the_calls(room):
    await room.find(Level.RED)
    path = f"/api/alerts/{(await alert_of(room))['id']}/ack"
    answer = await room.http.post(path, json={"by": "Li", "said": "on my way"})
    assert (answer.status_code, answer.json()["ok"]) == (200, True)
    assert await room.phase() == "answered"
    (line,) = await room.lines("answer")
    assert (line["who"], line["text"]) == ("Li", "on my way")
    assert (await room.http.post(path, json={"by": "Wu"})).status_code == 200  # one more person
    await room.find(None)
    await room.pass_time(11)
    over = await room.http.post(path, json={"by": "Li"})
    assert (over.status_code, over.json()["error"]) == (409, "there is nothing to answer")
    listed = (await room.http.get("/api/alerts?all=true")).json()
    assert [one["is_open"] for one in listed] == [False]


async def test_shelve_and_unshelve(room):
    await room.find(Level.ORANGE)
    path = f"/api/alerts/{(await alert_of(room))['id']}"
    answer = await room.http.post(f"{path}/shelve", json={"by": "Li", "minutes": 30})
    assert answer.json() == {"ok": True, "text": "shelved"}
    assert (await alert_of(room))["status"] == "shelved"
    low = {"by": "Li", "minutes": 30, "up_to": "blue"}
    assert (await room.http.post(f"{path}/shelve", json=low)).status_code == 409
    answer = await room.http.post(f"{path}/unshelve", json={"by": "Li", "reason": "done"})
    assert answer.json()["text"] == "active-unacknowledged"
    again = await room.http.post(f"{path}/unshelve", json={"by": "Li"})
    assert again.status_code == 409
    day = {"by": "Li", "minutes": 2000}
    refused = await room.http.post(f"{path}/shelve", json=day)
    assert (refused.status_code, "24 h at most" in refused.json()["error"]) == (409, True)


async def test_holds(room):
    await room.find(Level.ORANGE)
    given = {"by": "Li", "reason": "power works", "area": "daping", "minutes": 60}
    answer = await room.http.post("/api/holds", json=given)
    assert (answer.status_code, answer.json()["text"][:20]) == (200, "hold 1: area daping,")
    (one,) = (await room.http.get("/api/holds")).json()
    assert (one["state"], one["up_to"], one["by"]) == ("in force", "orange", "Li")
    assert one["how"].startswith("API, ")
    assert one["alerts"] == [(await alert_of(room))["id"]]
    (by,) = (await alert_of(room))["held_by"]
    assert (by["name"], by["by"], by["reason"]) == ("hold 1", "Li", "power works")
    await room.find(Level.RED)
    assert (await alert_of(room))["phase"] == "ringing"
    end = await room.http.post("/api/holds/1/end", json={"by": "Wang", "reason": "done"})
    assert end.status_code == 200
    assert (await room.http.get("/api/holds")).json() == []
    (one,) = (await room.http.get("/api/holds?past=true")).json()
    assert (one["ended_by"], one["ended_why"]) == ("Wang", "done")
    for name, status in (("1", 409), ("99", 409), ("9" * 30, 404), ("x", 404)):
        again = await room.http.post(f"/api/holds/{name}/end", json={"by": "Wang"})
        assert again.status_code == status


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"reason": " "}, "needs a reason"),
        ({"area": "nowhere"}, "'nowhere' is no area of the plan"),
        ({"minutes": None}, "a hold has an end"),
        ({"from": "soon"}, "--from soon: is not a time"),
        ({"minutes": -1}, "$.minutes"),
        ({"up_to": "purple"}, "$.up_to"),
        ({"until": 1}, "unknown field `until`"),
        ({"site": "a\0"}, "$.site"),
    ],
)
async def test_a_hold_that_cannot_be_is_told_and_made_not(room, more, says):
    given = {"by": "Li", "reason": "works", "area": "daping", "minutes": 60} | more
    answer = await room.http.post("/api/holds", json=given)
    assert (answer.status_code, says in answer.json()["error"]) == (422, True), answer.text
    assert (await room.http.get("/api/holds")).json() == []


@pytest.mark.parametrize(
    ("what", "body", "says"),
    [
        ("ack", b"", "truncated"),
        ("ack", b"{}", "missing required field `by`"),
        ("ack", b'{"by": ""}', "$.by"),
        ("ack", b'{"by": " "}', "$.by"),
        ("ack", b'{"by": "a\\u0000"}', "$.by"),
        ("ack", b'{"by": "Li", "what": 1}', "unknown field `what`"),
        ("ack", b'{"by": ' + b"[" * 50_000, "Expected `str`"),
        ("shelve", b'{"by": "Li"}', "missing required field `minutes`"),
        ("shelve", b'{"by": "Li", "minutes": -1}', "$.minutes"),
        ("shelve", b'{"by": "Li", "minutes": 1e300}', "$.minutes"),
        ("shelve", b'{"by": "Li", "minutes": "1"}', "$.minutes"),
        ("shelve", b'{"by": "Li", "minutes": 1, "up_to": "purple"}', "$.up_to"),
    ],
)
async def test_what_cannot_be_read_is_told_and_does_nothing(room, what, body, says):
    await room.find(Level.RED)
    path = f"/api/alerts/{(await alert_of(room))['id']}/{what}"
    answer = await room.http.post(path, content=body)
    assert (answer.status_code, says in answer.json()["error"]) == (422, True), answer.text
    assert (await alert_of(room))["status"] == "active-unacknowledged"


async def test_there_is_no_such_alert(room):
    by = {"by": "Li"}
    assert (await room.http.get("/api/alerts/none")).status_code == 404
    for what, body in (("ack", by), ("shelve", by | {"minutes": 1}), ("unshelve", by)):
        answer = await room.http.post(f"/api/alerts/none/{what}", json=body)
        assert (answer.status_code, "no alert 'none'" in answer.json()["error"]) == (404, True)


async def test_without_the_token_it_is_closed(tmp_path):
    async with duty_room.opened(tmp_path) as room:
        await room.find(Level.RED)
        wrong = ["", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer", "Bearer \xe9"]
        for given in wrong:
            headers = {b"Authorization": given.encode("latin-1")}
            answer = await room.http.get("/api/alerts", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await room.http.get("/api/alerts")).status_code == 401


async def test_without_a_token_in_the_config_nobody_gets_in(tmp_path):
    async with duty_room.opened(tmp_path, token="") as room:
        for given in ("", "Bearer", "Bearer x"):
            answer = await room.http.get("/api/alerts", headers={"Authorization": given})
            assert answer.status_code == 401


def test_a_port_that_is_taken_is_said_in_a_line():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"\[web\] 127.0.0.1:{port}: Address already in use"):
            server.bound(Web(port=port))
    with pytest.raises(Unavailable, match=r"\[web\] no.such.host.invalid:80: "):
        server.bound(Web(host="no.such.host.invalid", port=80))


async def test_a_secret_that_is_missing_is_found_before_the_start(tmp_path):
    file = tmp_path / "cloud.toml"
    for more, missing in (("token_file = 't'", "t"), ("[hook.sms]\nsecret_file = 'h'", "h")):
        file.write_text(f"[broker]\nport = {free_port()}\n[web]\n{more}\n")
        faults = await outside.faults(config.read(file))
        assert [one for one in faults if one.startswith(f"[web] {tmp_path / missing}: the secret")]


async def test_it_ends_although_connections_are_open(tmp_path):
    async with duty_room.opened(tmp_path) as room:
        url = room.http.base_url
        _, silent = await asyncio.open_connection(url.host, url.port)
        _, slow = await asyncio.open_connection(url.host, url.port)
        slow.write(b"POST /hooks/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
        assert (await room.http.get("/a/x")).status_code == 404
    for writer in (silent, slow):
        writer.close()


async def test_what_is_no_http_is_refused(room):
    url = room.http.base_url
    for rubbish in (b"\x16\x03\x01\x00\xff", b"GET /\x00 HTTP/9\r\n\r\n"):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(rubbish + b"\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
    assert (await room.http.get("/api/alerts")).status_code == 200


async def test_each_program_has_a_token_of_its_own_and_is_known_by_it(tmp_path, caplog):
    tokens = {"screen": "the token of the screen", "empty": ""}
    async with duty_room.opened(tmp_path, tokens=tokens) as room:
        await room.find(Level.RED)
        for given in (TOKEN, tokens["screen"]):
            headers = {"Authorization": f"Bearer {given}"}
            assert (await room.http.get("/api/alerts", headers=headers)).status_code == 200
        one = (await room.http.get("/api/alerts", headers=headers)).json()[0]["id"]
        await room.http.post(f"/api/alerts/{one}/ack", json={"by": "Li"}, headers=headers)
        (line,) = await room.lines("answer")
        assert '"how":"API (screen), 127.0.0.1"' in line["detail"]
        for _ in range(20):
            answer = await room.http.get("/api/alerts", headers={"Authorization": "Bearer"})
            assert answer.status_code == 401
    assert caplog.text.count("API: refused") == 1
    assert TOKEN not in caplog.text


async def test_what_is_done_by_hand(room):
    report = {"site": SITE, "hazard": "underpass", "level": "red", "by": "Li", "said": "phoned"}
    raised = await room.http.post("/api/alerts", json=report)
    assert raised.status_code == 200
    one = await alert_of(room)
    assert raised.json()["text"] == one["id"]
    path = f"/api/alerts/{one['id']}"

    async def do(name, **more):
        return await room.http.post(f"{path}/{name}", json={"by": "Li", **more})

    assert (await do("note", said="pump on its way")).status_code == 200
    assert (await do("escalate")).json()["text"] == "daping-shiqiao is called"
    assert (await do("add", contact="bai-ning")).status_code == 200
    nobody = await do("add", contact="nobody")
    assert (nobody.status_code, "no contact" in nobody.json()["error"]) == (409, True)
    assert (await do("unack", said="x")).status_code == 409
    assert (await do("ack")).status_code == 200
    assert (await do("unack", said="wrong site")).status_code == 200
    assert await room.phase() == "ringing"
    assert (await do("resolve", said="dry")).status_code == 200
    assert (await room.http.post("/api/alerts", json=report | {"level": "pink"})).status_code == 422
    elsewhere = await room.http.post("/api/alerts", json=report | {"site": "atlantis"})
    assert elsewhere.status_code == 409
    assert (await room.http.post("/api/alerts/none/note", json={"by": "Li"})).status_code == 404
