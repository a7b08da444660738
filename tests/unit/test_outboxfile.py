"""The outbox's file: its books are true whatever happens to its batches, and nothing is lost that
is not counted and told."""

import sqlite3
from collections import Counter, defaultdict
from contextlib import contextmanager
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.batches import Draft
from edge.outboxdisk import (
    WAL_ROOM_BYTES,
    is_damaged,
    is_full,
    is_ours,
    open_file,
    release,
    reserve,
    set_aside,
    unused_bytes,
)
from edge.shedding import Shedder
from edge.shelf import LOCAL, PLACES, Key, Priority, Shelf
from tests.examples import examples
from wire.messages import Event, Gap
from wire.reading import Quality, Quantity, Reading

UTC_MS = 1_750_000_000_000


def readings(n, at_ms=UTC_MS, sensors=3):
    return tuple(
        Reading("s", f"r{i % sensors}", Quantity.DEPTH, i / 100, at_ms + i, Quality.GOOD)
        for i in range(n)
    )


def event(at_ms=UTC_MS):
    return Event(at_ms, "s", "k", "t")


@contextmanager
def opened(path, boot="boot-1"):
    file = open_file(path, "gw", boot)
    try:
        yield file
    finally:
        file.close()


def batches(file):
    """All that is in the file, by key."""
    return {
        Key.unpack(row.key): row.decode()
        for place in range(PLACES)
        for row in file.oldest(place, 10**6)
    }


def check_books(file):
    for place in range(PLACES):
        rows = file.oldest(place, 10**6)
        pile = file.books.held[place]
        assert pile.batches == len(rows)
        assert pile.readings == sum(row.readings for row in rows)
        assert pile.bytes == sum(len(row.payload) + 64 for row in rows)
        assert all(row.readings == len(row.decode().readings) for row in rows)
        assert all((row.boot is not None) == (place >= LOCAL) for row in rows)


def test_a_boot_is_a_stream_and_a_restart_is_not(tmp_path):
    with opened(tmp_path / "o.db") as file:
        (first,) = file.seal([Draft(Priority.ROUTINE, readings(1))])
        stream = file.stream
    with opened(tmp_path / "o.db") as file:
        assert (file.stream, file.sealed) == (stream, 1)
    with opened(tmp_path / "o.db", "boot-2") as file:
        assert file.stream != stream
        (second,) = file.seal([Draft(Priority.ROUTINE, readings(1))])
        assert (first.number, second.number, file.position.pending) == (1, 1, 2)
        assert [b.stream for b in file.pending(-1, 2**63 - 1, 9)] == [stream, file.stream]
        file.forget(stream, [(1, 1)])
        assert [b.stream for b in file.pending(-1, 2**63 - 1, 9)] == [file.stream]


def test_what_is_forgotten_reaches_the_disk_with_the_next_seal(tmp_path):
    with opened(tmp_path / "o.db") as file:
        file.seal([Draft(Priority.ROUTINE, readings(1))])
        file.forget(file.stream, [(1, 1)])
        assert file.position.pending == 0
        look = sqlite3.connect(tmp_path / "o.db")
        assert look.execute("SELECT count(*) FROM batch").fetchone() == (1,)
        file.seal([Draft(Priority.ROUTINE, readings(1))])
        assert look.execute("SELECT number FROM batch").fetchall() == [(2,)]
        look.close()
        check_books(file)


def test_a_transaction_that_fails_leaves_nothing_behind(tmp_path):
    with opened(tmp_path / "o.db") as file:
        file.seal([Draft(Priority.ROUTINE, readings(2))])
        before = (file.position, msgspec.json.encode(file.books))
        good = Draft(Priority.EVENT, readings(5), (event(),))
        with pytest.raises(AttributeError):
            file.seal([good, None])
        assert (file.position, msgspec.json.encode(file.books)) == before
        check_books(file)


def test_log_and_reserve_are_taken_in_advance(tmp_path):
    with opened(tmp_path / "o.db") as file:
        assert (tmp_path / "o.db-wal").stat().st_size >= WAL_ROOM_BYTES
        reserve(file, 1024 * 1024)
        reserve(file, 1024 * 1024)  # once
        assert unused_bytes(file) < 10_000
        file.ask("PRAGMA wal_checkpoint(PASSIVE)")
        release(file, tmp_path / "o.db")
        assert unused_bytes(file) > 1_000_000
        (pages,) = file.ask("PRAGMA page_count")
        for i in range(100):
            file.seal([Draft(Priority.ROUTINE, readings(50, UTC_MS + i))])
        assert file.ask("PRAGMA page_count") == [pages]
        check_books(file)


operations = st.one_of(
    st.tuples(
        st.just("seal"),
        st.sampled_from(Priority),
        st.integers(0, 12),
        st.booleans(),  # in local form
    ),
    st.tuples(st.just("forget"), st.integers(1, 12), st.integers(0, 3)),
    st.tuples(st.just("shed"), st.sampled_from(Priority), st.integers(0, 3000)),
    st.tuples(st.just("tell")),
    st.tuples(st.just("restart"), st.sampled_from(["boot-1", "boot-2"])),
)


@examples(60)
@given(st.lists(operations, max_size=30))
def test_every_reading_is_kept_handed_over_or_counted(work):
    path = None  # in memory: restarts are simulated by entering another boot
    file = open_file(path, "gw", "boot-1")
    shedder, sealed, handed_over = Shedder(), 0, Counter[str]()
    gone: dict[str, set[int]] = defaultdict(set)  # stream → numbers that the cloud has
    highest: dict[str, int] = {}
    clock = count(1)
    for what, *arguments in work:
        match what, arguments:
            case "seal", (priority, n, local):
                events = (event(),) if priority is Priority.EVENT else ()
                if n or events:
                    at_ms = next(clock) * 1000 + (0 if local else UTC_MS)
                    file.seal([Draft(priority, readings(n, at_ms), events)], local=local)
                    sealed += n
            case "forget", (first, more):
                for key, batch in batches(file).items():
                    if (
                        first <= key.number <= first + more
                        and key.place < LOCAL
                        and batch.stream == file.stream
                    ):
                        handed_over["readings"] += len(batch.readings)
                        handed_over["told"] += sum(gap.readings or 0 for gap in batch.gaps)
                        gone[batch.stream].add(key.number)
                        for gap in batch.gaps:
                            for a, b in gap.batches:
                                gone[batch.stream] |= set(range(a, b + 1))
                file.forget(file.stream, [(first, first + more)])
            case "shed", (priority, limit):
                for _ in range(200):
                    if not shedder.step(file, priority, limit, "outbox full"):
                        break
            case "tell", ():
                with file.transaction():
                    file.tell_losses()
            case "restart", (boot,):
                file.flush()
                file._load()
                file._enter(boot)
        highest[file.stream] = max(file.sealed, highest.get(file.stream, 0))
        check_books(file)
        held = batches(file)
        kept = sum(len(batch.readings) for batch in held.values())
        lost = file.books.readings_lost
        assert kept + handed_over["readings"] + lost == sealed
        told = sum(gap.readings or 0 for batch in held.values() for gap in batch.gaps)
        owed = sum(loss.readings or 0 for loss in file.books.losses)
        assert told + owed + handed_over["told"] == lost
    check_numbers(file, gone, highest)
    file.close()


def check_numbers(file, gone, highest):
    """Each number of a stream is in the file, with the cloud, or declared."""
    found = {stream: set(numbers) for stream, numbers in gone.items()}
    for key, batch in batches(file).items():
        assert batch.number == key.number
        assert batch.stream == file.streams[key.life]
        numbers = found.setdefault(batch.stream, set())
        numbers.add(key.number)
        for gap in batch.gaps:
            for first, last in gap.batches:
                numbers |= set(range(first, last + 1))
    for loss in file.books.losses:
        for first, last in loss.batches:
            found.setdefault(file.streams[loss.life], set()).update(range(first, last + 1))
    for stream, numbers in found.items():
        assert set(range(1, highest[stream] + 1)) <= numbers


def test_routine_data_is_thinned_before_it_is_dropped_oldest_first(tmp_path):
    with opened(tmp_path / "o.db") as file:
        for i in range(64):
            file.seal([Draft(Priority.ROUTINE, readings(6, UTC_MS + 1000 * i))])
        size = sum(file.books.sizes(Priority.ROUTINE))
        shedder = Shedder()
        while shedder.step(file, Priority.ROUTINE, size // 2, "outbox full"):
            pass
        check_books(file)
        with file.transaction():
            (told,) = file.tell_losses()
        held = batches(file)
        whole = [key.number for key in held if key.place == Shelf.ROUTINE]
        steps = (Shelf.ROUTINE_4TH, Shelf.ROUTINE_16TH)
        thinned = [key.number for key in held if key.place in steps]
        assert thinned
        assert max(thinned) < min(whole)
        assert max(whole) == 64
        (gap,) = held[Key.unpack(told.key)].gaps
        assert (gap.reason, gap.from_ms) == ("outbox full", UTC_MS)
        kept = sum(len(batch.readings) for batch in held.values())
        assert gap.readings == 64 * 6 - kept == file.books.readings_lost
        gone = set(range(1, 65)) - {*whole, *thinned}
        assert {n for a, b in gap.batches for n in range(a, b + 1)} == gone


def test_an_event_outlives_the_readings_that_came_with_it(tmp_path):
    with opened(tmp_path / "o.db") as file:
        gap = Gap("disk refused", UTC_MS, UTC_MS, 7)
        for i in range(30):
            gaps = (gap,) if i == 0 else ()
            file.seal([Draft(Priority.EVENT, readings(50), (event(UTC_MS + i),), gaps)])
        shedder = Shedder()
        while shedder.step(file, Priority.EVENT, 9000, "outbox full"):
            pass
        bare = [batch for key, batch in batches(file).items() if key.place == Shelf.EVENT_BARE]
        assert bare
        assert all(batch.events and not batch.readings for batch in bare)
        assert file.books.readings_lost == 7 + 50 * len(bare)
        while shedder.step(file, Priority.EVENT, 400, "outbox full"):
            pass
        with file.transaction():
            file.tell_losses()
        left = batches(file).values()
        told = {gap.reason: gap.readings for batch in left for gap in batch.gaps}
        assert told["disk refused"] == 7  # a gap that was dropped is told again
        lost = [e.detail["events"] for batch in left for e in batch.events if e.kind != "k"]
        assert sum(lost) == 30 - sum(e.kind == "k" for batch in left for e in batch.events)


def test_what_is_too_old_goes(tmp_path):
    with opened(tmp_path / "o.db") as file:
        for i in range(10):
            file.seal([Draft(Priority.INTERLOCK, readings(2, UTC_MS + 1000 * i))])
        shedder = Shedder()
        assert shedder.drop_older(file, Priority.INTERLOCK, UTC_MS + 4000)
        assert not shedder.drop_older(file, Priority.INTERLOCK, UTC_MS + 4000)
        assert [key.number for key in batches(file)] == [5, 6, 7, 8, 9, 10]
        (loss,) = file.books.losses
        assert (loss.reason, loss.readings, loss.batches) == ("too old", 8, ((1, 4),))


def test_losses_are_told_by_the_next_process(tmp_path):
    with opened(tmp_path / "o.db") as file:
        file.seal([Draft(Priority.ROUTINE, readings(30))])
        assert Shedder().step(file, Priority.ROUTINE, 0, "outbox full")
        assert file.books.losses
        stream = file.stream
    with opened(tmp_path / "o.db", "boot-2") as file:
        told = [batch for batch in batches(file).values() if batch.gaps]
        assert [(batch.stream, batch.number) for batch in told] == [(stream, 2)]
        assert not file.books.losses


def commits(log):
    """Where in a log (https://www.sqlite.org/fileformat2.html#walformat) each transaction ends."""
    salt, at, page = log[16:24], 32, 1024
    while log[at + 8 : at + 16] == salt:
        is_last_of_transaction = any(log[at + 4 : at + 8])
        at += 24 + page
        if is_last_of_transaction:
            yield at


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\xa5"], ids=["cut", "zeros", "garbage"])
def test_after_a_torn_write_all_that_was_committed_before_it_is_there(tmp_path, garbage):
    """A power cut leaves the log at any length, with anything behind it."""
    path, copy = tmp_path / "o.db", tmp_path / "p.db"
    with opened(path) as file:
        for i in range(8):
            file.seal([Draft(Priority.ROUTINE, readings(20, UTC_MS + i))])
        log = (tmp_path / "o.db-wal").read_bytes()
        database = path.read_bytes()
    for number, end in enumerate(list(commits(log))[-8:], 1):
        for cut in (end, end + 1, end + 1000):
            copy.write_bytes(database)
            (tmp_path / "p.db-wal").write_bytes(log[:cut] + garbage * (len(log) - cut))
            with opened(copy) as file:
                assert file.sealed == number
                assert [key.number for key in batches(file)] == list(range(1, number + 1))
                check_books(file)
                assert file.ask("PRAGMA integrity_check") == [("ok",)]


def test_errors_are_told_apart(tmp_path):
    path = tmp_path / "o.db"
    path.write_bytes(b"\x89PNG" + bytes(5000))
    with pytest.raises(sqlite3.DatabaseError) as error:
        open_file(path, "gw", "boot-1")
    assert is_damaged(error.value)
    assert not is_ours(path)  # somebody's photo
    path.write_bytes(bytes(5000))
    assert is_ours(path)
    path.unlink()
    with opened(path) as file:
        file.ask("PRAGMA max_page_count = 20")
        with pytest.raises(sqlite3.OperationalError) as error:
            file.seal([Draft(Priority.ROUTINE, readings(9000))])
        assert is_full(error.value, path)
        assert not is_damaged(error.value)
        check_books(file)
    with pytest.raises(sqlite3.OperationalError) as error:
        open_file(path / "o.db", "gw", "boot-1")
    assert not is_damaged(error.value)
    assert not is_full(error.value, path)


def test_what_is_set_aside_is_never_written_over(tmp_path):
    path = tmp_path / "o.db"
    aside = []
    for text in ("first", "second"):
        path.write_text(text)
        (tmp_path / "o.db-wal").write_text(f"{text} log")
        aside.append(set_aside(path, "20260101T000000Z"))
    assert [one.read_text() for one in aside] == ["first", "second"]
    assert [(tmp_path / f"{one.name}-wal").read_text() for one in aside] == [
        "first log",
        "second log",
    ]
    assert not path.exists()
