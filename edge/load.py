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
from drivers.ports.line import REOPEN_AFTER_S
from drivers.profiles import Block, Profile
from drivers.protocols.modbus import READ_REQUEST_BYTES, read_answer_bytes
from drivers.protocols.modbus_framing import RTU_OVERHEAD
from drivers.signals import FindProfile
from edge import reads
from edge.agenda import DEAD_SHARE, RULER_SHARE
from edge.signal import RETRY_AFTER_S

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
    its rulers, and what the site allows.

    The others count from the end of what went before: `after_silence_s` from the moment at which a
    ruler could answer again, `after_restart_s` from the start of the agent, `after_loss_s` from the
    return of the line. The water is up by then. `reload_s` is for water that rises while a reload
    opens the port anew.
    """

    site: str
    ruler: str
    depth_to_lamp_s: float
    allowed_s: float
    after_silence_s: float = 0.0
    after_restart_s: float = 0.0
    after_loss_s: float = 0.0
    reload_s: float = 0.0


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
        _slowest(times)
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
        self._first_waits: dict[str, float] = {}
        self._firsts_late_s: list[float] = []
        for site, interlock in setup.config.interlock.items():
            if interlock.signal.port == name:
                show_s = interlock.signal.show_s(self._port, setup.profile)
                # One that cannot tell takes what its time limits allow, and no share of a bus.
                self.lamps[site] = 2 * self._attempt_s(interlock) if show_s is None else show_s
                self.firsts.append((show_s or 0.0, interlock.refresh_every_s))
                self._first_waits[f"lamp {site}"] = self._attempt_s(interlock)
                self._firsts_late_s.append(interlock.signal.late_s(setup.profile))
            if (switch := interlock.local_switch) is not None and switch.port == name:
                read_s = _SWITCH_BYTES * self._port.byte_s + 2 * self._port.gap_s
                self.firsts.append((read_s, switch.every_s))
                self._first_waits[f"switch {site}"] = switch.within_ms / 1000
                self._firsts_late_s.append(2 * switch.within_ms / 1000)

    def load(self) -> BusLoad:
        reads_s = sum(device.all_s for device in self.alive)
        share_of: dict[str, float] = {}
        for read in (read for device in self.alive for read in device.reads):
            for sensor in read.sensors:
                share = read.takes_s / read.interval_s / len(read.sensors)
                share_of[sensor] = share_of.get(sensor, 0.0) + share
        firsts = sum(takes_s / every_s for takes_s, every_s in self.firsts)
        waste = DEAD_SHARE if self.dead else 0.0
        if rulers := [(d, r) for d in self.dead for r in d.reads if r.urgent]:
            waste += min(RULER_SHARE, sum(d.silence_s / read.interval_s for d, read in rulers))
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

    def until_read_s(self, device: _Device, dead: int | None = None) -> float:
        """From the time at which the rulers of a device are due to its last answer, at worst, with
        `dead` other devices silent (None: as many as the bus has).

        Each of them may have died just now: then a ruler among them is waited for once, and any of
        them may be what is under way.
        """
        dead = len(self.dead) if dead is None else dead
        others = [other for other in self.devices if other is not device]
        own_s = max((read.takes_s for read in device.reads if not read.urgent), default=0.0)
        by_loss = sorted(
            (other for other in others if other.urgent_s),
            key=lambda other: other.wait_s - other.urgent_s,
            reverse=True,
        )
        by_wait = sorted(others, key=lambda other: other.wait_s, reverse=True)
        worst_s = 0.0
        for count in range(min(dead, len(by_loss)) + 1):  # so many of the dead are rulers
            rulers = by_loss[:count]
            rest = [other for other in by_wait if other not in rulers][: dead - count]
            silent = [*rulers, *rest]
            waits_s = sum(ruler.wait_s for ruler in silent if ruler.urgent_s)
            alive = [other for other in others if other not in silent]
            reads_s = device.urgent_s + sum(other.urgent_s for other in alive)
            takes_s = max((r.takes_s for other in alive for r in other.reads), default=0.0)
            under_way_s = max(
                own_s, takes_s, *(one.wait_s for one in silent if not one.urgent_s), 0
            )
            worst_s = max(worst_s, under_way_s + waits_s + reads_s)
        return worst_s + self._firsts_s + (self._vain_s() if dead else 0.0)

    def until_asked_again_s(self, device: _Device, interval_s: float) -> float:
        """From the moment at which a silent ruler could answer again to the time at which it is due
        again, at worst, with the other silent devices of the bus rulers too."""
        others = sorted(
            (other.silence_s for other in self.devices if other is not device and other.urgent_s),
            reverse=True,
        )
        silence_s = device.silence_s + sum(others[: max(0, len(self.dead) - 1)])
        # Where nobody answers, a connection is made anew.
        anew_s = self._foreign_s if self._port.open_within_s else 0.0
        return max(interval_s, silence_s / RULER_SHARE) + anew_s

    @property
    def opening_s(self) -> float:
        """Until a line that has just been opened can be asked: whoever had it before may have asked
        too, and may still be answered."""
        return self._port.open_within_s + self._foreign_s

    @property
    def reopening_s(self) -> float:
        """The same from the return of the line: an attempt that is under way may be in vain."""
        return self.opening_s + self._port.open_within_s + REOPEN_AFTER_S

    def until_shown_s(self, site: str, interlock: "Interlock", *, is_decided_here: bool) -> float:
        """From the reading that decides to the read-back of the lamp, at worst. Nothing is under
        way where that reading came from; all other lamps may be asked for in the same moment."""
        others_s = max(0.0, self._firsts_s - self.lamps[site])
        if self.dead:
            others_s += self._vain_s(but=f"lamp {site}")
        under_way_s = 0.0 if is_decided_here else self.longest_s()
        repeat_s = self._attempt_s(interlock) + self.lamps[site] if self.dead else 0.0
        return under_way_s + others_s + self.lamps[site] + repeat_s

    @property
    def _foreign_s(self) -> float:
        """How long the answer to somebody else may come after the line was opened."""
        if self._port.answers_numbered:
            return 0.0
        return max(
            (*(device.silence_s for device in self.devices), *self._firsts_late_s), default=0
        )

    def _vain_s(self, but: str = "") -> float:
        """What a silent lamp or switch, other than that, may take before all reads: it is asked
        again at once."""
        waits = [wait_s for name, wait_s in self._first_waits.items() if name != but]
        return 2 * max(waits, default=0.0) if but or len(waits) > 1 else 0.0

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
    carrier = buses.get(interlock.signal.port or "")
    for bus in buses.values():
        if carrier is None:
            shown_s = 2 * interlock.signal.wait_s(profile)
        else:
            shown_s = carrier.until_shown_s(site, interlock, is_decided_here=carrier is bus)
        # A new keeper asks its signal first what it shows.
        look_s = 0.0 if carrier is None else carrier.lamps[site]
        lines = [bus] if carrier is None else [bus, carrier]
        opening_s = max(line.opening_s for line in lines)
        for device in bus.devices:
            for read in device.reads:
                for ruler in (name for name in read.sensors if name in interlock.rulers):
                    read_s = bus.until_read_s(device)
                    # What is late makes what follows late, where there is no time between.
                    others_s = (interlock.rise_samples - 1) * max(read.interval_s, read_s)
                    then_s = read_s + others_s + shown_s
                    loss_s = max(line.reopening_s for line in lines) + read.interval_s
                    yield LampTime(
                        site,
                        ruler,
                        # The water may reach the threshold just after a reading.
                        read.interval_s + then_s,
                        interlock.lamp_within_s,
                        bus.until_asked_again_s(device, read.interval_s) + then_s,
                        opening_s + look_s + then_s,
                        loss_s + RETRY_AFTER_S + then_s,
                        read.interval_s + opening_s + look_s + then_s,
                    )


def _slowest(times: list[LampTime]) -> LampTime:
    """By the slowest of the rulers; after a fault that may be another one."""
    return max(times, key=lambda time: time.depth_to_lamp_s)._replace(
        after_silence_s=max(time.after_silence_s for time in times),
        after_restart_s=max(time.after_restart_s for time in times),
        after_loss_s=max(time.after_loss_s for time in times),
        reload_s=max(time.reload_s for time in times),
    )
