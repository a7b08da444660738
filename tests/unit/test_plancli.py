"""`shuichi plan`: what a person sees of a plan."""

import json

import pytest
import tomlkit
from click.testing import CliRunner

from cloud import plancli
from cloud.alerts import plan
from configs.loader import UserError
from tests import plans

NIGHT = ["--at", "2026-07-01 03:00"]
UNDERPASS = ["--site", "daping-underpass", "--hazard", "underpass", "--level", "red"]


def run(*words, env=None):
    """What a command prints, and its exit code. Raises UserError as the front door gets it."""
    result = CliRunner(env=env or {"COLUMNS": "80"}).invoke(plancli.group, [*map(str, words)])
    if isinstance(result.exception, UserError):
        raise result.exception
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout, result.exit_code


def written(tmp_path, tables):
    file = tmp_path / "plan.toml"
    file.write_text(tomlkit.dumps(tables), "utf-8")
    return file


def test_check_says_that_nothing_is_missing(tmp_path):
    out, code = run("check", plancli.EXAMPLE)
    assert (code, "nothing is missing" in out) == (0, True)


def test_check_tells_all_findings(tmp_path):
    tables = plans.tables(3)
    tables["area"]["township"]["parent"] = "grid"
    tables["contact"]["grid-1"]["address"] = {}
    file = written(tmp_path, tables)
    out, code = run("check", file)
    assert code == 1
    assert f"{file}: area.grid.parent: is a loop: grid > village > township > grid" in out
    assert "contact.grid-1.address.phone: is missing" in out
    rows, code = run("check", file, "--json")
    assert code == 1
    assert {row["key"] for row in json.loads(rows)} >= {
        "area.grid.parent",
        "contact.grid-1.address.phone",
    }


def test_check_knows_the_channels_of_the_cloud(tmp_path):
    config = tmp_path / "cloud.toml"
    config.write_text('[channel.sms]\nkind = "log"\n', "utf-8")
    out, code = run("check", written(tmp_path, plans.tables(2)), "--config", config)
    assert code == 1
    assert f"channel.voice: is not configured in {config}" in out


def test_check_refuses_what_it_cannot_read_and_looks_at_the_rest(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("title = 1\n", "utf-8")
    with pytest.raises(UserError, match=r"broken\.toml: title"):
        run("check", broken, plancli.EXAMPLE)


def test_simulate_reads_well_at_80_columns():
    out, code = run("simulate", *UNDERPASS, *NIGHT, "--answer", "township@13", "--minutes", 20)
    assert code == 0
    table = out.partition("\n何岚: ")[0].splitlines()
    assert all(_cells(line) <= 80 for line in table)
    rows = [line.split() for line in table if line.strip()]
    assert ["0", "03:00:00", "grid", "何岚", "sms", "raise,", "by", "03:05"] in rows
    assert ["township", "谭波", "sms,", "email", "climb,", "by", "03:15"] in rows
    assert rows[-1] == ["village", "陆明", "sms", "answered"]
    # What only a sensor can say stands there by its name; lines are broken as they come.
    assert "请何岚立即封闭大坪下穿道两端" in out.replace("\n", "").replace(" ", "")
    assert "信号灯状态：{lamp}" in out.replace("\n", "").replace(" ", "")


def _cells(line: str) -> int:
    return sum(2 if ord(letter) > 0x2E80 else 1 for letter in line.rstrip())


def test_simulate_for_machines():
    out, _ = run(
        "simulate", *UNDERPASS, *NIGHT, "--json", "--value", "cause=积水约32厘米", "--minutes", 6
    )
    lines = json.loads(out)
    climb = next(line for line in lines if line["kind"] == "climb")
    assert (climb["contact"], climb["after_ms"], climb["channel"]) == ("lu-ming", 300_000, "sms")
    assert climb["at_ms"] == 1_782_846_300_000  # 2026-07-01 03:05 in Shanghai
    assert "积水约32厘米。" in climb["text"]


def test_simulate_at_noon_calls_who_is_on_duty_then():
    out, _ = run("simulate", *UNDERPASS, "--at", "2026-07-01 12:00", "--minutes", 1)
    assert "周青" in out
    assert "何岚" not in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--answer", "mayor@3"], "'mayor' is not one of grid"),
        (["--answer", "grid@soon"], "is not written as grid@7"),
        (["--value", "x"], "is not written as depth_cm=32"),
        (["--at", "noon"], "is not a time such as"),
        (["--site", "daping-underpas"], "did you mean 'daping-underpass'"),
    ],
)
def test_simulate_says_what_it_does_not_understand(words, told):
    with pytest.raises(UserError, match=told):
        run("simulate", *UNDERPASS, *words)


def test_import_shows_what_it_would_do(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_bytes(plancli.EXAMPLE.read_bytes())
    people = tmp_path / "people.csv"
    people.write_bytes("姓名,手机,区域\n王五,13800000021,上湾村\n".encode("gbk"))
    out, code = run("import", people, "--plan", file, "--dry-run")
    assert (code, "1 would be added" in out) == (0, True)
    assert "+[contact.hekou-shangwan-1]" in out
    assert file.read_bytes() == plancli.EXAMPLE.read_bytes()
    out, code = run("import", people, "--plan", file)
    assert "1 added, 0 changed" in out
    assert "hekou-shangwan-1" in plan.read(file).contact


@pytest.mark.parametrize("at", ["0001-01-01", "9999-12-31 23:59", "tonight"])
@pytest.mark.parametrize("command", [("simulate", *UNDERPASS), ("who",)])
def test_a_time_that_no_plan_reaches_is_refused(command, at):
    with pytest.raises(UserError, match=f"--at {at}: is not a time"):
        run(*command, "--plan", plancli.EXAMPLE, "--at", at)
