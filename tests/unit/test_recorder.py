"""What is heard reaches the interlocks, whatever becomes of it afterwards."""

import contextlib
import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.device import Value
from edge.config import OutboxConfig
from edge.outbox import open_outbox
from edge.poller import Heard
from edge.recorder import Recorder, Sensor
from edge.sealer import Sealer
from edge.supervisor import Supervisor
from tests.machine import FakeMachine, trusted
from wire.codec import decode_batch
from wire.messages import Event
from wire.reading import Quality, Quantity, Reading

RULER = Sensor("here", {Quantity.DEPTH: (0.0, 5.0)})


class Broken:
    """Raises, whatever it is asked for."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            raise RecursionError(name)

        return fail


def heard(*values):
    return Heard("ruler-1", values, 5.0)


async def test_parts_that_raise_keep_nothing_from_the_interlock():
    seen: list[Reading] = []
    site: Any = SimpleNamespace(hear=lambda reading, _at: seen.append(reading))
    supervisor = Supervisor(lambda *_: None)
    clock = trusted(FakeMachine())
    broken: Any = Broken()
    one = Recorder(supervisor, clock, broken, broken, {"here": site})
    async with supervisor:
        for _ in range(3):
            one.hear(heard(Value(Quantity.DEPTH, 0.4, "")), RULER)
            one.teller("here")("over_threshold", "over red", {})
    assert [reading.value for reading in seen] == [0.4, 0.4, 0.4]
    assert {part.name for part in supervisor.states() if part.failures} == {"sealer", "event log"}


async def test_a_quantity_that_went_with_the_old_config_raises_nothing():
    seen: list[Reading] = []
    site: Any = SimpleNamespace(hear=lambda reading, _at: seen.append(reading))
    supervisor = Supervisor(lambda *_: None)
    broken: Any = Broken()
    one = Recorder(supervisor, trusted(FakeMachine()), broken, broken, {"here": site})
    async with supervisor:
        old = Value(Quantity.RAIN_TOTAL, 1.0, "")
        one.hear(heard(old, Value(Quantity.DEPTH, 0.2, "")), RULER)
    assert [reading.quantity for reading in seen] == [Quantity.DEPTH]


def reading(i, at_ms=1_800_000_000_000):
    return Reading("here", f"s{i}", Quantity.DEPTH, 0.3, at_ms, Quality.GOOD)


async def test_what_no_batch_can_hold_is_counted_and_keeps_nothing_else_waiting(tmp_path):
    async with open_outbox(tmp_path / "o.db", "gw") as outbox:
        sealer = Sealer(outbox, OutboxConfig(), lambda _: None)
        sealer.add(reading(1))
        sealer.add(reading(2, at_ms=2**70))
        sealer.tell(Event(1_800_000_000_000, "here", "kind", "text", {"x": object()}))  # type: ignore[dict-item]
        sealer.add(reading(3))
        with pytest.raises(Exception):  # noqa: B017, PT011 - the part fails, and starts again
            await sealer.seal()
        assert await sealer.seal()
        batches = [decode_batch(one.payload) for one in await outbox.pending(0, 2**63 - 1, 9)]
        assert {r.sensor for batch in batches for r in batch.readings} == {"s1", "s3"}
        assert [(g.reason, g.readings) for b in batches for g in b.gaps] == [
            ("cannot be encoded", 1)
        ]


async def test_a_seal_that_fails_for_another_reason_loses_nothing(tmp_path, monkeypatch):
    async with open_outbox(tmp_path / "o.db", "gw") as outbox:
        sealer = Sealer(outbox, OutboxConfig(), lambda _: None)
        sealer.add(reading(1))
        seal_all = outbox.seal_all
        for error in (MemoryError(), RuntimeError("x"), sqlite3.OperationalError("y")):

            async def fails(*_, error=error, **__):
                raise error

            monkeypatch.setattr(outbox, "seal_all", fails)
            with contextlib.suppress(MemoryError, RuntimeError):
                assert not await sealer.seal()
            assert sealer.unsealed == 1
        monkeypatch.setattr(outbox, "seal_all", seal_all)
        assert await sealer.seal()
        assert outbox.position.readings_sealed == 1
