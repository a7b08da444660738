"""CPU per reading where each value takes its own request: `bench.fleet`, 2 values a unit."""

from typing import Final

from bench import fleet
from bench.figure import Figure, Goal, Progress, Result

FIGURE: Final = Figure(
    "CPU per reading, sensor to acknowledged batch, 100 Modbus TCP units × 2 registers, unmerged",
    "us",
    Goal("<=", 170),
)


async def measure(progress: Progress) -> Result:
    """About 50 s."""
    return await fleet.cpu_per_reading(progress, 2, merged=False)
