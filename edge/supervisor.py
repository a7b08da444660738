"""Keeps the core of a gateway and its other parts apart.

The core is what a signal needs: buses, interlocks, signal keepers. A task of the core that raises,
or ends without being asked to, fails the process: systemd starts it again, and until then the
signals fall back by themselves.

Everything else is a part. A part that raises, ends or is cancelled without being asked to is
reported once, with its traceback, and starts again after a pause, which grows while it fails. What
the core calls of a part goes through `guard`, so that nothing a part does can raise into the core.
"""

import asyncio
import contextlib
import logging
import random
import traceback
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

import msgspec

from edge import clock

log: Final = logging.getLogger("shuichi.edge")

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
STEADY_AFTER_S: Final = 60.0
"""A part that has not failed for so long works again."""

END_WITHIN_S: Final = 10.0
"""How long the end of a task is waited for; one that does not heed its cancellation is left."""

MOST_KINDS: Final = 8
"""Kinds of failure that are logged while a part does not work; a kind is a type and a place."""

MOST_FRAMES: Final = 12
LONGEST_TEXT: Final = 200
LONGEST_TRACE: Final = 20_000

ANY_FAULT: Final = (Exception, BaseExceptionGroup)
"""What may be raised by mistake. Our own cancellation is none of it."""

P = ParamSpec("P")
T = TypeVar("T")

Run = Callable[[], Coroutine[Any, Any, None]]
Record = Callable[[str, str, dict[str, str | int | float | bool | None]], None]
"""`record(kind, text, detail)` records an event."""


class CoreFailed(Exception):
    """A task of the core has failed. The cause is what it raised, if it did."""


class Unasked(Exception):
    """A task has ended although nobody asked it to."""


class PartState(msgspec.Struct, frozen=True):
    """A part at this moment. `failures` are all since the start; `failed_s` is the time since the
    last, s, and `trouble` what it was."""

    name: str
    running: bool
    failures: int
    failed_s: float | None
    trouble: str


class _Part:
    def __init__(self, name: str, run: Run | None) -> None:
        self.name = name
        self.run = run
        self.task: asyncio.Task[None] | None = None
        self.restart: asyncio.TimerHandle | None = None
        self.settled: asyncio.TimerHandle | None = None
        self.delay_s = FIRST_DELAY_S
        self.failures = 0
        self.failed_at: float | None = None
        self.trouble = ""
        self.logged: set[tuple[type, str, int]] = set()


class Supervisor:
    """`async with` ends all that still runs."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._core: dict[str, asyncio.Task[Any]] = {}
        self._parts: dict[str, _Part] = {}
        self._failure: CoreFailed | None = None
        self._failed = asyncio.Event()
        self._recording = False
        self._closed = False

    def core(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """Start a task of the core."""
        task = asyncio.create_task(_contained(lambda: loop), name=name)
        self._core[name] = task
        task.add_done_callback(partial(self._core_ended, name))

    def part(self, name: str, run: Run) -> None:
        """Start a part: `run()` makes its coroutine, anew for each start."""
        part = self._known(name)
        part.run = run
        self._start(part)

    async def end(self, name: str) -> None:
        """End a task of the core or a part, on purpose."""
        if (core := self._core.pop(name, None)) is not None:
            await _cancelled(core)
        elif (part := self._parts.get(name)) is not None:
            part.run = None
            if part.restart is not None:
                part.restart.cancel()
            task, part.task = part.task, None
            if task is not None:
                await _cancelled(task)

    async def until(self, main: Coroutine[Any, Any, None]) -> None:
        """Run `main` to its end. Raises CoreFailed as soon as the core fails, and what `main`
        raises."""
        task = asyncio.create_task(_contained(lambda: main), name="main")
        failed = asyncio.create_task(self._failed.wait(), name="core failed")
        try:
            await asyncio.wait((task, failed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed.cancel()
            if not task.done():
                await _cancelled(task)
        if self._failure is not None:
            raise self._failure
        if task.cancelled():
            raise CoreFailed("main was cancelled")
        task.result()

    def guard(self, name: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What `call` returns, or None if it raises. That is then a failure of part `name`, whose
        task goes on."""
        try:
            return call(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - no call is cancelled, and none ends us
            self.report(name, error)
            return None

    async def attempt(self, name: str, work: Coroutine[Any, Any, T]) -> T | None:
        """As `guard`, for what is awaited. Who waits can be cancelled."""
        try:
            return await work
        except BaseException as error:
            if _is_end_of_waiting(error):
                raise
            self.report(name, error)
            return None

    def report(self, name: str, error: BaseException) -> None:
        """Something of part `name` has failed. Never raises."""
        try:
            self._report(self._known(name), error)
        except BaseException:  # noqa: BLE001 - no memory, no stack: the core goes on
            self._recording = False

    def states(self) -> tuple[PartState, ...]:
        """All parts, by name."""
        now = clock.monotonic()
        return tuple(
            PartState(
                name=part.name,
                running=part.task is not None or part.run is None,
                failures=part.failures,
                failed_s=None if part.failed_at is None else now - part.failed_at,
                trouble=part.trouble,
            )
            for part in sorted(self._parts.values(), key=lambda part: part.name)
        )

    def _known(self, name: str) -> _Part:
        if (part := self._parts.get(name)) is None:
            part = self._parts[name] = _Part(name, None)
        return part

    def _start(self, part: _Part) -> None:
        part.restart = None
        if part.run is None or self._closed:
            return
        part.task = asyncio.create_task(_contained(part.run), name=part.name)
        part.task.add_done_callback(partial(self._part_ended, part))

    def _part_ended(self, part: _Part, task: asyncio.Task[None]) -> None:
        error = _why_ended(task)
        if part.task is not task:
            return  # on purpose
        part.task = None
        self.report(part.name, error)
        self._start_later(part)

    def _start_later(self, part: _Part) -> None:
        if not self._closed:
            delay_s = part.delay_s * random.uniform(0.5, 1.0)
            part.delay_s = min(2 * part.delay_s, LONGEST_DELAY_S)
            loop = asyncio.get_running_loop()
            part.restart = loop.call_later(delay_s, self._start_again, part)

    def _start_again(self, part: _Part) -> None:
        try:
            self._start(part)
        except BaseException as error:  # noqa: BLE001 - no memory for a task
            self.report(part.name, error)
            self._start_later(part)

    def _core_ended(self, name: str, task: asyncio.Task[None]) -> None:
        error = _why_ended(task)
        if self._core.get(name) is not task:
            return  # on purpose
        log.critical("%s, which the signals need, failed: %s", name, _said(error), exc_info=error)
        if self._failure is None:
            self._failure = CoreFailed(f"{name} failed: {_said(error)}")
            self._failure.__cause__ = error
        self._failed.set()

    def _report(self, part: _Part, error: BaseException) -> None:
        part.failures += 1
        part.failed_at = clock.monotonic()
        part.trouble = _said(error)
        is_first = part.settled is None
        if part.settled is not None:
            part.settled.cancel()
        if not self._closed:
            loop = asyncio.get_running_loop()
            part.settled = loop.call_later(STEADY_AFTER_S, self._settled, part)
        kind = _kind(error)
        if kind not in part.logged and len(part.logged) < MOST_KINDS:
            part.logged.add(kind)
            log.error(
                "%s failed: %s; the signals go on", part.name, part.trouble, exc_info=_trace(error)
            )
        if is_first:
            text = f"{part.name} failed and starts again: {part.trouble}"
            self._recorded("part_failed", text, part)

    def _settled(self, part: _Part) -> None:
        """It has not failed for long."""
        part.settled = None
        part.logged.clear()
        part.delay_s = FIRST_DELAY_S
        if part.task is not None or part.run is None:
            log.info("%s works again", part.name)
            self._recorded("part_recovered", f"{part.name} works again", part)

    def _recorded(self, kind: str, text: str, part: _Part) -> None:
        if self._recording:
            return  # recording is what has failed
        self._recording = True
        try:
            self._record(kind, text, {"part": part.name, "failures": part.failures})
        finally:
            self._recording = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        for name in (*self._core, *self._parts):
            await self.end(name)
        for part in self._parts.values():
            if part.settled is not None:
                part.settled.cancel()


async def _contained(run: Run) -> None:
    try:
        await run()
    except (SystemExit, KeyboardInterrupt) as error:  # asyncio would let them end the process
        raise Unasked(f"{type(error).__name__} {error}") from error


def _is_end_of_waiting(error: BaseException) -> bool:
    """Whether somebody has cancelled the task that waits, or it is thrown away with its loop."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end. One that cancels itself is not waited for."""
    if task is asyncio.current_task() or task.done():
        return
    task.cancel()
    await asyncio.wait((task,), timeout=END_WITHIN_S)
    if not task.done():
        log.error("%s does not end within %g s; it is left", task.get_name(), END_WITHIN_S)


def _why_ended(task: asyncio.Task[None]) -> BaseException:
    if task.cancelled():
        return Unasked("it was cancelled")
    return task.exception() or Unasked("it ended by itself")


def _said(error: BaseException) -> str:
    """One line about an exception, whatever it is."""
    text = ""
    with contextlib.suppress(BaseException):
        text = " ".join(str(error).split())[:LONGEST_TEXT]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _kind(error: BaseException) -> tuple[type, str, int]:
    """What an exception is and where it was raised: the same of all failures of one cause."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error), "", 0
    return type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno


def _trace(error: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    """What the log shows of an exception: the end of its traceback, and no text without end."""
    frames = _last_frames(error.__traceback__)
    shown = traceback.format_exception(type(error), error, frames)
    if sum(map(len, shown)) > LONGEST_TRACE:
        error = Unasked(f"it raised {_said(error)}")
    return type(error), error, frames


def _last_frames(trace: TracebackType | None) -> TracebackType | None:
    """The end of a traceback: that of a recursion without end has a thousand frames."""
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    return frames[-MOST_FRAMES:][0] if frames else None
