"""What goes to quarantine and why, counted and told: in the log once a minute, and as a fault of a
gateway where it is more than an odd reading."""

import logging
import math
import time
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from cloud.alerts.rule import ServiceFault
from cloud.ingest.condemning import number_of, words_of
from cloud.quarantine import Case, Reason

log: Final = logging.getLogger("shuichi.ingest")

TELL_EVERY_S: Final = 60.0

WINDOW_S: Final = 300.0
"""Over which readings in quarantine are counted; as long without one ends the fault."""

MANY: Final = 10
"""Readings of one gateway within the window that are more than odd ones."""

_MOST_GATEWAYS: Final = 4096
"""Of which readings are counted at once."""


_NOT_OURS: Final = (Reason.NOT_ALLOWED, Reason.QUOTA)
"""Reasons that say nothing of our gateways, or that have a fault of their own."""

_NAME: Final = "readings_refused"


class _Refused(NamedTuple):
    """So many readings went to quarantine, for this reason."""

    at: float
    readings: int
    words: str


class Failures:
    """Those of one shard."""

    def __init__(self) -> None:
        self.suspects: set[str] = set()
        """Gateways over whose messages something of ours failed; whoever looks clears it."""
        self._cases = 0
        self._quiet_until = -math.inf
        self._passed = 0
        self._passed_quiet_until = -math.inf
        self._raised = 0
        self._raised_quiet_until = -math.inf
        self._left = 0
        self._left_quiet_until = -math.inf
        self._refused: dict[str, deque[_Refused]] = {}
        self._standing: set[str] = set()

    def tell(self, error: Exception) -> None:
        """Something of ours has failed over a message. The log says where, once a minute."""
        self._raised += 1
        if (now := time.monotonic()) >= self._raised_quiet_until:
            log.error(
                "failed over a message (%d times of late): %s",
                self._raised,
                words_of(error),
                exc_info=error,
            )
            self._raised, self._raised_quiet_until = 0, now + TELL_EVERY_S

    def blame(self, gateways: Iterable[str]) -> None:
        """It was a message of these."""
        self.suspects |= set(gateways)

    def say(self, cases: int, words: str) -> None:
        """So many cases go to quarantine, one of them in these words."""
        self._cases += cases
        if (now := time.monotonic()) >= self._quiet_until:
            log.warning("to quarantine: %d more, among them: %s", self._cases, words)
            self._cases, self._quiet_until = 0, now + TELL_EVERY_S

    def pass_over(self, messages: int, gateways: Iterable[str]) -> None:
        """So many messages of these had no room beside those of others."""
        self._passed += messages
        if (now := time.monotonic()) >= self._passed_quiet_until:
            log.warning(
                "%d messages had no room beside those of others, of %s; their gateways send them"
                " again",
                self._passed,
                ", ".join(sorted(gateways)[:3]),
            )
            self._passed, self._passed_quiet_until = 0, now + TELL_EVERY_S

    def leave(self, batches: int, gateways: Iterable[str], error: Exception) -> None:
        """The store does not take so many batches of these until a person has mended something."""
        self._left += batches
        if (now := time.monotonic()) >= self._left_quiet_until:
            log.error(
                "%s; %d batches of %s are not stored and not acknowledged: their gateways send them"
                " again",
                error,
                self._left,
                ", ".join(sorted(gateways)[:3]),
            )
            self._left, self._left_quiet_until = 0, now + TELL_EVERY_S

    def count(self, cases: Iterable[Case]) -> None:
        """These cases are in quarantine now. What somebody sends who may not says nothing of our
        gateways."""
        now = time.monotonic()
        by_gateway: dict[str, list[Case]] = {}
        for case in cases:
            if case.gateway and case.reason not in _NOT_OURS and not case.is_copy:
                by_gateway.setdefault(case.gateway, []).append(case)
        for gateway, some in by_gateway.items():
            if gateway not in self._refused and len(self._refused) >= _MOST_GATEWAYS:
                continue
            refused = self._refused.setdefault(gateway, deque(maxlen=1000))
            refused.append(_Refused(now, number_of(some), some[-1].words))

    def faults(self, inherited: Iterable[str] = ()) -> list[ServiceFault]:
        """What has changed since the last time: gateways of which many readings went to quarantine
        of late, and those of which none does any more. `inherited`: gateways of which an earlier
        process said so."""
        now = time.monotonic()
        for gateway, refused in [*self._refused.items()]:
            while refused and refused[0].at < now - WINDOW_S:
                refused.popleft()
            if not refused:
                del self._refused[gateway]
        found: list[ServiceFault] = []
        for gateway, refused in self._refused.items():
            readings = sum(one.readings for one in refused)
            if readings >= MANY and gateway not in self._standing:
                detail: dict[str, str | int | float | None] = {
                    "readings": readings,
                    "minutes": round(WINDOW_S / 60),
                    "reason": refused[-1].words,
                }
                found.append(ServiceFault(_NAME, True, gateway, detail=detail))
                self._standing.add(gateway)
        for gateway in {*self._standing, *inherited} - self._refused.keys():
            found.append(ServiceFault(_NAME, False, gateway))
            self._standing.discard(gateway)
        return found
