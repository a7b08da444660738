"""What a bus can keep, worked out from baud rate and byte counts before anything is deployed.

All of it is the worst case of a bus as `edge.agenda` and `edge.poller` run it: one exchange at a
time, which nothing cuts short; then lamps and switches, then rulers, then the rest. With dead
devices the exchange under way may be the wait for one of them (one that was silent before does not
hold up a lamp, but it may have died just now), and it may answer so late that its answer collides
with the lamp's: then the lamp takes one more attempt.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from drivers.ports import PortConfig
from drivers.profiles import Block, Profile
from drivers.protocols.modbus import READ_REQUEST_BYTES, read_answer_bytes
from drivers.protocols.modbus_framing import RTU_OVERHEAD
from drivers.signals import FindProfile
from edge import reads
from edge.agenda import DEAD_SHARE

if TYPE_CHECKING:
    from edge.config import Setup
    from edge.lampconfig import Interlock

_SWITCH_BYTES: Final = READ_REQUEST_BYTES + RTU_OVERHEAD + 3
"""Frames that read a discrete input."""


class BusLoad(NamedTuple):
    """`share` of the bus that is taken; `cycle_s` the time to read once everything that lives, with
    the waits for what does not; `longest_s` the longest that one exchange holds the line; `lamp_s`
    the longest time from the reading that decides to the read-back of a lamp here (None: no lamp);
    `busiest` the sensors that take most. All in s."""

    port: str
    share: float
    cycle_s: float
    longest_s: float
    lamp_s: float | None
    busiest: tuple[str, ...]


class LampTime(NamedTuple):
    """From the water that reaches a threshold to the read-back of the lamp, s, by the slowest of
    its rulers, and what the site allows."""

    site: str
    ruler: str
    depth_to_lamp_s: float
    allowed_s: float


class Load(NamedTuple):
    """With so many devices of each bus silent, those whose silence costs most."""

    dead: int
    ports: tuple[BusLoad, ...]
    lamps: tuple[LampTime, ...]


class _Read(NamedTuple):
    """One request: its time, its interval (s), its sensors, and whether it feeds an interlock."""

    takes_s: float
    interval_s: float
    sensors: tuple[str, ...]
    urgent: bool


class _Device(NamedTuple):
    """A device on its bus: its reads, how long it is waited for in vain, and what that costs with
    the rest that follows, s."""

    unit: int
    reads: tuple[_Read, ...]
    wait_s: float
    silence_s: float

    @property
    def all_s(self) -> float:
        return sum(read.takes_s for read in self.reads)

    @property
    def urgent_s(self) -> float:
        return sum(read.takes_s for read in self.reads if read.urgent)


def block_s(port: PortConfig, profile: Profile, block: Block) -> float:
    """Time to read one block, s: both frames, the silences around them, and the device's own
    delay as its profile states it."""
    frames_s = (READ_REQUEST_BYTES + read_answer_bytes(block.words)) * port.byte_s
    return frames_s + 2 * port.gap_s + profile.line.answers_in_ms / 1000


def of(setup: "Setup", dead: int = 0) -> Load:
    """The load of every port that is used, in the order of the config, and the time to each lamp.

    `dead` devices of each port are silent: those that are waited for longest.
    """
    buses = {name: _Bus(setup, name, dead) for name in setup.config.port}
    used = [bus for bus in buses.values() if bus.devices or bus.firsts]
    lamps = [
        max(times, key=lambda time: time.depth_to_lamp_s)
        for site, interlock in setup.config.interlock.items()
        if (times := list(_lamp_times(site, interlock, buses, setup.profile)))
    ]
    return Load(dead, tuple(bus.load() for bus in used), tuple(lamps))


class _Bus:
    """What happens on one port. `firsts` are the lamps and switches, which go before all reads:
    time and interval of each, s, by the site."""

    def __init__(self, setup: "Setup", name: str, dead: int) -> None:
        self.name = name
        self._setup = setup
        self._port = setup.config.port[name]
        self.devices = [self._device(found) for found in reads.of(setup, name)]
        by_cost = sorted(self.devices, key=lambda d: d.silence_s, reverse=True)
        self.dead, self.alive = by_cost[:dead], by_cost[dead:]
        self.lamps: dict[str, float] = {}
        self.firsts: list[tuple[float, float]] = []
        for site, interlock in setup.config.interlock.items():
            if interlock.signal.port == name:
                show_s = interlock.signal.show_s(self._port, setup.profile)
                # One that cannot tell takes what its time limits allow, and no share of a bus.
                self.lamps[site] = 2 * self._attempt_s(interlock) if show_s is None else show_s
                self.firsts.append((show_s or 0.0, interlock.refresh_every_s))
            if (switch := interlock.local_switch) is not None and switch.port == name:
                read_s = _SWITCH_BYTES * self._port.byte_s + 2 * self._port.gap_s
                self.firsts.append((read_s, switch.every_s))

    def load(self) -> BusLoad:
        reads_s = sum(device.all_s for device in self.alive)
        share_of: dict[str, float] = {}
        for read in (read for device in self.alive for read in device.reads):
            for sensor in read.sensors:
                share = read.takes_s / read.interval_s / len(read.sensors)
                share_of[sensor] = share_of.get(sensor, 0.0) + share
        firsts = sum(takes_s / every_s for takes_s, every_s in self.firsts)
        waste = DEAD_SHARE if self.dead else 0.0
        probe_s = max((device.silence_s for device in self.dead), default=0.0)
        probes = 1 + int(reads_s * DEAD_SHARE / probe_s) if probe_s else 0
        return BusLoad(
            port=self.name,
            share=sum(share_of.values()) + firsts + waste,
            cycle_s=reads_s + probes * probe_s,
            longest_s=self.longest_s(),
            lamp_s=self._lamp_s(),
            busiest=tuple(sorted(share_of, key=share_of.__getitem__, reverse=True)[:3]),
        )

    def longest_s(self, but: int | None = None) -> float:
        """The longest that one exchange holds the line, of another unit than `but`."""
        alive = (device for device in self.alive if device.unit != but)
        takes = (read.takes_s for device in alive for read in device.reads)
        waits = (device.wait_s for device in self.dead if device.unit != but)
        return max((*takes, *waits), default=0.0)

    def until_read_s(self, device: _Device) -> float:
        """From the time at which the rulers of a device are due to its last answer, at worst."""
        others_s = max((r.takes_s for r in device.reads if not r.urgent), default=0.0)
        under_way_s = max(self.longest_s(but=device.unit), others_s)
        return under_way_s + self._firsts_s + sum(device.urgent_s for device in self.devices)

    def until_shown_s(self, site: str, interlock: "Interlock", *, is_decided_here: bool) -> float:
        """From the reading that decides to the read-back of the lamp, at worst. Nothing is under
        way where that reading came from; all other lamps may be asked for in the same moment."""
        others_s = max(0.0, self._firsts_s - self.lamps[site])
        under_way_s = 0.0 if is_decided_here else self.longest_s()
        repeat_s = self._attempt_s(interlock) + self.lamps[site] if self.dead else 0.0
        return under_way_s + others_s + self.lamps[site] + repeat_s

    @property
    def _firsts_s(self) -> float:
        return sum(takes_s for takes_s, _ in self.firsts)

    def _lamp_s(self) -> float | None:
        interlocks = self._setup.config.interlock
        return max(
            (self.until_shown_s(s, interlocks[s], is_decided_here=False) for s in self.lamps),
            default=None,
        )

    def _device(self, found: reads.ReadDevice) -> _Device:
        profile, port = found.profile, self._port
        words = (read.block.words for read in found.reads)
        frames = max((READ_REQUEST_BYTES + read_answer_bytes(count) for count in words), default=0)
        return _Device(
            unit=found.unit,
            reads=tuple(
                _Read(block_s(port, profile, one.block), one.interval_s, one.names, one.urgent)
                for one in found.reads
            ),
            wait_s=frames * port.byte_s + profile.line.reply_within_s,
            # Where there is no wire, nothing that comes late can disturb or be mistaken.
            silence_s=(
                frames * port.byte_s + profile.line.late_s
                if port.byte_s
                else profile.line.reply_within_s
            ),
        )

    def _attempt_s(self, interlock: "Interlock") -> float:
        return interlock.signal.wait_s(self._setup.profile)


def _lamp_times(
    site: str, interlock: "Interlock", buses: Mapping[str, _Bus], profile: FindProfile
) -> Iterator[LampTime]:
    """Of each ruler, for it may be the only one that sees the water."""
    for bus in buses.values():
        if (carrier := buses.get(interlock.signal.port or "")) is None:
            shown_s = 2 * interlock.signal.wait_s(profile)
        else:
            shown_s = carrier.until_shown_s(site, interlock, is_decided_here=carrier is bus)
        for device in bus.devices:
            for read in device.reads:
                for ruler in (name for name in read.sensors if name in interlock.rulers):
                    # The water may reach the threshold just after a reading.
                    sampled_s = interlock.rise_samples * read.interval_s
                    seen_s = sampled_s + bus.until_read_s(device)
                    yield LampTime(site, ruler, seen_s + shown_s, interlock.lamp_within_s)
