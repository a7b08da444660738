"""`shuichi alert stats` as table, CSV, JSON, Markdown and page, on the screen and in a file."""

import asyncio
import csv
import json

import pytest
from click.testing import CliRunner

from cloud import alertcli
from configs import loader
from configs.loader import UserError
from tests import duty_room
from wire.messages import Level

PLAN = loader.HERE / "plans" / "example-city.toml"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A config whose state has an alert of this month, which the first who was called answered."""
    folder = tmp_path_factory.mktemp("stats")

    async def prepare():
        async with duty_room.opened(folder) as room:
            await room.find(Level.RED)
            await room.http.post(await room.path(), data={"answer": "yes"})
            await room.http.post(await room.path(), data={"answer": "false-alarm"})

    asyncio.run(prepare())
    written = folder / "cloud.toml"
    written.write_text(f"[alerts]\nplan = '{PLAN}'\n")
    return written


def run(file, *words):
    result = CliRunner(env={"COLUMNS": "120"}).invoke(
        alertcli.alert, ["stats", "--config", str(file), *words]
    )
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.output, result.exit_code


def test_the_table_has_medians_worst_and_how_many(file):
    out, code = run(file)
    assert code == 0
    assert "1 alerts, 0 never answered, 1 false alarms" in out
    assert "an alert)" in out
    assert "(1)" in out


def test_csv_and_json_have_the_same_numbers(file, tmp_path):
    rows = [*csv.DictReader(run(file, "--format", "csv")[0].splitlines())]
    assert rows[0]["kind"] == "all"
    (person,) = [row for row in rows if row["kind"] == "person" and row["answered"] == "1"]
    assert (person["answers"], person["false alarms"], person["left"]) == ("1", "1", "")
    assert person["to answer"] == person["worst answer"]
    assert person["contact"]
    run(file, "-o", str(tmp_path / "month.json"))
    assert json.loads((tmp_path / "month.json").read_text())[1] == 1


@pytest.mark.parametrize(("tongue", "head"), [("zh", "预警应答统计"), ("en", "How alerts were")])
def test_a_page_in_either_language(file, tmp_path, tongue, head):
    output = tmp_path / "month.html"
    assert run(file, "-o", str(output), "--language", tongue) == ("", 0)
    page = output.read_text()
    assert f"<h1>{head}" in page
    assert "n=1" in page
    assert run(file, "--format", "md", "--language", tongue)[0].startswith(f"# {head}")


def test_a_month_without_alerts_and_what_is_no_month(file):
    out, code = run(file, "--month", "1999-12", "--format", "md", "--language", "en")
    assert (code, "There was no alert" in out) == (0, True)
    assert run(file, "--month", "1999-12")[1] == 0
    for month in ("x", "2026-13", "2026"):
        with pytest.raises(UserError, match="is not a month"):
            run(file, "--month", month)


def test_a_file_that_cannot_be_written(file, tmp_path):
    with pytest.raises(UserError, match=r"--output .*: No such file"):
        run(file, "-o", str(tmp_path / "nowhere" / "month.html"))
