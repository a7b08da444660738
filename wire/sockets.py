"""What every socket of ours gets, so that a peer that has vanished is noticed."""

import contextlib
import socket
from typing import Final

CONNECT_ATTEMPT_DELAY_S: Final = 0.25
"""After so long the next address of a name is tried beside the one before (RFC 8305, section 5)."""

_IDLE_S: Final = 10.0
_PROBE_EVERY_S: Final = 3
_PROBES: Final = 3

_LEAST_UNANSWERED_S: Final = 1.0
"""A kernel that repeats a lost segment first waits for 0.2 s or more."""


def keep_alive(sock: socket.socket, unanswered_s: float, idle_s: float = _IDLE_S) -> None:
    """End the connection when the other side has not confirmed what was sent for `unanswered_s`
    (TCP_USER_TIMEOUT, RFC 5482: without it the kernel repeats for a quarter of an hour), and ask
    whether it is still there when nothing was said for `idle_s`."""
    unanswered_ms = round(max(unanswered_s, _LEAST_UNANSWERED_S) * 1000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", max(1, round(idle_s))),
        ("TCP_KEEPINTVL", _PROBE_EVERY_S),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", unanswered_ms),
    ):
        if hasattr(socket, name):  # not every system has each of them
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
