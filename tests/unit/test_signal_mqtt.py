"""A signal behind a broker outlives whatever ends its connection."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.errors import Misconfigured, Unavailable
from drivers.signals.mqtt import Mqtt
from tests.waiting import until
from wire import mqtt, signing
from wire.aspect import Aspect
from wire.mqtt import Broker
from wire.secretfile import InUse


def signal() -> Any:
    config: Any = SimpleNamespace(
        broker=Broker(), topic="lease", shown_topic="shown", key="gw", within_ms=10, lease_s=4
    )
    private, _ = signing.generate()
    return Mqtt(config, "here", InUse("lamp.key", lambda: private))


@pytest.mark.parametrize("error", [RecursionError("deep"), None, asyncio.CancelledError()])
async def test_a_connection_that_ends_is_begun_again(monkeypatch, error):
    runs = []

    async def connection(*_args, **_more):
        runs.append(1)
        if len(runs) > 1:
            await asyncio.sleep(3600)
        if error is not None:
            raise error

    monkeypatch.setattr(mqtt, "keep_connected", connection)
    one = signal()
    one.start()
    await until(one.connection.done)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await one.show(Aspect.RED)
    assert len(runs) == 2
    await one.stop()


async def test_no_message_ends_the_connection(monkeypatch):
    one = signal()
    acked: list[object] = []

    def explodes(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(signing, "verify_lease", explodes)
    messages = [SimpleNamespace(topic="lease", payload=b"x", retained=True)]

    async def take(_limit):
        if not messages:
            raise mqtt.Disconnected("over")
        return [messages.pop()]

    async def subscribe(*_filters):
        pass

    session: Any = SimpleNamespace(take=take, subscribe=subscribe, ack=acked.append)
    with pytest.raises(mqtt.Disconnected):
        await one._listen(session)
    assert len(acked) == 1


async def test_a_lease_goes_out_though_the_broker_lets_nobody_listen(caplog):
    one = signal()
    sent: list[bytes] = []

    async def take(_limit):
        await asyncio.sleep(3600)

    async def subscribe(topic):
        raise mqtt.Refused(f"the broker does not let us subscribe to {topic}: not authorized")

    async def publish(_topic, payload, retain):
        sent.append(payload)
        return True

    session: Any = SimpleNamespace(take=take, subscribe=subscribe, publish=publish)
    listening = asyncio.create_task(one._listen(session))
    one._config.within_ms = 10_000
    await one.show(Aspect.RED)
    assert len(sent) == 1
    with pytest.raises(Misconfigured, match="subscribe to shown: not authorized"):
        await one.read_back()
    listening.cancel()
    await asyncio.wait((listening,))
    assert len(caplog.records) == 2
