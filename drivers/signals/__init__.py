"""Outputs that show an aspect: lamps, signs, controllers. One file a kind.

Each module exports `Config` and `open(config, wiring)`, an async context manager that gives a
`Signal`. Nothing is sent before the first `show`.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from pathlib import Path
from typing import ClassVar, Final, NamedTuple, Protocol

from configs.loader import Model
from drivers.ports import Port, PortConfig
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from wire.aspect import Aspect

FindProfile = Callable[[str], Profile]

ASKED_FOR: Final = (Aspect.GREEN, Aspect.AMBER, Aspect.RED)
"""What every interlock asks of its signal sooner or later."""


class Wiring(NamedTuple):
    """What a signal may use: the name of its site, the folder of the config, each port and its
    Modbus master by name, and the profiles by name."""

    site: str
    folder: Path
    ports: Mapping[str, Port]
    masters: Mapping[str, Master]
    profile: FindProfile


class SignalConfig(Model):
    """What every signal has. `port` is the port it rides on, None if it brings its own way."""

    rides_on: ClassVar[tuple[str, ...]] = ()
    """Kinds of port that can carry it."""

    watchdog_key: ClassVar[str] = ""
    """The key that says how long the signal waits for a refresh."""

    kind: str
    port: str | None = None

    @property
    def refresh_within_s(self) -> float | None:
        """The signal falls to its rest, or to its own program, unless an aspect is shown again
        within this time, s. None: it holds for ever."""
        return None

    @property
    def can_show(self) -> Collection[Aspect]:
        """The aspects that it can show."""
        return tuple(Aspect)

    @property
    def turns_within_s(self) -> float:
        """How long a signal that obeys may still show something else, s: a controller ends its
        green by yellow and all-red first."""
        return 0.0

    def profiles(self) -> tuple[str, ...]:
        """The names of the profiles that it goes by."""
        return ()

    def unit(self, profile: FindProfile) -> int | None:
        """The unit id that it answers to on its port. Raises ConfigError for an unfit profile."""
        return None

    def show_s(self, port: PortConfig, profile: FindProfile) -> float | None:
        """Time to show an aspect and read it back on its port, s."""
        return None

    def wait_s(self, profile: FindProfile) -> float:
        """How long an attempt waits for an answer that does not come, s."""
        return 0.0

    def late_s(self, profile: FindProfile) -> float:
        """After how long the answer to a request can come no more, s."""
        return 0.0


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


def demand_whole(key: str, told_by: Mapping[Aspect, Hashable]) -> None:
    """Raise ValueError unless `told_by` tells all aspects that are asked for, each in its own way.

    `key` is where a person wrote it down.
    """
    by_sign: dict[Hashable, Aspect] = {}
    for aspect, sign in told_by.items():
        if (other := by_sign.setdefault(sign, aspect)) is not aspect:
            raise ValueError(
                f"{key} of {aspect.value} and {other.value} are the same: "
                "a read-back could not tell them apart"
            )
    if absent := [aspect.value for aspect in ASKED_FOR if aspect not in told_by]:
        raise ValueError(f"{key}: {', '.join(absent)} is missing; the interlock will ask for it")


def warns(aspect: Aspect | None) -> bool:
    """Whether a driver who sees `aspect` is warned. None, a dark lamp, warns nobody."""
    return aspect is not None and aspect.severity >= Aspect.FLASHING_AMBER.severity
