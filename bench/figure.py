"""What a figure is and what measuring it gives, and the figures that there are."""

import importlib
import math
import pkgutil
import statistics
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import bench


class Goal(NamedTuple):
    """What a figure must reach: `value` `comparison` `number`, in the figure's unit."""

    comparison: Literal["<=", ">="]
    number: float

    def is_met(self, value: float) -> bool:
        """Whether a value is good enough; what is not a number never is."""
        return value <= self.number if self.comparison == "<=" else value >= self.number

    def __str__(self) -> str:
        return f"{self.comparison}{self.number:g}"


class Figure(NamedTuple):
    """`unit` is one word, "ratio" for a ratio. Without a goal a figure is only reported."""

    title: str
    unit: str
    goal: Goal | None


class Part(NamedTuple):
    """One of several values that a figure has, each with a goal of its own."""

    value: float
    goal: Goal

    @property
    def margin(self) -> float:
        """1 where the goal is just met, more where it is met better."""
        if self.goal.comparison == "<=":
            return self.goal.number / self.value if self.value > 0 else math.inf
        return self.value / self.goal.number

    def __str__(self) -> str:
        return f"{self.value:.4g}, goal {self.goal}"


MARGIN: Final = Goal(">=", 1)
"""The goal of a figure whose value is the worst margin of its parts; its unit is "margin"."""


class Spread(NamedTuple):
    """How far apart the single runs lie, in one unit."""

    median: float
    min: float
    max: float
    runs: int

    def __str__(self) -> str:
        return f"median {self.median:.4g}, {self.min:.4g} to {self.max:.4g}, {self.runs} runs"


Detail: TypeAlias = Spread | float | int | str


class Result(NamedTuple):
    """The value, and by name what a reader needs in order to judge it."""

    value: float
    details: Mapping[str, Detail] = {}


Progress: TypeAlias = Callable[[float, str], None]
"""`progress(share, doing)`: how much is done, 0 to 1, and what is being done."""


class Bench(NamedTuple):
    """A figure with the function that measures it."""

    id: str
    figure: Figure
    measure: Callable[[Progress], Result | Coroutine[Any, Any, Result]]


def known() -> dict[str, Bench]:
    """All figures by ID, sorted: the modules in this folder that export one."""
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(bench.__path__)):
        if not name.startswith("_"):
            exports = importlib.import_module(f"bench.{name}")
            if (figure := getattr(exports, "FIGURE", None)) is not None:
                found[name] = Bench(name, figure, exports.measure)
    return found


def worst(parts: Mapping[str, Part], details: Mapping[str, Detail]) -> Result:
    """The result of a figure that has parts: its value is their worst margin."""
    told = {name: str(part) for name, part in parts.items()}
    return Result(min(part.margin for part in parts.values()), {**told, **details})


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of the values that `percent` % of them do not exceed (nearest rank): for the 99th
    of fewer than 100 values that is the greatest."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
