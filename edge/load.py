"""How full a bus will be, worked out from baud rate and byte counts before anything is deployed."""

from typing import TYPE_CHECKING, NamedTuple

from drivers.ports import PortConfig
from drivers.profiles import Block, Profile
from drivers.protocols.modbus import READ_REQUEST_BYTES, read_answer_bytes

if TYPE_CHECKING:
    from edge.config import Setup


class BusLoad(NamedTuple):
    """`share` of the bus that polling takes; `cycle_s` is the time to read everything once;
    `longest_s` the longest single read; `lamp_s` the longest time from the deciding reading to
    the read-back of a lamp on this bus (None: no lamp here), on a sound line: one read under way,
    write and read-back; `busiest` the sensors that take most. All in s."""

    port: str
    share: float
    cycle_s: float
    longest_s: float
    lamp_s: float | None
    busiest: tuple[str, ...]


def block_s(port: PortConfig, profile: Profile, block: Block) -> float:
    """Time to read one block, s: both frames, the silences around them, and the device's own
    delay as its profile states it."""
    frames_s = (READ_REQUEST_BYTES + read_answer_bytes(block.words)) * port.byte_s
    return frames_s + 2 * port.gap_s + profile.line.answers_in_ms / 1000


def _lamp_s(setup: "Setup", port: str, longest_s: float) -> float | None:
    """Lamps share a bus: the last of them waits for one read and for all lamps before it."""
    lamps = [
        lamp_s
        for interlock in setup.config.interlock.values()
        if interlock.signal.port == port
        and (lamp_s := interlock.signal.show_s(setup.config.port[port], setup.profile)) is not None
    ]
    return longest_s + sum(lamps) if lamps else None


def of(setup: "Setup") -> list[BusLoad]:
    """The load of every port that has sensors, in the order of the config."""
    loads = []
    for port_name, port in setup.config.port.items():
        times = {
            name: [block_s(port, setup.profiles[name], b) for b in setup.profiles[name].blocks()]
            for name, sensor in setup.config.sensor.items()
            if sensor.port == port_name
        }
        if not times:
            continue
        shares = {
            name: sum(blocks) / setup.config.sensor[name].interval_s
            for name, blocks in times.items()
        }
        longest_s = max(max(blocks, default=0.0) for blocks in times.values())
        loads.append(
            BusLoad(
                port=port_name,
                share=sum(shares.values()),
                cycle_s=sum(map(sum, times.values())),
                longest_s=longest_s,
                lamp_s=_lamp_s(setup, port_name, longest_s),
                busiest=tuple(sorted(shares, key=shares.__getitem__, reverse=True)[:3]),
            )
        )
    return loads
