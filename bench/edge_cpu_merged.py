"""CPU per reading where one request fetches all values: `bench.fleet`, 8 values a unit."""

from typing import Final

from bench import fleet
from bench.figure import Figure, Goal, Progress, Result

FIGURE: Final = Figure(
    "CPU per reading, sensor to acknowledged batch, 100 Modbus TCP units × 8 registers, merged",
    "us",
    Goal("<=", 60),
)


async def measure(progress: Progress) -> Result:
    """About 50 s."""
    return await fleet.cpu_per_reading(progress, 8, merged=True)
