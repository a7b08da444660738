"""The lamp that is reached by MQTT: clocks that are wrong, leases that are old or forged, and a
broker that dies. Controller and driver meet at a real one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from uuid import uuid4

import msgspec
import pytest

from configs import loader
from drivers import profiles
from drivers.errors import DriverError, Misconfigured, Unavailable
from drivers.signals import Signal, Wiring
from drivers.signals import mqtt as driver
from drivers.signals.mqtt import Shown
from firmware_sim import config as sim_config
from firmware_sim.controllers import Controller
from firmware_sim.faults import Silent
from firmware_sim.simulation import simulate
from tests.services import Service
from tests.waiting import PATIENCE_S, until
from wire import mqtt, signing
from wire.aspect import Aspect
from wire.messages import Lease
from wire.mqtt import Broker

GREEN, AMBER, RED = Aspect.GREEN, Aspect.AMBER, Aspect.RED
LEASE_S, LONGEST_S = 60.0, 120.0
"""Longer than anybody waits here, so that none ends meanwhile on a busy machine."""


class Place(NamedTuple):
    """A controller at work, and what a driver needs to reach it."""

    controller: Controller
    folder: Path
    broker: Broker
    topic: str
    private: str

    @asynccontextmanager
    async def driver(
        self, lease_s: float = LEASE_S, within_ms: int = 20_000
    ) -> AsyncIterator[Signal]:
        table = {
            "kind": "mqtt",
            "broker": {"port": self.broker.port},
            "topic": f"{self.topic}/lease",
            "shown_topic": f"{self.topic}/shown",
            "key": "gw-1",
            "key_file": "lamp.key",
            "lease_s": lease_s,
            "within_ms": within_ms,
        }
        config = loader.parse(table, driver.Config, "test")
        wiring = Wiring("underpass", self.folder, {}, {}, profiles.find)
        async with driver.open(config, wiring) as signal:
            yield signal

    async def publish(self, what: str, payload: bytes) -> None:
        async with mqtt.connect(self.broker, f"test-{uuid4()}") as session:
            await session.publish(f"{self.topic}/{what}", payload, retain=True)

    async def said(self) -> Shown:
        """The last word of the controller."""
        async with mqtt.connect(self.broker, f"test-{uuid4()}") as session:
            await session.subscribe(f"{self.topic}/shown")
            (message,) = await session.take(1)
            return msgspec.json.decode(message.payload, type=Shown)


@asynccontextmanager
async def place(folder: Path, broker_port: int) -> AsyncIterator[Place]:
    private, public = signing.generate()
    (folder / "lamp.key").write_text(private)
    topic = f"lamp/{uuid4()}"
    table = {
        "kind": "mqtt",
        "broker": {"port": broker_port},
        "site": "underpass",
        "keys": {"gw-1": public},
        "topic": f"{topic}/lease",
        "shown_topic": f"{topic}/shown",
        "longest_lease_s": LONGEST_S,
    }
    settings = sim_config.parse({"controller": {"x": table}}, folder)
    async with simulate(settings, folder) as bench:
        yield Place(bench.controller("x"), folder, Broker(port=broker_port), topic, private)


async def ask(signal: Signal, aspect: Aspect) -> Aspect | None:
    await signal.show(aspect)
    return await signal.read_back()


async def patiently(signal: Signal, aspect: Aspect, seconds: float = PATIENCE_S) -> None:
    """As the gateway does: again and again until the aspect is confirmed."""

    async def is_seen() -> bool:
        try:
            return await ask(signal, aspect) is aspect
        except DriverError:
            return False

    await until(is_seen, seconds)


def gateway_clock(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    now = SimpleNamespace(time_ns=lambda: time.time_ns() + round(ahead_s * 1e9))
    monkeypatch.setattr(driver, "time", now)


async def test_a_key_that_was_changed_is_read_again(
    tmp_path: Path, shared_mosquitto: Service, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "lamp.key"
    async with place(tmp_path, shared_mosquitto.port) as lamp:
        file.write_text(signing.generate()[0])  # of before: the controller knows the next one
        async with lamp.driver() as signal:
            for held in (None, "", "junk", signing.generate()[0]):
                if held is not None:
                    file.write_text(held)
                with pytest.raises(Misconfigured, match="the controller refuses our lease"):
                    await ask(signal, GREEN)
            file.write_text(lamp.private)
            await patiently(signal, GREEN)
            for held in (None, "", "junk", signing.generate()[0]):
                file.unlink(missing_ok=True)
                if held is not None:
                    file.write_text(held)
                assert await ask(signal, RED) is RED
    said = [one.getMessage() for one in caplog.records]
    assert len([one for one in said if "has changed: the new secret is used" in one]) == 1
    assert lamp.private not in caplog.text


@pytest.mark.parametrize(
    ("ahead_s", "says"),
    [
        (3600, r"it would last 36\d\d\.\d s by the controller's clock, at most 120 s are allowed"),
        (-3600, r"it ended 35\d\d\.\d s ago by the controller's clock"),
    ],
)
async def test_a_gateway_whose_clock_is_wrong_leaves_the_safe_aspect(
    ahead_s: float,
    says: str,
    tmp_path: Path,
    shared_mosquitto: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway_clock(monkeypatch, ahead_s)
    async with place(tmp_path, shared_mosquitto.port) as lamp, lamp.driver() as signal:
        with pytest.raises(Misconfigured, match=says):
            await ask(signal, GREEN)
        assert lamp.controller.shows is AMBER
        monkeypatch.undo()
        await patiently(signal, GREEN)  # no restart is needed


async def test_after_a_restart_the_sequence_goes_on_above_the_last_lease(
    tmp_path: Path, shared_mosquitto: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path, shared_mosquitto.port) as lamp:
        gateway_clock(monkeypatch, LONGEST_S - LEASE_S - 5)
        async with lamp.driver() as signal:
            await patiently(signal, GREEN)
        before = (await lamp.said()).sequence
        monkeypatch.undo()  # the clock was set back while the gateway was down
        async with lamp.driver() as signal:
            await patiently(signal, RED, seconds=LEASE_S / 2)  # the clock itself would take longer
            assert before < (await lamp.said()).sequence < before + 100
            assert lamp.controller.shows is RED


async def test_an_old_lease_and_a_forged_one_move_nothing(
    tmp_path: Path, shared_mosquitto: Service
) -> None:
    async with place(tmp_path, shared_mosquitto.port) as lamp, lamp.driver() as signal:
        await patiently(signal, RED)
        now_ms = time.time_ns() // 1_000_000
        stranger, _ = signing.generate()
        end_ms = now_ms + round(LEASE_S * 1000)
        for private, lease, says in (
            (lamp.private, Lease("underpass", GREEN, end_ms, now_ms - 9000), "not above"),
            (lamp.private, Lease("elsewhere", GREEN, end_ms, end_ms), "elsewhere"),
            (stranger, Lease("underpass", GREEN, end_ms, end_ms), "does not fit"),
        ):
            await lamp.publish("lease", signing.sign(lease, "gw-1", private))

            async def is_told(says: str = says) -> bool:
                return says in (await lamp.said()).refused

            await until(is_told)
            assert lamp.controller.shows is RED
        await lamp.publish("lease", b"\xff{")
        await patiently(signal, AMBER)
        assert lamp.controller.shows is AMBER


async def test_a_word_about_another_lease_confirms_nothing(
    tmp_path: Path, shared_mosquitto: Service
) -> None:
    async with (
        place(tmp_path, shared_mosquitto.port) as lamp,
        lamp.driver(within_ms=1000) as signal,
    ):
        await patiently(signal, GREEN)
        old = await lamp.said()
        lamp.controller.fault = Silent()
        await signal.show(RED)
        await lamp.publish("shown", msgspec.json.encode(Shown(RED, old.sequence)))
        with pytest.raises(Unavailable, match="says nothing of our lease"):
            await signal.read_back()


async def test_a_broker_that_dies_leaves_the_safe_aspect_and_the_lamp_comes_back_with_it(
    tmp_path: Path, mosquitto: Service
) -> None:
    async with (
        place(tmp_path, mosquitto.port) as lamp,
        lamp.driver(lease_s=1.0, within_ms=1000) as signal,
    ):
        await patiently(signal, GREEN)
        mosquitto.kill()
        await lamp.controller.wait_shows({AMBER}, PATIENCE_S)
        with pytest.raises(Unavailable, match="is not connected"):
            await signal.show(GREEN)
        mosquitto.start()
        await patiently(signal, RED)
        assert lamp.controller.shows is RED
