"""Which gateway moves where."""

import asyncio
from collections import defaultdict

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from cloud import config, state, tables
from cloud.rebalance import Load, propose, rebalance
from configs.loader import UserError


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


@pytest.fixture
def file(tmp_path):
    """A cloud whose one gateway speaks in shard 0, which a worker serves."""
    written = tmp_path / "cloud.toml"
    written.write_text("")

    async def fill():
        async with state.opened(config.read(written).database) as database:
            said = {"gateway": "gw-1", "shard": "0", "state": "online", "at_ms": 1}
            said |= {"stream": None, "pending": None, "received_at_ms": 1}
            lease = {"name": "shard 0", "owner": "we", "until_ms": 2**52, "generation": 1}
            await database.run(lambda c: c.execute(insert(tables.gateway), [said]))
            await database.run(lambda c: c.execute(insert(tables.lease), [lease]))

    asyncio.run(fill())
    return written


def ask(file, *words):
    return CliRunner().invoke(rebalance, ["--config", str(file), *words])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--gateway", "gw-1", "--to", "3-5"], "names 3 shards, and a gateway speaks in one"),
        (["--gateway", "gw-1", "--to", "a b"], "is neither the name of a shard nor a range"),
        (["--gateway", "gw-1"], "--gateway and --to go together"),
        (["--gateway", "gw-2", "--to", "3"], "has never said that it is there"),
        (["--apply"], "--apply needs --key"),
    ],
)
def test_wrong_input_is_one_line(file, words, problem):
    refused = ask(file, *words).exception
    assert isinstance(refused, UserError)
    assert problem in str(refused)
    assert "\n" not in str(refused)


def test_a_shard_that_nobody_serves_is_told(file):
    shown = ask(file, "--gateway", "gw-1", "--to", "3")
    assert "gw-1: 0 to 3" in shown.stdout
    assert shown.stderr.startswith("shard 3: no worker of this state serves it now")
    assert ask(file, "--gateway", "gw-1", "--to", "0").stderr == ""
