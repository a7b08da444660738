"""Virtual time: an event loop whose clock jumps to the next timer whenever nothing else is to be
done, so that a test of minutes takes milliseconds and every delay is exact."""

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar
from unittest import mock

from edge import clock

LONGEST_S = 3600.0

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: where a loop would sleep, its clock is put forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits and no timer runs"
            self.now_s += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self.reports: list[Mapping[str, Any]] = []
        self.set_exception_handler(lambda _, report: self.reports.append(report))

    def time(self) -> float:
        return self._jumping.now_s


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time, which is also the gateway's monotonic clock and UTC.

    Fails after a virtual hour, if a task is left behind, and if asyncio had to report what nobody
    looked at.
    """

    async def bounded() -> T:
        async with asyncio.timeout(LONGEST_S):
            return await main

    def utc_ms() -> int:
        return round(loop.time() * 1000)

    with (
        asyncio.Runner(loop_factory=_Loop) as runner,
        mock.patch.object(clock, "monotonic", (loop := runner.get_loop()).time),
        mock.patch.object(clock, "utc_ms", utc_ms),
    ):
        result = runner.run(bounded())
        left = asyncio.all_tasks(loop)
        assert not left, left
        assert isinstance(loop, _Loop)
        assert not loop.reports, loop.reports
    return result


def pass_by(seconds: float) -> None:
    """Let time pass while the loop can do nothing, as if the machine were busy."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _Loop)
    loop._jumping.now_s += seconds


def now() -> float:
    """The virtual time, s."""
    return asyncio.get_running_loop().time()
