"""What is wrong between the tables of a gateway's config, each of which may be right for itself.

Only what is right for itself is compared: where something is wrong already, a default stands in its
place, or nothing, and what would follow from that is no fault.
"""

import contextlib
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from configs import loader
from configs.loader import Fault
from drivers.ports import PortConfig
from drivers.ports.serial import Config as SerialPort
from drivers.profiles import Profile
from drivers.signals import SignalConfig
from edge import load
from edge.lampconfig import Interlock
from wire.reading import Quantity

if TYPE_CHECKING:
    from edge.config import GatewayConfig, Sensor, Setup

FULLEST_BUS: Final = 0.9
"""Highest share of a bus that polling may take: the rest is for the lamp and for repeats."""


class Speaker(NamedTuple):
    """Who answers at a unit id: a sensor's device, or a signal's, by its key in the config."""

    key: str
    sensor: "Sensor | None" = None
    profile: Profile | None = None


def faults(setup: "Setup") -> Iterator[Fault]:
    """What is wrong between the tables, each of which may be right for itself."""
    config = setup.config
    yield from _place_faults(config)
    speakers: dict[tuple[str, int], list[Speaker]] = defaultdict(list)
    broken: set[str] = set()
    unfit: set[str] = set()
    for name, sensor in config.sensor.items():
        yield from _port_faults(f"sensor.{name}", sensor.port, config)
        try:
            profile = setup.profile(sensor.profile)
        except loader.ConfigError as error:
            if sensor.profile not in broken:  # each is told once
                yield from profile_faults(f"sensor.{name}.profile", sensor.profile, error)
            broken.add(sensor.profile)
            continue
        if wrong := list(_measure_faults(name, sensor, profile)):
            yield from wrong
            unfit.add(name)
            continue
        if not all(config.is_sound("sensor", name, k) for k in ("unit_id", "channel", "measure")):
            continue
        unit = profile.line.unit_id if sensor.unit_id is None else sensor.unit_id
        speakers[sensor.port, unit].append(Speaker(f"sensor.{name}", sensor, profile))
    for site, interlock in config.interlock.items():
        yield from _interlock_faults(site, interlock, setup, unfit)
        yield from _refresh_faults(site, interlock, config)
        if (switch := interlock.local_switch) is not None:
            yield from _port_faults(f"interlock.{site}.local_switch", switch.port, config)
            yield from _broadcast_faults(
                f"interlock.{site}.local_switch", switch.unit_id, config.port.get(switch.port)
            )
        if (rides := interlock.signal.port) is not None:
            yield from _port_faults(f"interlock.{site}.signal", rides, config)
            yield from _carrier_faults(site, interlock.signal, config)
            key = f"interlock.{site}.signal.profile"
            try:
                for profile_name in interlock.signal.profiles():
                    setup.profile(profile_name)
            except loader.ConfigError as error:
                if profile_name not in broken:
                    yield from profile_faults(key, profile_name, error)
                broken.add(profile_name)
                continue
            try:
                unit_id = interlock.signal.unit(setup.profile)
            except loader.ConfigError as error:
                yield from (Fault(key, fault.problem) for fault in error.faults)
                continue
            if unit_id is not None and config.is_sound("interlock", site, "signal"):
                speakers[rides, unit_id].append(Speaker(f"interlock.{site}.signal"))
    for (port, unit), there in speakers.items():
        yield from _unit_faults(f"{unit} on port {port!r}", there)
        for speaker in there:
            yield from _broadcast_faults(speaker.key, unit, config.port.get(port))
    yield from _load_faults(setup)


def profile_faults(key: str, name: str, error: loader.ConfigError) -> Iterator[Fault]:
    """The faults of the profile that is named at `key`, each with its place in the profile."""
    for fault in error.faults:
        where = f"{fault.key}: " if fault.key else ""
        yield Fault(key, f"{name!r}: {where}{fault.problem}")


def _measure_faults(name: str, sensor: "Sensor", profile: Profile) -> Iterator[Fault]:
    """A sensor is some of the measures of its device, but at least one."""
    if not profile.measure:
        yield Fault(f"sensor.{name}.profile", f"{sensor.profile!r} measures nothing")
        return
    of_channel = [m.quantity for m in profile.measure if m.channel == sensor.channel]
    channels = ", ".join(map(str, profile.channels))
    if not of_channel:
        if sensor.channel is None:
            problem = f"is missing; {sensor.profile!r} has the channels {channels}"
        elif channels:
            problem = f"{sensor.channel} is none of {sensor.profile!r}, which has {channels}"
        else:
            problem = f"{sensor.profile!r} has no channels: leave it out"
        yield Fault(f"sensor.{name}.channel", problem)
        return
    for quantity in sensor.measure or ():
        if quantity not in of_channel:
            yield Fault(
                f"sensor.{name}.measure",
                f"{sensor.profile!r} does not measure {quantity.value} there; it measures "
                f"{', '.join(of_channel)}",
            )


def _unit_faults(place: str, speakers: Sequence[Speaker]) -> Iterator[Fault]:
    """Several sensors may be on one device, but a unit id is one device, and what is measured there
    is one sensor's."""
    first = speakers[0]
    owners: dict[str, str] = {}
    for speaker in speakers:
        if speaker is not first and (
            speaker.sensor is None or first.sensor is None or speaker.profile != first.profile
        ):
            yield Fault(
                f"{speaker.key}.unit_id",
                f"{place} belongs to {first.key} already: two devices would answer at once",
            )
        if speaker.sensor is None or speaker.profile is None:
            continue
        for measure in speaker.sensor.measures(speaker.profile):
            if (owner := owners.setdefault(measure.key, speaker.key)) != speaker.key:
                yield Fault(
                    f"{speaker.key}.unit_id",
                    f"{place} belongs to {owner} already, which reads {measure.key} there: give "
                    "this sensor another unit_id, channel or measure",
                )
                break


def _port_faults(key: str, port: str, config: "GatewayConfig") -> Iterator[Fault]:
    if port not in config.port and config.is_sound("port", port):
        yield Fault(f"{key}.port", f"there is no [port.{port}]{loader.suggest(port, config.port)}")


def _place_faults(config: "GatewayConfig") -> Iterator[Fault]:
    """A serial device has one owner, whatever its names."""
    owners: dict[tuple[int, int] | str, str] = {}
    for name, port in config.port.items():
        if isinstance(port, SerialPort):
            owner = owners.setdefault(_identity(port.device), name)
            if owner != name:
                yield Fault(
                    f"port.{name}.device",
                    f"{port.device} is the device of [port.{owner}] already: one port drives a "
                    f"line; name {owner!r} wherever {name!r} is named, and remove [port.{name}]",
                )


def _identity(device: str) -> tuple[int, int] | str:
    """What a path stands for: the terminal that it leads to, by whatever link or node."""
    with contextlib.suppress(OSError, ValueError):
        found = os.stat(device)
        return (0, found.st_rdev) if stat.S_ISCHR(found.st_mode) else (found.st_dev, found.st_ino)
    return os.path.realpath(device)


def _broadcast_faults(key: str, unit: int, port: PortConfig | None) -> Iterator[Fault]:
    """Behind RTU frames are lines on which unit 0 is everybody."""
    if unit == 0 and getattr(port, "framing", "") == "rtu":
        yield Fault(
            f"{key}.unit_id",
            "0 is the broadcast address: all devices of the line obey it and none answers; give "
            "the unit id of the device, 1 to 247",
        )


def line_faults(setup: "Setup") -> Iterator[Fault]:
    """The sensors and signals whose profile has another line than their port: they cannot answer.

    No config is refused for it while a gateway runs, for somebody may have set the devices to the
    line (`devices_set` says so); it is `shuichi edge check` that demands to be told.
    """
    config = setup.config
    users = [(f"sensor.{name}", one.port, one.profile) for name, one in config.sensor.items()]
    for site, interlock in config.interlock.items():
        key, port_name = f"interlock.{site}.signal", interlock.signal.port or ""
        users += [(key, port_name, profile) for profile in interlock.signal.profiles()]
    for key, port_name, profile_name in users:
        port, line = config.port.get(port_name), setup.profile(profile_name).line
        factory = _line_text(line.baud, line.parity, line.stop_bits)
        if isinstance(port, SerialPort):
            here = _line_text(port.baud, port.parity, port.stop_bits)
        elif getattr(port, "baud", 0):  # behind a serial server, of whose line only this is known
            factory, here = f"{line.baud} baud", f"{getattr(port, 'baud', 0)} baud"
        else:
            continue
        if factory != here and not getattr(port, "devices_set", False):
            yield Fault(
                f"{key}.port",
                f"{profile_name!r} leaves the factory with {factory} and [port.{port_name}] has "
                f"{here}: it cannot answer; change the port's line, or set devices_set = true "
                "there if somebody has set its devices to that line",
            )


def _line_text(baud: int, parity: str, stop_bits: int) -> str:
    """As engineers write it: "9600 8N1"."""
    return f"{baud} 8{parity[0].upper()}{stop_bits}"


def _carrier_faults(site: str, signal: SignalConfig, config: "GatewayConfig") -> Iterator[Fault]:
    port = config.port.get(signal.port or "")
    if port is not None and port.kind not in signal.rides_on:
        yield Fault(
            f"interlock.{site}.signal.port",
            f"{signal.port!r} is of kind {port.kind!r}; {signal.kind} needs a port of kind "
            f"{' or '.join(map(repr, signal.rides_on))}",
        )


_HOW: Final = {"modbus_relay": ' with hold = "pulse"'}


def _refresh_faults(site: str, interlock: Interlock, config: "GatewayConfig") -> Iterator[Fault]:
    """A signal falls back by itself, and not because one refresh gets lost."""
    if not config.is_sound("interlock", site):
        return
    if not interlock.closes_by_itself:
        signal = interlock.signal
        yield Fault(
            f"interlock.{site}.second_path",
            "the signal keeps its last aspect when the gateway dies: set "
            f"signal.{signal.watchdog_key or 'kind'}{_HOW.get(signal.kind, '')}, or say here what "
            "closes the road then",
        )
    every_s, within_s = interlock.refresh_every_s, interlock.signal.refresh_within_s
    if within_s is not None and 2 * every_s > within_s:
        yield Fault(
            f"interlock.{site}.refresh_every_s",
            f"{every_s:g} is more than half of the {within_s:g} s after which the signal falls "
            f"back by itself (signal.{interlock.signal.watchdog_key}): one lost refresh would "
            "change the lamp",
        )


def _interlock_faults(
    site: str, interlock: Interlock, setup: "Setup", unfit: Collection[str]
) -> Iterator[Fault]:
    config, sensors = setup.config, setup.config.sensor
    for ruler in interlock.rulers:
        key = f"interlock.{site}.rulers"
        if ruler in unfit or not config.is_sound("sensor", ruler):
            continue  # told with the sensor
        if ruler not in sensors:
            yield Fault(key, f"there is no [sensor.{ruler}]{loader.suggest(ruler, sensors)}")
            continue
        try:
            profile = setup.profile(sensors[ruler].profile)
        except loader.ConfigError:
            continue  # told with the sensor
        if Quantity.DEPTH not in {m.quantity for m in sensors[ruler].measures(profile)}:
            yield Fault(key, f"{ruler!r} does not measure depth")
        is_sound = config.is_sound("interlock", site)
        if is_sound and interlock.stale_after_s < 2 * sensors[ruler].interval_s:
            yield Fault(
                f"interlock.{site}.stale_after_s",
                f"{interlock.stale_after_s:g} is less than two intervals of {ruler!r} "
                f"({sensors[ruler].interval_s:g} s): one lost reading would show the safe aspect",
            )


def _or_faster(port: PortConfig) -> str:
    return " or raise baud" if getattr(port, "baud", 0) else ""


def _load_faults(setup: "Setup") -> Iterator[Fault]:
    try:
        sound, with_one_dead = load.of(setup), load.of(setup, dead=1)
    except (loader.ConfigError, KeyError):
        return  # told above
    config = setup.config
    unsound = {s.port for name, s in config.sensor.items() if not config.is_sound("sensor", name)}
    for lamp in with_one_dead.lamps:
        ports = {config.sensor[lamp.ruler].port, config.interlock[lamp.site].signal.port or ""}
        is_sound = all(config.is_sound("port", port) for port in ports)
        if unsound & ports or not (is_sound and config.is_sound("interlock", lamp.site)):
            continue
        if lamp.depth_to_lamp_s > lamp.allowed_s:
            yield Fault(
                f"interlock.{lamp.site}.lamp_within_s",
                f"the lamp cannot be shown within {lamp.allowed_s:g} s of the depth: by "
                f"{lamp.ruler!r} it may take {lamp.depth_to_lamp_s:.1f} s with a device dead on "
                f"the bus; shorten interval_s of {lamp.ruler!r}, lower rise_samples, or allow more",
            )
        elif lamp.after_silence_s > lamp.allowed_s:
            yield Fault(
                f"interlock.{lamp.site}.lamp_within_s",
                f"the lamp cannot be shown within {lamp.allowed_s:g} s of a ruler's first answer "
                f"after a silence: it may take {lamp.after_silence_s:.1f} s; shorten interval_s of "
                "its rulers, lower rise_samples, or allow more",
            )
    for bus in sound.ports:
        if bus.port in unsound or not config.is_sound("port", bus.port):
            continue
        if bus.share > FULLEST_BUS:
            yield Fault(
                f"port.{bus.port}",
                f"the bus cannot keep these intervals: polling would take {bus.share:.0%} of its "
                f"time ({bus.cycle_s * 1000:.0f} ms for one read of everything), at most "
                f"{FULLEST_BUS:.0%} is allowed; lengthen interval_s of "
                f"{', '.join(bus.busiest)}{_or_faster(config.port[bus.port])}",
            )
