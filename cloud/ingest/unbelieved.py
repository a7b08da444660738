"""Gateways that say that our acks prove nothing to them: they keep what we have, and send it again
and again, until a person gives both ends the same key."""

import time
from collections.abc import Callable, Iterable
from typing import Final

from cloud.alerts.rule import ServiceFault
from wire.messages import Status

NAME: Final = "ack_not_taken"

PATIENCE_S: Final = 60.0
"""A key is changed at one end before the other."""

_MOST_GATEWAYS: Final = 4096
"""That are watched at once."""


class Unbelieved:
    """Those of one shard, by what they say of themselves."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._since: dict[str, float] = {}
        self._pending: dict[str, int] = {}
        self._standing: set[str] = set()

    def inherit(self, standing: Iterable[ServiceFault]) -> None:
        """An earlier process has reported these: they must end too."""
        self._standing |= {one.gateway for one in standing}

    def hear(self, statuses: Iterable[Status]) -> None:
        """What gateways say. A last will, which the broker sends, knows nothing of acks."""
        for status in statuses:
            if not status.stream:
                continue
            if not (status.acks_unproven and status.pending):
                self._since.pop(status.gateway, None)
                self._pending[status.gateway] = 0
            elif status.gateway in self._since or len(self._since) < _MOST_GATEWAYS:
                self._since.setdefault(status.gateway, self._now())
                self._pending[status.gateway] = status.pending

    def faults(self) -> list[ServiceFault]:
        """What has changed since the last time."""
        heard, self._pending = self._pending, {}
        found = []
        for gateway, pending in heard.items():
            since = self._since.get(gateway)
            if since is None and gateway in self._standing:
                found.append(ServiceFault(NAME, False, gateway))
                self._standing.discard(gateway)
            elif since is not None and gateway not in self._standing:
                if self._now() - since < PATIENCE_S:
                    continue
                found.append(ServiceFault(NAME, True, gateway, detail={"pending": pending}))
                self._standing.add(gateway)
        return found
