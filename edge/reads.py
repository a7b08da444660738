"""What is read on a port: the devices there, their merged reads, and the sensors of each read.

A sensor is some of the measures of a device. Several sensors of one device share its reads where
their intervals are the same, and whatever is known of its health.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from drivers.measures import Measure
from drivers.profiles import Block, Profile

if TYPE_CHECKING:
    from edge.config import Setup


class Read(NamedTuple):
    """One request that is sent every `interval_s`. `sensors` has the sensor of each measure in the
    block, by the measure's key; `urgent` is a read that feeds an interlock."""

    block: Block
    interval_s: float
    urgent: bool
    sensors: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The sensors that it feeds, in the order of the registers."""
        return tuple(dict.fromkeys(self.sensors[m.key] for m in self.block.measures))


class ReadDevice(NamedTuple):
    """A device on a port: its whole profile, and what is read of it."""

    unit: int
    profile: Profile
    reads: tuple[Read, ...]


def of(setup: "Setup", port: str) -> Iterator[ReadDevice]:
    """The devices on a port, in the order of the config."""
    sensors = setup.config.sensor
    by_unit: dict[int, list[str]] = {}
    for name, sensor in sensors.items():
        if sensor.port == port:
            by_unit.setdefault(setup.unit(name), []).append(name)
    for unit, names in by_unit.items():
        profile = setup.profile(sensors[names[0]].profile)
        yield ReadDevice(unit, profile, tuple(_reads(setup, profile, names)))


def _reads(setup: "Setup", profile: Profile, names: Sequence[str]) -> Iterator[Read]:
    rulers = {ruler for one in setup.config.interlock.values() for ruler in one.rulers}
    by_interval: dict[float, dict[str, str]] = {}
    measures: dict[str, Measure] = {}
    for name in names:
        sensor_of = by_interval.setdefault(setup.config.sensor[name].interval_s, {})
        for measure in setup.profiles[name].measure:
            measures[measure.key] = measure
            sensor_of[measure.key] = name
    for interval_s, sensor_of in by_interval.items():
        for block in profile.blocks_of(measures[key] for key in sensor_of):
            own = {measure.key: sensor_of[measure.key] for measure in block.measures}
            yield Read(block, interval_s, not rulers.isdisjoint(own.values()), own)
