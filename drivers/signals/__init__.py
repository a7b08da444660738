"""Outputs that show an aspect: lamps, signs, controllers. One file a kind."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from configs.loader import Model
from drivers.ports import PortConfig
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from wire.aspect import Aspect

FindProfile = Callable[[str], Profile]


class Wiring(NamedTuple):
    """What a signal may use: the Modbus master of each port by name, and the profiles by name."""

    masters: Mapping[str, Master]
    profile: FindProfile


class SignalConfig(Model):
    """What every signal has. `port` is the port it rides on, None if it brings its own way."""

    kind: str
    port: str | None = None

    def unit(self, profile: FindProfile) -> int | None:
        """The unit id that it answers to on its port. Raises ConfigError for an unfit profile."""
        return None

    def show_s(self, port: PortConfig, profile: FindProfile) -> float | None:
        """Time to show an aspect and read it back on its port, s."""
        return None


class Signal(Protocol):
    """A lamp as its driver knows it. Each call is one attempt; the caller repeats and schedules.

    Both raise Unavailable, BadReply or Misconfigured.
    """

    async def show(self, aspect: Aspect) -> None:
        """Ask for an aspect. That the call succeeds proves nothing yet."""
        ...

    async def read_back(self) -> Aspect | None:
        """What the signal is seen to show, or None if that is no aspect of ours."""
        ...
