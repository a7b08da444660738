"""Somebody connects to the broker under the name of the cloud."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from cloud import takeover
from tests.services import Service
from tests.system.aggregator import broker_of
from tests.waiting import until
from wire.mqtt import Session, connect, keep_connected
from wire.mqtt.terms import HUNG_UP, TAKEN_OVER


def longer(some: Sequence[object], number: int) -> bool:
    return len(some) > number


async def test_a_session_that_is_taken_over_is_told_with_the_remedy(
    mosquitto: Service, caplog: pytest.LogCaptureFixture
) -> None:
    broker, name = broker_of(mosquitto), "shuichi-cloud-takeover"
    tell = takeover.Watcher(name)
    sessions: list[Session] = []
    troubles: list[str] = []

    async def serve(session: Session) -> None:
        sessions.append(session)
        await session.take(1)

    def trouble(reason: str) -> None:
        troubles.append(reason)
        tell(reason)

    task = asyncio.create_task(
        keep_connected(broker, name, serve, on_trouble=trouble), name="cloud"
    )
    while "takes our session" not in caplog.text:
        number = len(troubles)
        assert number < takeover.CUTS
        await until(partial(longer, sessions, number))
        async with connect(broker, name):
            await until(partial(longer, troubles, number))
    task.cancel()
    await asyncio.wait([task])
    assert caplog.text.count("takes our session") == 1
    assert "docs/broker.md" in caplog.text


def test_a_broker_that_is_restarted_now_and_then_is_no_intruder(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = [0.0]
    tell = takeover.Watcher("x", lambda: clock[0])
    for _ in range(20):
        tell(f"the connection ended: {HUNG_UP}")
        tell("broker x cannot be reached")
        clock[0] += takeover.WITHIN_S
    assert caplog.text == ""
    for _ in range(20):
        tell(f"the connection ended: {TAKEN_OVER}")
    assert caplog.text.count("connects as x") == 1


def test_one_who_takes_it_again_and_again_is_a_fault_until_it_is_over() -> None:
    clock = [0.0]
    watcher = takeover.Watcher("x", lambda: clock[0])
    watcher(f"the connection ended: {TAKEN_OVER}")
    assert watcher.trouble == ""
    for _ in range(takeover.CUTS):
        clock[0] += 30
        watcher(f"the connection ended: {TAKEN_OVER}")
    assert "takes the session x" in watcher.trouble
    clock[0] += takeover.WITHIN_S
    assert watcher.trouble == ""
