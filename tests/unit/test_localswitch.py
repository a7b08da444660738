"""The switch beside the road: it tells when it turns, and an input that cannot be read is told of
once and changes nothing."""

import asyncio
import contextlib

import pytest

from drivers.errors import Unavailable
from edge.localswitch import LocalSwitch, LocalSwitchConfig
from tests import virtual
from wire.aspect import Aspect


class Input:
    """A master with one input, and the bus on which it is read."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.read = asyncio.Event()

    async def first(self, action):
        await action()

    async def read_inputs(self, unit, address, count, *, within_s):
        assert (unit, address, count) == (9, 3, 1)
        if len(self.answers) == 1:
            self.read.set()
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]


async def watched(*answers, **settings):
    said: list[Aspect | None] = []
    config = LocalSwitchConfig(port="bus", unit_id=9, input=3, every_s=0.1, **settings)
    line = Input(*answers)
    switch = LocalSwitch(config, line, line, said.append)  # type: ignore[arg-type]
    task = asyncio.create_task(switch.run(), name="switch")
    await line.read.wait()
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return said


@pytest.mark.parametrize(("inverted", "on", "off"), [(False, True, False), (True, False, True)])
def test_it_tells_when_it_turns(inverted, on, off):
    said = virtual.run(watched(off, off, on, on, off, on, inverted=inverted))
    assert said == [None, Aspect.RED, None, Aspect.RED]


def test_an_input_that_cannot_be_read_changes_nothing(caplog):
    caplog.set_level("INFO", "shuichi.switch")
    silence = Unavailable("no answer")
    said = virtual.run(watched(True, silence, silence, silence, True, aspect=Aspect.AMBER))
    assert said == [Aspect.AMBER]
    assert caplog.text.count("cannot be read") == 1
    assert caplog.text.count("can be read again") == 1
