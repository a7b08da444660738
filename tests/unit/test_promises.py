"""What `edge check` promises is what the buses, interlocks and signal keepers do, in each worst
case: the gateway's own parts, in virtual time, on lines whose devices answer as their profiles say.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge import load
from edge.config import Setup
from tests import virtual
from tests.examples import examples
from tests.roadside import read, roadside

SITE = "here"
RULERS = (11, 12, 13)
GAUGES = (21, 22, 23)
LAMP = 1


class Plan(NamedTuple):
    """A config, and what happens: the phase of the water, and what is silent for how long."""

    baud: int
    framing: str
    intervals_s: tuple[float, ...]
    gauge_s: tuple[float, ...]
    rise_samples: int
    own_line: bool
    dead: tuple[int, ...]
    dead_for_s: float
    phase_s: float
    silence_s: float
    switch_ms: int = 0

    @property
    def text(self) -> str:
        kind = f'kind = "serial"\ndevice = "/dev/ttyUSB0"\nbaud = {self.baud}\n'
        if self.framing:
            kind = f'kind = "tcp"\nhost = "10.0.0.2"\nframing = "{self.framing}"\n'
            kind += f"baud = {self.baud if self.framing == 'rtu' else 0}\n"
        lamp_port = "lamps" if self.own_line else "bus"
        text = f'[gateway]\nid = "gw-1"\nsite = "{SITE}"\n[port.bus]\n{kind}'
        if self.own_line:
            text += '[port.lamps]\nkind = "serial"\ndevice = "/dev/ttyUSB1"\n'
        rulers = list(zip(RULERS, self.intervals_s, strict=False))
        for unit, interval_s in rulers:
            text += sensor(f"ruler-{unit}", "ruler-cm-9600", unit, interval_s)
        for unit, interval_s in zip(GAUGES, self.gauge_s, strict=False):
            text += sensor(f"gauge-{unit}", "rain-sen0575", unit, interval_s)
        switch = ""
        if self.switch_ms:
            switch = f'{{ port = "{lamp_port}", unit_id = 9, within_ms = {self.switch_ms} }}'
            switch = f"local_switch = {switch}\n"
        names = ", ".join(f'"ruler-{unit}"' for unit, _ in rulers)
        return text + (
            f"[interlock.{SITE}]\n{switch}rulers = [{names}]\nrise_samples = {self.rise_samples}\n"
            "jump_cm = 0\nstuck_after_s = 0\ndisagree_cm = 0\nhold_s = 5\nlamp_within_s = 600\n"
            f'[interlock.{SITE}.signal]\nkind = "modbus_relay"\nport = "{lamp_port}"\n'
            f'hold = "latch"\nunit_id = {LAMP}\n'
            "channels = { green = [0], amber = [1], red = [] }\n"
        )


def sensor(name: str, profile: str, unit: int, interval_s: float) -> str:
    return (
        f'[sensor.{name}]\nport = "bus"\nprofile = "{profile}"\nunit_id = {unit}\n'
        f"interval_s = {interval_s}\n"
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    intervals_s = st.sampled_from([0.3, 0.5, 1.0, 2.0])
    rulers = draw(st.lists(intervals_s, min_size=1, max_size=3))
    gauges = draw(st.lists(st.sampled_from([0.5, 1.0, 5.0]), max_size=3))
    others = [*RULERS[1 : len(rulers)], *GAUGES[: len(gauges)]]
    dead = draw(st.permutations(others))[: draw(st.integers(0, 2))]
    return Plan(
        baud=draw(st.sampled_from([9600, 19200, 115200])),
        framing=draw(st.sampled_from(["", "tcp", "rtu"])),
        intervals_s=tuple(rulers),
        gauge_s=tuple(gauges),
        rise_samples=draw(st.integers(1, 3)),
        own_line=draw(st.booleans()),
        dead=tuple(dead),
        dead_for_s=draw(st.sampled_from([0.0, 0.01, 0.3, 1.0, 3.0, 30.0])),
        phase_s=draw(st.floats(0, 2)),
        silence_s=draw(st.floats(0.5, 6)),
        switch_ms=draw(st.sampled_from([0, 300, 2000])),
    )


def promised(plan: Plan, dead: int) -> tuple[load.LampTime, Setup]:
    with tempfile.TemporaryDirectory() as folder:
        setup = read(Path(folder), plan.text)
    (lamp,) = load.of(setup, dead).lamps
    return lamp, setup


def measured(plan: Plan, case: str) -> tuple[float, float]:
    """What was promised and how long it took, s. Only the first ruler sees the water."""
    count = len(plan.dead) + (case == "silence")
    lamp, setup = promised(plan, count)
    ruler = RULERS[0]

    async def main() -> float:
        async with roadside(setup) as here:
            bus = here.wires["bus"]
            for wire in here.wires.values():
                wire._open = case != "restart"
            if case == "restart":
                bus.silent |= {*plan.dead}
                bus.depth_cm[ruler] = 45
                since = virtual.now()
                await here.start()
                return await here.until_red(SITE, since)
            await here.start()
            await asyncio.sleep(8 + plan.phase_s)
            bus.silent |= {*plan.dead}
            await asyncio.sleep(plan.dead_for_s)
            if case == "silence":
                bus.silent.add(ruler)
                await asyncio.sleep(plan.silence_s)
            elif case == "loss":
                for wire in here.wires.values():
                    wire.break_off()
                await asyncio.sleep(plan.silence_s)
            elif case == "reload":
                here.reload_after(plan.silence_s / 2)
            bus.depth_cm[ruler] = 45
            bus.silent.discard(ruler)
            for wire in here.wires.values():
                wire.broken = False
            return await here.until_red(SITE, virtual.now())

    promise_s = {
        "dead": lamp.depth_to_lamp_s,
        "silence": lamp.after_silence_s,
        "loss": lamp.after_loss_s,
        "restart": lamp.after_restart_s,
        "reload": lamp.reload_s,
    }[case]
    return promise_s, virtual.run(main())


@pytest.mark.parametrize("case", ["dead", "silence", "restart", "loss", "reload"])
@examples(15)
@example(plan=Plan(19200, "", (0.3,), (), 2, False, (), 0.0, 1.3, 3.0, switch_ms=2000))
@example(plan=Plan(19200, "rtu", (1.0,), (), 1, True, (), 0.3, 1.7, 1.0, switch_ms=2000))
@given(plan=plans())
def test_no_lamp_takes_longer_than_check_says(case: str, plan: Plan) -> None:
    promise_s, took_s = measured(plan, case)
    assert took_s <= promise_s + 1e-6, (took_s, promise_s)
