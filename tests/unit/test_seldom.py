"""What repeats is said seldom, and none of it is lost from the count."""

from hypothesis import given
from hypothesis import strategies as st

from wire.seldom import MOST_KINDS, Seldom


class Hands:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_first_is_said_at_once_and_the_others_are_counted():
    hands = Hands()
    seldom = Seldom(60, now=hands)
    assert [seldom.says("a"), seldom.says("b"), seldom.says("a"), seldom.says("a")] == [
        *(0, 0, None, None)
    ]
    assert [*seldom.due()] == []
    hands.now = 60
    assert seldom.says("a") == 2
    assert seldom.says("a") is None
    hands.now = 130
    assert [*seldom.due()] == [("a", 1)]
    assert [*seldom.due()] == []


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 100)), max_size=600))
def test_each_is_said_or_counted_and_memory_is_bounded(happened):
    hands = Hands()
    seldom = Seldom(60, now=hands)
    said = held = 0
    for kind, pause_s in happened:
        hands.now += pause_s
        if (before := seldom.says(kind)) is not None:
            said += 1
            held += before
        assert len(seldom._kinds) <= MOST_KINDS + 1
    hands.now += 61  # a sum of floats may end just short of 60
    assert said + held + sum(more for _, more in seldom.due()) == len(happened)
