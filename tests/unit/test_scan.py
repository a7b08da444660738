"""Who is on a line: what a device says, and how long it may take to say it."""

import pytest

from drivers import profiles
from edge import scan
from tests import virtual
from tests.scripted_line import ScriptedLine, rtu

RULER = rtu("02 03 02 00 1F")
PROFILE = profiles.find("ruler-cm-9600", ())


@pytest.mark.parametrize("answers_after_s", [0.02, 0.25, 0.45])
def test_a_device_that_a_person_waits_for_is_recognised_however_slow_it_is(answers_after_s):
    """A gateway behind a radio link answers later than its device's profile allows."""

    async def main():
        line = ScriptedLine(*([(answers_after_s, RULER)] for _ in range(2)))
        found: list[scan.Found] = []
        await scan.scan(line, {"ruler-cm-9600": PROFILE}, [2], 0.5, found)
        assert found == [scan.Found(2, ["ruler-cm-9600"], ["depth 0.31 m"])]

    virtual.run(main())


def test_a_device_may_take_as_long_as_its_profile_says():
    slow_s = PROFILE.line.reply_within_s - 0.05

    async def main():
        line = ScriptedLine([(0.02, RULER)], [(slow_s, RULER)])
        found: list[scan.Found] = []
        await scan.scan(line, {"ruler-cm-9600": PROFILE}, [2], 0.1, found)
        assert [one.fits for one in found] == [["ruler-cm-9600"]]

    virtual.run(main())
