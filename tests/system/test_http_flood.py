"""Strangers who take all the connections of the HTTP server: alerts leave all the same."""

import asyncio
import resource
import socket
from pathlib import Path

import httpx

from tests import services
from tests.contract.sink import sink
from tests.services import Service
from tests.system.aggregator import broker_of
from tests.system.test_answers import PLAN, SITES, Office, water
from tests.waiting import PATIENCE_S, until
from wire import topics
from wire.mqtt import connect
from wire.topics import What

DESCRIPTORS = 1024
HALF_OPEN = 2000

_LIMITED = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))
sys.argv[1:1] = ["cloud", "run", "--unattended", "--config"]
from shuichi import main
main()
"""


async def test_with_2000_half_open_requests_an_alert_is_delivered_and_answered(
    tmp_path: Path, mosquitto: Service
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * HALF_OPEN), hard))
    port = services.free_port()
    strangers: list[socket.socket] = []
    hook = sink()
    with hook.running(), Office(tmp_path / "office", mosquitto, port) as office:
        (office.folder / "plan.toml").write_text(PLAN.replace("log", "hook"))
        with office.file.open("a") as more:
            more.write(f'[channel.hook]\nkind = "webhook"\nurl = "http://127.0.0.1:{hook.port}/"\n')
        office.start("-c", _LIMITED)
        await office.listening()
        await until(lambda: "serving http" in office.log.read_text())
        try:
            for n in range(HALF_OPEN):
                one = socket.create_connection(("127.0.0.1", port))
                one.send(b"GET /a/x HTTP/1.1\r\nX: " if n % 2 else b"P")
                strangers.append(one)
            async with connect(broker_of(mosquitto), "g1") as session:
                assert await session.publish(topics.topic("0", "g1", What.DATA), water(0.25, 1))
            await until(lambda: len(hook.requests) >= len(SITES))
            links = [request.json["link"] for request in hook.requests]
            async with httpx.AsyncClient(timeout=PATIENCE_S) as http:  # while they are still there
                answered = await http.post(links[0], data={"answer": "yes"})
            assert answered.status_code == 200
        finally:
            for one in strangers:
                one.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            assert (await http.get(links[1])).status_code == 200
        await asyncio.to_thread(office.stop)
        assert "Too many open files" not in office.log.read_text()
