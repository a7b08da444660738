"""What a broker's no comes to, where the broker says little of it."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from edge import clock
from edge.batches import Sealed
from edge.brokerno import CUTS, LEAST_PAYLOAD, BrokerNo
from edge.outboxfile import MOST_PAYLOAD
from wire.mqtt import PublishRefused
from wire.mqtt.terms import HUNG_UP


def session(most_payload: int = 1 << 40) -> Any:
    return SimpleNamespace(most_payload=most_payload)


def batch(number: int, size: int) -> Sealed:
    return Sealed(number, "ab", number, bytes(size))


def test_a_broker_that_cuts_again_and_again_may_have_two_of_us(monkeypatch, caplog):
    """mosquitto 2.0.11 does not say that a session was taken over."""
    now = 0.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    one = BrokerNo()
    for turn in range(2 * CUTS):
        one.connected(session())
        now += 2
        one.ended(f"the connection to b:1883 ended: {HUNG_UP}")
        assert ("may use this gateway's id" in one.said) is (turn + 1 >= CUTS)
        one.ended("broker b:1883 cannot be reached: connection refused")  # counts for nothing
        assert one.said
    assert len(caplog.records) == 1
    one.connected(session())
    assert one.said == ""
    now += 3600
    one.ended(f"the connection to b:1883 ended: {HUNG_UP}")
    assert "gateway's id" not in one.said


def test_a_broker_that_names_its_limit_only_by_hanging_up_is_believed():
    one = BrokerNo()
    one.connected(session())
    assert one.most_payload == MOST_PAYLOAD
    for n, size in enumerate((5000, 900, 20_000)):
        assert one.takes(batch(n, size))
        one.sent(batch(n, size))
    one.ended("the connection to b ended: the broker has ended it: packet too large")
    one.connected(session())
    assert one.takes(batch(1, 10_000))
    assert not one.takes(batch(2, 20_000))
    one.connected(session(most_payload=4000))
    assert not one.takes(batch(1, 10_000))
    one.connected(session(most_payload=-500))  # nobody means that
    assert one.most_payload == LEAST_PAYLOAD


def test_a_batch_over_which_the_connection_ends_each_time_is_set_aside(monkeypatch, caplog):
    """Over MQTT 3.1.1 a broker hangs up on what is too large, and does not say why."""
    now = 0.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    one = BrokerNo()
    for _ in range(CUTS):
        one.connected(session())
        assert one.takes(batch(7, 50_000))
        one.sent(batch(7, 50_000))
        one.sent(batch(8, 300))
        one.ended("the connection to b ended: connection reset by peer")
        one.ended("broker b cannot be reached: connection refused")
    one.connected(session())
    assert not one.takes(batch(7, 50_000))
    assert one.takes(batch(8, 300))
    assert len([1 for record in caplog.records if "over batch 7" in record.getMessage()]) == 1
    now += 3601
    one.ended("the connection to b ended: no word from the broker for 45 s")
    one.connected(session())
    assert one.takes(batch(7, 50_000))  # who knows


async def test_what_is_confirmed_is_not_suspected():
    one = BrokerNo()
    for _ in range(2 * CUTS):
        one.connected(session())
        one.sent(batch(7, 50_000))
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        done.set_result(True)
        assert one.confirmed(("ab", 7), done)
        one.ended("the connection to b ended: connection reset by peer")
    one.connected(session())
    assert one.most_payload == MOST_PAYLOAD


async def test_each_topic_that_is_denied_is_told_once_over_many_connections(caplog):
    caplog.set_level(logging.INFO)
    one = BrokerNo()
    loop = asyncio.get_running_loop()

    async def publish(error: Exception | None) -> None:
        sent: asyncio.Future[bool] = loop.create_future()
        sent.add_done_callback(one.watch("t"))
        if error is None:
            sent.set_result(True)
        else:
            sent.set_exception(error)
            sent.exception()
        await asyncio.sleep(0)

    for _ in range(3):
        one.connected(session())
        for _ in range(3):
            await publish(PublishRefused("not authorized"))
            assert "not authorized" in one.denied["t"]
    assert len(caplog.records) == 1
    await publish(None)
    assert not one.denied
    assert "again" in caplog.records[-1].getMessage()
    await publish(PublishRefused("quota exceeded"))
    assert len(caplog.records) == 3


@pytest.mark.parametrize("many", [1, 50])
def test_batches_that_are_set_aside_are_told_once(many, caplog, monkeypatch):
    one = BrokerNo()
    one.connected(session(2000))
    for _ in range(2):
        assert not any(one.takes(batch(n, 2001)) for n in range(many))
    assert len(one.aside) == many
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 61)
    one.look_again()
    assert not one.aside  # for the outbox may have dropped them
    one.connected(session(2000))
    assert not one.takes(batch(1, 2001))
    assert len(caplog.records) == 1
