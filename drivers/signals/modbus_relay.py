"""A Modbus relay board that switches lamps, or the inputs of a signal controller.

Each aspect is a set of channels that are on. The aspect without a channel is what shows when the
board has no power or its cable is cut, so it must be a warning: wire the red (or amber) lamp
through the normally closed contacts.

A board that takes all channels in one message is written so, and no moment shows a mixture. With
pulses, or with registers in place of coils, the channels change one by one, in an order in which
no moment is less restrictive than the aspect before and the one after (`safe_order`).
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, model_validator

from configs.loader import ConfigError, Fault
from drivers.errors import BadReply, Misconfigured
from drivers.outputs import Outputs
from drivers.ports import PortConfig
from drivers.profiles import Line, Unit
from drivers.protocols.modbus import (
    READ_REQUEST_BYTES,
    SINGLE_WRITE_BYTES,
    Master,
    read_answer_bytes,
    relay_cycle_bytes,
)
from drivers.signals import FindProfile, Signal, SignalConfig, Wiring, demand_whole, warns
from wire.aspect import Aspect

Channels = frozenset[int]
"""The channels that are on, counted from 0."""

PULSE_MS: Final = 30_000
"""Three refreshes of every 10 s: one may get lost."""

MOST_CHANNELS: Final = 4
"""Of one aspect. More would make the search for a safe order long."""


class Config(SignalConfig):
    """`channels` gives for each aspect the relay channels that are on, counted from 0.

    With `hold = "pulse"` a channel is switched on for `pulse_ms` (30 s) and must be refreshed, or
    the relay falls back by itself: a gateway that has died leaves the warning aspect behind. With
    `hold = "latch"` the relay keeps its last aspect for ever.
    """

    rides_on: ClassVar = ("serial", "tcp", "udp")
    watchdog_key: ClassVar = "pulse_ms"

    kind: Literal["modbus_relay"]
    port: str
    profile: str = "relay-waveshare-8ch"
    unit_id: Unit | None = None
    hold: Literal["latch", "pulse"] = "pulse"
    pulse_ms: Annotated[int, Field(ge=100, le=3_600_000)] | None = None
    channels: dict[
        Aspect,
        Annotated[tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(max_length=MOST_CHANNELS)],
    ]

    @property
    def refresh_within_s(self) -> float | None:
        return None if self.lasts_ms is None else self.lasts_ms / 1000

    @property
    def can_show(self) -> Collection[Aspect]:
        return self.channels.keys()

    def profiles(self) -> tuple[str, ...]:
        return (self.profile,)

    @property
    def pictures(self) -> dict[Channels, Aspect]:
        """The aspect that each set of channels shows."""
        return {frozenset(channels): aspect for aspect, channels in self.channels.items()}

    def unit(self, profile: FindProfile) -> int:
        found = profile(self.profile)
        if found.outputs is None:
            raise ConfigError(self.profile, [Fault("", f"{self.profile!r} is not a relay board")])
        if problem := self._misfit(found.outputs):
            raise ConfigError(self.profile, [Fault("", f"{self.profile!r} {problem}")])
        return found.line.unit_id if self.unit_id is None else self.unit_id

    def show_s(self, port: PortConfig, profile: FindProfile) -> float:
        found = profile(self.profile)
        outputs = found.outputs or Outputs(count=8)
        if self._at_once(outputs):
            frame_bytes, exchanges = relay_cycle_bytes(outputs.count), 2
        else:  # read what is on, write each channel, read it back
            used = len({channel for channels in self.channels.values() for channel in channels})
            words = (outputs.count + 15) // 16 if outputs.registers is None else outputs.count
            read = READ_REQUEST_BYTES + read_answer_bytes(words)
            frame_bytes, exchanges = 2 * read + used * 2 * SINGLE_WRITE_BYTES, 2 + used
        answers_s = exchanges * found.line.answers_in_ms / 1000
        return frame_bytes * port.byte_s + 2 * exchanges * port.gap_s + answers_s

    def wait_s(self, profile: FindProfile) -> float:
        return profile(self.profile).line.reply_within_s

    def late_s(self, profile: FindProfile) -> float:
        return profile(self.profile).line.late_s

    @model_validator(mode="after")
    def _safe_at_rest(self) -> "Config":
        demand_whole("channels", {a: frozenset(channels) for a, channels in self.channels.items()})
        if not warns(at_rest := self.pictures.get(frozenset())):
            raise ValueError(
                f"channels: at rest the board shows {at_rest.value if at_rest else 'nothing'}; "
                "give [] to red, amber or flashing_amber, whose lamp hangs on the closed contacts"
            )
        return self

    @model_validator(mode="after")
    def _pulse_has_a_length(self) -> "Config":
        if self.hold != "pulse" and self.pulse_ms is not None:
            raise ValueError('pulse_ms goes with hold = "pulse"')
        return self

    @property
    def lasts_ms(self) -> int | None:
        """How long a channel stays on by itself; None: for ever."""
        if self.hold != "pulse":
            return None
        return PULSE_MS if self.pulse_ms is None else self.pulse_ms

    def _at_once(self, outputs: Outputs) -> bool:
        return self.hold == "latch" and outputs.registers is None

    def _misfit(self, outputs: Outputs) -> str:
        if (highest := max(map(max, filter(None, self.channels.values())))) >= outputs.count:
            return f"has {outputs.count} channels, counted from 0: there is no channel {highest}"
        if self.lasts_ms is not None:
            if (longest := outputs.longest_pulse_ms) == 0:
                return 'knows no pulses: use hold = "latch", and second_path beside the rulers'
            if self.lasts_ms > longest or self.lasts_ms % outputs.pulse_step_ms:
                return (
                    f"takes pulses of up to {longest} ms in steps of {outputs.pulse_step_ms} ms, "
                    f"not {self.lasts_ms}"
                )
        if not self._at_once(outputs):
            for before, after in _without_safe_order(self.pictures):
                return (
                    f"switches one channel at a time: from {before.value} to {after.value} it "
                    "would pass through a less restrictive picture; give each aspect one channel"
                )
        return ""


class ModbusRelay:
    """One board. What is on is read first wherever the order of the writes depends on it."""

    def __init__(self, config: Config, wiring: Wiring) -> None:
        profile = wiring.profile(config.profile)
        unit = config.unit(wiring.profile)
        assert profile.outputs is not None  # or `unit` had said so
        self._board = _Board(
            wiring.masters[config.port],
            unit,
            profile.outputs,
            profile.line,
            config.lasts_ms,
        )
        self._pictures = config.pictures
        self._channels = {aspect: channels for channels, aspect in self._pictures.items()}
        used = sorted(frozenset().union(*self._pictures))
        self._used: Sequence[int] = range(64) if self._board.at_once else used
        self._known: Channels | None = None
        self._known_until = 0.0
        self._knowledge_s = config.refresh_within_s or float("inf")

    async def show(self, aspect: Aspect) -> None:
        if (wanted := self._channels.get(aspect)) is None:
            raise Misconfigured(f"the relay has no channels for {aspect.value}")
        if self._board.at_once:
            await self._board.switch_all(wanted)
        else:
            await self._one_by_one(wanted)

    async def read_back(self) -> Aspect | None:
        return self._pictures.get(await self._lit())

    async def _lit(self) -> Channels:
        """Written at once, all channels are ours; one by one, only those that an aspect uses."""
        return await self._board.read() & frozenset(self._used)

    async def _one_by_one(self, wanted: Channels) -> None:
        """Change what differs in a safe order, then write the rest again: pulses must go on."""
        loop = asyncio.get_running_loop()
        lit, self._known = self._known, None  # nothing is known if a write fails
        if lit is None or loop.time() >= self._known_until:
            lit = await self._lit()
        order = safe_order(lit, wanted, self._pictures)
        for channel in (*order, *(c for c in self._used if c not in order)):
            await self._board.switch(channel, on=channel in wanted)
        self._known, self._known_until = wanted, loop.time() + self._knowledge_s


class _Board:
    """How one board is written and read, as its profile says."""

    def __init__(
        self, master: Master, unit: int, outputs: Outputs, line: Line, pulse_ms: int | None
    ) -> None:
        self.at_once = pulse_ms is None and outputs.registers is None
        self._master = master
        self._unit = unit
        self._outputs = outputs
        self._codes = outputs.registers
        self._within_s, self._late_s = line.reply_within_s, line.late_s
        self._pulse = None if pulse_ms is None else pulse_ms // outputs.pulse_step_ms

    async def switch_all(self, lit: Channels) -> None:
        pattern = [channel in lit for channel in range(self._outputs.count)]
        await self._master.write_coils(
            self._unit, self._outputs.address, pattern, within_s=self._within_s
        )

    async def switch(self, channel: int, *, on: bool) -> None:
        address = self._outputs.address + channel
        if self._codes is not None:
            await self._master.write_register(
                self._unit, address, self._code(on), within_s=self._within_s
            )
        elif on and self._pulse is not None:
            assert self._outputs.pulse_on_address is not None
            await self._master.write_coil_value(
                self._unit,
                self._outputs.pulse_on_address + channel,
                self._pulse,
                within_s=self._within_s,
            )
        else:
            await self._master.write_coil(self._unit, address, on, within_s=self._within_s)

    async def read(self) -> Channels:
        address, count = self._outputs.address, self._outputs.count
        if self._codes is None:
            coils = await self._master.read_coils(
                self._unit, address, count, within_s=self._within_s, late_s=self._late_s
            )
            return frozenset(channel for channel, on in enumerate(coils) if on)
        words = await self._master.read_registers(
            self._unit, 3, address, count, within_s=self._within_s, late_s=self._late_s
        )
        for channel, word in enumerate(words):
            if word not in (self._codes.reads_on, self._codes.reads_off):
                raise BadReply(f"unit {self._unit}: channel {channel} reads {word:#06x}")
        return frozenset(c for c, word in enumerate(words) if word == self._codes.reads_on)

    def _code(self, on: bool) -> int:
        assert self._codes is not None
        if self._pulse is None:
            return self._codes.on if on else self._codes.off
        assert self._codes.pulse is not None
        # A pulse of no length ends one that runs, which the plain code for off may not.
        return self._codes.pulse + (self._pulse if on else 0)


def severity(lit: Channels, pictures: Mapping[Channels, Aspect]) -> int:
    """How restrictive a picture is. A mixture counts as the least restrictive aspect whose
    channels it contains; with none of them complete, the lamp shows what it shows at rest."""
    if (aspect := pictures.get(lit)) is not None:
        return aspect.severity
    contained = [a.severity for channels, a in pictures.items() if channels and channels <= lit]
    return min(contained, default=pictures[frozenset()].severity)


def safe_order(
    lit: Channels, wanted: Channels, pictures: Mapping[Channels, Aspect]
) -> tuple[int, ...]:
    """The channels that differ, in an order in which no picture between is less restrictive than
    both ends. From a picture that is no aspect there may be no such order: then all that must go
    goes first, through the aspect at rest."""
    found = _search(lit, wanted, min(severity(p, pictures) for p in (lit, wanted)), pictures)
    return (*sorted(lit - wanted), *sorted(wanted - lit)) if found is None else found


def _search(
    lit: Channels, wanted: Channels, floor: int, pictures: Mapping[Channels, Aspect]
) -> tuple[int, ...] | None:
    def after(channel: int) -> int:
        return severity(lit ^ {channel}, pictures)

    if lit == wanted:
        return ()
    for channel in sorted(lit ^ wanted, key=lambda c: (-after(c), c not in lit, c)):
        if after(channel) < floor:
            return None  # and so are all that follow
        rest = _search(lit ^ {channel}, wanted, floor, pictures)
        if rest is not None:
            return (channel, *rest)
    return None


def _without_safe_order(pictures: Mapping[Channels, Aspect]) -> Iterator[tuple[Aspect, Aspect]]:
    for lit, before in pictures.items():
        for wanted, aspect in pictures.items():
            floor = min(before.severity, aspect.severity)
            if _search(lit, wanted, floor, pictures) is None:
                yield before, aspect


@asynccontextmanager
async def open(config: Config, wiring: Wiring) -> AsyncIterator[Signal]:
    """The signal that `config` describes."""
    yield ModbusRelay(config, wiring)
