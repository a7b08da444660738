"""`sim.toml`: which devices exist, on which lines, and what they live through."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from configs import loader
from configs.loader import Fault, Kind, Model, Tables
from drivers import profiles
from drivers.ports import Baud
from drivers.profiles import Profile
from firmware_sim.controllers import ControllerConfig
from wire.reading import Quantity

DEFAULT: Final = loader.HERE / "sites" / "underpass" / "sim.toml"

SIGNAL_OF: Final[Mapping[str, str]] = {
    Quantity.DEPTH: "depth",
    Quantity.LEVEL: "river_level",
    Quantity.RAIN_TOTAL: "rain_total",
    Quantity.RAIN_RATE: "rain_rate",
    Quantity.DISPLACEMENT: "crack",
    Quantity.FREQUENCY: "frequency",
    Quantity.TEMPERATURE: "temperature",
    Quantity.VOLTAGE: "voltage",
}
"""The signal that a quantity shows if a device says nothing else."""

STEADY: Final[Mapping[str, float]] = {
    "frequency": 1000.0,
    "temperature": 18.0,
    "voltage": 12.6,
}
"""What a scenario says nothing about, SI: a device that measures it answers all the same."""

AnswerMs = Annotated[float, Field(ge=0, le=5000)]


class ScenarioConfig(Model):
    """`speed` is scenario seconds per second."""

    kind: Literal["underpass-storm"] = "underpass-storm"
    seed: Annotated[int, Field(ge=0)] = 1
    speed: Annotated[float, Field(gt=0, le=10000)] = 1


class PtyLine(Model):
    """A serial line of this machine. `link` will lead to it; relative to the config's folder.

    `answer_ms` is the time from the end of a request to the start of its answer; without it, what
    each device's profile says. With `echo` the adapter hears itself.
    """

    kind: Literal["pty"]
    link: Annotated[str, Field(min_length=1)]
    baud: Baud
    answer_ms: AnswerMs | None = None
    echo: bool = False


class TcpLine(Model):
    """A port of 127.0.0.1; 0 is a free one. `framing` "rtu" is RTU over TCP, as serial servers do.

    With `baud` there is a serial line behind it: one request at a time, at its pace. Without, the
    devices answer at once (or after `answer_ms`).
    """

    kind: Literal["tcp"]
    port: Annotated[int, Field(ge=0, le=65535)]
    framing: Literal["tcp", "rtu"] = "tcp"
    baud: Baud | None = None
    answer_ms: AnswerMs | None = None


LineConfig: TypeAlias = Annotated[PtyLine | TcpLine, Field(discriminator="kind")]


class DeviceConfig(Model):
    """A device on a line. `signal` says which signal of the scenario a quantity shows; where the
    device has channels, "level" is all of them and "level.3" one."""

    line: str
    profile: str
    unit_id: Annotated[int, Field(ge=1, le=255)] | None = None
    signal: dict[str, str] = {}


class SimConfig(Tables):
    """The whole of `sim.toml`: [scenario], [line.NAME], [device.NAME], [controller.NAME]."""

    scenario: ScenarioConfig = ScenarioConfig()
    line: dict[str, LineConfig] = {}
    device: dict[str, DeviceConfig] = {}
    controller: dict[str, Annotated[ControllerConfig, Kind("firmware_sim.controllers")]] = {}


def load(file: Path) -> SimConfig:
    """The config in `file`. Raises ConfigError with all of its faults."""
    return parse(loader.read(file), file.parent, file)


def parse(tables: dict[str, Any], folder: Path, file: Path | str = "sim.toml") -> SimConfig:
    """The config in `tables`, as if they stood in a file in `folder`. Raises ConfigError."""
    return loader.parse(tables, SimConfig, file, lambda config: _faults(config, folder))


def find_profile(name: str, folder: Path) -> Profile:
    """A profile from `profiles/` in the config's folder, or one of ours. Raises ConfigError."""
    return profiles.find(name, (folder / "profiles",))


def unit_id(device: DeviceConfig, profile: Profile) -> int:
    """The device's own unit id, or that of its profile."""
    return profile.line.unit_id if device.unit_id is None else device.unit_id


def _faults(config: SimConfig, folder: Path) -> Iterator[Fault]:
    """What is wrong between the tables, each of which may be right for itself."""
    on_line: dict[str, list[tuple[str, Profile]]] = defaultdict(list)
    speakers: dict[tuple[str, int], str] = {}
    for name, device in config.device.items():
        key = f"device.{name}"
        if device.line not in config.line and config.is_sound("line", device.line):
            hint = loader.suggest(device.line, config.line)
            yield Fault(f"{key}.line", f"there is no [line.{device.line}]{hint}")
        try:
            profile = find_profile(device.profile, folder)
        except loader.ConfigError as error:
            for fault in error.faults:
                where = f"{fault.key}: " if fault.key else ""
                yield Fault(f"{key}.profile", f"{device.profile!r}: {where}{fault.problem}")
            continue
        yield from _signal_faults(key, device, profile)
        if not config.is_sound("device", name, "unit_id"):
            continue
        unit = unit_id(device, profile)
        if (other := speakers.setdefault((device.line, unit), name)) != name:
            yield Fault(
                f"{key}.unit_id",
                f"{unit} on line {device.line!r} belongs to {other!r} already: "
                "two devices would answer at once",
            )
        on_line[device.line].append((name, profile))
    for name, line in config.line.items():
        yield from _pace_faults(line, on_line[name])
    for name in config.controller.keys() & config.line.keys():
        yield Fault(f"controller.{name}", f"there is a [line.{name}] already")
    yield from _place_faults(config, folder)


def _signal_faults(key: str, device: DeviceConfig, profile: Profile) -> Iterator[Fault]:
    measured = {name for m in profile.measure for name in (m.quantity.value, m.key)}
    for quantity, signal in device.signal.items():
        if quantity not in measured:
            hint = loader.suggest(quantity, measured)
            yield Fault(f"{key}.signal.{quantity}", f"{device.profile!r} does not measure it{hint}")
        if signal not in (known := SIGNAL_OF.values()):
            yield Fault(
                f"{key}.signal.{quantity}",
                f"there is no signal {signal!r}{loader.suggest(signal, known)}; "
                f"there are: {', '.join(known)}",
            )


def _pace_faults(line: LineConfig, devices: Sequence[tuple[str, Profile]]) -> Iterator[Fault]:
    """All devices of a serial line speak at one rate, in one form of character."""
    if line.baud is None or not devices:
        return
    first, model = devices[0]
    for name, profile in devices:
        own = profile.line
        if own.baud != line.baud:
            yield Fault(
                f"device.{name}.line",
                f"its profile says {own.baud} baud, the line has {line.baud}: "
                "give it a line of its own, or a profile with that rate",
            )
        elif (own.parity, own.stop_bits) != (model.line.parity, model.line.stop_bits):
            yield Fault(
                f"device.{name}.line",
                f"its parity and stop bits ({own.parity}, {own.stop_bits}) are not those of "
                f"{first!r} ({model.line.parity}, {model.line.stop_bits}): "
                "give it a line of its own",
            )


def _place_faults(config: SimConfig, folder: Path) -> Iterator[Fault]:
    taken: dict[str | int, str] = {}
    for name, line in config.line.items():
        if isinstance(line, TcpLine) and line.port == 0:
            continue
        place = os.path.abspath(folder / line.link) if isinstance(line, PtyLine) else line.port
        if (other := taken.setdefault(place, name)) != name:
            key = "link" if isinstance(line, PtyLine) else "port"
            yield Fault(f"line.{name}.{key}", f"line {other!r} is there already")
