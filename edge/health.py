"""How a device fares on its bus: whether it answers, and how long it is worth waiting for it."""

from enum import StrEnum
from typing import Final

from edge.gauges import Times

SILENT_AFTER: Final = 3
"""Failures in a row after which a device is only probed."""

SHORTEST_WAIT_S: Final = 0.1
"""No wait for an answer is shorter, however quick the device: our own machine may be busy."""

_LEAST_MARGIN_S: Final = 0.05
"""Above the mean, for a device that always takes the same time: the same hiccups of ours."""

_MEAN_GAIN: Final = 1 / 8
_DEVIATION_GAIN: Final = 1 / 4
_DEVIATIONS: Final = 4


class State(StrEnum):
    """Of a breaker."""

    CLOSED = "closed"
    """The device is read as its interval says."""
    OPEN = "open"
    """It is silent, and only asked now and then whether it is back."""
    PROBING = "probing"
    """It is being asked."""


class Breaker:
    """Opens when a device has failed `SILENT_AFTER` times in a row, closes when it answers.

    `failures` are those in a row, `failed` all of them.
    """

    def __init__(self) -> None:
        self.state = State.CLOSED
        self.failures = 0
        self.failed = 0

    def probe(self) -> None:
        """The device is asked whether it is back."""
        self.state = State.PROBING

    def answer(self) -> None:
        """It has answered, whatever it said."""
        self.state = State.CLOSED
        self.failures = 0

    def fail(self) -> None:
        """It has not, or nothing that can be believed."""
        self.failed += 1
        self.failures += 1
        if self.failures >= SILENT_AFTER:
            self.state = State.OPEN

    def unprobed(self) -> None:
        """A probe was cut short: it has shown nothing."""
        self.state = State.OPEN


class AnswerTimes:
    """How long a device takes to answer, and how long to wait for it: mean plus four mean
    deviations, both smoothed, and never longer than `longest_s`.

    A device that has just kept silent may have become slower: it gets `longest_s` until it answers
    again. All in s.

    Source: RFC 6298, section 2 (Jacobson and Karels).
    """

    def __init__(self, longest_s: float) -> None:
        self.last = Times()
        self.wait_s = longest_s
        self._longest_s = longest_s
        self._mean_s: float | None = None
        self._deviation_s = 0.0

    def heard(self, answer_s: float) -> None:
        """It has answered after so long."""
        self.last.add(answer_s)
        if self._mean_s is None:
            self._mean_s, self._deviation_s = answer_s, answer_s / 2
        else:
            error_s = answer_s - self._mean_s
            self._mean_s += _MEAN_GAIN * error_s
            self._deviation_s += _DEVIATION_GAIN * (abs(error_s) - self._deviation_s)
        margin_s = max(_LEAST_MARGIN_S, _DEVIATIONS * self._deviation_s)
        self.wait_s = min(max(SHORTEST_WAIT_S, self._mean_s + margin_s), self._longest_s)

    def missed(self) -> None:
        """It has not answered in time."""
        self.wait_s = self._longest_s
