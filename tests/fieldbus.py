"""A bus with scripted devices, in virtual time."""

import asyncio
import contextlib

from hypothesis import strategies as st

from configs import loader
from drivers.device import Device
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from edge.agenda import Job
from edge.poller import Bus, Heard
from tests import virtual
from tests.scripted_line import ScriptedLine, crc

READ_S = 0.03
WITHIN_S = 0.3
LATE_S = 0.6


def profile(*addresses: int, within_s: float = WITHIN_S) -> Profile:
    """A device that measures at these addresses, each read for itself."""
    quantities = ("depth", "level", "displacement")
    return loader.parse(
        {
            "title": "ruler",
            "source": "this test",
            "line": {"reply_within_ms": round(within_s * 1000), "merge_gap": 0},
            "measure": [
                {"quantity": quantity, "address": address, "unit": "cm"}
                for quantity, address in zip(quantities, addresses, strict=False)
            ],
        },
        Profile,
        "test",
    )


PROFILE = profile(0)


class Wire(ScriptedLine):
    """A line without a wire time, on which every unit answers its own number after a while."""

    def __init__(self):
        super().__init__(byte_s=0.0)
        self.read_s = {}
        self.fails = {}  # unit, or unit and address → "silent", "garbled" or "refuses"
        self.on_start = lambda unit: None
        self.starts = []

    def write(self, data):
        unit, address = data[0], int.from_bytes(data[2:4], "big")
        self.on_start(unit)
        self.starts.append((unit, address, virtual.now()))
        fault = self.fails.get(unit, self.fails.get((unit, address)))
        if fault == "silent":
            self.answers = []
        else:
            body = bytes((unit, 0x83, 2)) if fault == "refuses" else bytes((unit, 3, 2, 0, unit))
            tail = b"\0\0" if fault == "garbled" else crc(body)
            self.answers = [[(self.read_s.get(unit, READ_S), body + tail)]]
        super().write(data)

    def times(self, unit, address=None):
        return [at for who, where, at in self.starts if who == unit and address in (None, where)]


async def until(condition, seconds=20):
    """Until then, in steps of a hundredth of a virtual second."""
    end = virtual.now() + seconds
    while not condition():
        assert virtual.now() < end
        await asyncio.sleep(0.01)


class Field:
    """A bus with one device for each interval, unit ids from 1."""

    def __init__(self, *intervals_s, urgent=(), profile=PROFILE):
        self.wire = Wire()
        self.heard: list[Heard] = []
        jobs = []
        for unit, interval_s in enumerate(intervals_s, 1):
            device = Device(Master(self.wire), profile, unit)
            jobs += [
                Job(f"unit-{unit}", device, block, interval_s, urgent=unit in urgent)
                for block in profile.blocks()
            ]
        self.bus = Bus("bus", jobs, self.heard.append)

    def device(self, unit):
        """What the bus says of a device."""
        return next(one for one in self.bus.state().devices if one.unit == unit)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.bus.run(), name="bus")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def run(self, seconds):
        async with self.running():
            await asyncio.sleep(seconds)


JOBS = st.lists(
    st.tuples(st.floats(0.05, 5), st.floats(0.001, 0.3), st.booleans()), min_size=1, max_size=6
)
