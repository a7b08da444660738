"""One contract for every signal, each against a device that speaks its protocol.

A signal in drivers/signals is found here by its file name, its devices in tests/stands.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest

from configs import loader
from configs.loader import ConfigError, Kind, Model
from drivers import profiles
from drivers.errors import BadReply, Misconfigured, Unavailable
from drivers.ports import PortConfig
from drivers.profiles import Profile
from drivers.protocols.modbus import Master
from drivers.signals import Signal, SignalConfig, Wiring
from firmware_sim import config as sim_config
from firmware_sim import truth
from firmware_sim.controllers import Controller
from firmware_sim.controllers.mqtt import Subscriber
from firmware_sim.faults import NoFault, Piece, Silent, Welded
from firmware_sim.simulation import SimDevice, simulate
from tests.services import Service
from tests.stands import SITE, Stand, has_stands, stands
from tests.waiting import until
from wire.aspect import Aspect

GREEN, AMBER, RED = Aspect.GREEN, Aspect.AMBER, Aspect.RED
FLASHING = Aspect.FLASHING_AMBER


class Lamps(Model):
    """The tables of signals and ports, as a gateway's config has them."""

    signal: dict[str, Annotated[SignalConfig, Kind("drivers.signals")]]
    port: dict[str, Annotated[PortConfig, Kind("drivers.ports")]] = {}


class Lamp(NamedTuple):
    """A signal, and the device that it works on."""

    signal: Signal
    config: SignalConfig
    device: SimDevice | Controller
    facts: list[truth.Fact]
    stand: Stand

    @property
    def shows(self) -> Aspect | None:
        """What a person in front of it sees."""
        if isinstance(self.device, Controller):
            return self.device.shows
        return self.stand.seen.get(self.device.outputs)

    @property
    def aspects(self) -> list[Aspect]:
        if isinstance(self.device, Controller) and "aspects" in self.stand.table:
            return [Aspect(name) for name in self.stand.table["aspects"]]
        return list(self.stand.seen.values()) or [GREEN, AMBER, RED]

    def seen_as(self, aspect: Aspect) -> set[Aspect]:
        """An amber that a controller only has as a flashing one is both."""
        flashes = self.config.kind == "gbt20999" and aspect is AMBER
        return {aspect, FLASHING} if flashes else {aspect}


KINDS = loader.plugins("drivers.signals")


def names() -> Iterator[str]:
    for kind in KINDS:
        variants = stands(kind) if has_stands(kind) else ["missing"]
        yield from (f"{kind}:{variant}" for variant in variants)


@pytest.fixture(params=names())
def stand(request: pytest.FixtureRequest, shared_mosquitto: Service) -> tuple[str, Stand]:
    kind, _, variant = request.param.partition(":")
    return kind, stands(kind, shared_mosquitto.port)[variant]


def read(kind: str, stand: Stand, port: dict[str, Any] | None, **changes: Any) -> Lamps:
    table = {"kind": kind, **stand.table, **changes}
    table = {key: value for key, value in table.items() if value is not None}
    tables = {"signal": {"x": table}, "port": {"p": port} if port else {}}
    return loader.parse(tables, Lamps, "test")


@asynccontextmanager
async def alive(stand: tuple[str, Stand], folder: Path, **changes: Any) -> AsyncIterator[Lamp]:
    kind, found = stand
    for name, text in found.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    facts: list[truth.Fact] = []
    async with AsyncExitStack() as stack:
        settings = sim_config.parse(found.sim, folder)
        bench = await stack.enter_async_context(simulate(settings, folder, tell=facts.append))
        config = read(kind, found, found.port(bench), **changes)
        table = config.signal["x"]
        ports = {
            name: await stack.enter_async_context(
                loader.plugin("drivers.ports", one.kind).open(name, one)
            )
            for name, one in config.port.items()
        }
        wiring = Wiring(
            SITE,
            folder,
            ports,
            {name: Master(port) for name, port in ports.items()},
            lambda name: impatient(profiles.find(name, (folder / "profiles",))),
        )
        opened = loader.plugin("drivers.signals", kind).open(table, wiring)
        signal = await stack.enter_async_context(opened)
        device = bench.devices.get("x") or bench.controller("x")
        if isinstance(device, Subscriber):
            await until(lambda: device.subscribed)
        yield Lamp(signal, table, device, facts, found)


def impatient(profile: Profile) -> Profile:
    """The same board, given up sooner."""
    line = profile.line.model_copy(update={"reply_within_ms": 250})
    return profile.model_copy(update={"line": line})


class Spoilt(NoFault):
    """What it says makes no sense."""

    def __init__(self, spoil: Callable[[bytes], bytes]) -> None:
        self._spoil = spoil

    def sends(self, frame: bytes, t_s: float) -> list[Piece]:
        return [Piece(0.0, self._spoil(frame))]


class Slow(NoFault):
    """It takes its time."""

    def sends(self, frame: bytes, t_s: float) -> list[Piece]:
        return [Piece(0.02, frame)]


async def ask(lamp: Lamp, aspect: Aspect) -> Aspect | None:
    """Show it, and say what is read back."""
    await lamp.signal.show(aspect)
    return await lamp.signal.read_back()


async def shows(lamp: Lamp, aspect: Aspect) -> bool:
    """It is shown and read back. A device whose connection is not up yet, or a busy machine, may
    let the time of an answer pass: it is asked again."""
    for _ in range(20):
        try:
            return await ask(lamp, aspect) is aspect
        except (Unavailable, BadReply, Misconfigured):
            await asyncio.sleep(0.1)
    return False


async def works(lamp: Lamp, aspect: Aspect) -> bool:
    """The device is sound again."""
    lamp.device.fault = NoFault()
    return await shows(lamp, aspect)


def test_a_signal_without_a_simulated_counterpart_says_what_to_add() -> None:
    with pytest.raises(
        pytest.fail.Exception, match=r"add firmware_sim/controllers/x\.py.*x_stands"
    ):
        stands("x")


async def test_every_aspect_is_shown_and_read_back(
    stand: tuple[str, Stand], tmp_path: Path
) -> None:
    async with alive(stand, tmp_path) as lamp:
        shown = None
        for pair in permutations(lamp.aspects, 2):
            for aspect in pair:
                if aspect is not shown:
                    assert await shows(lamp, aspect)
                    assert lamp.shows in lamp.seen_as(aspect)
                shown = aspect


async def test_what_happens_is_told_for_those_who_compare(
    stand: tuple[str, Stand], tmp_path: Path
) -> None:
    async with alive(stand, tmp_path) as lamp:
        assert await shows(lamp, GREEN)
        assert await shows(lamp, RED)
        told = [one for one in lamp.facts if isinstance(one, truth.Shows | truth.Outputs)]
        last = told[-1]
        seen = last.aspect if isinstance(last, truth.Shows) else lamp.stand.seen[frozenset(last.on)]
        assert (last.device, seen) == ("x", RED)


async def test_an_aspect_that_it_cannot_show_is_misconfigured(
    stand: tuple[str, Stand], tmp_path: Path
) -> None:
    if stand[0] == "mqtt":
        pytest.skip("a lease can name every aspect")
    async with alive(stand, tmp_path) as lamp:
        with pytest.raises(Misconfigured, match="off"):
            await lamp.signal.show(Aspect.OFF)


async def test_a_device_that_does_not_obey_is_seen(
    stand: tuple[str, Stand], tmp_path: Path
) -> None:
    async with alive(stand, tmp_path) as lamp:
        assert await shows(lamp, GREEN)
        lamp.device.fault = Welded()

        async def is_seen() -> bool:
            with suppress(Unavailable):
                assert await ask(lamp, RED) is not RED
                return True
            return False

        await until(is_seen)
        assert await works(lamp, RED)


async def test_silence_is_unavailable(stand: tuple[str, Stand], tmp_path: Path) -> None:
    async with alive(stand, tmp_path) as lamp:
        await lamp.signal.show(GREEN)
        lamp.device.fault = Silent()
        with pytest.raises(Unavailable):
            await ask(lamp, RED)
        assert lamp.shows is not RED
        assert await works(lamp, RED)


async def test_nonsense_is_a_bad_reply(stand: tuple[str, Stand], tmp_path: Path) -> None:
    async with alive(stand, tmp_path) as lamp:
        lamp.device.fault = Spoilt(lamp.stand.spoil)
        with pytest.raises(BadReply):
            await ask(lamp, RED)
        assert await works(lamp, GREEN)


async def test_a_refusal_is_misconfigured(stand: tuple[str, Stand], tmp_path: Path) -> None:
    async with alive(stand, tmp_path, **stand[1].unwelcome) as lamp:
        with pytest.raises(Misconfigured):
            await ask(lamp, GREEN)


async def test_without_refresh_it_falls_back_in_its_own_time_and_with_it_does_not(
    stand: tuple[str, Stand], tmp_path: Path
) -> None:
    # A relay's own 30 s are a number like another: to wait for them twice takes a minute.
    relay = stand[0] == "modbus_relay" and "pulse_ms" not in stand[1].table
    async with alive(stand, tmp_path, **({"pulse_ms": 2000} if relay else {})) as lamp:
        if (within_s := lamp.config.refresh_within_s) is None:
            pytest.skip("it holds for ever")
        if lamp.stand.twin:
            pytest.skip(f"its watchdog is that of {lamp.stand.twin}")
        loop = asyncio.get_running_loop()
        lit = RED if lamp.stand.rest is not RED else GREEN
        until_s = loop.time() + 1.2 * within_s
        while loop.time() < until_s:
            assert await shows(lamp, lit)
            shown_s = loop.time()
            while loop.time() < shown_s + within_s / 2:
                assert lamp.shows is lit
                await asyncio.sleep(0.02)
        await until(lambda: lamp.shows is lamp.stand.rest)
        assert 0.9 * within_s < loop.time() - shown_s < within_s + 5

        async def is_seen() -> bool:
            with suppress(Unavailable):  # asked again, as by `shows`
                return await lamp.signal.read_back() is lamp.stand.rest
            return False

        await until(is_seen)


async def test_whoever_gives_up_waiting_leaves_it_usable(
    stand: tuple[str, Stand], tmp_path: Path
) -> None:
    async with alive(stand, tmp_path) as lamp:
        for after_s in (0.0, 0.01, 0.03):
            lamp.device.fault = Slow()
            task = asyncio.create_task(lamp.signal.show(RED), name="given up")
            await asyncio.sleep(after_s)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None
            assert await works(lamp, GREEN)


def test_a_map_that_would_deceive_is_one_fault(stand: tuple[str, Stand]) -> None:
    kind, found = stand
    for says, changes in found.wrong.items():
        with pytest.raises(ConfigError) as caught:
            read(kind, found, None, **changes)
        assert len(str(caught.value).splitlines()) == 1
        assert says in str(caught.value)


def test_a_right_table_tells_its_caller_what_he_must_know(stand: tuple[str, Stand]) -> None:
    kind, found = stand
    config = read(kind, found, None).signal["x"]
    assert bool(config.rides_on) == (config.port is not None)
    if config.refresh_within_s is not None:
        assert config.watchdog_key in type(config).model_fields
