"""The end of a demo: a slow machine is given time, and what is wrong is said all the same."""

import asyncio
from pathlib import Path

import pytest

from firmware_sim.demo import cli, report
from firmware_sim.demo.stage import Stage
from firmware_sim.demo.watch import Picture
from tests import virtual

STAGE = Stage(Path(), "g", "0", "s", "r", "l", 1.0, {}, {}, Path(), {}, {})


def account(sealed: int, stored: int) -> dict[str, object]:
    stream = {"gateway": "g", "readings_sealed": sealed, "readings_ledgered": stored}
    other = {"gateway": "x", "readings_sealed": 9, "readings_ledgered": 0}
    return {"streams": [stream, other]}


@pytest.mark.parametrize(
    "before",
    [
        [account(0, 0)],
        [account(10, 7), account(10, 9)],  # the store is behind
        [account(7, 10)],  # the gateway's last word is on its way
    ],
)
def test_the_account_is_taken_when_the_cloud_has_dealt_with_the_last_words(before, monkeypatch):
    answers = iter([*before, account(10, 10), account(11, 11)])
    monkeypatch.setattr(cli, "_asked", lambda *_: next(answers))
    assert cli._account(STAGE) == account(10, 10)


def test_what_does_not_settle_is_reported_in_the_end(monkeypatch):
    monkeypatch.setattr(cli, "_TAKEN_WITHIN_S", 0)
    monkeypatch.setattr(cli, "_asked", lambda *_: account(10, 11))
    assert not report.is_settled(cli._account(STAGE), "g")


class Sending(Picture):
    """What was sent is taken from then on, s."""

    def __init__(self, taken_at_s: float) -> None:
        super().__init__()
        self._taken_at_s = taken_at_s
        self.ended.set()

    @property
    def taken(self) -> int:
        return 100

    @property
    def stored(self) -> int:
        return 100 if asyncio.get_running_loop().time() >= self._taken_at_s else 99


@pytest.mark.parametrize(("late_s", "lasts_s"), [(0, 2), (10, 10), (1000, 32)])
def test_the_gateway_is_not_ended_before_the_cloud_has_what_it_sent(late_s, lasts_s):
    async def main() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await cli._end(Sending(began + late_s))
        return loop.time() - began

    assert virtual.run(main()) == pytest.approx(lasts_s, abs=0.3)
