"""Parts fail in every way that Python knows; the core goes on. The core fails; the process ends."""

import asyncio
import itertools
import logging
from typing import Any

import pytest

from edge import supervisor as module
from edge.supervisor import CoreFailed, Supervisor
from tests import virtual


class Scene:
    """A supervisor with one core task that counts its rounds, and all events that it records."""

    def __init__(self):
        self.events: list[Any] = []
        self.rounds = 0
        self.supervisor = Supervisor(lambda kind, _text, detail: self.events.append((kind, detail)))

    async def core(self):
        while True:
            self.rounds += 1
            await asyncio.sleep(0.1)

    def kinds(self):
        return [(kind, detail["part"]) for kind, detail in self.events]

    def state(self, name):
        (found,) = [part for part in self.supervisor.states() if part.name == name]
        return found


def recursion():
    return recursion() + 1


def raises_group():
    raise ExceptionGroup("two", [ValueError("a"), ExceptionGroup("three", [KeyError("b")])])


def raises_base_group():
    raise BaseExceptionGroup("cancelled", [asyncio.CancelledError(), ValueError("a")])


class Broken(Exception):
    def __str__(self):
        raise ValueError("no text")


class OfItsOwn(BaseException):
    def __str__(self):
        raise KeyboardInterrupt


def raises(error):
    def call():
        raise error

    return call


def cancels_itself():
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


WAYS = {
    "ValueError": raises(ValueError("nonsense")),
    "recursion": recursion,
    "MemoryError": raises(MemoryError()),
    "a group": raises_group,
    "a base group": raises_base_group,
    "SystemExit 0": raises(SystemExit(0)),
    "KeyboardInterrupt": raises(KeyboardInterrupt()),
    "GeneratorExit": raises(GeneratorExit()),
    "StopIteration": raises(StopIteration()),
    "a BaseException of its own": raises(OfItsOwn()),
    "a group of those": raises(BaseExceptionGroup("x", [GeneratorExit(), SystemExit(1)])),
    "CancelledError": raises(asyncio.CancelledError()),
    "StopAsyncIteration": raises(StopAsyncIteration()),
    "AssertionError": raises(AssertionError()),
    "cancels itself": cancels_itself,
    "no text": raises(Broken()),
    "a long text": raises(ValueError("x" * 10**6 + "\n" * 1000)),
    "ends": lambda: None,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_part_that_fails_starts_again_and_the_core_goes_on(way, caplog):
    async def main():
        scene, starts = Scene(), []

        async def part():
            starts.append(virtual.now())
            way()
            await asyncio.sleep(0)

        async with scene.supervisor as supervisor:
            supervisor.core("core", scene.core())
            supervisor.part("uplink", part)
            await asyncio.sleep(120)
        assert 1190 <= scene.rounds <= 1201
        pauses = [b - a for a, b in itertools.pairwise(starts)]
        assert 0.25 <= pauses[0] <= 0.5
        assert all(pause <= module.LONGEST_DELAY_S for pause in pauses)
        assert 6 <= len(starts) <= 14
        assert scene.kinds() == [("part_failed", "uplink")]
        assert scene.state("uplink").failures == len(starts)
        assert len(scene.state("uplink").trouble) < 300

    virtual.run(main())
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    is_bounded = len(caplog.text) < 100_000
    assert is_bounded


def test_a_part_that_is_cancelled_by_another_task_starts_again():
    async def main():
        scene, starts = Scene(), []

        async def part():
            starts.append(virtual.now())
            await asyncio.sleep(10_000)

        async with scene.supervisor as supervisor:
            supervisor.part("sealer", part)
            for _ in range(5):
                await asyncio.sleep(70)
                for task in asyncio.all_tasks():
                    if task.get_name() == "sealer":
                        task.cancel()
            await asyncio.sleep(1)
            assert len(starts) == 6
        assert len(starts) == 6, "its end was on purpose"

    virtual.run(main())


def test_a_part_that_works_again_is_reported_once_and_then_forgiven(caplog):
    async def main():
        scene, fails = Scene(), [True] * 5

        async def part():
            if fails:
                fails.pop()
                raise OSError("disk")
            await asyncio.sleep(100_000)

        async with scene.supervisor as supervisor:
            supervisor.part("event log", part)
            await asyncio.sleep(200)
            assert scene.state("event log").running
        assert scene.kinds() == [("part_failed", "event log"), ("part_recovered", "event log")]

    with caplog.at_level(logging.INFO):
        virtual.run(main())
    assert caplog.text.count("event log failed") == 1
    assert caplog.text.count("works again") == 1


@pytest.mark.parametrize(
    "way", [way for name, way in WAYS.items() if name not in ("ends", "cancels itself")]
)
def test_nothing_that_the_core_calls_can_raise_into_it(way):
    async def main():
        scene = Scene()
        async with scene.supervisor as supervisor:
            for _ in range(1000):
                assert supervisor.guard("sealer", way) is None
            assert supervisor.guard("sealer", lambda a, b: a + b, 1, b=2) == 3
            assert scene.state("sealer").failures == 1000
            assert scene.state("sealer").running
        assert scene.kinds() == [("part_failed", "sealer")]

    virtual.run(main())


@pytest.mark.parametrize(
    "way", [way for name, way in WAYS.items() if name not in ("ends", "cancels itself")]
)
def test_nothing_that_main_attempts_can_raise_into_it(way):
    async def main():
        scene = Scene()

        async def work():
            way()

        async def attempts():
            for _ in range(3):
                await scene.supervisor.attempt("uplink", work())

        async with scene.supervisor as supervisor:
            await supervisor.until(attempts())
            assert scene.state("uplink").failures == 3

    virtual.run(main())


def test_an_attempt_ends_by_its_own_cancellation():
    async def main():
        scene = Scene()
        async with scene.supervisor as supervisor:
            attempt = asyncio.create_task(supervisor.attempt("uplink", asyncio.sleep(1000)))
            await asyncio.sleep(1)
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
        assert scene.events == []

    virtual.run(main())


def test_recording_may_be_what_fails():
    async def main():
        calls = []

        def record(*_):
            calls.append(1)
            supervisor.guard("event log", raises(ValueError("full")))
            raise ValueError("worse")

        supervisor = Supervisor(record)
        async with supervisor:
            for _ in range(10):
                supervisor.guard("sealer", raises(ValueError("x")))
        assert len(calls) == 1

    virtual.run(main())


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_core_task_that_ends_unasked_ends_the_process(way):
    async def main():
        scene, ended = Scene(), []

        async def bus():
            await asyncio.sleep(5)
            way()
            await asyncio.sleep(0)

        async def work():
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append(virtual.now())

        async with scene.supervisor as supervisor:
            supervisor.core("core", scene.core())
            supervisor.core("bus one", bus())
            with pytest.raises(CoreFailed, match="bus one"):
                await supervisor.until(work())
            assert virtual.now() < 1006
        assert len(ended) == 1

    virtual.run(main())


def test_what_ends_on_purpose_fails_nobody():
    async def main():
        scene = Scene()
        async with scene.supervisor as supervisor:
            supervisor.core("bus one", asyncio.sleep(10_000))
            supervisor.part("metrics", lambda: asyncio.sleep(10_000))

            async def work():
                await asyncio.sleep(1)
                await supervisor.end("bus one")
                await supervisor.end("metrics")
                await supervisor.end("never there")
                await asyncio.sleep(100)

            await supervisor.until(work())
        assert scene.events == []

    virtual.run(main())


def test_a_part_that_does_not_heed_its_cancellation_is_left(caplog):
    async def main():
        scene, over = Scene(), asyncio.Event()

        async def stubborn():
            while not over.is_set():
                try:
                    await asyncio.sleep(10_000)
                except asyncio.CancelledError:
                    if over.is_set():
                        raise
                    await over.wait()

        async with scene.supervisor as supervisor:
            supervisor.core("core", scene.core())
            supervisor.part("uplink", stubborn)
            await asyncio.sleep(1)
            await supervisor.end("uplink")
            assert virtual.now() <= 1012
        over.set()
        await asyncio.sleep(1)

    virtual.run(main())
    assert "uplink does not end" in caplog.text
