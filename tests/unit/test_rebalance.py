"""Which gateway moves where."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from cloud.rebalance import Load, propose


def after(loads, moves):
    homes = {one.gateway: one.shard for one in loads} | {one.gateway: one.to for one in moves}
    sums: defaultdict[str, float] = defaultdict(float)
    for one in loads:
        sums[homes[one.gateway]] += one.per_s
    return sums


LOADS = st.lists(
    st.tuples(st.sampled_from("0123x"), st.floats(0, 1000)), min_size=1, max_size=30
).map(lambda some: [Load(f"gw-{i}", shard, per_s) for i, (shard, per_s) in enumerate(some)])


@given(LOADS)
def test_all_are_within_the_shards_and_the_fullest_is_never_fuller(loads):
    shards = ["0", "1", "2", "3"]
    moves = propose(loads, shards)
    sums = after(loads, moves)
    assert sums.keys() <= set(shards)
    assert len({move.gateway for move in moves}) == len(moves)
    known = {one.gateway: one for one in loads}
    assert all(move.of == known[move.gateway].shard != move.to for move in moves)
    if all(one.shard in shards for one in loads):
        assert max(sums.values()) <= max(after(loads, []).values()) + 1e-6
    assert not propose([one._replace(shard=_home(one, moves)) for one in loads], shards)


def _home(load, moves):
    return next((move.to for move in moves if move.gateway == load.gateway), load.shard)


def test_one_big_and_three_small_are_two_and_two():
    loads = [Load("big", "0", 90), *(Load(f"s{i}", "0", 30) for i in range(3))]
    assert dict(after(loads, propose(loads, ["0", "1"]))) == {"0": 90, "1": 90}


def test_what_is_even_stays():
    loads = [Load("a", "0", 100), Load("b", "1", 99)]
    assert propose(loads, ["0", "1"]) == []
