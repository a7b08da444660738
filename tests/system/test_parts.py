"""Parts of the aggregator that fail: alerts leave all the same, and one of them says so."""

from functools import partial
from pathlib import Path

from tests import services
from tests.services import Service
from tests.system.aggregator import broker_of
from tests.system.test_answers import SITES, Office, water
from tests.waiting import until
from wire import topics
from wire.mqtt import connect
from wire.topics import What

_BROKEN = """
import sys
from cloud import upkeep
from cloud.alerts.buttons import Buttons
from cloud.web import server

async def fail(*_):
    raise KeyError("a fault of ours")

async def end(*_):
    pass

upkeep.run, Buttons.run, server.serve = fail, end, fail
sys.argv[1:1] = ["cloud", "run", "--unattended", "--config"]
from shuichi import main
main()
"""


def said(office: Office, line: str) -> bool:
    return line in office.log.read_text()


async def test_alerts_do_not_end_with_upkeep_page_or_buttons(
    tmp_path: Path, mosquitto: Service
) -> None:
    with Office(tmp_path / "office", mosquitto, services.free_port()) as office:
        office.start("-c", _BROKEN)
        await office.listening()
        failed = "%s has failed and is started again"
        for name in ("upkeep", "buttons", "web"):
            await until(partial(said, office, failed % name))
        async with connect(broker_of(mosquitto), "g1") as session:
            assert await session.publish(topics.topic("0", "g1", What.DATA), water(0.25, 1))

        async def called() -> bool:
            return {*SITES, "cloud-service"} <= set(await office.messages())

        await until(called)
        text = office.log.read_text()
        for name in ("upkeep", "buttons", "web"):
            assert text.count(failed % name) == 1
        assert "without being asked to" in text
        office.kill()
