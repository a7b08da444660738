"""What systemd hears, and when the watchdog goes hungry."""

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from functools import partial

import pytest

from drivers.device import Device
from drivers.errors import Unavailable
from drivers.profiles import find
from drivers.protocols.modbus import Master
from edge import notify
from edge.agenda import Job
from edge.notify import Heartbeats, Notifier
from edge.poller import Bus
from edge.signal import SignalKeeper
from tests import virtual
from tests.scripted_line import ScriptedLine
from wire.aspect import Aspect

PROFILE = find("ruler-cm-9600")


@contextlib.contextmanager
def systemd(address):
    """A socket like that of systemd; gives a function that takes what has come."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)

        def heard():
            said = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(listener.recv(4096).decode())
            return said

        yield heard


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_reach_a_socket_with_and_without_a_file(tmp_path, abstract):
    name = f"shuichi-{secrets.token_hex(8)}"
    path = str(tmp_path / name)
    environment = {"NOTIFY_SOCKET": f"@{name}" if abstract else path}
    with systemd(f"\0{name}" if abstract else path) as heard:
        notifier = Notifier.of(environment)
        notifier.ready()
        notifier.alive()
        notifier.status("two\nlines")
        before_us = time.monotonic_ns() // 1000
        notifier.reloading()
        after_us = time.monotonic_ns() // 1000
        notifier.stopping()
        *begin, reloading, stopping = heard()
        notifier.close()
    assert begin == ["READY=1", "WATCHDOG=1", "STATUS=two lines"]
    what, _, at_us = reloading.partition("\nMONOTONIC_USEC=")
    assert what == "RELOADING=1"
    assert before_us <= int(at_us) <= after_us
    assert stopping == "STOPPING=1"
    assert environment == {}, "our children must not speak for us"


def test_without_systemd_or_when_it_is_gone_nothing_happens(tmp_path):
    for notifier in (Notifier.of({}), Notifier(str(tmp_path / "nobody"))):
        notifier.ready()
        notifier.close()
        notifier.alive()


class Watchdog:
    """Remembers when it was fed, in virtual time."""

    def __init__(self):
        self.fed_at = []
        self.ready_at = None
        self.heartbeats = Heartbeats(self.feed, self.is_ready)

    def feed(self):
        self.fed_at.append(virtual.now())

    def is_ready(self):
        assert self.ready_at is None
        self.ready_at = virtual.now()

    def longest_hunger(self, since, until):
        times = [since, *(at for at in self.fed_at if since <= at <= until), until]
        return max(b - a for a, b in itertools.pairwise(times))


class Line(Master):
    """Every read takes a tenth of a second, unless it hangs or fails."""

    def __init__(self):
        super().__init__(ScriptedLine())
        self.hangs = self.fails = False
        self.reads = 0

    async def read_registers(self, unit, function, address, count, **limits):
        self.reads += 1
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0.1)
        if self.fails:
            raise Unavailable("no answer")
        return [0] * count


def bus_of(line, watchdog, name, interval_s):
    jobs = [
        Job(name, Device(line, PROFILE, 1), block, interval_s, urgent=False)
        for block in PROFILE.blocks()
    ]
    heartbeats = watchdog.heartbeats
    heartbeats.watch(name)
    return Bus(name, jobs, lambda heard: None, partial(heartbeats.beat, name))


class Signal:
    hangs = False

    async def show(self, aspect):
        if self.hangs:
            await asyncio.get_running_loop().create_future()

    async def read_back(self):
        return Aspect.GREEN


@contextlib.asynccontextmanager
async def running(*loops):
    tasks = [asyncio.create_task(loop.run(), name="loop") for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


SANE_S = 2 * notify.BEAT_EVERY_S


def test_the_watchdog_is_fed_while_buses_are_busy_idle_or_failing_and_not_when_one_hangs():
    async def live():
        watchdog = Watchdog()
        busy, idle = Line(), Line()
        buses = bus_of(busy, watchdog, "busy", 0.2), bus_of(idle, watchdog, "idle", 3600)
        async with running(*buses):
            began = virtual.now()
            await asyncio.sleep(60)
            assert watchdog.ready_at is not None
            assert watchdog.ready_at - began < 2
            assert watchdog.longest_hunger(began, virtual.now()) <= SANE_S
            assert len(watchdog.fed_at) <= 60, "no more than once a second"
            busy.fails = True
            await asyncio.sleep(60)
            assert watchdog.longest_hunger(began, virtual.now()) <= SANE_S
            assert watchdog.heartbeats.missing() != ["busy"]
            busy.fails = False
            busy.hangs = True
            hung = virtual.now()
            await asyncio.sleep(120)
            assert max(watchdog.fed_at) <= hung + SANE_S, "idle alone must not feed it"
            assert watchdog.heartbeats.missing() == ["busy"]

    virtual.run(live())


def test_a_signal_that_hangs_starves_the_watchdog_and_one_that_waits_does_not():
    async def live():
        watchdog = Watchdog()
        signal = Signal()
        watchdog.heartbeats.watch("signal")
        beat = partial(watchdog.heartbeats.beat, "signal")
        keeper = SignalKeeper("here", signal, None, 3600, lambda *_: None, beat)
        async with running(keeper):
            began = virtual.now()
            await asyncio.sleep(60)
            keeper.want(Aspect.GREEN, virtual.now(), "test")
            await asyncio.sleep(60)
            assert watchdog.longest_hunger(began, virtual.now()) <= SANE_S
            signal.hangs = True
            keeper.want(Aspect.RED, virtual.now(), "test")
            hung = virtual.now()
            await asyncio.sleep(60)
            assert max(watchdog.fed_at) <= hung + SANE_S

    virtual.run(live())


def test_a_loop_that_ends_on_purpose_is_not_waited_for():
    async def live():
        watchdog = Watchdog()
        watchdog.heartbeats.watch("stays")
        watchdog.heartbeats.watch("goes")
        watchdog.heartbeats.beat("stays")
        assert watchdog.ready_at is None
        watchdog.heartbeats.forget("goes")
        watchdog.heartbeats.beat("stays")
        assert watchdog.ready_at == virtual.now()

    virtual.run(live())
