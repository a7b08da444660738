"""A Modbus relay board that switches lamps, or the inputs of a signal controller.

Each aspect is a set of channels that are on. The aspect without a channel is what shows when the
board has no power or its cable is cut, so it must be a warning: wire the red (or amber) lamp
through the normally closed contacts.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.loader import ConfigError, Fault
from drivers.errors import Misconfigured
from drivers.ports import PortConfig
from drivers.profiles import Unit
from drivers.protocols.modbus import relay_cycle_bytes
from drivers.signals import FindProfile, Signal, SignalConfig, Wiring
from wire.aspect import Aspect


class Config(SignalConfig):
    """`channels` gives for each aspect the relay channels that are on, counted from 0."""

    kind: Literal["modbus_relay"]
    port: str
    profile: str = "relay-waveshare-8ch"
    unit_id: Unit | None = None
    channels: dict[Aspect, tuple[Annotated[int, Field(ge=0, le=63)], ...]]

    def unit(self, profile: FindProfile) -> int:
        found = profile(self.profile)
        if found.outputs is None:
            raise ConfigError(self.profile, [Fault("", f"{self.profile!r} is not a relay board")])
        return found.line.unit_id if self.unit_id is None else self.unit_id

    def show_s(self, port: PortConfig, profile: FindProfile) -> float:
        found = profile(self.profile)
        coils = 8 if found.outputs is None else found.outputs.count
        frames_s = relay_cycle_bytes(coils) * port.byte_s
        return frames_s + 4 * port.gap_s + 2 * found.line.answers_in_ms / 1000

    @model_validator(mode="after")
    def _safe_at_rest(self) -> "Config":
        by_channels: dict[frozenset[int], Aspect] = {}
        for aspect, channels in self.channels.items():
            if (other := by_channels.setdefault(frozenset(channels), aspect)) is not aspect:
                raise ValueError(
                    f"channels of {aspect.value} and {other.value} are the same: "
                    "a read-back could not tell them apart"
                )
        at_rest = by_channels.get(frozenset())
        if at_rest is None or at_rest.severity < Aspect.FLASHING_AMBER.severity:
            raise ValueError(
                f"channels: at rest the board shows {at_rest.value if at_rest else 'nothing'}; "
                "give [] to red, amber or flashing_amber, whose lamp hangs on the closed contacts"
            )
        return self


class ModbusRelay:
    """Writes all channels in one message, so that no moment shows a mixture."""

    def __init__(self, config: Config, wiring: Wiring) -> None:
        profile = wiring.profile(config.profile)
        self._unit = config.unit(wiring.profile)
        assert profile.outputs is not None  # or `unit` had said so
        self._outputs = profile.outputs
        self._within_s = profile.line.reply_within_ms / 1000
        self._master = wiring.masters[config.port]
        self._patterns = {
            aspect: tuple(i in channels for i in range(self._outputs.count))
            for aspect, channels in config.channels.items()
        }

    async def show(self, aspect: Aspect) -> None:
        if (pattern := self._patterns.get(aspect)) is None:
            raise Misconfigured(f"the relay has no channels for {aspect.value}")
        await self._master.write_coils(
            self._unit, self._outputs.address, pattern, within_s=self._within_s
        )

    async def read_back(self) -> Aspect | None:
        coils = tuple(
            await self._master.read_coils(
                self._unit, self._outputs.address, self._outputs.count, within_s=self._within_s
            )
        )
        return next((a for a, pattern in self._patterns.items() if pattern == coils), None)


def open(config: Config, wiring: Wiring) -> Signal:
    """The signal that `config` describes. Nothing is sent yet."""
    return ModbusRelay(config, wiring)
