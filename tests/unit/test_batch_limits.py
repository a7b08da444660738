"""What the gateway seals keeps to the limits of the wire, and none of it is lost."""

import random

import pytest

from edge.batches import Draft, gap_parts
from edge.books import Loss
from edge.outboxdisk import open_file
from edge.shelf import LAST_NUMBER, PLACES, Priority
from wire import codec, limits
from wire.messages import Event, Gap
from wire.reading import Quality, Quantity, Reading

UTC_MS = 1_750_000_000_000


@pytest.fixture
def file(tmp_path):
    opened = open_file(tmp_path / "o.db", "gw", "boot-1")
    yield opened
    opened.close()


def readings(count):
    return tuple(
        Reading("s", f"r{n % 7}", Quantity.DEPTH, n / 100, UTC_MS + n, Quality.GOOD)
        for n in range(count)
    )


def events(count, text="t"):
    return tuple(Event(UTC_MS + n, "s", "k", text, {"n": n}) for n in range(count))


def spaced(count, first=1):
    return tuple((n, n) for n in range(first, first + 2 * count, 2))


def told(sealed):
    """All that the cloud takes of it, in order, with no fault and no number twice."""
    assert len({one.number for one in sealed}) == len(sealed)
    batches = []
    for one in sealed:
        decoded = codec.decode_lenient(one.payload)
        assert not decoded.faults
        assert (decoded.batch.stream, decoded.batch.number) == (one.stream, one.number)
        batches.append(decoded.batch)
    return (
        [reading for batch in batches for reading in batch.readings],
        [event for batch in batches for event in batch.events],
        [gap for batch in batches for gap in batch.gaps],
    )


def test_too_many_events_and_gaps_are_several_batches(file):
    gaps = tuple(Gap(f"r{n}", 1, 2, n, spaced(30)) for n in range(90))
    draft = Draft(Priority.EVENT, readings(50), events(4200), gaps)
    found = told(file.seal([draft]))
    assert sorted(found[0], key=lambda one: one.at_ms) == list(draft.readings)
    assert found[1] == list(draft.events)
    assert found[2] == list(gaps)
    assert file.readings_sealed == 50


def test_a_gap_of_very_many_intervals_is_several(file):
    whole = Gap("outbox damaged", 1, 2, None, spaced(25_000))
    (unknown, *others) = told(file.seal([Draft(Priority.EVENT, gaps=(whole,))]))[2]
    assert {gap.readings for gap in (unknown, *others)} == {None}
    assert [one for gap in (unknown, *others) for one in gap.batches] == list(whole.batches)
    counted = gap_parts(Gap("outbox full", 1, 2, 77, spaced(2500)))
    assert [gap.readings for gap in counted] == [77, 0, 0]


def test_so_is_a_loss_that_is_owed(file):
    with file.transaction():
        file.books.lose(
            Loss(file.books.life, None, "outbox full", UTC_MS, UTC_MS + 9, 5, 2, spaced(3500))
        )
        sealed = file.tell_losses()
    _, lost_events, gaps = told(sealed)
    assert [one for gap in gaps for one in gap.batches] == list(spaced(3500))
    assert sum(gap.readings for gap in gaps) == file.books.readings_lost == 5
    assert [event.kind for event in lost_events] == ["events_lost"]
    assert file.sealed == len(sealed) == 4


def test_a_batch_of_many_bytes_is_several(file):
    long = Draft(Priority.EVENT, readings(10_000), events(999, "t" * 4000))
    found = told(sealed := file.seal([long]))
    assert sorted(found[0], key=lambda one: one.at_ms) == list(long.readings)
    assert found[1] == list(long.events)
    assert len(sealed) > 3


def test_what_the_broker_takes_is_kept_to(file):
    file.most_bytes = 900
    dice = random.Random(5)
    draft = Draft(
        Priority.EVENT,
        readings(300),
        tuple(Event(UTC_MS, "s", "k", dice.randbytes(150).hex()) for _ in range(9)),
        (Gap("disk full", 1, 2, 3, spaced(400)), Gap("too old", 1, 2, 3)),
    )
    sealed = file.seal([draft])
    found = told(sealed)
    assert max(len(one.payload) for one in sealed) <= 900
    assert len(found[0]) == 300
    assert found[1] == list(draft.events)
    assert [one for gap in found[2] for one in gap.batches] == list(spaced(400))
    assert sum(gap.readings for gap in found[2]) == 6


def test_one_thing_that_is_too_large_is_sealed_all_the_same(file):
    file.most_bytes = 50
    (sealed,) = file.seal([Draft(Priority.ROUTINE, readings(1))])
    assert len(sealed.payload) > 50


@pytest.mark.parametrize(
    "worst",
    [
        Event(UTC_MS, "s", "\0" * 99, "\0" * 9999, {f"{n}\0" * 90: "\0" * 9999 for n in range(50)}),
        Event(UTC_MS, "s", "k", "," * 9999, {f"{n}" * 90: "," * 9999 for n in range(50)}),
        Event(UTC_MS, "s", "k", "[" * 9999, {f"{n}" * 90: "{" * 9999 for n in range(50)}),
        Event(UTC_MS, "s", "k", "😀" * 9999, {f"{n}😀" * 90: "😀" * 9999 for n in range(50)}),
    ],
    ids=["nul", "commas", "brackets", "wide"],
)
def test_whatever_an_event_says_it_is_sealed_and_the_cloud_reads_it(file, worst):
    sealed = file.seal([Draft(Priority.EVENT, readings(3), (worst,) * 30)])
    found = told(sealed)
    assert (len(found[0]), len(found[1])) == (3, 30)


def test_an_ack_beyond_all_numbers_takes_only_what_it_names(file):
    """Keys of one stream end where those of the next begin."""
    (old,) = file.seal([Draft(Priority.ROUTINE, readings(1))])
    file.begin_life()
    (new,) = file.seal([Draft(Priority.ROUTINE, readings(1))])
    for beyond in (
        (1, limits.NUMBER),
        (1, 2**63),
        (LAST_NUMBER + 1, 2**63),
        (-1, 2**62),
        (0, 2**62),
        (5, 3),
    ):
        file.forget(old.stream, [beyond])
    left = [row.payload for place in range(PLACES) for row in file.oldest(place, 9)]
    assert left == [new.payload]
