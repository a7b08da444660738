"""`cloud.toml`: what a person writes about the aggregator. Nothing here touches a network."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from cloud.alerts.cap import Publisher
from cloud.alerts.dispatch import Settings
from cloud.alerts.rule import Name, Rule, RuleConfig
from cloud.alerts.rules import service, twin_gateway
from cloud.channels import ChannelConfig, cap
from cloud.database import Place, Server
from cloud.heartbeat import Config as Heartbeat
from cloud.http import Url
from cloud.limits import Quota
from cloud.store import StoreConfig, sqlite
from cloud.web.settings import Hook, Web
from configs import loader
from configs.loader import Fault, Kind, Model, Tables, suggest
from wire.mqtt import Broker
from wire.topics import NAME_PATTERN

Unknown = Literal["accept", "quarantine"]
"""What is done with the batches of a gateway that the config does not name."""

NOBODY_NAMED: Final = (
    "no [gateway.NAME]: whoever may write at the broker is stored, and can raise alerts"
)

MOST_SHARDS: Final = 1000
"""In one process, by far."""


def shards_of(text: Any) -> Any:
    """The shards that `text` names: "0", "0-3", "0,2,5-7", "north,south", each once."""
    if not isinstance(text, str):
        return text  # pydantic says what is wrong
    named: dict[str, None] = {}
    for part in map(str.strip, text.split(",")):
        if span := re.fullmatch(r"(\d{1,9})-(\d{1,9})", part):
            numbers = range(int(span[1]), int(span[2]) + 1)
            if not 0 < len(numbers) <= MOST_SHARDS:
                raise ValueError(f"{part!r} is not a range of 1 to {MOST_SHARDS} shards")
            named |= dict.fromkeys(map(str, numbers))
        elif re.fullmatch(NAME_PATTERN, part):
            named[part] = None
        else:
            raise ValueError(f"{part!r} is neither the name of a shard nor a range such as 0-3")
    return tuple(named)


class Ingest(Model):
    """What this process takes in. The broker keeps the session of each shard for `keep_session_s`
    when we are gone; another worker may take over a shard of ours after `lease_s` without a word
    from us. That is also the longest pause of a process that costs it its shards.

    A reading `future_s` ahead of our clock goes to quarantine: a clock that its gateway believes is
    off by seconds (NTP), or by ten minutes after a year on a battery (20 ppm). So does one that is
    `oldest_days` old: no outbox keeps anything longer than a year.

    What comes from gateways that the config does not name goes to quarantine and calls nobody, as
    soon as it names any; before that all are accepted, for first steps. `unknown_gateways` says so
    explicitly. So it is with the sites that neither the config nor the response plan names, where
    there is a plan and the gateway has no list of its own: `unknown_sites`.

    What waits for the store longer than `release_after_s` is left to its gateways, which send it
    again, so that new messages come in and raise alerts. A store that has taken nothing for
    `store_away_s`, though something waits, is a fault that raises an alert itself. The messages of
    one gateway may cost `gateway_share` of a core; 1 is no limit.
    """

    shards: Annotated[tuple[Name, ...], BeforeValidator(shards_of)] = ("0",)
    keep_session_s: Annotated[int, Field(ge=60, le=604_800)] = 86_400
    lease_s: Annotated[float, Field(ge=0.5, le=300)] = 10
    unknown_gateways: Unknown | None = None
    unknown_sites: Unknown = "quarantine"
    future_s: Annotated[float, Field(ge=1, le=31_536_000)] = 600
    oldest_days: Annotated[float, Field(ge=1, le=36_500)] = 400
    release_after_s: Annotated[float, Field(ge=0.1, le=300)] = 2
    store_away_s: Annotated[float, Field(ge=1, le=86_400)] = 60
    gateway_share: Annotated[float, Field(gt=0, le=1)] = 0.1


class Quarantine(Model):
    """`[quarantine]`: over `most_mb` (millions of bytes) cases are let go, and counted."""

    most_mb: Annotated[float, Field(ge=1, le=100_000)] = 256

    @property
    def most_bytes(self) -> int:
        return round(self.most_mb * 1e6)


class Gateway(Model):
    """`[gateway.<name>]`: one that is known. It may write its `sites` and no others; without them
    all that are no other gateway's. `key_file` holds the key by which we prove our acks to it, and
    it its replies to us. `[gateway.<name>.quota]` changes some of `[quota]` for it."""

    sites: tuple[Name, ...] = ()
    key_file: Annotated[str, Field(min_length=1)] | None = None
    quota: Quota | None = None


class StateConfig(Model):
    """The cloud's own database: an SQLite file, or a PostgreSQL that many workers share. Files are
    relative to the config's folder."""

    path: Annotated[str, Field(min_length=1)] | None = None
    url: str | None = None
    password_file: Annotated[str, Field(min_length=1)] | None = None
    socket: Annotated[str, Field(min_length=1)] | None = None
    """At which a running service is asked; without it `cloud.sock` beside the state."""

    @field_validator("url")
    @classmethod
    def _names_a_database(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = make_url(value)
        except ArgumentError:
            url = None
        if url is None or url.drivername != "postgresql" or not url.database:
            raise ValueError("is not postgresql://USER@HOST:PORT/DATABASE")
        if url.password is not None:
            raise ValueError("has a password in it: that belongs into password_file")
        return value

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if self.url is not None and self.path is not None:
            raise ValueError("has both path and url: the state is in a file or on a server")
        if self.url is None and self.password_file is not None:
            raise ValueError("has a password_file, but no url")
        return self

    def place(self, folder: Path, lease_s: float) -> Place:
        """The file, or the server; one who stops there is not waited for longer than a lease."""
        if self.url is None:
            return folder / (self.path or "cloud.db")
        password = None if self.password_file is None else folder / self.password_file
        return Server(self.url, password, lease_s)


class Alerts(Model):
    """Whom alerts call, and how long they last. `plan` is a response plan; without one, all
    channels are told at once. Links in messages begin with `answer_url`. What returns within
    `off_delay_s` was never away; what comes within `join_within_s` of the last belongs to the same
    incident.
    `duty_phone` is the number of the duty room, for the answer pages.
    `secret_file` (or `env:NAME`) signs the links; without it the state keeps a secret of its own.
    """

    plan: Annotated[str, Field(min_length=1)] | None = None
    answer_url: Url | None = None
    secret_file: Annotated[str, Field(min_length=1)] | None = None
    duty_phone: Annotated[str, Field(pattern=r"^[0-9+() -]{3,24}$")] | None = None
    off_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 600
    join_within_s: Annotated[float, Field(ge=0, le=604_800)] = 3600

    @property
    def settings(self) -> Settings:
        """The same as the dispatch takes it."""
        return Settings(
            off_delay_ms=round(self.off_delay_s * 1000),
            window_ms=round(self.join_within_s * 1000),
            answer_url=(self.answer_url or "").rstrip("/"),
            duty_phone=self.duty_phone or "",
        )


class Config(Tables):
    """The whole of `cloud.toml`."""

    broker: Broker = Broker()
    ingest: Ingest = Ingest()
    quarantine: Quarantine = Quarantine()
    quota: Quota = Quota()
    gateway: dict[Name, Gateway] = {}
    state: StateConfig = StateConfig()
    store: Annotated[StoreConfig, Kind("cloud.store")] = sqlite.Config(kind="sqlite")
    rule: dict[Name, Annotated[RuleConfig, Kind("cloud.alerts.rules")]] = {}
    channel: dict[Name, Annotated[ChannelConfig, Kind("cloud.channels")]] = {}
    alerts: Alerts = Alerts()
    cap: Publisher | None = None
    heartbeat: Heartbeat | None = None
    web: Web | None = None
    hook: dict[Name, Hook] = {}

    @property
    def accepts_unknown(self) -> bool:
        """Whether gateways that the config does not name may write: unless it says so, only where
        it names none."""
        said = self.ingest.unknown_gateways
        return not self.gateway if said is None else said == "accept"

    @property
    def rules(self) -> list[Rule[Any]]:
        """All rules, in SI units. What the service observes of itself, and two gateways with one
        id, raise alerts in any case: a table `[rule.NAME]` of these kinds only says how."""
        found = dict(self.rule)
        kinds = {one.kind for one in found.values()}
        if "service" not in kinds:
            found["service"] = service.Config(kind="service")
        if "twin_gateway" not in kinds:
            found["twin_gateway"] = twin_gateway.Config(kind="twin_gateway")
        return [rule for name, one in found.items() for rule in one.rules(name)]


REPLAYED: Final = "has neither message_id nor time: an overheard reply counts when it is sent again"


class Setup(NamedTuple):
    """A config and the folder in which its relative paths begin."""

    config: Config
    folder: Path
    file_shards: tuple[str, ...] = ()

    @property
    def database(self) -> Place:
        return self.config.state.place(self.folder, self.config.ingest.lease_s)

    def doubts(self) -> Iterator[tuple[str, str]]:
        """What is allowed and hardly meant, each with its key."""
        brokers = {"broker": self.config.broker}
        for name, one in self.config.channel.items():
            if isinstance(broker := getattr(one, "broker", None), Broker):
                brokers[f"channel.{name}.broker"] = broker
        for key, broker in brokers.items():
            yield from ((key, doubt) for doubt in broker.doubts())
        yield from (("store", doubt) for doubt in self.config.store.doubts())
        for name, hook in self.config.hook.items():
            if hook.message_id is None and hook.time is None:
                yield f"hook.{name}", REPLAYED
        if not self.config.gateway:
            yield "gateway", NOBODY_NAMED
        if (publisher := self.config.cap) is not None:
            yield from publisher.doubts(self.config.alerts.answer_url)

    @property
    def all_shards(self) -> tuple[str, ...]:
        """Those that the file names: another process may serve some of them."""
        return self.file_shards or self.config.ingest.shards

    def only(self, text: str) -> "Setup":
        """The same for these shards alone, whatever the file says. Raises ValueError."""
        ingest = self.config.ingest.model_copy(update={"shards": shards_of(text)})
        return self._replace(
            config=self.config.model_copy(update={"ingest": ingest}), file_shards=self.all_shards
        )


def read(file: Path) -> Setup:
    """The config in `file`. Raises ConfigError with all of its faults."""
    config = loader.load(file, Config, _between)
    broker = config.broker.beside(file.parent)
    return Setup(config.model_copy(update={"broker": broker}), file.parent)


_NAMED: Final = ("channel", "rule", "hook", "gateway")
"""Tables without which the service can work, one by one."""

_WHOLE: Final = ("web", "cap", "heartbeat")
"""Tables without which it can work as a whole."""

_BY_KEY: Final = ("alerts", "quota", "quarantine", "ingest")
"""Tables whose keys all have a default."""

_GRAVE: Final = ("ingest.", "store.")
"""What must be right between the parts: without it nothing is taken in."""


def read_in_part(file: Path) -> tuple[Setup, tuple[Fault, ...]]:
    """The config in `file` without faulty channels, rules, hooks and page, with gateways as if they
    had no keys, and the defaults for faulty keys of `_BY_KEY`; and what is wrong with them. Raises
    ConfigError where anything else is."""
    tables = loader.read(file)
    faults: dict[Fault, None] = {}

    def grave(config: Config) -> Iterator[Fault]:
        for fault in _between(config):
            if fault.key.startswith(_GRAVE):
                yield fault
            else:
                faults[fault] = None

    while True:
        try:
            config = loader.parse(tables, Config, file, grave)
        except loader.ConfigError as error:
            left = _without(tables, error.faults)
            if left == tables:
                raise
            tables = left
            faults |= dict.fromkeys(error.faults)
        else:
            broker = config.broker.beside(file.parent)
            return Setup(config.model_copy(update={"broker": broker}), file.parent), (*faults,)


def _without(tables: dict[str, Any], faults: Sequence[Fault]) -> dict[str, Any]:
    """The tables without what the faults are in; as they are if one fault is elsewhere."""
    left = {**tables}
    for fault in faults:
        table, _, rest = fault.key.partition(".")
        whole = tables.get(table)
        if fault.key.startswith("store.retention") and isinstance(whole, dict):
            left[table] = _but(left[table], "retention")  # nothing is deleted
        elif table in _BY_KEY and isinstance(whole, dict):
            key = rest.partition(".")[0]
            if key not in whole or key == "shards" or whole[key] == "quarantine":
                return tables
            left[table] = _but(left[table], key)
        elif table in _NAMED and isinstance(whole, dict):
            names = [one for one in whole if rest == one or rest.startswith(f"{one}.")]
            if not names:
                return tables
            name = max(names, key=len)
            if table == "gateway" and whole[name] != {}:
                # It stays one that is known: its readings must not go to quarantine for a slip.
                left[table] = left[table] | {name: {}}
            else:
                left[table] = _but(left[table], name)
        elif table in tables and table in (*_NAMED, *_WHOLE, *_BY_KEY):
            left.pop(table, None)
        else:
            return tables
    return left


def _but(table: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: one for name, one in table.items() if name != key}


def _between(config: Config) -> Iterator[Fault]:
    """What is wrong between parts that are right one by one."""
    if (
        config.ingest.unknown_gateways == "quarantine"
        and not config.gateway
        and config.is_sound("gateway")
    ):
        yield Fault(
            "ingest.unknown_gateways",
            "'quarantine' without any [gateway.NAME]: nothing would ever be stored",
        )
    if (
        config.state.url is not None
        and isinstance(config.store, sqlite.Config)
        and config.store.path is None
    ):
        yield Fault("store.path", "is missing: [state] is on a server, so the points need a file")
    if config.rule and not config.channel and config.is_sound("channel"):
        yield Fault("channel", "is missing: there are rules, but nobody would be told")
    if config.cap is None and config.is_sound("cap"):
        for name, one in config.channel.items():
            if one.kind == cap.KIND:
                yield Fault("cap", f"is missing: channel {name!r} would have nothing to send")
    elif (
        config.cap is not None
        and config.web is not None
        and config.alerts.answer_url is None
        and config.is_sound("alerts")
    ):
        yield Fault("alerts.answer_url", "is missing: the links of the CAP feed begin with it")
    daily = None if config.heartbeat is None else config.heartbeat.daily
    if daily is not None and config.is_sound("channel", daily.channel):
        told = config.channel.get(daily.channel)
        if told is None:
            guess = suggest(daily.channel, config.channel)
            yield Fault("heartbeat.daily.channel", f"{daily.channel!r} is no channel{guess}")
        elif told.kind == cap.KIND:
            yield Fault("heartbeat.daily.channel", f"{daily.channel!r} takes no messages")
    if config.hook and config.web is None and config.is_sound("web"):
        yield Fault("web", "is missing: nobody could reach [hook.NAME]")
