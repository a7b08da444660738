"""Weather and water for devices that do not exist. Pure: no clock, no file, no global chance.

A scenario answers one question: what would each instrument see `t_s` scenario seconds after the
start? Who plays it owns the clock and the speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Protocol

from firmware_sim.errors import ScenarioError, check_bounds
from firmware_sim.rain import DesignStorm
from firmware_sim.water import Balance, Catchment, Crack, Pump, River, Sump, fill

__all__ = [
    "SIGNALS",
    "Scenario",
    "ScenarioError",
    "StormRun",
    "UnderpassStorm",
    "underpass_storm",
]

SIGNALS: Final[Mapping[str, str]] = {
    "depth": "m",  # water on the road at its lowest point
    "rain_rate": "m/s",
    "rain_total": "m",  # since scenario start
    "river_level": "m",  # above gauge zero
    "crack": "m",  # opening
}
"""Every signal a scenario may carry, and its unit."""


class Scenario(Protocol):
    """Anything that can be played."""

    @property
    def duration_s(self) -> float:
        """Scenario seconds from start to end."""
        ...

    def at(self, t_s: float) -> Mapping[str, float]:
        """SI values by signal name at `t_s`, held within [0, duration]. A signal that has no
        value then is absent: its device has nothing to say."""
        ...


@dataclass(frozen=True, slots=True)
class StormRun:
    """A computed storm: signals at equal steps, straight lines between them."""

    step_s: float
    signals: Mapping[str, tuple[float, ...]]
    balance: Balance

    @property
    def duration_s(self) -> float:
        return self.step_s * (len(self.signals["depth"]) - 1)

    def at(self, t_s: float) -> Mapping[str, float]:
        steps = min(max(t_s, 0.0), self.duration_s) / self.step_s
        k = min(int(steps), len(self.signals["depth"]) - 2)
        share = steps - k
        return {
            name: values[k] * (1.0 - share) + values[k + 1] * share
            for name, values in self.signals.items()
        }


@dataclass(frozen=True, slots=True)
class UnderpassStorm:
    """An underpass drowns: design storm, pump that trips, river and crack that answer later.

    Every part documents its own defaults and their sources. `step_s` must go whole into
    `duration_s`.
    """

    rain: DesignStorm = field(default_factory=DesignStorm)
    catchment: Catchment = field(default_factory=Catchment)
    sump: Sump = field(default_factory=Sump)
    pump: Pump = field(default_factory=Pump)
    river: River = field(default_factory=River)
    crack: Crack = field(default_factory=Crack)
    duration_s: float = 10800.0
    step_s: float = 5.0

    def __post_init__(self) -> None:
        check_bounds(self, duration_s=(600.0, 864000.0), step_s=(0.1, 60.0))
        if abs(self.duration_s / self.step_s - round(self.duration_s / self.step_s)) > 1e-9:
            raise ScenarioError(
                f"UnderpassStorm: step_s = {self.step_s} must go whole into "
                f"duration_s = {self.duration_s}"
            )

    def run(self, seed: int) -> StormRun:
        """Compute it once. The seed moves the gusts and nothing else."""
        step = self.step_s
        rain = self.rain.hyetograph(round(self.duration_s / step), step, seed)
        balance = fill(self.sump, self.pump, self.catchment.runoff(rain, step), step)
        signals: dict[str, Iterable[float]] = {
            "depth": map(self.sump.depth, balance.stored),
            "rain_rate": [0.0, *rain],
            "rain_total": accumulate((rate * step for rate in rain), initial=0.0),
            "river_level": [
                self.river.rated(self.river.base_flow_m3s),
                *self.river.level(rain, step),
            ],
            "crack": self.crack.openings(rain, step),
        }
        return StormRun(step, {name: tuple(signals[name]) for name in SIGNALS}, balance)


def underpass_storm(seed: int = 1, *, site: UnderpassStorm | None = None) -> StormRun:
    """The scenario `underpass-storm`: same seed and site, same storm."""
    return (site or UnderpassStorm()).run(seed)
