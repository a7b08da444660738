"""`gateway.toml`: what a person writes about one gateway, and everything that can be wrong with it.

Nothing here touches a port or a network: a config is right or wrong on a desk.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from configs import files, loader
from configs.loader import Kind, Model, Tables
from drivers.measures import Measure
from drivers.ports import PortConfig
from drivers.profiles import Profile, Unit, find
from edge import crosscheck
from edge.clock import Source
from edge.lampconfig import Commands, Interlock, Name, Seconds
from edge.shelf import Priority
from wire import keyfile
from wire.mqtt import Broker
from wire.reading import Quantity

Megabytes = Annotated[int, Field(ge=1, le=1_000_000)]
Days = Annotated[float, Field(gt=0, le=3650)]


class Gateway(Model):
    """Who this gateway is. `site` is the site of every sensor that names no other."""

    id: Name
    shard: Name = "0"
    site: Name


class Uplink(Model):
    """The broker, how long to wait before what the cloud has not acked is sent again, and how fast
    what has piled up is sent beside what is new. `key_file` holds the key by which the cloud proves
    its acks, and we our replies; without it acks are believed for what was sent."""

    broker: Broker = Broker()
    resend_after_s: Seconds = 15
    backlog_kb_per_s: Annotated[float, Field(gt=0, le=100_000)] = 40
    status_every_s: Seconds = 5
    key_file: Annotated[str, Field(min_length=1)] | None = None
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
    """A device on a port, read by a profile every `interval_s`; up to a quarter of a second later
    and no more than a quarter of the interval, unless it is an interlock's ruler: then at once. The
    readings of an interlock's rulers go before routine ones, and those of a sensor with
    `priority = "interlock"`.

    Several sensors may be on one device: each reads one `channel` of it, or the quantities in
    `measure` (of that channel). Without `channel` a sensor reads what has none.
    """

    port: str
    profile: str
    unit_id: Unit | None = None
    channel: Annotated[int, Field(ge=0, le=9999)] | None = None
    measure: Annotated[tuple[Quantity, ...], Field(min_length=1)] | None = None
    interval_s: Annotated[float, Field(ge=0.05, le=86400)] = 60
    site: Name | None = None
    priority: Literal[Priority.INTERLOCK, Priority.ROUTINE] = Priority.ROUTINE

    def measures(self, profile: Profile) -> tuple[Measure, ...]:
        """What of the device it reads."""
        return tuple(
            m
            for m in profile.measure
            if m.channel == self.channel and (self.measure is None or m.quantity in self.measure)
        )


class Metrics(Model):
    """Where Prometheus finds metrics, over HTTP and without a password: keep it local."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9464


class GatewayConfig(Tables):
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
    def outbox(self) -> Path:
        """The outbox's file."""
        return self.folder / self.config.outbox.path

    @property
    def state(self) -> Path:
        """The folder of all that the gateway writes."""
        return self.outbox.parent

    @property
    def key_file(self) -> Path | None:
        """Where the key lies that the cloud shares with us, if the config names one."""
        name = self.config.uplink.key_file
        return None if name is None else self.folder / name

    @property
    def socket(self) -> Path:
        """Where the gateway, while it runs, answers `shuichi edge status`."""
        return socket_beside(self.outbox)

    @cached_property
    def profiles(self) -> dict[str, Profile]:
        """The profile of each sensor, by the sensor's name, with what that sensor reads."""
        return {
            name: profile.model_copy(update={"measure": s.measures(profile)})
            for name, s in self.config.sensor.items()
            if (profile := self.profile(s.profile))
        }

    def profile(self, name: str) -> Profile:
        """The profile `name`: from `profiles/` beside the config, or one of ours. Read once.

        Raises ConfigError.
        """
        if name not in self._found:
            self._found[name] = find(name, (self.folder / "profiles",))
        return self._found[name]

    def doubts(self) -> Iterator[tuple[str, str]]:
        """What nobody could confirm of the devices, each with the sensor or site it belongs to, and
        what is hardly meant in the broker's settings."""
        for name, profile in sorted(self.profiles.items()):
            yield from ((name, doubt) for doubt in profile.uncertain)
        for site, interlock in self.config.interlock.items():
            for profile_name in interlock.signal.profiles():
                yield from ((site, doubt) for doubt in self.profile(profile_name).uncertain)
            if isinstance(broker := getattr(interlock.signal, "broker", None), Broker):
                yield from ((f"interlock.{site}.signal.broker", one) for one in broker.doubts())
        yield from (("uplink.broker", doubt) for doubt in self.config.uplink.broker.doubts())
        yield from (("uplink.key_file", doubt) for doubt in key_doubts(self.key_file))

    def unit(self, sensor: str) -> int:
        """The unit id of a sensor: its own, or that of its profile."""
        own = self.config.sensor[sensor].unit_id
        return self.profiles[sensor].line.unit_id if own is None else own

    def site(self, sensor: str) -> str:
        """The site of a sensor: its own, or that of the gateway."""
        return self.config.sensor[sensor].site or self.config.gateway.site


def key_doubts(file: Path | None) -> Iterator[str]:
    """What is wrong with a key, or with having none: the gateway runs all the same."""
    if file is None:
        yield (
            "acks and replies are not proven: whoever may write to the broker can have sent data "
            "deleted; `shuichi gateway key` makes a key"
        )
        return
    try:
        keyfile.read(file)
        if said := files.doubt(file):
            yield said
    except OSError as error:
        yield f"{file}: {error.strerror}: no ack is believed, and nothing deleted"
    except keyfile.KeyFileError as error:
        yield f"{file} {error}: no ack is believed, and nothing deleted"


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
    config = loader.load(
        file, GatewayConfig, lambda config: crosscheck.faults(Setup(config, file.parent))
    )
    broker = config.uplink.broker.beside(file.parent)
    uplink = config.uplink.model_copy(update={"broker": broker})
    return Setup(config.model_copy(update={"uplink": uplink}), file.parent)
