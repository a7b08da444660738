"""Rulers, gauges and a relay on a pty that takes the time of a serial line, in a thread. They can
be silenced, and the line can be cut; what they did is kept with its time (monotonic, s)."""

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from drivers.protocols.modbus import checksum

BYTE_S: Final = 10 / 9600
_LOOK_EVERY_S: Final = 0.02


class Shown(NamedTuple):
    """A read-back that was answered: whether all coils were off."""

    at: float
    is_red: bool


class Slaves:
    """`depth_cm` by unit; the relay has the unit `relay`. All answer after `answers_s`."""

    def __init__(self, link: Path, relay: int, answers_s: float) -> None:
        self.depth_cm: dict[int, int] = {}
        self.silent: set[int] = set()
        self.shown: list[Shown] = []
        self._link = link
        self._relay = relay
        self._answers_s = answers_s
        self._coils = 0xFF
        self._ends: tuple[int, int] | None = None
        self._buffer = bytearray()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @contextmanager
    def running(self) -> Iterator["Slaves"]:
        self.plug()
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            self.unplug()

    def plug(self) -> None:
        """The adapter is there."""
        master, terminal = os.openpty()
        tty.setraw(terminal)
        with self._lock:
            self._buffer.clear()
            self._ends = (master, terminal)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(terminal))

    def unplug(self) -> None:
        """It is gone."""
        self._link.unlink(missing_ok=True)
        with self._lock:
            ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)

    @property
    def coils(self) -> int:
        """What is on, as bits."""
        return self._coils

    def _serve(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                master = self._ends[0] if self._ends else -1
                if master >= 0 and select.select([master], [], [], 0)[0]:
                    with contextlib.suppress(OSError):
                        self._buffer += os.read(master, 256)
                request = self._request()
            if request is not None:
                self._answer(master, request)
            elif master < 0 or not select.select([master], [], [], _LOOK_EVERY_S)[0]:
                time.sleep(0.001)

    def _request(self) -> bytes | None:
        if len(self._buffer) < 8:
            return None
        need = 9 + self._buffer[6] if self._buffer[1] == 15 else 8
        if len(self._buffer) < need:
            return None
        request = bytes(self._buffer[:need])
        self._buffer.clear()
        return request if checksum(request) == 0 else None

    def _answer(self, master: int, request: bytes) -> None:
        time.sleep(len(request) * BYTE_S)  # the pty takes no time
        unit, function, count = request[0], request[1], int.from_bytes(request[4:6], "big")
        if unit in self.silent or (unit != self._relay and unit not in self.depth_cm):
            return
        if function == 15:
            self._coils = request[7]
            body = request[:6]
        elif function == 1:
            body = bytes((unit, 1, 1, self._coils))
        elif function not in (3, 4) or unit not in self.depth_cm:
            body = bytes((unit, function | 0x80, 1))
        else:
            body = bytes((unit, function, 2 * count))
            body += self.depth_cm[unit].to_bytes(2, "big") * count
        answer = body + checksum(body).to_bytes(2, "little")
        time.sleep(self._answers_s + len(answer) * BYTE_S)
        with self._lock, contextlib.suppress(OSError):
            if self._ends and self._ends[0] == master:
                os.write(master, answer)
        if function == 1:
            self.shown.append(Shown(time.monotonic(), self._coils == 0))
