"""A running simulation: devices of a config, alive on their lines.

async with simulate(config, folder) as bench:
    bench.values["depth"] = 0.31
    ...                                   # a master reads bench.terminal("bus")
    await bench.device("relay-1").wait_outputs(lambda on: 0 in on)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from configs import loader
from drivers import profiles
from drivers.ports import Baud
from drivers.ports.serial import Config as Serial
from drivers.profiles import Profile
from firmware_sim import truth
from firmware_sim.config import (
    SIGNAL_OF,
    STEADY,
    DeviceConfig,
    LineConfig,
    PtyLine,
    SimConfig,
    find_profile,
    unit_id,
)
from firmware_sim.controllers import Address, Controller, Stage
from firmware_sim.faults import Fault, NoFault
from firmware_sim.framing import Framing, Request, Rtu, Tcp
from firmware_sim.lines import Ask, Hear, Sending
from firmware_sim.links import claimed
from firmware_sim.modbus_device import Answer, ModbusDevice
from firmware_sim.scenario import Scenario
from firmware_sim.serial_device import open_pty
from firmware_sim.tcp_device import open_tcp
from wire.reading import Quantity

_FRAMINGS: Final[dict[str, type[Framing]]] = {"tcp": Tcp, "rtu": Rtu}


class SimDevice:
    """One device in a simulation. `fault` may be set at any time."""

    def __init__(self, name: str, config: DeviceConfig, profile: Profile, bench: "Bench") -> None:
        self.name = name
        self.line = config.line
        self.unit_id = unit_id(config, profile)
        self.fault: Fault = NoFault()
        self._modbus = ModbusDevice(profile)
        self._bench = bench
        self._signal_of = {**SIGNAL_OF, **config.signal}
        self._own_signals = [m.key for m in profile.measure if m.channel is not None]
        self._answers_in_s = _answers_in_s(bench.config.line[config.line], profile)
        self._told: dict[str, float | None] = {}
        self._shown: frozenset[int] = frozenset()
        self._changed = asyncio.Event()
        self._next_fall: asyncio.TimerHandle | None = None

    @property
    def profile(self) -> Profile:
        """What kind of device it is."""
        return self._modbus.profile

    @property
    def outputs(self) -> frozenset[int]:
        """Channels of a relay that are on now, counted from 0."""
        return self._modbus.outputs(self._bench.now_s)

    async def wait_outputs(
        self, wanted: Callable[[frozenset[int]], bool], timeout_s: float = 5.0
    ) -> frozenset[int]:
        """The outputs as soon as they are `wanted`. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not wanted(on := self.outputs):
                await self._changed.wait()
        return on

    def hear(self, pdu: bytes, wrap: Callable[[bytes], bytes]) -> list[Sending]:
        """A request reached the device: what it puts on the line."""
        t_s = self._bench.t_s
        if not self.fault.listens(t_s):
            return []
        signals = self._bench.sensed()
        values = {key: signals[name] for key, name in self._signal_of.items() if name in signals}
        values |= {key: signals[key] for key in self._own_signals if key in signals}
        answer = self._modbus.answer(pdu, values, self._bench.now_s, obeys=self.fault.obeys(t_s))
        self._watch_outputs()
        if answer is None:
            return []
        pieces = self.fault.sends(wrap(answer.pdu), t_s)
        lefts = [_nothing] * (len(pieces) - 1) + [partial(self._left, answer)]
        return [
            Sending(self._answers_in_s, data, left, delay_s)
            for (delay_s, data), left in zip(pieces, lefts, strict=False)
        ]

    def close(self) -> None:
        """No more timers."""
        if self._next_fall is not None:
            self._next_fall.cancel()

    def _left(self, answer: Answer) -> None:
        for key, value in answer.said.items():
            if key not in self._told or self._told[key] != value:
                self._told[key] = value
                quantity, _, channel = key.partition(".")
                self._bench.tell(
                    truth.Answered(
                        at_ms=truth.now_ms(),
                        device=self.name,
                        quantity=Quantity(quantity),
                        channel=int(channel) if channel else None,
                        value=value,
                    )
                )

    def _watch_outputs(self) -> None:
        """Tell of a change, and look again when a pulse falls back."""
        if (on := self.outputs) != self._shown:
            self._shown = on
            self._changed.set()
            self._changed = asyncio.Event()
            self._bench.tell(
                truth.Outputs(at_ms=truth.now_ms(), device=self.name, on=tuple(sorted(on)))
            )
        self.close()
        if (falls_at := self._modbus.falls_at(self._bench.now_s)) is not None:
            loop = asyncio.get_running_loop()
            self._next_fall = loop.call_at(falls_at, self._watch_outputs)


class Bench:
    """A running simulation, for those who test against it.

    `asks` lets another master speak on a serial line: `asks["bus"](frame)`.
    `values` are signals (SI) set by hand; they stand above the scenario's, at once. None takes a
    signal away: its device has nothing to say. "level.3" is that of one channel.
    """

    def __init__(
        self,
        config: SimConfig,
        folder: Path,
        scenario: Scenario | None,
        speed: float,
        tell: truth.Tell,
        hold: bool,
    ) -> None:
        self.config = config
        self.values: dict[str, float | None] = {}
        self.tell = tell
        self.addresses: dict[str, Address] = {}
        self.asks: dict[str, Ask] = {}
        self.controllers: dict[str, Controller] = {}
        self._scenario = scenario
        self._speed = speed
        self._hold = hold
        self._loop = asyncio.get_running_loop()
        self._began_s: float | None = None
        self.devices = {
            name: SimDevice(name, device, find_profile(device.profile, folder), self)
            for name, device in config.device.items()
        }
        self._end: asyncio.TimerHandle | None = None

    @property
    def now_s(self) -> float:
        """The loop's monotonic clock."""
        return self._loop.time()

    @property
    def t_s(self) -> float:
        """Scenario seconds since the scenario began."""
        return 0.0 if self._began_s is None else (self._loop.time() - self._began_s) * self._speed

    def signals(self) -> Mapping[str, float]:
        """Every signal that has a value now, SI."""
        of_scenario = self._scenario.at(self.t_s) if self._scenario is not None else {}
        signals = {**of_scenario, **self.values}
        return {name: value for name, value in signals.items() if value is not None}

    def sensed(self) -> Mapping[str, float]:
        """The same for the devices: what a scenario says nothing about is steady."""
        if self._scenario is None:
            return self.signals()
        steady = {name: value for name, value in STEADY.items() if name not in self.values}
        return {**steady, **self.signals()}

    def terminal(self, line: str) -> str:
        """The path of the terminal that is a serial line, or that a controller answers on."""
        address = self.addresses[line]
        assert isinstance(address, str), f"{line} is no terminal"
        return address

    def endpoint(self, line: str) -> tuple[str, int]:
        """Host and port of a TCP line or a controller."""
        address = self.addresses[line]
        assert not isinstance(address, str), f"{line} has no host and port"
        return address

    def device(self, name: str) -> SimDevice:
        """A device by its name in the config."""
        return self.devices[name]

    def controller(self, name: str) -> Controller:
        """A controller by its name in the config."""
        return self.controllers[name]

    def on_line(self, line: str) -> list[SimDevice]:
        """The devices on a line, in the order of the config."""
        return [device for device in self.devices.values() if device.line == line]

    def hear(self, line: str) -> Hear:
        """What a line is to call with each request."""
        speakers = {device.unit_id: device for device in self.on_line(line)}

        def hear(request: Request, wrap: Callable[[bytes], bytes]) -> list[Sending]:
            if self._began_s is None:
                self._begin()
            if request.unit == 0:  # a broadcast: all do it, none answers
                for device in speakers.values():
                    device.hear(request.pdu, wrap)
                return []
            device_asked = speakers.get(request.unit)
            return device_asked.hear(request.pdu, wrap) if device_asked is not None else []

        return hear

    def opened(self, line: str, address: Address) -> None:
        """A line is open at `address`."""
        self.addresses[line] = address
        text = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        self.tell(truth.Line(at_ms=truth.now_ms(), line=line, address=text))

    def start(self) -> None:
        """All lines are open: the scenario begins, unless it is held."""
        self.tell(truth.Ready(at_ms=truth.now_ms()))
        if not self._hold:
            self._begin()

    def _begin(self) -> None:
        self._began_s = self._loop.time()
        if self._scenario is not None:
            self.tell(truth.Begin(at_ms=truth.now_ms()))
            end_s = self._began_s + self._scenario.duration_s / self._speed
            self._end = self._loop.call_at(
                end_s, lambda: self.tell(truth.End(at_ms=truth.now_ms()))
            )

    def close(self) -> None:
        """No more timers."""
        if self._end is not None:
            self._end.cancel()
        for device in self.devices.values():
            device.close()


@asynccontextmanager
async def simulate(
    config: SimConfig,
    folder: Path,
    *,
    scenario: Scenario | None = None,
    speed: float = 1.0,
    tell: truth.Tell = lambda _: None,
    hold: bool = False,
) -> AsyncIterator[Bench]:
    """Bring the devices of `config` to life until the block ends; links go to `folder`.

    Without a `scenario` the devices show what is in the bench's `values` and nothing else.
    `speed` is scenario seconds per second; `tell` is called with every fact. With `hold` the
    scenario begins when a master first asks something on one of the lines.
    Raises LineError if a line cannot be opened.
    """
    links = [line.link for line in config.line.values() if isinstance(line, PtyLine)]
    links += [link for one in config.controller.values() for link in one.links]
    async with AsyncExitStack() as lines:
        for link in links:
            lines.enter_context(claimed(folder / link))
        bench = Bench(config, folder, scenario, speed, tell, hold)
        lines.callback(bench.close)
        for name in config.line:
            bench.opened(name, await lines.enter_async_context(_open(name, folder, bench)))
        for name, controller in config.controller.items():
            stage = Stage(name, folder, lambda: bench.t_s, tell)
            module = loader.plugin("firmware_sim.controllers", controller.kind)
            alive = await lines.enter_async_context(module.open(controller, stage))
            bench.controllers[name] = alive
            bench.opened(name, alive.address)
        bench.start()
        yield bench


def _open(name: str, folder: Path, bench: Bench) -> AbstractAsyncContextManager[Address]:
    line, hear = bench.config.line[name], bench.hear(name)
    if isinstance(line, PtyLine):
        wire = _wire(line.baud, folder / line.link, bench.on_line(name), echo=line.echo)
        return open_pty(wire, hear, meet=partial(bench.asks.__setitem__, name))
    if line.baud is None:
        return open_tcp(line.port, _FRAMINGS[line.framing], hear)
    wire = _wire(line.baud, Path(name), bench.on_line(name))
    framing = _FRAMINGS[line.framing]
    return open_tcp(line.port, framing, hear, byte_s=wire.byte_s, gap_s=wire.gap_s)


def _wire(baud: Baud, device: Path, speakers: Sequence[SimDevice], *, echo: bool = False) -> Serial:
    """The serial settings of a line, on which all speakers agree."""
    form = speakers[0].profile.line if speakers else profiles.Line()
    return Serial(
        kind="serial",
        device=str(device),
        baud=baud,
        parity=form.parity,
        stop_bits=form.stop_bits,
        echo=echo,
    )


def _answers_in_s(line: LineConfig, profile: Profile) -> float:
    if line.answer_ms is not None:
        return line.answer_ms / 1000
    return profile.line.answers_in_ms / 1000 if line.baud is not None else 0.0


def _nothing() -> None:
    """A piece of an answer that is not the last."""
