"""`shuichi alert exercise run` and what shows how it went."""

import asyncio
import csv
import io
import json
import shutil
import signal
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from cloud import alertcli, drillcli
from cloud.alerts import drills, keptplans
from cloud.alerts.drillscript import Script
from configs import loader
from configs.loader import ConfigError, UserError
from tests import duty_room
from tests.duty_room import PLAN, SITE

EXAMPLE = loader.HERE / "drills" / "before-the-rains.toml"
PLAN_FILE = loader.HERE / "plans" / "example-city.toml"

SHORT = f"""
title = "短演练"
lasts_min = 5
off_duty = true
[[step]]
at_s = 0
site = "{SITE}"
hazard = "underpass"
level = "red"
values = {{ depth_cm = 35 }}
[[expect]]
answer_within_min = 3
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A state in which an exercise has ended: one has answered."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "drill.toml").write_text(SHORT, "utf-8")
    script = loader.load(folder / "drill.toml", Script)

    async def prepare():
        async with duty_room.opened(folder) as room:
            await room.run(keptplans.come_into_force, PLAN, room.now_ms)
            start = (room.dispatch,)
            await room.run(
                lambda c: drills.start(*start, c, script, "Li", PLAN.version, room.now_ms)
            )
            await room.deliver()
            path = await room.path()
            assert (await room.http.post(path, data={"answer": "yes"})).status_code == 200
            assert (await room.http.post(path, data={"answer": "closed"})).status_code == 200
            await room.pass_time(0)

    asyncio.run(prepare())
    return folder


@pytest.fixture
def file(tmp_path, prepared):
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    written = tmp_path / "cloud.toml"
    written.write_text(f"[alerts]\nplan = '{PLAN_FILE}'\n")
    return written


def run(*words, answer=None):
    """What a command prints, and its exit code. Raises UserError as the front door gets it."""
    runner = CliRunner(env={"COLUMNS": "160"})
    result = runner.invoke(alertcli.alert, ["exercise", *map(str, words)], input=answer)
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.stdout, result.exit_code


def test_a_dry_run_calls_nobody_and_shows_whom_it_would():
    at = ("--at", "2026-07-01 10:00")
    out, code = run("run", EXAMPLE, "--dry-run", "--plan", PLAN_FILE, *at)
    assert code == 0
    assert "【演练】" in out
    assert "10:12:00" in out
    assert "周青" in out
    assert "8 people would be called or told, 2 of them at once" in out
    found = json.loads(run("run", EXAMPLE, "--dry-run", "--plan", PLAN_FILE, *at, "--json")[0])
    assert {one["contact"] for one in found["people"]} >= {"zhou-qing", "city-duty"}
    assert found["timetable"][0]["step"]["level"] == "orange"


def test_all_faults_of_a_script_are_told_before_anything_is_asked(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text(SHORT.replace(SITE, "nowhere").replace("at_s = 0", ""), "utf-8")
    with pytest.raises(ConfigError) as raised:
        run("run", bad, "--dry-run", "--plan", PLAN_FILE)
    assert {one.key for one in raised.value.faults} == {"step.0", "step.0.site"}


def test_nobody_is_called_without_a_yes_nor_without_a_service(file):
    script = file.with_name("drill.toml")
    out, code = run("run", script, "--config", file, answer="n\n")
    assert (out, code) == ("", 1)
    with pytest.raises(UserError, match="no service runs: nobody would be called"):
        run("run", script, "--config", file, "--yes")
    assert len(json.loads(run("list", "--config", file, "--json")[0])) == 1


def test_the_score_as_table_csv_and_json(file):
    out, code = run("score", "--config", file)
    assert code == 0
    assert "10 of 10 points: passed" in out
    assert "短演练" in out
    found = json.loads(run("score", "--config", file, "--format", "json")[0])
    assert (found["points"], found["passed"], found["end"]) == (10, True, "all is done")
    assert [one["outcome"] for one in found["people"]] == ["result"]
    rows = list(csv.reader(io.StringIO(run("score", "--config", file, "--format", "csv")[0])))
    assert {len(row) for row in rows} == {14}
    assert [row[0] for row in rows] == ["kind", "person", "site", "expected", "all"]
    assert run("watch", "--config", file, "--json")[1] == 0
    assert found["id"] in run("list", "--config", file)[0]
    with pytest.raises(UserError, match="is no exercise"):
        run("score", "drill.1", "--config", file)
    assert run("stop", "--config", file)[1] == 1


def test_the_report_of_an_exercise_has_its_score(file):
    found = json.loads(run("score", "--config", file, "--format", "json")[0])
    runner = CliRunner()
    for name in (found["id"], found["sites"][0]["incident"]):
        arguments = ["report", name, "--config", str(file)]
        result = runner.invoke(alertcli.alert, [*arguments, "--language", "zh"])
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("# 【演练】")
        assert "演练评分" in result.stdout
        assert "10 / 10, 通过" in result.stdout
        english = runner.invoke(alertcli.alert, [*arguments, "--language", "en"]).stdout
        assert english.startswith(("# \\[EXERCISE\\]", "# [EXERCISE]"))
        assert "10 / 10, passed" in english


def test_whoever_stops_watching_stops_nothing(file, monkeypatch):
    async def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(drillcli, "_until_over", interrupted)
    arguments = ["exercise", "watch", "--config", str(file)]
    result = CliRunner().invoke(alertcli.alert, arguments)
    assert (result.exit_code, result.stderr) == (130, f"{drillcli.GOES_ON}\n")


def test_it_is_said_that_no_service_carries_it_out(file):
    state = "json_set(json_remove(state, '$.ended_ms'), '$.base_ms', 0)"
    with closing(sqlite3.connect(file.with_name("cloud.db"))) as database, database:
        database.execute(f"UPDATE drill SET ended_ms = NULL, state = {state}")
    with pytest.raises(UserError, match="no service carries it out"):
        run("watch", "--config", file)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--site", SITE, "stop"), "options of stop stand behind it"),
        (("--level", "red"), "give --site and --hazard, or a command"),
        (("run", EXAMPLE, "--plan", PLAN_FILE), "--plan and --at are for --dry-run"),
    ],
)
def test_what_does_not_fit_is_said(words, problem):
    with pytest.raises(UserError, match=problem):
        run(*words)


def test_the_library_fits_the_example():
    assert [one.name for one in loader.library("drills")] == [EXAMPLE.name]
    assert drillcli.LOOK_S > 0
