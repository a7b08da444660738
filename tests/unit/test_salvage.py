"""What of a damaged outbox can be read goes on under its own name; the rest is declared."""

import random
import sqlite3
from contextlib import closing

import pytest

from edge.batches import Draft
from edge.outboxdisk import PAGE_BYTES, open_file, set_aside
from edge.salvage import Salvage, last_life, open_aside
from edge.shelf import Priority
from tests.unit.test_outboxfile import UTC_MS, batches, check_books, event, opened, readings

SEALED = 120


def fill(path, boot="boot-1"):
    """An outbox with batches of all priorities, some of which the cloud has; their payloads by
    stream and number, and the numbers that are gone."""
    with opened(path, boot) as file:
        for i in range(SEALED):
            priority = list(Priority)[i % 3]
            events = (event(),) if priority is Priority.EVENT else ()
            file.seal([Draft(priority, readings(30, UTC_MS + i), events)])
        file.forget(file.stream, [(1, 10)])
        file.flush()
        found = {(b.stream, b.number): b.payload for b in file.pending(-1, 2**63 - 1, 10**6)}
        return file.stream, found


def salvaged(aside, path, boot="boot-1"):
    """A new outbox with all that could be read of `aside`, and by name what is in it."""
    file = open_file(path, "gw", boot)
    with closing(open_aside(aside)) as source:
        file.begin_life(at_least=last_life(source) + 1)
        salvage = Salvage(source)
        salvage.begin(file)
        while salvage.step(file):
            pass
        with file.transaction():
            salvage.own_up(file, UTC_MS, None)
    rows = file.pending(-1, 2**63 - 1, 10**6)
    return file, {(b.stream, b.number): b.payload for b in rows}


def test_a_file_that_is_sound_is_carried_over_whole(tmp_path):
    stream, before = fill(tmp_path / "o.db")
    aside = set_aside(tmp_path / "o.db", "now")
    file, found = salvaged(aside, tmp_path / "o.db")
    assert found == before
    assert file.stream != stream
    check_books(file)
    (loss,) = file.books.losses  # the ten that the cloud has had: nobody here can know that
    assert (loss.reason, loss.readings, loss.batches) == ("outbox damaged", None, ((1, 10),))
    assert file.streams[loss.life] == stream
    file.close()


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_is_true_and_what_is_not_is_declared(tmp_path, seed):
    path = tmp_path / "o.db"
    stream, before = fill(path)
    aside = set_aside(path, "now")
    dice = random.Random(seed)
    with aside.open("r+b") as disk:
        pages = disk.seek(0, 2) // PAGE_BYTES
        for _ in range(dice.choice([1, 2, 5, pages // 2])):
            # Sometimes the very first one, without which nothing can be read.
            disk.seek(dice.randrange(0 if seed % 4 == 0 else 2, pages) * PAGE_BYTES)
            disk.write(dice.choice([bytes(PAGE_BYTES), dice.randbytes(PAGE_BYTES)]))
    file, found = salvaged(aside, path)
    assert found.items() <= before.items()
    check_books(file)
    declared = {
        (file.streams[loss.life], number)
        for loss in file.books.losses
        for first, last in loss.batches
        for number in range(first, last + 1)
    }
    if stream in file.streams.values():
        sealed = max((n for _, n in declared | found.keys()), default=0)
        everything = {(stream, number) for number in range(1, sealed + 1)}
        assert declared | found.keys() == everything
        assert not declared & found.keys()
    assert aside.exists()
    (new,) = file.seal([Draft(Priority.ROUTINE, readings(1))])
    assert (new.stream, new.number) not in before
    file.close()


def test_done_twice_it_doubles_nothing(tmp_path):
    _, before = fill(tmp_path / "o.db")
    aside = set_aside(tmp_path / "o.db", "now")
    file, _ = salvaged(aside, tmp_path / "o.db")
    file.close()
    file, found = salvaged(aside, tmp_path / "o.db")
    (told,) = found.keys() - before.keys()  # the gap, which the second process has told
    assert found.items() >= before.items()
    assert told[1] == SEALED + 1
    check_books(file)
    file.close()


def test_local_batches_keep_their_boot(tmp_path):
    path = tmp_path / "o.db"
    with opened(path, "boot-1") as file:
        file.seal([Draft(Priority.ROUTINE, readings(2, 5000))], local=True)
    with opened(path, "boot-2") as file:
        file.seal([Draft(Priority.ROUTINE, readings(2, 7000))], local=True)
        assert file.learn(UTC_MS)
    aside = set_aside(path, "now")
    file, _ = salvaged(aside, path, "boot-3")
    boots = {row[0]: row[1] for row in file.ask("SELECT boot, name FROM boot")}
    rows = [row for place in range(16) for row in file.oldest(place, 9)]
    assert [(boots[row.boot], row.first_ms) for row in rows] == [("boot-1", 5000), ("boot-2", 7000)]
    assert list(boots.values()) == ["boot-1", "boot-2", "boot-3"]
    assert file.offset(rows[1].boot).utc_ms == UTC_MS
    file.close()


def test_what_was_in_memory_goes_on_on_the_disk(tmp_path):
    memory = open_file(None, "gw", "boot-1")
    memory.begin_life(at_least=8000)
    (sealed,) = memory.seal([Draft(Priority.ROUTINE, readings(2))])
    with opened(tmp_path / "o.db") as file:
        file.seal([Draft(Priority.ROUTINE, readings(2))])
        carried = Salvage(memory.database)
        carried.begin(file)
        while carried.step(file):
            pass
        file.begin_life()
        file.seal([Draft(Priority.ROUTINE, readings(2))])
        names = [(batch.stream, batch.number) for batch in batches(file).values()]
        assert len(set(names)) == 3
        assert names[1] == (memory.stream, sealed.number)
        check_books(file)
    memory.database.close()


def test_nothing_can_be_read_at_all(tmp_path):
    (tmp_path / "aside").write_bytes(bytes(10_000))
    file, found = salvaged(tmp_path / "aside", tmp_path / "o.db")
    assert (found, file.books.losses) == ({}, [])
    file.close()
    with pytest.raises(sqlite3.OperationalError):
        open_aside(tmp_path / "none").execute("SELECT 1 FROM batch")
