"""A state whose file is damaged, cut, locked or something else: one line, nothing destroyed; and a
service that nobody attends goes on warning."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from cloud import damage, database, state
from cloud.errors import Unavailable

PAGE = 4096


def made(path: Path) -> bytes:
    async def make() -> None:
        async with state.opened(path):
            pass

    asyncio.run(make())
    return path.read_bytes()


def zeros(whole: bytes) -> bytes:
    return bytes(len(whole))


def half(whole: bytes) -> bytes:
    return whole[: len(whole) // 2 // PAGE * PAGE]


def head(whole: bytes) -> bytes:
    return whole[:100]


def schema(whole: bytes) -> bytes:
    return whole[:100] + bytes(range(256)) * 15 + whole[100 + 256 * 15 :]


async def opening(path: Path) -> None:
    async with state.opened(path):
        pass


@pytest.mark.parametrize("spoil", [zeros, half, head, schema])
def test_what_is_damaged_is_set_aside_whole(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "cloud.db"
    spoilt = spoil(made(path))
    path.write_bytes(spoilt)
    with pytest.raises(Unavailable) as refused:
        asyncio.run(opening(path))
    assert "\n" not in str(refused.value)
    words = damage.set_aside(path, refused.value)
    (aside,) = (one for one in tmp_path.glob("cloud.db.damaged-*") if one.name[-4] != "-")
    assert aside.name in words
    assert aside.read_bytes() == spoilt
    asyncio.run(opening(path))


def test_what_is_no_state_of_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    photo = b"\xff\xd8\xff\xe0 a photo " * 999
    path.write_bytes(photo)
    with pytest.raises(Unavailable, match="something else stands there") as refused:
        asyncio.run(opening(path))
    assert damage.set_aside(path, refused.value) == ""
    assert path.read_bytes() == photo


def test_a_state_that_is_locked_or_a_folder_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "cloud.db"
    made(path)
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable, match="locked") as refused:
        asyncio.run(opening(path))
    other.close()
    assert damage.set_aside(path, refused.value) == ""
    folder = tmp_path / "folder.db"
    folder.mkdir()
    with pytest.raises(Unavailable, match="is a folder") as refused:
        asyncio.run(opening(folder))
    assert damage.set_aside(folder, refused.value) == ""
    assert folder.is_dir()


async def test_a_text_that_a_disk_has_changed_holds_up_no_other(tmp_path: Path) -> None:
    def spoil(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE t (words TEXT)"))
        connection.execute(text("INSERT INTO t VALUES ('right'), (CAST(x'61ff62' AS TEXT))"))

    async with state.connected(tmp_path / "cloud.db") as one:
        await one.run(spoil)
        for _ in range(2):
            found = await one.run(lambda c: c.execute(text("SELECT words FROM t")).scalars().all())
            assert found == ["right", "a\N{REPLACEMENT CHARACTER}b"]


async def test_a_service_that_nobody_attends_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    await asyncio.to_thread(made, path)
    path.write_bytes(half(path.read_bytes()))
    opened = partial(state.opened, path)
    async with AsyncExitStack() as stack:
        with pytest.raises(Unavailable, match="restore a copy, or move it away"):
            await damage.arrive(stack, path, opened, asyncio.Event(), None)
        told: list[str] = []
        assert await damage.arrive(stack, path, opened, asyncio.Event(), told) is not None
        assert len(told) == 1
        assert "is set aside as cloud.db.damaged-" in told[0]
