"""One alert rule: a threshold with hysteresis. Pure."""

from enum import StrEnum
from typing import NamedTuple

from wire.messages import Level
from wire.reading import Quality, Quantity, Reading


class Rule(NamedTuple):
    """Raise at `over` and above, clear at `clear` and below; both in the SI unit of `quantity`.
    It holds for each sensor by itself, of all sites and sensors, or of those that are named."""

    name: str
    quantity: Quantity
    over: float
    clear: float
    level: Level
    site: str | None = None
    sensor: str | None = None

    def covers(self, reading: Reading) -> bool:
        """Whether the rule is about the sensor of `reading`."""
        return (
            reading.quantity == self.quantity
            and self.site in (None, reading.site)
            and self.sensor in (None, reading.sensor)
        )


class State(NamedTuple):
    """How a rule stands for one sensor. `newest_ms` is the time up to which it has looked."""

    newest_ms: int = 0
    raised: bool = False


class Transition(StrEnum):
    RAISED = "raised"
    CLEARED = "cleared"


_MAY_RAISE = frozenset({Quality.GOOD, Quality.NOT_EVALUATED, Quality.SUSPECT})
_MAY_CLEAR = frozenset({Quality.GOOD, Quality.NOT_EVALUATED})


def step(
    rule: Rule, state: State, reading: Reading, now_ms: int
) -> tuple[State, Transition | None]:
    """The state after `reading`, and what changed by it.

    A suspect reading may raise and never clears: to warn on doubt is safe, to end a warning on
    doubt is not. Time only goes forward, so that a backlog that arrives after live data neither
    raises nor clears. A reading from the future (of a gateway whose clock is wrong) counts, but
    does not outdate those that follow it.
    """
    if reading.at_ms <= state.newest_ms:
        return state, None
    newest_ms = max(state.newest_ms, min(reading.at_ms, now_ms))
    value, quality, raised = reading.value, reading.quality, state.raised
    if value is not None:
        if value >= rule.over and quality in _MAY_RAISE:
            raised = True
        elif value <= rule.clear and quality in _MAY_CLEAR:
            raised = False
    changed = None
    if raised != state.raised:
        changed = Transition.RAISED if raised else Transition.CLEARED
    return State(newest_ms, raised), changed
