"""The dispatch beats for the watchdog as long as it goes round, and no longer."""

import asyncio

from cloud.alerts import office
from cloud.alerts.office import Office
from cloud.errors import Unavailable
from tests.waiting import until
from wire.mqtt import Broker


class Deaf:
    """A state that hangs as soon as it is told to, or is away."""

    def __init__(self) -> None:
        self.hangs = asyncio.Event()
        self.asked = 0
        self.hung = False

    async def run(self, work: object) -> None:
        self.asked += 1
        if self.hangs.is_set():
            self.hung = True
            await asyncio.Event().wait()
        raise Unavailable("away")


async def test_a_dispatch_that_hangs_does_not_beat(monkeypatch) -> None:
    monkeypatch.setattr(office, "RETRY_S", 0.01)
    beats: list[int] = []
    deaf = Deaf()
    made = Office(
        *(deaf, _Dispatch(), None, Broker(), "x", 60),  # type: ignore[arg-type]
        beat=lambda: beats.append(deaf.asked),
    )
    task = asyncio.create_task(made._decide(), name="dispatch")
    await until(lambda: len(beats) > 3)  # a state that is away is no reason to be restarted
    deaf.hangs.set()
    await until(lambda: deaf.hung)
    number = len(beats)
    await asyncio.sleep(0.1)
    assert len(beats) == number
    task.cancel()
    await asyncio.wait([task])


class _Dispatch:
    def not_before(self, now_ms: int) -> None:
        pass

    def round(self, connection: object, now_ms: int) -> None:
        pass
