"""The bus: one task a port that decides what is read next.

Lamp writes go first, then sensors that feed an interlock, then whatever is due earliest. A device
that keeps silent is asked less often, so that all silent devices together take no more than
`DEAD_SHARE` of the bus.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from drivers.device import Device, Value
from drivers.errors import DriverError
from drivers.profiles import Block
from edge import clock

log: Final = logging.getLogger("shuichi.bus")

SILENT_AFTER: Final = 3
"""Failures in a row after which a device is only probed."""

DEAD_SHARE: Final = 0.05
"""Share of the bus that the probes of silent devices may take together."""


class Heard(NamedTuple):
    """What one read brought, and when: UTC in ms, and monotonic s of the answer's arrival."""

    sensor: str
    values: tuple[Value, ...]
    at_ms: int
    at: float


class Job:
    """One block of one device, to be read every `interval_s`."""

    def __init__(
        self, sensor: str, device: Device, block: Block, interval_s: float, *, urgent: bool
    ) -> None:
        self.sensor = sensor
        self.device = device
        self.block = block
        self.interval_s = interval_s
        self.urgent = urgent
        self.due = 0.0
        self.failures = 0
        self.overruns = 0

    @property
    def silent(self) -> bool:
        """Whether the device is only probed now and then."""
        return self.failures >= SILENT_AFTER


class Bus:
    """Owns one port. `on_heard` is called in the bus's own task, before the next read."""

    def __init__(self, name: str, jobs: Sequence[Job], on_heard: Callable[[Heard], None]) -> None:
        self.name = name
        self.jobs = tuple(jobs)
        self._on_heard = on_heard
        self._asked: deque[Callable[[], Awaitable[None]]] = deque()
        self._woken = asyncio.Event()

    async def first(self, action: Callable[[], Awaitable[None]]) -> None:
        """Run `action` ahead of all reads, as soon as the exchange under way is over.

        Raises what `action` raises.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            if done.done():
                return  # the caller has given up waiting
            try:
                await action()
            except DriverError as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(None)

        self._asked.append(run)
        self._woken.set()
        await done

    async def run(self) -> None:
        """Poll for ever. Starts are spread over a second, so that they do not come in a heap."""
        start = clock.monotonic()
        for i, job in enumerate(self.jobs):
            job.due = start + min(1.0, job.interval_s) * i / len(self.jobs)
        while True:
            while self._asked:
                await self._asked.popleft()()
            if (due := self._next(clock.monotonic())) is None:
                await self._sleep_until_due()
            else:
                await self._read(due)

    def _next(self, now: float) -> Job | None:
        due = [job for job in self.jobs if job.due <= now]
        return min(due, key=lambda job: (not job.urgent, job.due), default=None)

    async def _sleep_until_due(self) -> None:
        self._woken.clear()
        due = min((job.due for job in self.jobs), default=None)
        try:
            async with asyncio.timeout_at(due):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _read(self, job: Job) -> None:
        try:
            values = await job.device.read(job.block)
        except DriverError as error:
            self._failed(job, error)
            values = tuple(Value(m.quantity, None, _brief(error)) for m in job.block.measures)
        else:
            self._answered(job)
        at = clock.monotonic()
        self._reschedule(job, at)
        self._on_heard(Heard(job.sensor, values, clock.utc_ms(), at))

    def _failed(self, job: Job, error: DriverError) -> None:
        job.failures += 1
        if job.failures == 1:
            log.warning("%s: %s", job.sensor, error)
        elif job.failures == SILENT_AFTER:
            log.warning("%s: silent; from now on only probed", job.sensor)

    def _answered(self, job: Job) -> None:
        if job.failures:
            log.info("%s: answers again after %d failures", job.sensor, job.failures)
        job.failures = 0

    def _reschedule(self, job: Job, now: float) -> None:
        if job.silent:
            silent = [j for j in self.jobs if j.silent]
            # A probe that fails costs the wait for the answer and the rest that follows it.
            cost_s = sum(2 * j.device.profile.line.reply_within_ms / 1000 for j in silent)
            job.due = now + max(job.interval_s, cost_s / DEAD_SHARE)
            return
        job.due += job.interval_s
        if job.due < now:  # late: catch up in time, not in reads
            job.overruns += 1
            job.due = now


def _brief(error: DriverError) -> str:
    """`no answer` or `bad reply`: short, because it is sent with every missing reading."""
    return {"Unavailable": "no answer", "BadReply": "bad reply"}.get(
        type(error).__name__, "refused"
    )
