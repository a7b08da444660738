"""`shuichi cloud init` says what it did, and does nothing a second time."""

import json
import uuid
from pathlib import Path

from click.testing import CliRunner, Result

from cloud.cli import cloud
from configs.loader import UserError
from tests.services import Service


def init(folder: Path, store: str, *words: str) -> Result:
    file = folder / "cloud.toml"
    file.write_text(f"[store]\n{store}\n")
    return CliRunner().invoke(cloud, ["init", "--config", str(file), *words])


def test_influxdb_1_gets_database_and_retention_policies(
    tmp_path: Path, shared_influxd: Service
) -> None:
    name = f"d{uuid.uuid4().hex}"
    store = f'kind = "influx"\napi = "v1"\nurl = "{shared_influxd.url}"\ndatabase = "{name}"\n'
    store += "[store.retention]\nraw_days = 90\n"
    assert init(tmp_path, store).stdout.splitlines() == [
        f"database {name}: made",
        "retention policy autogen: altered, keeps 92 days",
        "retention policy minute: created, keeps for ever",
        "retention policy hour: created, keeps for ever",
        "retention policy day: created, keeps for ever",
        "retention policy hydro_day: created, keeps for ever",
    ]
    again = json.loads(init(tmp_path, store, "--json").stdout)
    assert again["store"] == "influx"
    assert all("is there" in line for line in again["lines"])


def test_the_embedded_store_needs_nothing(tmp_path: Path) -> None:
    done = init(tmp_path, 'kind = "sqlite"')
    assert done.exit_code == 0
    assert done.stdout.endswith("the embedded store needs nothing made\n")


def test_a_server_that_is_away_is_one_line(tmp_path: Path) -> None:
    away = 'kind = "influx"\napi = "v1"\nurl = "http://127.0.0.1:9"\ndatabase = "d"'
    done = init(tmp_path, away)
    assert isinstance(done.exception, UserError)
    assert len(str(done.exception).splitlines()) == 1
    assert "http://127.0.0.1:9 cannot be reached" in str(done.exception)
