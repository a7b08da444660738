"""`gateway.toml`: what a person writes about one gateway, and everything that can be wrong with it.

Nothing here touches a port or a network: a config is right or wrong on a desk.
"""

import base64
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from configs import loader
from configs.loader import Fault, Kind, Model
from drivers.ports import PortConfig
from drivers.profiles import Profile, Unit, find
from drivers.signals import SignalConfig
from edge import load
from edge.clock import Source
from edge.interlock import Rule
from edge.localswitch import LocalSwitchConfig
from edge.rulers import RulerRule
from edge.shelf import Priority
from wire.aspect import Aspect
from wire.mqtt import Broker
from wire.reading import Quantity
from wire.topics import NAME_PATTERN

FULLEST_BUS: Final = 0.9
"""Highest share of a bus that polling may take: the rest is for the lamp and for repeats."""

Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
Seconds = Annotated[float, Field(gt=0, le=86400)]
Megabytes = Annotated[int, Field(ge=1, le=1_000_000)]
Days = Annotated[float, Field(gt=0, le=3650)]
Centimetres = Annotated[float, Field(gt=0, le=1000)]


class Gateway(Model):
    """Who this gateway is. `site` is the site of every sensor that names no other."""

    id: Name
    shard: Name = "0"
    site: Name


class Uplink(Model):
    """The broker, how long to wait before what the cloud has not acked is sent again, and how fast
    what has piled up is sent beside what is new."""

    broker: Broker = Broker()
    resend_after_s: Seconds = 15
    backlog_kb_per_s: Annotated[float, Field(gt=0, le=100_000)] = 40
    status_every_s: Seconds = 5
    drain_at_stop_s: Annotated[float, Field(ge=0, le=600)] = 5


class OutboxConfig(Model):
    """Where sealed batches wait, and how much of them there may be: `docs/loss-contract.md`.

    What is not sealed yet is at most `seal_every_s` old. Three days of 100 sensors that are read
    each second take about 250 MB. `reserve_mb` of the disk are taken in advance, for the moment in
    which somebody else has filled it.
    """

    path: str = "outbox.db"
    seal_every_s: Annotated[float, Field(ge=0.1, le=60)] = 2
    seal_at_readings: Annotated[int, Field(ge=1, le=10000)] = 1000
    routine_mb: Megabytes = 512
    routine_days: Days = 30
    interlock_mb: Megabytes = 128
    interlock_days: Days = 90
    event_mb: Megabytes = 64
    event_days: Days = 365
    reserve_mb: Annotated[int, Field(ge=0, le=1024)] = 8

    def limit_mb(self, priority: Priority) -> int:
        """How much of a priority may wait."""
        return {
            Priority.ROUTINE: self.routine_mb,
            Priority.INTERLOCK: self.interlock_mb,
            Priority.EVENT: self.event_mb,
        }[priority]

    def limit_days(self, priority: Priority) -> float:
        """How old it may become."""
        return {
            Priority.ROUTINE: self.routine_days,
            Priority.INTERLOCK: self.interlock_days,
            Priority.EVENT: self.event_days,
        }[priority]


class ClockConfig(Model):
    """When the system's clock is believed: `edge.clock.Source`."""

    source: Source = Source.NTP


class Sensor(Model):
    """A device on a port, read by a profile every `interval_s`. The readings of an interlock's
    rulers go before routine ones, and those of a sensor with `priority = "interlock"`."""

    port: str
    profile: str
    unit_id: Unit | None = None
    interval_s: Annotated[float, Field(ge=0.05, le=86400)] = 60
    site: Name | None = None
    priority: Literal[Priority.INTERLOCK, Priority.ROUTINE] = Priority.ROUTINE


class Interlock(Model):
    """The rule and the signal of one site; `edge.interlock` and `edge.rulers` say how it works.

    The water must fall `clear_lower_cm` under a threshold before its hold begins, or under
    `amber_clear_cm`, `red_clear_cm` where these are given. `latch_red`: a person must agree
    before red falls. `jump_cm`, `stuck_after_s` and `disagree_cm` are off when they are 0.
    """

    rulers: Annotated[tuple[str, ...], Field(min_length=1)]
    amber_depth_cm: Centimetres = 15
    red_depth_cm: Centimetres = 30
    clear_lower_cm: Centimetres = 3
    amber_clear_cm: Centimetres | None = None
    red_clear_cm: Centimetres | None = None
    rise_samples: Annotated[int, Field(ge=1, le=20)] = 2
    hold_s: Annotated[float, Field(ge=0, le=86400)] = 300
    stale_after_s: Seconds = 10
    jump_cm: Annotated[float, Field(ge=0, le=1000)] = 50
    stuck_after_s: Annotated[float, Field(ge=0, le=864000)] = 21600
    disagree_cm: Annotated[float, Field(ge=0, le=1000)] = 10
    disagree_after_s: Seconds = 60
    latch_red: bool = False
    safe_aspect: Aspect = Aspect.AMBER
    refresh_every_s: Seconds = 10
    local_switch: LocalSwitchConfig | None = None
    signal: Annotated[SignalConfig, Kind("drivers.signals")]

    @model_validator(mode="after")
    def _in_order(self) -> "Interlock":
        if self.amber_depth_cm >= self.red_depth_cm:
            raise ValueError(
                f"amber_depth_cm {self.amber_depth_cm:g} is not below "
                f"red_depth_cm {self.red_depth_cm:g}"
            )
        for name, clear, over in (
            ("amber", self.clear_at("amber"), self.amber_depth_cm),
            ("red", self.clear_at("red"), self.red_depth_cm),
        ):
            if not 0 < clear < over:
                raise ValueError(
                    f"{name} would clear at {clear:g} cm: that must lie between 0 and "
                    f"{name}_depth_cm {over:g}; set {name}_clear_cm or clear_lower_cm"
                )
        if self.safe_aspect.severity < Aspect.FLASHING_AMBER.severity:
            raise ValueError(
                f"safe_aspect {self.safe_aspect.value!r} warns nobody: "
                "use 'flashing_amber', 'amber' or 'red'"
            )
        return self

    def clear_at(self, threshold: str) -> float:
        """The depth under which "amber" or "red" begins to clear, cm."""
        own = self.amber_clear_cm if threshold == "amber" else self.red_clear_cm
        over = self.amber_depth_cm if threshold == "amber" else self.red_depth_cm
        return over - self.clear_lower_cm if own is None else own

    @property
    def rule(self) -> Rule:
        """The same in SI, as `edge.interlock` takes it."""
        return Rule(
            rulers=RulerRule(
                amber_m=self.amber_depth_cm / 100,
                red_m=self.red_depth_cm / 100,
                amber_clear_m=self.clear_at("amber") / 100,
                red_clear_m=self.clear_at("red") / 100,
                rise_samples=self.rise_samples,
                stale_after_s=self.stale_after_s,
                jump_m=self.jump_cm / 100 or None,
                stuck_after_s=self.stuck_after_s or None,
            ),
            hold_s=self.hold_s,
            safe=self.safe_aspect,
            latch_red=self.latch_red,
            disagree_m=self.disagree_cm / 100 or None,
            disagree_after_s=self.disagree_after_s,
        )


class Metrics(Model):
    """Where Prometheus finds metrics, over HTTP and without a password: keep it local."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9464


def _public_key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ValueError("is not a public key: `shuichi command key` prints one")
    return text


class Commands(Model):
    """Whose orders the interlocks obey: public Ed25519 keys (base64) by name."""

    keys: dict[Name, Annotated[str, AfterValidator(_public_key)]] = {}


class GatewayConfig(Model):
    """The whole of `gateway.toml`. Tables: [gateway], [uplink], [outbox], [clock], [metrics],
    [port.NAME], [sensor.NAME], [interlock.SITE]."""

    gateway: Gateway
    uplink: Uplink = Uplink()
    outbox: OutboxConfig = OutboxConfig()
    clock: ClockConfig = ClockConfig()
    metrics: Metrics | None = None
    port: dict[Name, Annotated[PortConfig, Kind("drivers.ports")]] = {}
    sensor: dict[Name, Sensor] = {}
    interlock: dict[Name, Interlock] = {}
    command: Commands = Commands()


class Setup:
    """A config that is right, with its folder and the profiles that it names."""

    def __init__(self, config: GatewayConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self._found: dict[str, Profile] = {}

    @property
    def socket(self) -> Path:
        """Where the gateway, while it runs, answers `shuichi edge status`."""
        return socket_beside(self.folder / self.config.outbox.path)

    @cached_property
    def profiles(self) -> dict[str, Profile]:
        """The profile of each sensor, by the sensor's name."""
        return {name: self.profile(s.profile) for name, s in self.config.sensor.items()}

    def profile(self, name: str) -> Profile:
        """The profile `name`: from `profiles/` beside the config, or one of ours. Read once.

        Raises ConfigError.
        """
        if name not in self._found:
            self._found[name] = find(name, (self.folder / "profiles",))
        return self._found[name]

    def unit(self, sensor: str) -> int:
        """The unit id of a sensor: its own, or that of its profile."""
        own = self.config.sensor[sensor].unit_id
        return self.profiles[sensor].line.unit_id if own is None else own

    def site(self, sensor: str) -> str:
        """The site of a sensor: its own, or that of the gateway."""
        return self.config.sensor[sensor].site or self.config.gateway.site


def socket_beside(outbox: Path) -> Path:
    """The socket of the gateway that has this outbox."""
    return outbox.with_suffix(".sock")


def find_socket(file: Path) -> Path:
    """The socket of the gateway that runs by this config, be it right or not by now. Raises
    ConfigError for what is no TOML."""
    outbox = loader.read(file).get("outbox")
    path = outbox.get("path") if isinstance(outbox, dict) else None
    return socket_beside(file.parent / (path if isinstance(path, str) else OutboxConfig().path))


def read(file: Path) -> Setup:
    """The setup that `file` describes. Raises ConfigError with all of its faults at once."""
    config = loader.load(file, GatewayConfig, lambda config: _faults(Setup(config, file.parent)))
    return Setup(config, file.parent)


def _faults(setup: Setup) -> Iterator[Fault]:
    """What is wrong between the tables, each of which may be right for itself."""
    config = setup.config
    speakers: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name, sensor in config.sensor.items():
        yield from _port_faults(f"sensor.{name}", sensor.port, config)
        try:
            profile = setup.profile(sensor.profile)
        except loader.ConfigError as error:
            for fault in error.faults:
                yield Fault(f"sensor.{name}.profile", f"{sensor.profile!r}: {fault.problem}")
            continue
        if not profile.measure:
            yield Fault(f"sensor.{name}.profile", f"{sensor.profile!r} measures nothing")
        unit = profile.line.unit_id if sensor.unit_id is None else sensor.unit_id
        speakers[sensor.port, unit].append(f"sensor.{name}")
    for site, interlock in config.interlock.items():
        yield from _interlock_faults(site, interlock, setup)
        yield from _refresh_faults(site, interlock)
        if (switch := interlock.local_switch) is not None:
            yield from _port_faults(f"interlock.{site}.local_switch", switch.port, config)
        if (rides := interlock.signal.port) is not None:
            yield from _port_faults(f"interlock.{site}.signal", rides, config)
            yield from _carrier_faults(site, interlock.signal, config)
            try:
                unit_id = interlock.signal.unit(setup.profile)
            except loader.ConfigError as error:
                yield Fault(f"interlock.{site}.signal.profile", error.faults[0].problem)
                continue
            if unit_id is not None:
                speakers[rides, unit_id].append(f"interlock.{site}.signal")
    for (port, unit), names in speakers.items():
        for name in names[1:]:
            yield Fault(
                f"{name}.unit_id",
                f"{unit} on port {port!r} belongs to {names[0]} already: "
                "two devices would answer at once",
            )
    yield from _load_faults(setup)


def _port_faults(key: str, port: str, config: GatewayConfig) -> Iterator[Fault]:
    if port not in config.port:
        yield Fault(f"{key}.port", f"there is no [port.{port}]{loader.suggest(port, config.port)}")


def _carrier_faults(site: str, signal: SignalConfig, config: GatewayConfig) -> Iterator[Fault]:
    port = config.port.get(signal.port or "")
    if port is not None and port.kind not in signal.rides_on:
        yield Fault(
            f"interlock.{site}.signal.port",
            f"{signal.port!r} is of kind {port.kind!r}; {signal.kind} needs a port of kind "
            f"{' or '.join(map(repr, signal.rides_on))}",
        )


def _refresh_faults(site: str, interlock: Interlock) -> Iterator[Fault]:
    """One refresh may get lost without the signal falling back."""
    every_s, within_s = interlock.refresh_every_s, interlock.signal.refresh_within_s
    if within_s is not None and 2 * every_s > within_s:
        yield Fault(
            f"interlock.{site}.refresh_every_s",
            f"{every_s:g} is more than half of the {within_s:g} s after which the signal falls "
            f"back by itself (signal.{interlock.signal.watchdog_key}): one lost refresh would "
            "change the lamp",
        )


def _interlock_faults(site: str, interlock: Interlock, setup: Setup) -> Iterator[Fault]:
    sensors = setup.config.sensor
    for ruler in interlock.rulers:
        key = f"interlock.{site}.rulers"
        if ruler not in sensors:
            yield Fault(key, f"there is no [sensor.{ruler}]{loader.suggest(ruler, sensors)}")
            continue
        try:
            profile = setup.profile(sensors[ruler].profile)
        except loader.ConfigError:
            continue  # told with the sensor
        if Quantity.DEPTH not in {m.quantity for m in profile.measure}:
            yield Fault(key, f"{ruler!r} does not measure depth")
        if interlock.stale_after_s < 2 * sensors[ruler].interval_s:
            yield Fault(
                f"interlock.{site}.stale_after_s",
                f"{interlock.stale_after_s:g} is less than two intervals of {ruler!r} "
                f"({sensors[ruler].interval_s:g} s): one lost reading would show the safe aspect",
            )


def _load_faults(setup: Setup) -> Iterator[Fault]:
    try:
        buses = load.of(setup)
    except (loader.ConfigError, KeyError):
        return  # told above
    for bus in buses:
        if bus.share > FULLEST_BUS:
            yield Fault(
                f"port.{bus.port}",
                f"the bus cannot keep these intervals: polling would take {bus.share:.0%} of its "
                f"time ({bus.cycle_s * 1000:.0f} ms for one read of everything), at most "
                f"{FULLEST_BUS:.0%} is allowed; lengthen interval_s of "
                f"{', '.join(bus.busiest)} or raise baud",
            )
