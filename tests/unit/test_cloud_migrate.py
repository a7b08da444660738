"""`shuichi cloud migrate`, and what `shuichi cloud run` says before anything runs."""

from pathlib import Path

import pytest
from alembic import command
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from cloud import migrations
from cloud.cli import cloud
from configs.loader import UserError

REAL_MIGRATIONS = True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "cloud.toml"
    written.write_text('[state]\npath = "state.db"\n')
    return written


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(cloud, [str(word) for word in words])


def test_it_lays_out_what_is_new_once(file: Path) -> None:
    newest, place = migrations.steps()[-1], file.parent / "state.db"
    assert invoke("migrate", "--config", file).output == f"{place}: layout {newest}, was empty\n"
    assert invoke("migrate", "--config", file).output == f"{place}: layout {newest}\n"


def test_it_refuses_what_a_newer_release_has_laid_out(file: Path) -> None:
    assert invoke("migrate", "--config", file).exit_code == 0
    with create_engine(f"sqlite:///{file.parent / 'state.db'}").begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    refused = invoke("migrate", "--config", file).exception
    assert isinstance(refused, UserError)
    assert str(refused).startswith("the state is laid out by a newer release (step 9999")
    assert "\n" not in str(refused)


def test_a_wrong_shard_is_told_before_anything_starts(file: Path) -> None:
    refused = invoke("run", "--config", file, "--shard", "3-1").exception
    assert isinstance(refused, UserError)
    assert str(refused) == "--shard 3-1: '3-1' is not a range of 1 to 1000 shards"
    assert not (file.parent / "state.db").exists()


def test_a_cap_document_without_an_end_is_renewed_at_once(file: Path) -> None:
    with create_engine(f"sqlite:///{file.parent / 'state.db'}").begin() as connection:
        command.upgrade(migrations.config(connection), "0007")
        row = "('a.{0}', 'a', {0}, 's', {0}000, 'red', 'now', 'x', {1})"
        connection.execute(
            text(
                "INSERT INTO cap_document (identifier, alert, number, sender, sent_ms, level, "
                f"stage, document, in_force) VALUES {row.format(1, 0)}, {row.format(2, 1)}"
            )
        )
        command.upgrade(migrations.config(connection), "head")
        found = connection.execute(text("SELECT number, due_ms, expires_ms FROM cap_document"))
        assert sorted(map(tuple, found)) == [(1, None, None), (2, 2000, None)]
