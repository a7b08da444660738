"""A card that is read and refuses to be written: batches live in memory, and nothing is silent."""

import sqlite3

import pytest

from edge import outboxdisk
from edge.config import OutboxConfig
from edge.outbox import PATIENCE, open_outbox
from edge.sealer import Sealer
from wire.reading import Quality, Quantity, Reading


def reading(i):
    return Reading("here", "ruler-1", Quantity.DEPTH, 0.3, 1_800_000_000_000 + i, Quality.GOOD, "")


def failing(name):
    error = sqlite3.OperationalError("disk I/O error" if name == "SQLITE_IOERR" else "read-only")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


class Card:
    """Makes each commit fail while `refuses` names an error of SQLite."""

    def __init__(self, monkeypatch):
        self.refuses = ""
        connect = sqlite3.connect
        card = self

        class Connection(sqlite3.Connection):
            def execute(self, sql, *values):
                on_disk = super().execute("PRAGMA database_list").fetchone()[2]
                if card.refuses and on_disk and sql in ("COMMIT", "BEGIN IMMEDIATE"):
                    raise failing(card.refuses)
                return super().execute(sql, *values)

        monkeypatch.setattr(
            sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "factory": Connection})
        )


@pytest.fixture
def card(monkeypatch):
    return Card(monkeypatch)


@pytest.mark.parametrize("error", ["SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN"])
async def test_reads_between_refused_writes_do_not_hide_them(tmp_path, card, error):
    path = tmp_path / "outbox.db"
    offered: list[object] = []
    async with open_outbox(path, "gw", "boot") as outbox:
        sealer = Sealer(outbox, OutboxConfig(), offered.append)
        sealer.add(reading(0))
        assert await sealer.seal()
        first = outbox.position.stream
        card.refuses = error
        attempts = 0
        while not outbox.in_memory:
            sealer.add(reading(1 + attempts))
            await sealer.seal()
            await outbox.pending(0, 2**63 - 1, 9)  # the uplink and the keeper read all the time
            attempts += 1
            assert attempts <= PATIENCE
        assert len(offered) == 2, "what waited was sealed, and can be sent"
        assert outbox.position.stream != first
        assert [notice.kind for notice in outbox.notices] == ["outbox_in_memory"]
        for _ in range(20):
            assert not await outbox.return_to_disk()
        assert [notice.kind for notice in outbox.notices][:1] == ["outbox_in_memory"]

        card.refuses = ""
        assert await outbox.return_to_disk() or await outbox.return_to_disk()
        assert not outbox.in_memory
    async with open_outbox(path, "gw", "boot") as outbox:
        stored = {row.key for aside in (path, *tmp_path.glob("*.damaged-*")) for row in rows(aside)}
        assert len(stored) >= 2, "neither what the card held nor what was in memory is lost"


def rows(path):
    from edge.batches import Row

    with sqlite3.connect(path) as database:
        return [
            Row(*row)
            for row in database.execute(
                "SELECT key, boot, first_ms, last_ms, readings, payload FROM batch"
            )
        ]


async def test_a_card_that_cannot_take_anything_keeps_its_file_in_its_place(
    tmp_path, card, monkeypatch
):
    monkeypatch.setattr(outboxdisk, "takes_files", lambda _: False)
    path = tmp_path / "outbox.db"
    async with open_outbox(path, "gw", "boot") as outbox:
        await outbox.seal([reading(0)])
        card.refuses = "SQLITE_IOERR"
        for _ in range(PATIENCE):
            try:
                await outbox.seal([reading(1)])
            except sqlite3.Error as error:
                await outbox.mend(error)
        await outbox.seal([reading(2)])
        for _ in range(3 * PATIENCE):
            assert not await outbox.return_to_disk()
        card.refuses = ""
        assert await outbox.return_to_disk()
        assert outbox.position.pending == 2
    assert [p.name for p in tmp_path.glob("*damaged*")] == []


def test_a_folder_takes_files_or_not(tmp_path):
    assert outboxdisk.takes_files(tmp_path)
    assert not outboxdisk.takes_files(tmp_path / "not there")
    assert [*tmp_path.iterdir()] == []
