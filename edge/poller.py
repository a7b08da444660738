"""The bus: one task a port that carries out what its agenda says.

Lamp writes go before all reads, and do not wait for a device that has been silent before.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from drivers.device import Value
from drivers.errors import (
    BadReply,
    DriverError,
    GivenUp,
    LineDown,
    Misconfigured,
    NotNow,
    Refused,
    Unavailable,
)
from drivers.ports import Port
from drivers.protocols.modbus import NO_SUCH_REGISTER
from edge import clock
from edge.agenda import Agenda, Health, Job
from edge.gauges import Busy, quantile
from edge.health import State
from edge.notify import BEAT_EVERY_S, Beat

log: Final = logging.getLogger("shuichi.bus")

_BRIEFLY: Final[tuple[tuple[type[DriverError], str], ...]] = (
    (LineDown, "no line"),
    (NotNow, "busy"),
    (Unavailable, "no answer"),
    (BadReply, "bad reply"),
    (Misconfigured, "refused"),
)
"""Short, because it is sent with every missing reading."""

_GAIN: Final = 1 / 8

_AFTER_A_FAULT_S: Final = 0.1
_MOST_FAULTS: Final = 10
"""A bus that fails so many times in a row does not work: then the process ends, and the signal
falls back."""


class Heard(NamedTuple):
    """What one read brought, and when the answer came (monotonic, s)."""

    sensor: str
    values: tuple[Value, ...]
    at: float


class DeviceState(msgspec.Struct, frozen=True):
    """A device at this moment. `sensors` are those on it, `sensor` the first of them. `failures`
    are those in a row, `failed` all of them. Times in s: `median_s` and `p95_s` of the last
    answers, `wait_s` how long it is waited for now, `cycle_s` between its last two answers,
    `answered_s` since the last."""

    sensor: str
    sensors: tuple[str, ...]
    unit: int
    breaker: State
    failures: int
    failed: int
    overruns: int
    median_s: float | None
    p95_s: float | None
    wait_s: float
    cycle_s: float | None
    answered_s: float | None
    strays: int = 0
    """Bytes that came before its answers and belong to nothing: noise on the line."""


class BusState(msgspec.Struct, frozen=True):
    """A bus at this moment. `busy` is its share of time in the last minute, `cycle_s` the time to
    read once everything that answers; answer times are those of all its devices."""

    port: str
    busy: float
    cycle_s: float
    overruns: int
    failed: int
    median_s: float | None
    p95_s: float | None
    devices: tuple[DeviceState, ...]
    line: Literal["open", "closed", "down"] = "closed"
    """Closed: nobody has needed it yet. Down: it cannot be opened, or it was lost."""
    line_since_s: float | None = None
    """For how long it has been so, s; None while nobody has tried."""
    line_error: str = ""
    """Why it is down."""
    strays: int = 0


class Bus:
    """Owns one port. `on_heard` is called in the bus's own task, before the next read; `beat` each
    time round, at least every `BEAT_EVERY_S` and the longest exchange. `port` is needed where
    nothing is read: for the state of the line.

    Whatever a read, `on_heard` or an action raises costs that read or action: the bus goes on.
    """

    def __init__(
        self,
        name: str,
        jobs: Sequence[Job],
        on_heard: Callable[[Heard], None],
        beat: Beat = lambda: None,
        port: Port | None = None,
    ) -> None:
        self.name = name
        self._port = port or (jobs[0].device.port if jobs else None)
        self._agenda = Agenda(jobs)
        self._busy = Busy()
        self._on_heard = on_heard
        self._beat = beat
        self._asked: deque[Callable[[], Awaitable[None]]] = deque()
        self._reading: Job | None = None
        self._waker: asyncio.Future[None] | None = None
        self._is_down = False
        self._faults: set[tuple[str, type[Exception]]] = set()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All that is read here."""
        return self._agenda.jobs

    async def first(self, action: Callable[[], Awaitable[None]]) -> None:
        """Run `action` ahead of all reads, as soon as the exchange under way is over. One with a
        device in doubt ends now.

        Raises what `action` raises.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            if done.done():
                return  # the caller has given up waiting
            try:
                await action()
            except Exception as error:  # noqa: BLE001 - it is the caller's, not the bus's
                if not done.done():
                    done.set_exception(self._mapped("an action", error))
            else:
                if not done.done():
                    done.set_result(None)

        self._asked.append(run)
        if self._reading is not None and not self._reading.health.is_well:
            self._reading.device.port.give_up("given up for something more urgent")
        self._wake()
        await done

    def change(self, jobs: Sequence[Job]) -> None:
        """Read `jobs` from now on. Those that were there before go on as they are."""
        self._agenda.change(jobs, clock.monotonic())
        self._wake()

    def state(self) -> BusState:
        """How the bus and its devices are now."""
        healths = list(dict.fromkeys(job.health for job in self.jobs))
        times = [seconds for health in healths for seconds in health.times.last]
        return BusState(
            port=self.name,
            busy=self._busy.share,
            cycle_s=sum(job.took_s or 0.0 for job in self.jobs if job.health.is_well),
            overruns=sum(job.overruns for job in self.jobs),
            failed=sum(health.breaker.failed for health in healths),
            median_s=quantile(times, 0.5),
            p95_s=quantile(times, 0.95),
            devices=tuple(_device(health) for health in healths),
            **self._line(),
            strays=sum(health.strays for health in healths),
        )

    def _line(self) -> dict[str, Any]:
        if self._port is None:
            return {}
        is_open, since, error = self._port.state()
        return {
            "line": "open" if is_open else "down" if error else "closed",
            "line_since_s": None if since is None else clock.monotonic() - since,
            "line_error": error,
        }

    async def run(self) -> None:
        """Poll for ever."""
        self._agenda.start(clock.monotonic())
        faults = 0
        while True:
            try:
                await self._round()
            except Exception as error:  # one port's fault must not end the others
                self._tell_fault("the bus", error)
                if (faults := faults + 1) > _MOST_FAULTS:
                    raise
                await asyncio.sleep(_AFTER_A_FAULT_S)
            else:
                faults = 0

    async def _round(self) -> None:
        self._beat()
        began = clock.monotonic()
        free_at = self._free_at()
        if self._asked:
            await self._asked.popleft()()
        elif (job := self._agenda.next(began, free_at)) is not None:
            await self._read(job, began)
        else:
            await self._sleep(min(self._agenda.wake_at(began, free_at), began + BEAT_EVERY_S))
            return
        self._busy.add(began)

    def _free_at(self) -> float:
        return 0.0 if self._port is None else self._port.free_at()

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def _sleep(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        self._waker = loop.create_future()
        alarm = loop.call_at(until, self._wake)
        try:
            await self._waker
        finally:
            alarm.cancel()
            self._waker = None

    async def _read(self, job: Job, began: float) -> None:
        port = job.device.port
        self._reading = job
        try:
            values = await job.device.read(job.block, within_s=job.wait_s, urgent=job.urgent)
        except GivenUp:
            self._agenda.unread(job, clock.monotonic())
            return
        except Exception as fault:  # noqa: BLE001
            error, at = self._mapped(job.sensor, fault), clock.monotonic()
            values = tuple(Value(m.quantity, None, _brief(error)) for m in job.block.measures)
            if isinstance(error, LineDown):
                self._down(job, error, at)
            else:
                self._up()
                self._failed(job, error, began, at)
        else:
            at = port.answered_at
            self._up()
            self._answered(job, began, at)
        finally:
            self._reading = None
        for sensor, own in job.shares(values):
            try:
                self._on_heard(Heard(sensor, own, at))
            except Exception as error:  # noqa: BLE001 - the next reading is not its fault
                self._tell_fault(sensor, error)
        if job.urgent:
            await asyncio.sleep(0)  # a lamp that this turns is asked for in its keeper's task: now

    def _mapped(self, about: str, error: Exception) -> DriverError:
        """What is no DriverError becomes one, and is told once."""
        if isinstance(error, DriverError):
            return error
        self._tell_fault(about, error)
        kind = LineDown if isinstance(error, OSError) else BadReply
        return kind(f"{self.name}: {type(error).__name__}: {error}")

    def _tell_fault(self, about: str, error: Exception) -> None:
        if (about, type(error)) not in self._faults:
            self._faults.add((about, type(error)))
            extra = {"port": self.name}
            log.error("%s: %s: %r", self.name, about, error, exc_info=error, extra=extra)

    def _answered(self, job: Job, began: float, at: float) -> None:
        health = job.health
        if health.breaker.failures:
            self._say(logging.INFO, job, f"answers again after {health.breaker.failures} failures")
        job.refused = False
        if strays := job.device.port.strays:
            if not health.strays:
                text = f"{strays} stray {'byte' if strays == 1 else 'bytes'} before the answer"
                self._say(logging.WARNING, job, f"{text}: check the cable and its termination")
            health.strays += strays
        took_s = at - began
        job.took_s = took_s if job.took_s is None else job.took_s + _GAIN * (took_s - job.took_s)
        job.cycle_s = None if job.answered_at is None else at - job.answered_at
        health.answered_at = job.answered_at = at
        health.times.heard(job.device.port.answer_s)
        self._agenda.answered(job, at)

    def _down(self, job: Job, error: LineDown, now: float) -> None:
        if not self._is_down:
            log.warning("%s", error, extra={"port": self.name})
        self._is_down = True
        self._agenda.unread(job, now)

    def _up(self) -> None:
        if self._is_down:
            log.info("%s: the line is back", self.name, extra={"port": self.name})
        self._is_down = False

    def _failed(self, job: Job, error: DriverError, began: float, now: float) -> None:
        breaker = job.health.breaker
        if isinstance(error, Misconfigured | NotNow):  # an answer, though not a welcome one
            job.health.answered_at = now
            is_new, job.refused = not job.refused, True
            may_split = isinstance(error, Refused) and error.code == NO_SUCH_REGISTER
            if may_split and self._agenda.split(job, now):
                self._say(logging.WARNING, job, f"{error}: from now on they are left out")
                return
            if is_new:
                self._say(logging.WARNING, job, str(error))
            self._agenda.answered(job, now)
            return
        if isinstance(error, Unavailable):
            job.health.times.missed()
        if breaker.failures == 0:
            self._say(logging.WARNING, job, str(error))
        was_closed = breaker.state is State.CLOSED
        self._agenda.failed(job, began, now, self._free_at())
        if was_closed and breaker.state is State.OPEN:
            self._say(logging.WARNING, job, "silent; from now on only probed")

    def _say(self, level: int, job: Job, text: str) -> None:
        about = {"port": self.name, "sensor": job.sensor}
        log.log(level, "%s: %s", job.sensor, text, extra=about)


def _brief(error: DriverError) -> str:
    return next(text for kind, text in _BRIEFLY if isinstance(error, kind))


def _device(health: Health) -> DeviceState:
    job, last = health.jobs[0], health.times.last
    return DeviceState(
        sensor=job.sensor,
        sensors=tuple(dict.fromkeys(name for job in health.jobs for name in job.sensors.values())),
        unit=job.device.unit,
        breaker=health.breaker.state,
        failures=health.breaker.failures,
        failed=health.breaker.failed,
        overruns=sum(job.overruns for job in health.jobs),
        median_s=quantile(last, 0.5),
        p95_s=quantile(last, 0.95),
        wait_s=job.wait_s,
        cycle_s=job.cycle_s,
        strays=health.strays,
        answered_s=(None if health.answered_at is None else clock.monotonic() - health.answered_at),
    )
