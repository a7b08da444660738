"""Parts of the service fail apart."""

import asyncio
import logging

import pytest

from cloud import supervision
from cloud.supervision import Supervisor
from tests import virtual


class Part:
    """Work that ends in the given ways, one after the other, and then works for ever."""

    def __init__(self, *ends: str) -> None:
        self.ends = list(ends)
        self.begun = 0
        self.stopped = 0

    async def run(self) -> None:
        self.begun += 1
        match self.ends.pop(0) if self.ends else "":
            case "error":
                raise KeyError("a row")
            case "return":
                return
            case "cancel":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            case "group":  # leaves a cancellation behind on Python 3.11.2
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail(), name="child")
                    await asyncio.sleep(3600)
            case "panic":  # as libraries written in Rust raise it
                raise Panic
            case "group of panics":
                async with asyncio.TaskGroup() as group:
                    group.create_task(panic(), name="child")
            case "assert":
                raise AssertionError
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise


class Panic(BaseException):
    """No Exception."""


async def panic() -> None:
    raise Panic


async def fail() -> None:
    raise OSError("gone")


def keep(*parts: Part, for_s: float) -> Supervisor:
    supervisor = Supervisor()

    async def main() -> None:
        tasks = [
            asyncio.create_task(supervisor.keep(f"part {n}", part.run), name=f"part {n}")
            for n, part in enumerate(parts)
        ]
        await asyncio.sleep(for_s)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)

    virtual.run(main())
    return supervisor


@pytest.mark.parametrize(
    "end", ["error", "return", "cancel", "group", "assert", "panic", "group of panics"]
)
def test_a_part_that_ends_in_whatever_way_is_begun_again_and_others_go_on(end: str) -> None:
    part, other = Part(end), Part()
    keep(part, other, for_s=30)
    assert part.begun == 2
    assert other.begun == 1
    assert (part.stopped, other.stopped) == (1 + (end == "cancel"), 1)


def test_a_failure_is_told_once_with_its_trace_and_the_recovery_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        supervisor = keep(Part(*["error"] * 5), for_s=600)
    told = [(one.levelname, one.message, bool(one.exc_info)) for one in caplog.records]
    assert told == [
        ("ERROR", "part 0 has failed and is started again: KeyError: 'a row'", True),
        ("INFO", "part 0: works again", False),
    ]
    assert supervisor.failing() == {}


def test_the_pause_grows_and_what_fails_for_ever_is_known() -> None:
    part = Part(*["error"] * 10_000)
    supervisor = keep(part, for_s=3000)
    assert 3000 / supervision.LONGEST_DELAY_S <= part.begun <= 2 * 3000 / 30 + 20
    assert supervisor.failing() == {"part 0": "KeyError: 'a row'"}


def test_what_a_group_leaves_behind_ends_no_time_out_of_the_next_attempt() -> None:
    """On Python 3.11.2 a TaskGroup whose child fails leaves its task with a cancellation."""
    timed_out = []

    async def work() -> None:
        if not begun:
            begun.append(1)
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(), name="child")
                await asyncio.sleep(3600)
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(3600)
        except TimeoutError:
            timed_out.append(1)
        await asyncio.sleep(3600)

    begun: list[int] = []

    async def main() -> None:
        task = asyncio.create_task(Supervisor().keep("a part", work), name="keeper")
        await asyncio.sleep(60)
        task.cancel()
        await asyncio.wait([task])

    virtual.run(main())
    assert timed_out == [1]
