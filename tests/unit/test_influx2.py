"""Setting up InfluxDB 2.x and 3.x: what is asked of their APIs, played back as the references and
what 2.9.1 and 3.6.0 answered have it (there are no such servers here)."""

import httpx
import pytest

from cloud.config import Config
from cloud.errors import Unavailable
from cloud.store import Retention, StoreConfig, influx3
from cloud.store.influx2 import First, Setup, administered, task_names
from configs import loader
from configs.loader import ConfigError
from tests.httpserver import Answer, HttpServer, Request
from tests.influxadmin import Core, Server


def kept(**days: int) -> StoreConfig:
    return StoreConfig(kind="influx", retention=Retention(**days))


CONFIG = kept(raw_days=30, minute_days=365)


def served(server: Server) -> HttpServer:
    """`server` behind a URL: influxdb-client has a transport of its own."""

    def answer(asked: Request) -> Answer:
        request = httpx.Request(asked.method, f"http://i{asked.path}", content=asked.body)
        found = server.answer(request)
        return Answer(found.status_code, found.content)

    return HttpServer(answer)


def set_up(
    server: Server,
    config: StoreConfig = CONFIG,
    username: str | None = None,
    password: str | None = None,
) -> list[str]:
    with served(server) as http, administered(http.url, "t", "flood", 10) as client:
        setup = Setup(client, http.url, "shuichi", "flood")
        return [setup.first(First(username, password)), *setup.rest(config)]


def test_everything_is_made_and_then_found() -> None:
    server = Server()
    assert set_up(server) == [
        "the server is set up already",
        "organisation flood: made",
        "bucket shuichi: made, keeps 32 days",
        "bucket shuichi/minute: made, keeps 365 days",
        "bucket shuichi/hour: made, keeps for ever",
        "bucket shuichi/day: made, keeps for ever",
        "bucket shuichi/hydro_day: made, keeps for ever",
    ]
    buckets = {one["name"]: one["retentionRules"] for one in server.kept["buckets"]}
    assert buckets == {
        "shuichi": [{"type": "expire", "everySeconds": 32 * 86_400}],  # two days to count them off
        "shuichi/minute": [{"type": "expire", "everySeconds": 365 * 86_400}],
        "shuichi/hour": [{"type": "expire", "everySeconds": 0}],
        "shuichi/day": [{"type": "expire", "everySeconds": 0}],
        "shuichi/hydro_day": [{"type": "expire", "everySeconds": 0}],
    }
    server.changes.clear()
    again = set_up(server)
    assert server.changes == []
    assert all("is there" in line or "already" in line for line in again)
    changed = set_up(server, kept(raw_days=30, minute_days=90))
    assert "bucket shuichi/minute: now keeps 90 days" in changed
    assert server.changes == ["PATCH buckets"]


def test_a_new_server_gets_its_first_user_and_our_token() -> None:
    server = Server(is_new=True)
    with pytest.raises(Unavailable, match="needs username, password_file and token_file"):
        set_up(server)
    lines = set_up(server, username="ops", password="long enough")
    assert lines[:3] == [
        "made the user ops, the organisation flood, and the token",
        "organisation flood: is there",
        "bucket shuichi: now keeps 32 days",
    ]


def test_tasks_of_an_earlier_release_are_removed_and_no_others() -> None:
    server = Server()
    set_up(server)
    names = [*task_names("shuichi"), "ours"]
    org = server.kept["orgs"][0]["id"]
    server.kept["tasks"] = [
        {"id": f"t{n}", "orgID": org, "name": name, "flux": "x"} for n, name in enumerate(names)
    ]
    lines = set_up(server)
    assert [one["name"] for one in server.kept["tasks"]] == ["ours"]
    assert sum("removed" in line for line in lines) == 4


def test_a_token_for_the_buckets_alone_is_told_what_an_administrator_has_to_do() -> None:
    server = Server()
    set_up(server)
    server.hidden = {"orgs"}
    server.denied = {"POST orgs", "POST buckets", "PATCH buckets", "GET tasks"}
    server.kept["buckets"].pop()  # shuichi/hydro_day
    server.changes.clear()
    lines = set_up(server, kept(raw_days=9, minute_days=365))
    assert server.changes == []
    assert lines[1] == "organisation flood: this token may not look at it"
    assert "bucket shuichi: is there, keeps 32 days; this token may not change it" in lines[2]
    assert "influx bucket update -i buckets-1 -r 264h" in lines[2]
    assert lines[3] == "bucket shuichi/minute: is there, keeps 365 days"
    assert lines[-1] == "  influx bucket create -o flood -n shuichi/hydro_day -r 0"


async def databases(server: Core, config: StoreConfig = CONFIG) -> list[str]:
    def streamed(request: httpx.Request) -> httpx.Response:
        """The answer, not read yet, as one from a socket."""
        said = server.answer(request)
        return httpx.Response(said.status_code, stream=httpx.ByteStream(said.content))

    transport = httpx.MockTransport(streamed)
    async with httpx.AsyncClient(transport=transport, base_url="http://core", verify=False) as http:
        return await influx3.make(http, "shuichi", config)


async def test_a_database_of_3_that_shall_keep_everything_does_so() -> None:
    server = Core()
    await databases(server)
    assert "database shuichi: is there, keeps for ever" in await databases(server, kept())
    assert set(server.kept.values()) == {None}


async def test_the_databases_of_3_are_made_and_then_found() -> None:
    server = Core()
    assert await databases(server) == [
        "database shuichi: made, keeps 32 days",
        "database shuichi/minute: made, keeps 365 days",
        "database shuichi/hour: made, keeps for ever",
        "database shuichi/day: made, keeps for ever",
        "database shuichi/hydro_day: made, keeps for ever",
    ]
    assert server.kept == {
        "shuichi": "32d",
        "shuichi/minute": "365d",
        "shuichi/hour": None,
        "shuichi/day": None,
        "shuichi/hydro_day": None,
    }
    assert all("is there" in line for line in await databases(server))


async def test_a_core_that_is_full_is_told_in_one_line() -> None:
    server = Core("a", "b", "c")
    with pytest.raises(Unavailable, match="has room for 5, we need 5; ") as raised:
        await databases(server)
    assert "exceed limit" in str(raised.value)


@pytest.mark.parametrize("name", ["city/flood", 'a"b', "a\\b", "a\tb", "a\nb", "_system"])
def test_a_bucket_that_cannot_be_addressed_is_refused(name: str) -> None:
    store = {"kind": "influx", "api": "v2", "url": "http://h", "bucket": name}
    with pytest.raises(ConfigError, match="bucket"):
        loader.parse({"store": store}, Config, "test")


@pytest.mark.parametrize(
    "body", [b"null", b"[1]", b"<html>Log in</html>", b'{"allowed":false,"orgs":7,"buckets":[{}]}']
)
def test_an_answer_that_is_no_influxdbs_is_told_in_one_line(body: bytes) -> None:
    with (
        HttpServer(lambda _: Answer(200, body)) as http,
        administered(http.url, "t", "flood", 10) as client,
    ):
        setup = Setup(client, http.url, "rain", "flood")

        def both() -> None:
            setup.first(First(None, None))
            setup.rest(CONFIG)

        with pytest.raises(Unavailable, match=r"answers as no InfluxDB 2\.x does") as told:
            both()
        assert "\n" not in str(told.value)


def test_what_sends_us_elsewhere_is_not_followed() -> None:
    elsewhere: list[str] = []

    def away(asked: Request) -> Answer:
        elsewhere.append(asked.path)
        return Answer(200, b'{"allowed": true}')

    with HttpServer(away) as other:
        there = Answer(307, headers={"Location": f"{other.url}/api/v2/setup"})
        with (
            HttpServer(lambda _: there) as http,
            administered(http.url, "t", "flood", 10) as client,
            pytest.raises(Unavailable, match="says 307"),
        ):
            Setup(client, http.url, "rain", "flood").first(First("u", "p"))
    assert elsewhere == []


async def test_a_page_makes_no_database_of_3() -> None:
    page = Answer(200, b"<html>Log in</html>", {"Content-Type": "text/html"})
    with HttpServer(lambda _: page) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            with pytest.raises(
                Unavailable, match="answers with a page, as no InfluxDB does: Log in"
            ):
                await influx3.make(http, "flood", CONFIG)
