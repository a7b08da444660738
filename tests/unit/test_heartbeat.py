"""The outgoing heartbeat: somebody outside hears that alerts work, and hears nothing if not."""

import httpx
import msgspec
import pytest

from cloud.heartbeat import STALE_S, Config, Pulse

URL = "https://monitor.example/ping"


class World:
    """A monitor, a dispatch and its channels, with a clock."""

    def __init__(self, fail_url=None) -> None:
        self.now_s, self.turned_s = 1000.0, 1000.0
        self.failing: dict[str, str] = {}
        self.heard: list[tuple[str, dict[str, object]]] = []
        self.status = 200
        config = Config(url=URL, fail_url=fail_url)
        turned, failing, now = (lambda: self.turned_s), (lambda: self.failing), (lambda: self.now_s)
        self.pulse = Pulse(config, URL, turned, failing, now)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.heard.append((str(request.url), msgspec.json.decode(request.content)))
        return httpx.Response(self.status, stream=httpx.ByteStream(b""))

    async def beat(self) -> bool:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self.answer)) as http:
            return await self.pulse.beat(http)


async def test_a_dispatch_that_goes_round_is_heard():
    world = World()
    assert await world.beat()
    assert world.heard == [(URL, {"status": "ok", "failing": {}})]


@pytest.mark.parametrize("since_s", [STALE_S + 1, 1000])
async def test_a_dispatch_that_stands_still_is_not(since_s):
    world = World()
    world.now_s += since_s
    assert not await world.beat()
    assert world.heard == []
    world.turned_s = world.now_s
    assert await world.beat()


async def test_a_channel_that_takes_nothing_is_said():
    world = World(fail_url=f"{URL}/fail")
    world.failing = {"channel sms": "no answer"}
    assert await world.beat()
    assert world.heard == [(f"{URL}/fail", {"status": "failing", "failing": world.failing})]
    plain = World()
    plain.failing = world.failing
    await plain.beat()
    assert plain.heard[0][0] == URL


async def test_a_monitor_that_does_not_answer_is_a_fault_until_it_does(caplog):
    world = World()
    world.status = 500
    for _ in range(3):
        assert not await world.beat()
    assert "nobody outside hears" in world.pulse.fault
    assert caplog.text.count("is not heard") == 1
    world.status = 200
    assert await world.beat()
    assert world.pulse.fault == ""
