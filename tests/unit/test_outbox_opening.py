"""An outbox that cannot be opened keeps nobody from starting; a person is told what to mend."""

import asyncio
import gc
import sqlite3

import pytest

from configs.loader import UserError
from edge import cli
from edge.outbox import open_outbox
from tests.waiting import until
from wire.reading import Quality, Quantity, Reading

READING = Reading("here", "ruler-1", Quantity.DEPTH, 0.3, 1_800_000_000_000, Quality.GOOD, "")


def not_a_database(path):
    path.write_text("somebody's letter")


def a_folder(path):
    path.mkdir()


def under_a_file(path):
    path.parent.rmdir()
    path.parent.write_text("a file where the state folder should be")


def locked(path):
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE IF NOT EXISTS x (y)")
    holder.execute("BEGIN EXCLUSIVE")
    return holder


WAYS = (not_a_database, a_folder, under_a_file, locked)


@pytest.fixture
def path(tmp_path, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.05}))
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "outbox.db"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_an_unattended_gateway_keeps_what_it_has_in_memory(path, way):
    holder = way(path)
    async with open_outbox(path, "gw", later=True) as outbox:
        assert outbox.position.pending == 0
        await outbox.open()
        sealed = await outbox.seal([READING])
        assert outbox.in_memory
        assert [one.number for one in await outbox.pending(0, 2**63 - 1, 9)] == [sealed.number]
        assert [notice.kind for notice in outbox.notices] == ["outbox_in_memory"]
        assert not await outbox.return_to_disk()
    del holder


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_person_who_starts_it_is_told(path, way):
    holder = way(path)
    with pytest.raises(sqlite3.Error):
        async with open_outbox(path, "gw"):
            pass
    del holder


@pytest.mark.parametrize(
    "path", ["gateway.toml/outbox.db", "folder", "/proc/outbox.db", "/proc/new/outbox.db", "photo"]
)
def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path, monkeypatch, path):
    monkeypatch.setattr(cli, "_demand_outside", lambda _: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "photo").write_bytes(b"\x89PNG\r\n" + bytes(5000))
    (tmp_path / "gateway.toml").write_text(
        f'[gateway]\nid = "gw"\nsite = "here"\n[outbox]\npath = "{path}"\n'
    )
    with pytest.raises(UserError, match=f"^{path}: the outbox cannot be opened: [^\n]*$"):
        cli.run.main(["--log", "human"], standalone_mode=False)


async def test_what_was_in_memory_goes_to_the_disk_once_it_can(path):
    holder = locked(path)
    async with open_outbox(path, "gw", later=True) as outbox:
        await outbox.open()
        await outbox.seal([READING])
        holder.close()
        path.unlink()
        await until(outbox.return_to_disk)
        assert not outbox.in_memory
    async with open_outbox(path, "gw") as outbox:
        assert outbox.position.pending == 1


async def test_who_asks_before_it_is_open_waits(path):
    async with open_outbox(path, "gw", later=True) as outbox:
        sealing = asyncio.create_task(outbox.seal([READING]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not sealing.done()
        await outbox.open()
        assert (await sealing).number == 1


async def test_acked_counts_what_the_cloud_has_of_this_stream(path):
    async with open_outbox(path, "gw", boot="one") as outbox:
        for _ in range(5):
            await outbox.seal([READING])
        first = outbox.position.stream
        await outbox.forget([(1, 2)])
        await outbox.forget([(2, 3)])
        assert outbox.acked == 3
    async with open_outbox(path, "gw", boot="two") as outbox:  # with a backlog of the first boot
        assert outbox.acked == 0
        await outbox.seal([READING])
        await outbox.forget([(4, 5)], first)
        assert (outbox.acked, outbox.position.pending) == (0, 1)
        await outbox.forget([(1, 1)])
        assert (outbox.acked, outbox.position.pending) == (1, 0)
