"""`keep_connected` outlives every way in which a connection, and the work on it, can end.

The broker is a script on a real socket. Debian's Python 3.11.2 needs these tests: there a TaskGroup
leaves a cancellation pending in the task around it.
"""

import asyncio
import gc
import os
import ssl
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tests.waiting import until
from wire import mqtt
from wire.mqtt import Broker, Disconnected
from wire.tasks import CancelledAlone, apart


def own_task() -> Any:
    return asyncio.current_task()


CONNACK = b"\x20\x02\x00\x00"
"""MQTT 3.1.1, accepted, no session."""


@asynccontextmanager
async def scripted(*script):
    """A broker of which each connection follows the next word of `script`: "loses" accepts and
    hangs up when it is asked to, "silent" never answers, "good" accepts and stays."""
    met: list[str] = []
    tasks: set[Any] = set()

    async def serve(reader, writer):
        word = script[min(len(met), len(script) - 1)]
        met.append(word)
        tasks.add(own_task())
        try:
            await reader.read(1024)
            if word != "silent":
                writer.write(CONNACK)
            if word != "loses":
                while await reader.read(1024):
                    pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Broker(port=port, protocol="3.1.1", connect_timeout_s=0.2), met
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def _no_pause(monkeypatch):
    monkeypatch.setattr(mqtt, "_FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(mqtt, "_LONGEST_DELAY_S", 0.001)


def left_pending():
    """How a session's work may end: the cancellations that it leaves pending differ."""

    async def child_fails(session):
        async with asyncio.TaskGroup() as group:
            group.create_task(session.take(1))

    async def nested(session):
        async with asyncio.TaskGroup() as group:
            group.create_task(child_fails(session))
            group.create_task(asyncio.sleep(3600))

    async def cancels_itself(session):
        try:
            await session.take(1)
        finally:
            own_task().cancel()

    async def cancelled_by_another(session):
        task = own_task()
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            asyncio.get_running_loop().call_soon(task.cancel)

    return [child_fails, nested, cancels_itself, cancelled_by_another]


@pytest.mark.usefixtures("_no_pause")
@pytest.mark.parametrize("work", left_pending(), ids=lambda work: work.__name__)
async def test_a_silent_broker_after_a_lost_connection_is_waited_for(work):
    runs = []
    async with scripted("loses", "silent", "loses", "silent", "silent", "good") as (broker, met):

        async def run(session):
            runs.append(session)
            if len(runs) < 3:
                await work(session)

        async with asyncio.timeout(30):
            await mqtt.keep_connected(broker, "probe", run)
    assert met == ["loses", "silent", "loses", "silent", "silent", "good"]
    assert len(runs) == 3
    assert own_task().cancelling() == 0


@pytest.mark.parametrize("word", ["silent", "good"])
async def test_who_cancels_it_ends_it(word):
    async with scripted(word) as (broker, met):
        connected = asyncio.Event()

        async def run(session):
            connected.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(session.take(1))

        task = asyncio.create_task(mqtt.keep_connected(broker, "probe", run))
        await until(lambda: met)
        if word == "good":
            await connected.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_what_nobody_knows_is_not_taken_for_a_lost_connection():
    async with scripted("good") as (broker, _):

        async def run(_session):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await mqtt.keep_connected(broker, "probe", run)


async def test_apart_hands_over_results_errors_and_cancellations():
    async def fails():
        raise Disconnected("gone")

    assert await apart(asyncio.sleep(0, "done"), "one") == "done"
    with pytest.raises(Disconnected):
        await apart(fails(), "two")

    async def cancelled():
        own_task().cancel()
        await asyncio.sleep(0)

    with pytest.raises(CancelledAlone, match="three"):
        await apart(cancelled(), "three")


async def test_apart_waits_for_the_end_of_what_it_cancels():
    order = []

    async def slow():
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            order.append("cleaned up")

    task = asyncio.create_task(apart(slow(), "slow"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert order == ["cleaned up"]


def _call(work: Any, _: object) -> None:
    work()


async def test_who_is_cancelled_when_the_work_fails_leaves_no_exception_behind() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    goes_on = asyncio.Event()

    async def work() -> None:
        await goes_on.wait()
        raise ValueError

    waiting = asyncio.create_task(apart(work(), "the work"))
    await asyncio.sleep(0)
    (inner,) = (one for one in asyncio.all_tasks() if one.get_name() == "the work")
    await asyncio.sleep(0)
    inner.add_done_callback(partial(_call, waiting.cancel))
    del inner
    goes_on.set()
    await asyncio.wait((waiting,))
    assert waiting.cancelled()
    del waiting
    gc.collect()
    assert told == []


@pytest.mark.parametrize(("code", "hints"), [(9, True), (10, True), (18, False)])
def test_a_certificate_that_does_not_hold_now_may_mean_a_wrong_clock(code, hints):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "certificate is not yet valid"
    said = mqtt._reason(error)
    assert said.startswith("its certificate is not to be trusted: certificate is not yet valid")
    assert ("the clock of this machine shows 20" in said) is hints


async def test_a_disk_that_does_not_answer_holds_up_no_one_beside(monkeypatch):
    """The password is read at each connection, on the loop on which a gateway's buses are."""
    answers = threading.Event()

    def hanging(_):
        answers.wait(30)
        return "secret"

    monkeypatch.setattr(Broker, "password", hanging)
    connecting = asyncio.create_task(mqtt.connect(Broker(port=1), "x").__aenter__(), name="connect")
    for _ in range(5):
        await asyncio.sleep(0.001)  # others go on
    assert not connecting.done()
    answers.set()
    with pytest.raises(mqtt.Unreachable):
        await connecting


@pytest.mark.parametrize("key", ["password_file", "ca_file", "cert_file"])
async def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path, key):
    os.mkfifo(tmp_path / "pipe")
    pipe = {key: str(tmp_path / "pipe")}
    more = {"username": "me"} if key == "password_file" else {"tls": True}
    broker = Broker.model_validate({"port": 1} | pipe | more)
    with pytest.raises(mqtt.Refused, match="no ordinary file"):
        await mqtt.connect(broker, "x").__aenter__()
