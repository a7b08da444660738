"""A command that is refused for its sequence or its time goes out once more, as the gateway wants
it; but not for the sake of an answer that nobody proves."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from cloud import commanding, config
from cloud.commanding import Result, Signer, Target, carry_out
from tests.commanding import PRIVATE, Desk
from wire import codec, keyfile, topics
from wire.aspect import Aspect
from wire.messages import Action, Command
from wire.mqtt import Broker, connect
from wire.topics import What

MINUTE_MS = 60_000
NOW_MS = time.time_ns() // 1_000_000


class Ends:
    """A gateway's desk at a real broker, and a person who types beside a cloud's config."""

    def __init__(self, folder, port, key):
        self.desk = Desk(folder)
        self.desk.now_ms = NOW_MS
        self.desk.site.water(0.0, 0.2)
        self.broker = Broker(port=port)
        self.keys = keyfile.parse(keyfile.make())
        text = f"[broker]\nport = {port}\n[gateway.gw]\n"
        if key:
            line = keyfile.make()
            keyfile.write(folder / "gw.key", [line], folder)
            self.keys = keyfile.parse(line)
            text += 'key_file = "gw.key"\n'
        (folder / "cloud.toml").write_text(text)
        self.setup = config.read(folder / "cloud.toml")

    @asynccontextmanager
    async def listening(self):
        async with connect(self.broker, "gateway") as session:
            await session.subscribe(topics.topic("0", "gw", What.COMMAND))
            task = asyncio.create_task(self._answer(session))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait((task,))

    async def _answer(self, session):
        while True:
            for message in await session.take(10):
                session.ack(message)
                self.desk.replies.clear()
                await self.desk.desk.receive(message.payload)
                self.desk.site.obey()
                self.desk.desk.look()
                for reply in self.desk.replies:
                    payload = codec.encode(self.keys.prove(reply, "gw"))
                    await session.publish(topics.topic("0", "gw", What.REPLY), payload)

    async def order(self, action, **fields):
        def draft(identifier, moment):
            whole = {"person": "Li", "expires_ms": moment.issued_ms + MINUTE_MS} | fields
            return Command(
                identifier, "gw", "here", action, moment.sequence, moment.issued_ms, **whole
            )

        target = Target("gw", ("0",), ("0",))
        return await carry_out(self.setup, target, Signer(PRIVATE, "ops"), draft, 10)


def set_clock(monkeypatch, off_ms):
    """The person's machine is off by so much."""

    class Time:
        @staticmethod
        def time_ns():
            return (NOW_MS + off_ms) * 1_000_000

    monkeypatch.setattr(commanding, "time", Time)


@pytest.mark.parametrize("key", [True, False])
@pytest.mark.parametrize(
    ("off_min", "taken_min", "says"),
    [
        (0, 5, "above sequence"),
        (-12, 5, "by the gateway's clock, which is 12 min ahead"),
        (25, 0, "by the gateway's clock, which is 25 min behind"),
        (-26_000_000, None, "min ahead"),
    ],
)
async def test_it_goes_on_above_the_last_by_the_gateways_clock(
    tmp_path, mosquitto, monkeypatch, capsys, key, off_min, taken_min, says
):
    ends = Ends(tmp_path, mosquitto.port, key)
    if taken_min is not None:
        ends.desk.memory.take("ops", NOW_MS + taken_min * MINUTE_MS)
    set_clock(monkeypatch, off_min * MINUTE_MS)
    async with ends.listening():
        far = off_min != 0
        found = await ends.order(Action.LOWER, aspect=Aspect.GREEN)
        said = capsys.readouterr()
        if not key and far:  # a stranger would have us sign for a time of his choice
            assert found is Result.NOT_CONFIRMED
            assert "is its clock right?" in said.err
            assert ends.desk.site.wanted() is Aspect.AMBER
        else:
            assert found is (Result.CONFIRMED if key else Result.SAID_TO_BE_CONFIRMED)
            assert says in said.out
            assert said.out.count("sent again") == 1
            assert ends.desk.site.wanted() is Aspect.GREEN
        found = await ends.order(Action.RAISE, aspect=Aspect.RED)
        assert found is (Result.CONFIRMED if key else Result.SAID_TO_BE_CONFIRMED)
        assert ends.desk.site.wanted() is Aspect.RED


async def test_a_copy_that_is_refused_is_not_the_answer(tmp_path, mosquitto, monkeypatch, capsys):
    ends = Ends(tmp_path, mosquitto.port, key=True)
    monkeypatch.setattr(ends.desk.site, "obey", lambda: None)  # the lamp takes its time
    receive = ends.desk.desk.receive

    async def twice(payload):
        await receive(payload)
        await receive(payload)  # somebody plays it back at once
        ends.desk.site.shows = ends.desk.site.wanted()

    monkeypatch.setattr(ends.desk.desk, "receive", twice)
    async with ends.listening():
        assert await ends.order(Action.RAISE, aspect=Aspect.RED) is Result.CONFIRMED
    assert "refused" in capsys.readouterr().out


async def test_a_command_that_the_broker_drops_is_sent_again(
    tmp_path, mosquitto, monkeypatch, capsys
):
    monkeypatch.setattr(commanding, "REPEAT_EVERY_S", 0.05)
    ends = Ends(tmp_path, mosquitto.port, key=True)
    receive = ends.desk.desk.receive
    dropped: list[bytes] = []

    async def lossy(payload):
        if len(dropped) < 2:
            dropped.append(payload)
        else:
            await receive(payload)

    monkeypatch.setattr(ends.desk.desk, "receive", lossy)
    async with ends.listening():
        assert await ends.order(Action.RAISE, aspect=Aspect.RED) is Result.CONFIRMED
    assert dropped[0] == dropped[1]
    assert capsys.readouterr().out.splitlines() == ["accepted", "applied red", "confirmed red"]
    assert ends.desk.desk.counts.taken == 1
