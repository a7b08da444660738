"""What `keep_connected` logs: each reason once, a recovery when it is one; what it passes on."""

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests import virtual
from wire import mqtt
from wire.mqtt import Broker, Disconnected, Refused, Unreachable

HUNG_UP = Disconnected("the connection to b ended: it hung up without a word")
TAKEN = Disconnected("the connection to b ended: the broker has ended it: session taken over")
DENIED = Refused("broker b refuses us as 'gw': not authorized")
AWAY = Unreachable("broker b cannot be reached: connection refused")
BUSY = Refused("broker b refuses us as 'gw': server busy")

Step = Exception | tuple[float, Exception | None]


def lives(monkeypatch: pytest.MonkeyPatch, *steps: Step) -> list[str]:
    """Live through `steps`: an error is a connection that does not come about; a number of seconds
    is one that lasts so long, and then ends with an error, or for good. What was passed on."""
    left = list(steps)
    passed: list[str] = []

    @asynccontextmanager
    async def connect(*_: Any, **__: Any):
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        yield step

    async def run(step: Any) -> None:
        lasts_s, error = step
        await asyncio.sleep(lasts_s)
        if error is not None:
            raise error

    monkeypatch.setattr(mqtt, "connect", connect)
    virtual.run(mqtt.keep_connected(Broker(), "gw", run, on_trouble=passed.append))
    assert not left
    return passed


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage().removesuffix("; trying again until it answers")
        for record in caplog.records
        if record.name == "shuichi.mqtt"
    ]


AGAIN = f"broker {Broker()}: connected again"


@pytest.fixture(autouse=True)
def everything(caplog):
    caplog.set_level(logging.INFO)


def test_an_outage_is_two_lines(monkeypatch, caplog):
    passed = lives(monkeypatch, (100, HUNG_UP), AWAY, AWAY, AWAY, (1, None))
    assert lines(caplog) == [str(HUNG_UP), AGAIN]
    assert passed == [str(one) for one in (HUNG_UP, AWAY, AWAY, AWAY)]


def test_two_clients_that_throw_each_other_out_do_not_fill_the_log(monkeypatch, caplog):
    lives(monkeypatch, *[(2, TAKEN)] * 50, (60, None))
    assert lines(caplog) == [str(TAKEN), AGAIN]


def test_every_reason_that_the_broker_gives_is_logged_once(monkeypatch, caplog):
    lives(monkeypatch, AWAY, DENIED, AWAY, DENIED, BUSY, (2, TAKEN), (2, TAKEN), DENIED, (20, None))
    assert lines(caplog) == [
        str(AWAY),
        str(DENIED),
        str(BUSY),
        AGAIN,
        str(TAKEN),
        str(DENIED),
        AGAIN,
    ]


def test_after_a_recovery_the_same_reason_is_news(monkeypatch, caplog):
    lives(monkeypatch, (2, TAKEN), (20, TAKEN), (20, None))
    assert lines(caplog) == [str(TAKEN), AGAIN, str(TAKEN), AGAIN]


def test_reasons_that_differ_each_time_are_bounded(monkeypatch, caplog):
    words = [Refused(f"broker b refuses us: {n}") for n in range(60)]
    lives(monkeypatch, *words, (20, None))
    assert len(lines(caplog)) <= 22
