"""Numbers that people give on a command line: finite, and with both bounds."""

import math
from typing import Any, Final

import click


class Number(click.FloatRange):
    """A finite number between `least` and `most`, both included; above `least` with `min_open`."""

    name = "number"

    def __init__(self, least: float, most: float, *, min_open: bool = False) -> None:
        super().__init__(least, most, min_open=min_open)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Refuses nan as well, which no comparison does."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class Count(click.IntRange):
    """A whole number between `least` and `most`, both included."""

    name = "number"

    def __init__(self, least: int, most: int) -> None:
        super().__init__(least, most)


MOST_ROWS: Final = 1_000_000_000
"""Of what is listed: more than any store holds, and within what each of them takes."""

SEED: Final = Count(0, 2**63 - 1)
SPEED: Final = Number(0, 10_000, min_open=True)
