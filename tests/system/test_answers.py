"""The service and those who answer it: by link, by command, by the API, by a button over MQTT; and
how it starts and ends with a web room."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from cloud.alerts import cap
from tests import services
from tests.conftest import ROOT
from tests.services import Service
from tests.system.aggregator import Cloud, broker_of
from tests.waiting import PATIENCE_S, until
from wire import codec, topics
from wire.messages import Batch
from wire.mqtt import connect
from wire.reading import Quality, Quantity, Reading
from wire.topics import What

SITES = ("north", "south", "east", "west")

PLAN = """
title = "a street"
digest_window_s = 0
[area.street]
name = "Street"
kind = "village"
[channel.log]
[contact.keeper]
name = "Keeper"
area = "street"
channels = ["log"]
""" + "".join(
    f'[site.{name}]\nname = "{name}"\narea = "street"\nhazards = ["underpass"]\n' for name in SITES
)


class Office(Cloud):
    """A service with a web room, CAP and a plan for four sites."""

    def __init__(self, folder: Path, broker: Service, port: int) -> None:
        folder.mkdir()
        (folder / "plan.toml").write_text(PLAN)
        (folder / "token").write_text("the token\n")
        self.url = f"http://127.0.0.1:{port}"
        more = f"""
[alerts]
plan = "plan.toml"
answer_url = "{self.url}"
[web]
port = {port}
token_file = "token"
[cap]
sender = "water.example"
"""
        super().__init__(folder, broker, more=more)

    async def phases(self) -> dict[str, str]:
        """How the calls of each site stand."""
        states = [json.loads(row["state"]) for row in await self.table("escalation")]
        return {one["site"]: one.get("phase", "idle") for one in states}

    async def messages(self) -> dict[str, dict[str, str]]:
        """The newest message about each site."""
        return {one["site"]: one for one in await self.told()}

    async def told(self) -> list[dict[str, str]]:
        """What was handed over to channels."""
        return [
            json.loads(row["message"]) for row in await self.table("outgoing") if row["message"]
        ]

    def alert(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "shuichi", "alert", words[0], "--config", str(self.file)]
        return subprocess.run(
            [*command, *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_S
        )


def water(depth: float, number: int, sites: tuple[str, ...] = SITES) -> bytes:
    """A batch in which it stands so high at these sites."""
    now_ms = time.time_ns() // 1_000_000
    readings = tuple(
        Reading(site, "ruler", Quantity.DEPTH, depth, now_ms + n, Quality.GOOD)
        for n in range(5)
        for site in sites
    )
    return codec.encode_batch(Batch("g1", "stream-1", number, readings, ()))


@pytest.fixture
def office(tmp_path: Path, mosquitto: Service):
    with Office(tmp_path / "office", mosquitto, services.free_port()) as made:
        yield made


async def test_four_alerts_are_answered_in_four_ways(office: Office, mosquitto: Service) -> None:
    office.start()
    await office.listening()
    async with connect(broker_of(mosquitto), "g1") as session:
        assert await session.publish(topics.topic("0", "g1", What.DATA), water(0.25, 1))
    await until(office.phases)

    async def all_called() -> bool:
        return set(await office.messages()) == set(SITES)

    await until(all_called)
    messages = await office.messages()
    async with httpx.AsyncClient(
        timeout=PATIENCE_S, headers={"Authorization": "Bearer the token"}
    ) as http:
        page = await http.get(messages["north"]["link"])
        assert page.status_code == 200
        answered = await http.post(messages["north"]["link"], data={"answer": "yes"})
        assert answered.status_code == 200
        alerts = (await http.get(f"{office.url}/api/alerts")).json()
        names = {one["site"]: one["id"] for one in alerts}
        acknowledged = await http.post(
            f"{office.url}/api/alerts/{names['south']}/ack", json={"by": "Li"}
        )
        assert acknowledged.status_code == 200
        done = await asyncio.to_thread(office.alert, "ack", names["east"], "--by", "Wu")
        assert (done.returncode, done.stdout) == (0, "answered: the calls have ended\n")
        feed = ElementTree.fromstring((await http.get(f"{office.url}/cap")).content)
        assert len(feed.findall(f"{{{cap.ATOM}}}entry")) == 4
    ways = {**dict.fromkeys(SITES, "answered"), "west": "ringing"}
    assert await office.phases() == ways
    listed = await asyncio.to_thread(office.alert, "list")
    assert (listed.returncode, listed.stderr) == (1, "")
    assert "answered by Wu" in listed.stdout

    # A button that is pressed while nobody listens; and connections that are open at the end.
    host, port = "127.0.0.1", int(office.url.rpartition(":")[2])
    _, silent = await asyncio.open_connection(host, port)
    _, slow = await asyncio.open_connection(host, port)
    slow.write(b"POST /a/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
    await slow.drain()
    await asyncio.to_thread(office.stop)
    for writer in (silent, slow):
        writer.close()
    async with connect(broker_of(mosquitto), "board-7") as session:
        token = messages["west"]["token"]
        pressed = json.dumps({"token": token, "said": "button 1"}).encode()
        assert await session.publish(topics.ANSWER, pressed)
    office.start()

    async def all_answered() -> bool:
        return set((await office.phases()).values()) == {"answered"}

    await until(all_answered)
    answers = [row for row in await office.table("timeline") if row["kind"] == "answer"]
    assert [row["who"] for row in answers] == ["keeper", "Li", "Wu", "keeper"]
    assert json.loads(answers[-1]["detail"])["how"] == "MQTT"


async def test_a_port_that_is_taken_is_told_and_keeps_nothing_else_from_working(
    tmp_path: Path, mosquitto: Service
) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    with Office(tmp_path / "office", mosquitto, port) as office:
        office.start()
        await office.listening()
        await until(lambda: f"127.0.0.1:{port}: Address already in use" in office.log.read_text())
        async with connect(broker_of(mosquitto), "g1") as session:
            assert await session.publish(topics.topic("0", "g1", What.DATA), water(0.25, 1))

        async def called() -> bool:
            return set(SITES) <= set(await office.messages())

        await until(called)
        taken.close()
        await taken.wait_closed()

        async def answers() -> bool:
            try:
                async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
                    return (await http.get(f"{office.url}/a/x")).status_code == 404
            except httpx.TransportError:
                return False

        await until(answers)
        assert office.log.read_text().count("Address already in use") == 1


async def test_what_is_broken_in_plan_channel_and_secret_silences_nothing(
    tmp_path: Path, mosquitto: Service
) -> None:
    with Office(tmp_path / "office", mosquitto, services.free_port()) as office:
        office.start()
        await office.listening()
        await asyncio.to_thread(office.stop)
        # The plan is half edited; a channel has no URL, another no secret, a rule is none.
        (office.folder / "plan.toml").write_text("[area.street\n")
        with office.file.open("a") as more:
            more.write(
                '[channel.hook]\nkind = "webhook"\n[channel.mail]\nkind = "webhook"\n'
                'url = "http://127.0.0.1:1/"\nsecret_file = "none"\n'
                '[rule.more]\nkind = "nothing"\n'
            )
        office.start()
        await office.listening()
        async with connect(broker_of(mosquitto), "g1") as session:
            assert await session.publish(topics.topic("0", "g1", What.DATA), water(0.25, 1))

        async def called() -> bool:
            return {*SITES, "cloud-service"} <= set(await office.messages())

        await until(called)
        messages = await office.messages()
        assert messages["north"]["name"] == "Keeper"  # by the last good plan
        told = [one["text"] for one in await office.told()]
        assert any("配置有误" in one or "渠道“mail”发不出消息" in one for one in told)
        for what in ("plan.toml: is not TOML", "channel.hook.url: is missing", "rule.more.kind: "):
            assert what in office.log.read_text()
        # And whoever answers does not need the file.
        async with httpx.AsyncClient(
            timeout=PATIENCE_S, headers={"Authorization": "Bearer the token"}
        ) as http:
            alerts = (await http.get(f"{office.url}/api/alerts")).json()
        (name,) = [one["id"] for one in alerts if one["site"] == "east"]
        done = await asyncio.to_thread(office.alert, "ack", name, "--by", "Wu")
        assert (done.returncode, done.stdout) == (0, "answered: the calls have ended\n")
        office.kill()


async def test_a_plan_is_read_again_while_the_service_runs(
    tmp_path: Path, mosquitto: Service
) -> None:
    with Office(tmp_path / "office", mosquitto, services.free_port()) as office:
        office.start()
        await office.listening()
        plan = office.folder / "plan.toml"
        plan.write_text(PLAN + "[site.fifth\n")
        office.send(signal.SIGHUP)
        await until(lambda: "stays in force" in office.log.read_text())
        site = '[site.fifth]\nname = "Fifth"\narea = "street"\nhazards = ["underpass"]\n'
        plan.write_text(PLAN + site)
        command = [sys.executable, "-m", "shuichi", "plan", "reload", "--config", str(office.file)]
        told = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
        )
        assert (told.returncode, told.stdout.endswith("with 1 change\n")) == (0, True), told.stderr
        # What a gateway sends of the new site is not kept out any more, and calls people.
        async with connect(broker_of(mosquitto), "g1") as session:
            payload = water(0.25, 1, ("fifth",))
            assert await session.publish(topics.topic("0", "g1", What.DATA), payload)

        async def called() -> bool:
            return "fifth" in await office.messages()

        await until(called)
