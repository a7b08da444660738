"""`shuichi query` prints the same from every store, and says in a line what is wrong."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace
from pyarrow import parquet

from cloud import config, querycli, service, show
from cloud.store import Points
from configs.loader import UserError
from tests.services import Service
from wire.reading import Quality, Quantity, Reading

T0 = 1_705_305_600_000  # 2024-01-15T08:00:00Z

READINGS = [
    *(Reading("underpass", "ruler", Quantity.DEPTH, n / 100, T0 + n * 1000) for n in range(30)),
    Reading("underpass", "ruler", Quantity.DEPTH, None, T0 + 30_000, Quality.MISSING, "no answer"),
    Reading("river", "gauge", Quantity.LEVEL, 2.125, T0 + 500, Quality.GOOD),
]


def influx(server: Service, dialect: str) -> str:
    return (
        f'kind = "influx"\nurl = "{server.url}"\napi = "v1"\n'
        f'database = "d{uuid.uuid4().hex}"\ndialect = "{dialect}"'
    )


@pytest.fixture(params=["sqlite", "influxdb", "victoria"])
def file(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    shared_influxd: Service,
    shared_victoria_metrics: Service,
) -> Path:
    """A cloud.toml whose store holds `READINGS`."""
    stores = {
        "sqlite": 'kind = "sqlite"',
        "influxdb": influx(shared_influxd, "influxql"),
        "victoria": influx(shared_victoria_metrics, "metricsql"),
    }
    made = tmp_path / "cloud.toml"
    made.write_text(f"[store]\n{stores[request.param]}\n")

    async def fill() -> None:
        async with service.opened(config.read(made)) as (_, store):
            await store.write([Points("g1", READINGS)], lambda _: None)
            await store.upkeep(time.time_ns() // 1_000_000)

    asyncio.run(fill())
    return made


def ask(file: Path, *words: str) -> Result:
    return CliRunner().invoke(querycli.query, ["--config", str(file), *words])


def test_csv_and_jsonl_say_the_same(file: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(ask(file, "--utc", "--format", "csv").stdout)))
    assert len(lines) == len(READINGS)
    assert lines[1] == {
        "time": "2024-01-15T08:00:00.500+00:00",
        "gateway": "g1",
        "site": "river",
        "sensor": "gauge",
        "quantity": "level",
        "unit": "m",
        "value": "2.125",
        "quality": "1",
    }
    assert (lines[-1]["value"], lines[-1]["quality"]) == ("", "9")
    objects = map(json.loads, ask(file, "--utc", "--format", "jsonl").stdout.splitlines())
    as_text = [
        {key: "" if value is None else str(value) for key, value in one.items()} for one in objects
    ]
    assert as_text == lines


def test_a_table_says_unit_and_zone_in_its_head(file: Path) -> None:
    shown = ask(file, "--quantity", "depth", "--utc")
    assert "time (UTC)" in shown.stdout
    assert "depth (m)" in shown.stdout
    assert "2024-01-15 08:00:29.000" in shown.stdout
    assert "missing" in shown.stdout
    assert "gauge" not in shown.stdout


def test_times_are_local_and_the_zone_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as here:
        here.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        shown = ask(file, "--quantity", "level")
    time.tzset()
    assert "time (CST, UTC+08:00)" in shown.stdout
    assert "2024-01-15 16:00:00.500" in shown.stdout


def test_a_chart_draws_each_quantity(file: Path) -> None:
    shown = ask(file, "--format", "chart", "--utc")
    assert "depth (m), g1 underpass ruler" in shown.stdout
    assert "level (m), g1 river gauge" in shown.stdout
    assert "time (UTC)" in shown.stdout
    assert "\x1b" not in shown.stdout  # no colours into a file


def test_the_newest_come_in_order_of_time(file: Path) -> None:
    shown = ask(file, "--limit", "2", "--format", "jsonl", "--utc", "--sensor", "ruler")
    times = [json.loads(line)["time"][17:23] for line in shown.stdout.splitlines()]
    assert times == ["29.000", "30.000"]
    assert "the newest 2" in shown.stderr


def test_rollups_come_in_every_format(file: Path, tmp_path: Path) -> None:
    words = ("--rollup", "1m", "--kind", "depth", "--utc")
    (one,) = csv.DictReader(io.StringIO(ask(file, *words, "--format", "csv").stdout))
    assert one == {
        "time": "2024-01-15T08:00:00.000+00:00",
        "gateway": "g1",
        "site": "underpass",
        "sensor": "ruler",
        "quantity": "depth",
        "unit": "m",
        "min": "0.0",
        "mean": one["mean"],
        "max": "0.29",
        "count": "30",
        "bad": "0",
        "missing": "1",
        "worst": "2",
        "rain": "",
    }
    assert float(one["mean"]) == pytest.approx(0.145)
    (same,) = map(json.loads, ask(file, *words, "--format", "jsonl").stdout.splitlines())
    assert {key: "" if value is None else str(value) for key, value in same.items()} == one
    table = ask(file, *words).stdout
    assert "g1" in table
    assert "depth (m)" in table
    assert "not evaluated" in table
    chart = ask(file, *words, "--format", "chart").stdout
    assert "depth (m), g1 underpass ruler" in chart
    assert chart.rstrip().endswith("*  mean\n  x  max")
    picture = tmp_path / "out.png"
    (day,) = csv.DictReader(
        io.StringIO(ask(file, "--rollup", "hydro-day", "--kind", "level", "--format", "csv").stdout)
    )
    assert (day["count"], day["rain"]) == ("1", "")
    hours = ask(file, "--rollup", "1h", "--all", "--format", "png", "--output", str(picture))
    assert hours.exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_all_is_all_in_order(file: Path) -> None:
    shown = ask(file, "--all", "--format", "jsonl", "--utc")
    assert shown.stderr == ""
    assert shown.stdout == ask(file, "--format", "jsonl", "--utc").stdout
    assert len(shown.stdout.splitlines()) == len(READINGS)
    assert ask(file, "--all", "--format", "csv", "--site", "nowhere").exit_code == 1


def test_parquet_has_types_and_the_missing_ones(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    ask(file, "--all", "--format", "parquet", "--output", str(out))
    table = parquet.read_table(out)
    assert table.num_rows == len(READINGS)
    assert str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]"
    rows = table.to_pylist()
    assert rows[1]["value"] == 2.125
    assert (rows[1]["quantity"], rows[1]["unit"], rows[1]["quality"]) == ("level", "m", 1)
    assert rows[1]["time"].timestamp() * 1000 == T0 + 500
    assert (rows[-1]["value"], rows[-1]["quality"]) == (None, 9)
    ask(file, "--rollup", "1h", "--format", "parquet", "--output", str(out))
    assert parquet.read_table(out).num_rows == 2


def test_a_time_range_is_iso_or_a_span(file: Path) -> None:
    since, until = "2024-01-15T08:00:10Z", "2024-01-15T16:00:20+08:00"
    shown = ask(file, "--since", since, "--until", until, "--format", "jsonl")
    assert len(shown.stdout.splitlines()) == 10
    assert ask(file, "--since", "90s").exit_code == 1  # all of it is years old


def test_nothing_found_is_one_line_and_exit_code_1(file: Path) -> None:
    for words, line in [
        (["--site", "nowhere"], "--site nowhere: the store has no reading of it"),
        (["--gateway", "g1", "--sensor", "x"], "--sensor x: the store has no reading of it"),
        (["--site", "river", "--sensor", "ruler"], "no readings match"),
        (["--until", "2020-01-01", "--rollup", "1h"], "no readings match"),
    ]:
        shown = ask(file, *words)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (1, "", f"{line}\n")


def test_a_time_that_is_none_and_a_cloud_that_never_ran_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text("")
    for words, line in [
        (["--since", "yesterday"], "--since yesterday: is neither a span such as 90s, 30m"),
        ([], "cloud.db: there is no such file; has `shuichi cloud run` run yet?"),
        (["--since", "1h", "--until", "2h"], "--since 1h is not before --until 2h"),
        (["--all", "--limit", "3"], "--limit and --all contradict each other"),
    ]:
        shown = ask(file, *words)
        assert isinstance(shown.exception, UserError)
        assert line in str(shown.exception)
        assert len(str(shown.exception).splitlines()) == 1


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    """A cloud.toml with an embedded store and some readings."""
    made = tmp_path / "cloud.toml"
    made.write_text("")

    async def fill() -> None:
        async with service.opened(config.read(made)) as (_, store):
            await store.write([Points("g1", READINGS)], lambda _: None)

    asyncio.run(fill())
    return made


@pytest.mark.parametrize(("shape", "package"), [("parquet", "pyarrow"), ("png", "matplotlib")])
def test_a_package_that_is_not_there_is_a_line(
    embedded: Path, monkeypatch: pytest.MonkeyPatch, shape: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    shown = ask(embedded, "--format", shape)
    assert isinstance(shown.exception, UserError)
    assert str(shown.exception).startswith(f"--format {shape} needs {package}: pip install")


def test_what_cannot_be_written_is_a_line(embedded: Path, tmp_path: Path) -> None:
    shown = ask(embedded, "--format", "csv", "--output", str(tmp_path / "no" / "where.csv"))
    assert isinstance(shown.exception, UserError)
    assert "No such file or directory" in str(shown.exception)


def test_rollups_that_are_not_made_yet_are_told(embedded: Path) -> None:
    shown = ask(embedded, "--rollup", "1h")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.startswith("no rollups match, though readings do")


def test_half_a_file_never_passes_for_the_whole(
    embedded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.csv"
    words = ("--format", "csv", "--output", str(out))
    assert ask(embedded, *words).exit_code == 0
    whole = out.read_text()
    assert whole.count("\n") == len(READINGS) + 1
    monkeypatch.setattr(show.Csv, "close", lambda _: 1 / 0)
    assert isinstance(ask(embedded, *words).exception, ZeroDivisionError)
    assert out.read_text() == whole
    assert [one.name for one in tmp_path.iterdir() if "out" in one.name] == ["out.csv"]


def test_a_picture_of_too_much_says_what_to_do(
    embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "DRAWN_AT_MOST", 10)
    shown = ask(embedded, "--all", "--format", "chart")
    assert isinstance(shown.exception, UserError)
    assert "a coarser --rollup" in str(shown.exception)


def test_head_may_have_seen_enough(embedded: Path) -> None:
    """A pipe that is closed early is no traceback."""
    many = [replace(READINGS[0], at_ms=T0 + n) for n in range(30_000)]

    async def fill() -> None:
        async with service.opened(config.read(embedded)) as (_, store):
            await store.write([Points("g1", many)], lambda _: None)

    asyncio.run(fill())
    words = [sys.executable, "-m", "shuichi", "query", "--config", str(embedded)]
    with subprocess.Popen(
        [*words, "--all", "--format", "csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"time,")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_screen_that_is_full_or_knows_little_is_no_traceback(embedded: Path) -> None:
    words = [sys.executable, "-m", "shuichi", "query", "--config", str(embedded)]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    line = "shuichi: the output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (2, line)
    ended = subprocess.run(
        [*words, "--format", "chart"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "depth (m), g1 underpass ruler" in ended.stdout
    assert "*" in ended.stdout
