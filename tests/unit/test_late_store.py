"""A store that cannot be opened keeps readings waiting, and nothing else of the service."""

import os
from pathlib import Path

import pytest

from cloud import config, service
from cloud.alerts import plan
from cloud.errors import Unavailable
from cloud.store import Query
from cloud.store.kept import Kept
from configs.loader import ConfigError

_STORE = """
[store]
kind = "influx"
url = "http://127.0.0.1:9"
api = "v1"
database = "readings"
token_file = "token"
"""


@pytest.mark.parametrize("content", [None, "", "日本", "a\rb", b"\xff\xfe", "pipe", "folder"])
async def test_the_state_serves_alerts_whatever_the_secret_of_the_store_is(
    content: str | bytes | None, tmp_path: Path
) -> None:
    file, secret = tmp_path / "cloud.toml", tmp_path / "token"
    file.write_text(_STORE)
    match content:
        case "pipe":
            os.mkfifo(secret)
        case "folder":
            secret.mkdir()
        case str():
            secret.write_text(content)
        case bytes():
            secret.write_bytes(content)
    async with service.opened(config.read(file)) as (database, store):
        assert await database.run(
            lambda connection: connection.exec_driver_sql("SELECT 1").scalar()
        )
        assert isinstance(store, Kept)
        with pytest.raises(Unavailable):
            await store.count(Query())


async def test_a_store_is_opened_as_soon_as_its_secret_is_there(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text(_STORE)
    async with service.opened(config.read(file)) as (_, store):
        assert isinstance(store, Kept)
        assert "token" in store.fault
        (tmp_path / "token").write_text("right\n")
        with pytest.raises(Unavailable, match="cannot be reached"):
            await store.check()
        assert store.fault == ""


def test_a_plan_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "plan.toml")
    with pytest.raises(ConfigError, match="is a pipe"):
        plan.read(tmp_path / "plan.toml")
