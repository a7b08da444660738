"""A serial line that is a pseudo-terminal: half-duplex RTU that takes the time of a real wire."""

import asyncio
import os
import termios
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from drivers.ports.serial import Config as Serial
from firmware_sim.framing import Framing, Request, Rtu
from firmware_sim.lines import Ask, Hear
from firmware_sim.links import make_link, remove_link

_CHUNK_S: Final = 0.004
"""An answer leaves in pieces of about this length; the last byte is on time whatever this is."""

_LOCAL_FLAGS: Final = 3  # places in what tcgetattr returns
_OUTPUT_SPEED: Final = 5
_LOOK_EVERY_S: Final = 0.1


@asynccontextmanager
async def open_pty(
    settings: Serial,
    hear: Hear,
    framing: Callable[[], Framing] = Rtu,
    meet: Callable[[Ask], None] = lambda _: None,
) -> AsyncIterator[str]:
    """Serve the line at the link `settings.device`; yields the path of the terminal behind it.

    With `settings.echo` the adapter hears itself. `meet` is told how another master can ask here.
    The caller has claimed the link. Raises LineError if it cannot be made.
    """
    link = Path(settings.device)
    master, slave = os.openpty()
    try:
        path = os.ttyname(slave)
        _prepare(slave, settings.baud)
        os.set_blocking(master, False)
        make_link(link, path)
        line = _Pty(master, slave, settings, hear, framing)
        try:
            with line:
                meet(line.ask)
                yield path
        finally:
            remove_link(link, path)
    finally:
        # We hold the slave until now: a terminal that nobody has open makes its master fail.
        os.close(slave)
        os.close(master)


def _prepare(slave: int, baud: int) -> None:
    tty.setraw(slave)
    attributes = termios.tcgetattr(slave)
    attributes[4] = attributes[5] = _speed(baud)
    termios.tcsetattr(slave, termios.TCSANOW, attributes)


def _speed(baud: int) -> int:
    speed: int = getattr(termios, f"B{baud}")
    return speed


class _Pty:
    """Every time is an absolute deadline of the loop's clock, so that delays do not add up."""

    def __init__(
        self,
        master: int,
        slave: int,
        settings: Serial,
        hear: Hear,
        framing: Callable[[], Framing],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._master, self._slave = master, slave
        self._speed = _speed(settings.baud)
        self._byte_s, self._gap_s = settings.byte_s, settings.gap_s
        self._has_echo = settings.echo
        self._hear = hear
        self._new_framing = framing
        self._framing = framing()
        self._wire_busy_until = 0.0
        self._is_open = True
        self._look: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._loop.add_reader(self._master, self._readable)
        self._look_again()

    def __exit__(self, *_: object) -> None:
        self._is_open = False
        if self._look is not None:
            self._look.cancel()
        self._loop.remove_reader(self._master)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except BlockingIOError:
            return
        self._unsettle()
        if self._has_echo:
            self._send(data, max(self._loop.time(), self._wire_busy_until))
        if termios.tcgetattr(self._slave)[_OUTPUT_SPEED] != self._speed:
            data = bytes(len(data))  # at another baud rate all is noise
        self._carry(data, self._framing)

    def _unsettle(self) -> None:
        """See to it that whoever opens the terminal next has something to change.

        The kernel keeps no parity of a pty, and to glibc a call that changes nothing of what it
        was asked for is a failure: the second master that asks for parity, and for everything else
        as the first has left it, would be refused. ECHOE means nothing on a raw line, and every
        master clears it.
        """
        attributes = termios.tcgetattr(self._slave)
        if not attributes[_LOCAL_FLAGS] & termios.ECHOE:
            attributes[_LOCAL_FLAGS] |= termios.ECHOE
            termios.tcsetattr(self._slave, termios.TCSANOW, attributes)

    def _look_again(self) -> None:
        """A master may come and go without a word."""
        self._unsettle()
        self._look = self._loop.call_later(_LOOK_EVERY_S, self._look_again)

    def ask(self, frame: bytes) -> None:
        """Another master's request: our own master hears it, and the answer to it."""
        self._send(frame, max(self._loop.time(), self._wire_busy_until))
        self._carry(frame, self._new_framing())

    def _carry(self, data: bytes, framing: Framing) -> None:
        """Bytes go onto the wire: a pty has passed them on at once, a wire takes a while."""
        now_s = self._loop.time()
        self._wire_busy_until = max(now_s, self._wire_busy_until) + len(data) * self._byte_s
        for request in framing.feed(data, now_s):
            heard_s = self._wire_busy_until + self._gap_s
            self._loop.call_at(heard_s, self._answer, request, heard_s)

    def _answer(self, request: Request, heard_s: float) -> None:
        if self._is_open:
            for one in self._hear(request, partial(self._framing.wrap, request)):
                self._send(one.data, heard_s + one.delay_s + one.late_s, one.left)

    def _send(self, data: bytes, start_s: float, left: Callable[[], None] | None = None) -> None:
        """To our master, as the wire brings it."""
        step = max(1, int(_CHUNK_S / self._byte_s))
        for begin in range(0, len(data), step):
            end = min(begin + step, len(data))
            self._loop.call_at(
                start_s + end * self._byte_s,
                self._write,
                data[begin:end],
                left if end == len(data) else None,
            )

    def _write(self, data: bytes, left: Callable[[], None] | None) -> None:
        if not self._is_open:
            return
        try:
            os.write(self._master, data)
        except BlockingIOError:
            return  # nobody has read for a long time: lost, as on a wire without a listener
        if left is not None:
            left()
