"""What we tell systemd: the protocol of sd_notify(3), in a few lines of our own.

The watchdog is fed by the loops that it watches over, not by a timer, which would live on when a
loop hangs.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final

BEAT_EVERY_S: Final = 5.0
"""A loop that waits on purpose goes round at least so often, to say that it does not hang."""

_SEND_EVERY_S: Final = 1.0

Beat = Callable[[], None]


class Notifier:
    """Sends to the socket that systemd has named, or to nobody: without one it does nothing."""

    def __init__(self, address: str | None) -> None:
        self._socket: socket.socket | None = None
        if address:
            # A name that begins with @ is abstract: no file, and a zero byte in place of the @.
            self._address = "\0" + address[1:] if address.startswith("@") else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    @classmethod
    def of(cls, environment: MutableMapping[str, str] = os.environ) -> "Notifier":
        """The one that systemd asks for; taken out of `environment`, as it is meant for us and
        not for our children."""
        return cls(environment.pop("NOTIFY_SOCKET", None))

    def ready(self) -> None:
        """The service works; also the end of a reload."""
        self._say("READY=1")

    def reloading(self) -> None:
        """A reload begins. The time lets systemd tell it from an earlier one."""
        self._say(
            "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
        )

    def stopping(self) -> None:
        """The service ends on purpose."""
        self._say("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._say(f"STATUS={' '.join(text.split())}")

    def alive(self) -> None:
        """Feeds the watchdog."""
        self._say("WATCHDOG=1")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, *lines: str) -> None:
        if self._socket is not None:
            # systemd may be busy or restarting itself; the signal does not wait for it.
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), self._address)


class Heartbeats:
    """Feeds the watchdog when every loop has gone round since it was fed last.

    `on_first` is called once, when all have gone round for the first time: the service works.
    `now` is a monotonic clock, s.
    """

    def __init__(
        self,
        feed: Callable[[], None],
        on_first: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._now = now
        self._on_first: Callable[[], None] | None = on_first
        self._missing: set[str] = set()
        self._watched: set[str] = set()
        self._fed_at = float("-inf")

    def watch(self, name: str) -> None:
        """From now on the loop `name` must call `beat` each time round."""
        self._watched.add(name)
        self._missing.add(name)

    def beat(self, name: str) -> None:
        """The loop `name` has gone round."""
        self._missing.discard(name)
        if not self._missing:
            self._all_went_round()

    def forget(self, name: str) -> None:
        """The loop `name` ends on purpose."""
        self._watched.discard(name)
        self._missing.discard(name)

    def missing(self) -> list[str]:
        """The loops that have not gone round since the watchdog was fed last."""
        return sorted(self._missing)

    def _all_went_round(self) -> None:
        now = self._now()
        if now - self._fed_at < _SEND_EVERY_S:
            return
        self._fed_at = now
        self._missing = set(self._watched)
        self._feed()
        if self._on_first is not None:
            first, self._on_first = self._on_first, None
            first()
