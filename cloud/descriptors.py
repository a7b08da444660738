"""File descriptors of this process: how many there may be, and how many HTTP may take of them."""

import logging
import resource
from typing import Final

log: Final = logging.getLogger("shuichi.cloud")

RESERVED: Final = 192
"""For what is not HTTP: the state, the broker, the store, the channels."""


def raise_limit() -> None:
    """Let this process have as many as it is allowed to ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit of open files stays at %d: %s", soft, error)


def room_for(wanted: int) -> int:
    """How many connections HTTP may hold, `wanted` at most: never what others need. Where there is
    hardly room for both, it has a quarter."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(4, min(wanted, max(soft - RESERVED, soft // 4)))
