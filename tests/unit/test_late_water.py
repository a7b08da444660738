"""After an outage what is new comes first. A gauge that reads nothing by then hides no flood that
is still on its way."""

import pytest

from tests.rules import rule
from wire.messages import Level
from wire.reading import Quality, Quantity, Reading

NOW_MS = 1_780_000_000_000
STAGE = {"datum": "x", "datum_en": "x", "gauge_zero_m": 158.0}


@pytest.mark.parametrize(
    ("value", "quality"),
    [(None, Quality.MISSING), (0.0, Quality.BAD), (None, Quality.BAD)],
)
@pytest.mark.parametrize("kind", ["threshold", "stage"])
def test_a_reading_without_a_value_outdates_no_water(kind, value, quality):
    if kind == "threshold":
        one = rule(kind, quantity="depth", red={"over_cm": 30, "clear_cm": 27})
        quantity, flood = Quantity.DEPTH, 0.4
    else:
        one = rule(kind, **STAGE, warning_m=160.0, guarantee_m=162.0)
        quantity, flood = Quantity.LEVEL, 5.0
    state = one.memory()
    for n in range(5):
        silent = Reading("s", "r", quantity, value, NOW_MS - 1000 + n, quality)
        state, finding = one.step(state, silent, NOW_MS)
        assert finding is None
    late = Reading("s", "r", quantity, flood, NOW_MS - 60_000, Quality.GOOD)
    state, finding = one.step(state, late, NOW_MS)
    assert finding is not None
    assert finding.level is not None
    assert finding.level >= Level.ORANGE
