"""Whatever comes and whoever does what: each reading that was sealed is in one place."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloud import overflow
from cloud.cases import Order
from cloud.quarantine import Filter
from tests.contract.test_quarantine import NOW, message, opened, packed
from tests.examples import examples

moves = st.lists(
    st.tuples(st.sampled_from("tttttrdo"), st.integers(0, 9), st.integers(0, 255)),
    min_size=1,
    max_size=25,
)


@examples(8)
@given(moves)
async def test_the_sum_is_right_whatever_comes_and_whoever_does_what(
    given: list[tuple[str, int, int]],
) -> None:
    """Batches of good, unreadable, absurd and refused readings, sent again and in any order, tried
    again and dropped: each reading that was sealed is in one place, and what is in the ledger is in
    the store."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder)) as cloud:
            await cloud.execute(
                "CREATE TRIGGER picky BEFORE INSERT ON reading WHEN NEW.value > 9"
                " BEGIN SELECT RAISE(ABORT, 'too deep'); END"
            )
            sealed: dict[int, int] = {}
            for move, number, bits in given:
                if move == "t":
                    sealed[number + 1] = 4
                    await cloud.take(message(_mixed(number + 1)))
                elif move == "r":
                    if bits % 4 == 0:
                        await cloud.execute("DROP TRIGGER IF EXISTS picky")
                    await cloud.retry(ingest={"future_s": 2 * 3600} if bits % 2 else {})
                elif move == "o":
                    await overflow.Limit(cloud.database, 40 * bits).keep(NOW)
                else:
                    here = await cloud.cases()
                    ids = tuple(one.digest.hex() for one in here if one.digest[0] < bits)
                    await cloud.drop(Order(Filter(ids=ids or ("00" * 32,))))
            account = await cloud.account()
            assert account.readings_in_store == account.readings_ledgered
            for one in account.streams:
                assert sum(sealed.values()) == (
                    one.readings_ledgered + one.readings_quarantined + one.readings_dropped
                )
                assert one.received_batches == len(sealed)


def _mixed(number: int) -> bytes:
    """A batch of four readings, which by its number are good, unreadable, absurd or refused."""
    at_s = NOW / 1000 - number
    good: dict[str, Any] = {"n": "g/a/ruler/depth", "u": "m", "v": 0.1, "t": at_s}
    kinds = [
        good,
        good | {"n": "g/a/ruler/smell"},
        good | {"t": at_s + 3600},
        good | {"v": 99.0},
    ]
    records = [kinds[(number >> shift) % 4] for shift in range(4)]
    return packed(number, *(one | {"t": one["t"] + n / 10} for n, one in enumerate(records)))
