"""Whatever the night: what people are told is true when it is sent, and in the end they know."""

import pytest

from bench.told_true import played


@pytest.mark.parametrize("seed", [0, 6])
def test_people_are_told_the_truth_and_know_it_in_the_end(seed: int) -> None:
    night = played(seed, minutes=15)
    assert len(night.handed) > 20
    assert [*night.untrue()] == []
    assert night.ignorant == []
