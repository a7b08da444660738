"""RTU reads per second of our master against what a line can carry at most: the bytes of request
and answer, the time in which the device answers, and the silence of 3.5 characters that the
standard demands before the next request (1.75 ms above 19200 baud).

The device's own time is measured beside each run, on the same simulated line, by a loop without a
master that writes a request and blocks until the answer is whole.
"""

import os
import select
import time
from statistics import median
from typing import Final

from bench.figure import MARGIN, Detail, Figure, Goal, Part, Progress, Result, spread, worst
from bench.rtu_rate import UNIT, WITHIN_S, simulated
from configs.loader import UserError
from drivers.ports import Baud, serial
from drivers.protocols.modbus import READ_REQUEST_BYTES, Master, checksum, read_answer_bytes

GOALS: Final[dict[Baud, Goal]] = {9600: Goal(">=", 0.97), 115200: Goal(">=", 0.93)}
RUNS: Final = 9
RUN_S: Final = 1.5
BYTES: Final = READ_REQUEST_BYTES + read_answer_bytes(1)

FIGURE: Final = Figure(
    "RTU reads/s / the limit of bytes, answer time and silence, 9600 and 115200 baud: the worse "
    "margin",
    "margin",
    MARGIN,
)


async def measure(progress: Progress) -> Result:
    """About 60 s. Raises UserError if the device does not answer."""
    parts: dict[str, Part] = {}
    details: dict[str, Detail] = {}
    for place, (baud, goal) in enumerate(GOALS.items()):
        ratios, rates, answers_s = [], [], []
        with simulated(baud) as device:
            config = serial.Config(kind="serial", device=device, baud=baud)
            for run in range(RUNS):
                progress((place + run / RUNS) / len(GOALS), f"{baud} baud, run {run + 1} of {RUNS}")
                exchange_s = _exchange_s(device)
                rate = await _rate(config)
                ratios.append(rate * (exchange_s + config.gap_s))
                rates.append(rate)
                answers_s.append(exchange_s - BYTES * config.byte_s)
        parts[f"{baud} baud, ratio"] = Part(median(ratios), goal)
        details |= {
            f"{baud} baud, ratios": spread(ratios),
            f"{baud} baud, reads/s": spread(rates),
            f"{baud} baud, the device's answer time, ms": spread([1000 * s for s in answers_s]),
            f"{baud} baud, silence, ms": 1000 * config.gap_s,
        }
    return worst(parts, details)


def _exchange_s(device: str) -> float:
    """The median time of an exchange, s, without a master and without a silence."""
    request = bytes((UNIT, 3, 0, 0, 0, 1))
    request += checksum(request).to_bytes(2, "little")
    line = os.open(device, os.O_RDWR | os.O_NOCTTY)
    try:
        times_s = []
        end = time.monotonic() + RUN_S
        while (began := time.monotonic()) < end:
            os.write(line, request)
            left = read_answer_bytes(1)
            while left > 0:
                if not select.select([line], [], [], WITHIN_S)[0]:
                    raise UserError("the simulated device does not answer")
                left -= len(os.read(line, left))
            times_s.append(time.monotonic() - began)
        return median(times_s)
    finally:
        os.close(line)


async def _rate(config: serial.Config) -> float:
    async with serial.open("bus", config) as port:
        master = Master(port)
        await master.read_registers(UNIT, 3, 0, 1, within_s=WITHIN_S)
        reads, begin = 0, time.monotonic()
        while (spent_s := time.monotonic() - begin) < RUN_S:
            await master.read_registers(UNIT, 3, 0, 1, within_s=WITHIN_S)
            reads += 1
        return reads / spent_s
