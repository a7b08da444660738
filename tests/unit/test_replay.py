"""Any recorded series plays; whatever cannot be played is refused in one line that helps."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_sim.replay import Replay, load_replay
from firmware_sim.scenario import Scenario, ScenarioError
from tests.examples import examples

REAL = Path(__file__).parents[3] / "shared" / "data"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    names = itertools.count()

    def to_file(text: str) -> Path:
        path = tmp_path / f"{next(names)}.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def refusal(path: Path, column: str = "depth_m", time: str = "t_s", **where: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_replay(path, column, time, where)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- playing --------------------------------------------------------------------------------------


def test_plays_shifted_to_zero_clamped_and_straight_between_samples(write: Write) -> None:
    replay: Scenario = load_replay(
        write("t_s,depth_m\n100,0\n160,0.3\n220,0.1\n"), "depth_m", "t_s"
    )
    assert replay.duration_s == 120.0
    assert replay.at(0.0) == {"depth": 0.0}
    assert replay.at(30.0)["depth"] == pytest.approx(0.15)
    assert replay.at(60.0) == {"depth": 0.3}
    assert replay.at(-5.0) == replay.at(0.0)
    assert replay.at(1e9) == replay.at(120.0) == {"depth": 0.1}


@pytest.mark.parametrize(
    ("first", "second", "step_s"),
    [
        ("0", "60.5", 60.5),
        ("-10", "1e1", 20.0),
        ("2024-07-01 08:00", "2024-07-01 08:05", 300.0),
        ("2024-07-01 08:00:00", "2024-07-01 08:00:30", 30.0),
        ("2024-07-01T08:00:00", "2024-07-01T08:00:00.250", 0.25),
        ("2024-07-01T08:00:00+08:00", "2024-07-01T00:01:00Z", 60.0),
        ("2021-08-23_00:00:00", "2021-08-23_00:15:00", 900.0),
        ("2016-07-01", "2016-07-02", 86400.0),
    ],
)
def test_reads_seconds_and_stamps(write: Write, first: str, second: str, step_s: float) -> None:
    replay = load_replay(write(f"when,depth\n{first},1\n{second},2\n"), "depth", "when")
    assert replay.duration_s == pytest.approx(step_s)


@pytest.mark.parametrize(
    ("column", "unit", "si"),
    [
        ("depth_m", None, 2.0),
        ("depth_cm", None, 0.02),
        ("depth_mm", None, 0.002),
        ("MJ9/mm", None, 0.002),
        ("水深(cm)", None, 0.02),
        ("level", None, 2.0),
        ("item", None, 2.0),
        ("level", "cm", 0.02),
        ("depth_mm", "m", 2.0),
        ("rain", "mm/h", 2e-3 / 3600),
    ],
)
def test_unit_comes_from_the_column_unless_given(
    write: Write, column: str, unit: str | None, si: float
) -> None:
    replay = load_replay(write(f"t,{column}\n0,2\n60,2\n"), column, "t", unit=unit)
    assert replay.at(30.0)["depth"] == pytest.approx(si)


def test_plays_through_any_signal(write: Write) -> None:
    replay = load_replay(write("t,stage_m\n0,1\n9,1\n"), "stage_m", "t", signal="river_level")
    assert replay.at(4.0) == {"river_level": 1.0}


@pytest.mark.parametrize("gap", ["", " ", "NaN", "NA", "null", "-"])
def test_a_sample_without_a_value_is_a_gap(write: Write, gap: str) -> None:
    replay = load_replay(
        write(f"t,depth_m\n0,0.1\n60,0.2\n120,{gap}\n180,0.4\n240,0.5\n"), "depth_m", "t"
    )
    assert replay.at(60.0) == {"depth": 0.2}
    for silent in (60.1, 120.0, 179.9):
        assert replay.at(silent) == {}
    assert replay.at(180.0) == {"depth": 0.4}
    assert replay.at(210.0)["depth"] == pytest.approx(0.45)


def test_interpolates_over_five_median_steps_and_no_more(write: Write) -> None:
    path = write("t,depth_m\n0,0\n60,0\n120,0\n180,0\n480,1\n781,2\n")
    replay = load_replay(path, "depth_m", "t")
    assert replay.max_gap_s == 300.0
    assert replay.at(330.0)["depth"] == pytest.approx(0.5)
    assert replay.at(600.0) == {}
    assert load_replay(path, "depth_m", "t", max_gap_s=301.0).at(630.5)["depth"] == pytest.approx(
        1.5
    )


def test_sorts_and_lets_the_last_of_a_time_win(write: Write) -> None:
    rows = [f"{t},{t / 100}" for t in range(0, 1000, 10)]
    jumbled = "\n".join([*rows[50:], *rows[:50], "500,9.5"])
    replay = load_replay(write(f"t,depth_m\n{jumbled}\n"), "depth_m", "t")
    assert replay.at(500.0) == {"depth": 9.5}
    assert replay.at(490.0) == {"depth": 4.9}
    assert replay.duration_s == 990.0


def test_where_chooses_one_series(write: Write) -> None:
    path = write(
        "event,site,t_s,depth_m\n1,a,0,1\n1,a,60,1\n12,a,0,2\n12,a,60,2\n12,b,0,3\n12,b,60,3\n"
    )
    chosen = load_replay(path, "depth_m", "t_s", {"event": "12", "site": "b"})
    assert chosen.values == (3.0, 3.0)


def test_reads_the_files_that_spreadsheets_write(tmp_path: Path) -> None:
    path = tmp_path / "gb.csv"
    path.write_bytes("时间;水深(cm);备注\r\n0;15;晴\r\n60;30;雨\r\n;;\r\n".encode("gb18030"))
    assert load_replay(path, "水深(cm)", "时间").values == pytest.approx((0.15, 0.30))
    path.write_bytes("\ufefft\tdepth\r\n0\t1\r\n60\t2\r\n".encode())
    assert load_replay(path, "depth", "t").values == (1.0, 2.0)


with_one_folder = settings(
    examples(30),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SAMPLES = st.dictionaries(
    st.integers(0, 10_000), st.none() | st.floats(-10.0, 10.0), min_size=2, max_size=40
).filter(lambda samples: any(value is not None for value in samples.values()))


@settings(
    examples(30), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(samples=SAMPLES, data=st.data())
def test_a_value_lies_between_its_neighbours_or_is_absent(
    write: Write, samples: dict[int, float | None], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(list(samples)))
    lines = "\n".join(f"{t},{'' if (v := samples[t]) is None else repr(v)}" for t in order)
    replay = load_replay(write(f"t,depth_m\n{lines}\n"), "depth_m", "t")
    start, end = min(samples), max(samples)
    assert replay.duration_s == end - start
    for t, value in samples.items():
        assert replay.at(t - start) == ({} if value is None else {"depth": value})
    t_s = data.draw(st.floats(0.0, float(end - start)))
    before = max(t for t in samples if t - start <= t_s)
    after = min(t for t in samples if t - start >= t_s)
    left, right = samples[before], samples[after]
    seen = replay.at(t_s)
    if left is None or right is None or after - before > replay.max_gap_s:
        assert seen == {}
    else:
        assert min(left, right) - 1e-9 <= seen["depth"] <= max(left, right) + 1e-9


# --- refusing -------------------------------------------------------------------------------------


def test_absent_file_and_folder(tmp_path: Path) -> None:
    assert "none.csv: cannot be read (No such file" in refusal(tmp_path / "none.csv")
    assert "give the path of a CSV file" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x02\x01\0\0\0", b"\xff\xfe\xfd\x80\x81", b"\x89PNG\r\n\xff"]
)
def test_binary_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.csv"
    path.write_bytes(content)
    assert "not a text file; export it as CSV" in refusal(path)


def test_empty_file_and_bare_header(write: Write) -> None:
    for text in ("", "\n\n", "t_s,depth_m\n"):
        assert "needs a header line and rows under it" in refusal(write(text))


def test_missing_column_lists_what_there_is(write: Write) -> None:
    path = write("t_s,level\n0,1\n1,1\n")
    assert "no column 'depth_m'; columns are: t_s, level" in refusal(path)
    assert "no column 'when'; columns are: t_s, level" in refusal(path, "level", "when")


def test_where_lists_the_values_that_there_are(write: Write) -> None:
    few = write("event,t_s,depth_m\n1,0,0\n1,9,0\n2,0,0\n2,9,0\n")
    assert "no row has event=7; values are: 1, 2" in refusal(few, event="7")
    assert "no column 'flood'; columns are: event, t_s, depth_m" in refusal(few, flood="7")
    many = write("event,t_s,depth_m\n" + "".join(f"{n},0,0\n{n},9,0\n" for n in range(50)))
    assert "values are: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 … (50 in all)" in refusal(
        many, event="x"
    )


def test_where_lists_only_what_its_other_conditions_leave(write: Write) -> None:
    path = write("event,site,t_s,depth_m\n1,a,0,0\n1,a,9,0\n2,b,0,0\n2,b,9,0\n")
    assert "no row has site=b; values are: a" in refusal(path, event="1", site="b")


def test_text_and_broken_numbers_are_named_with_their_line(write: Write) -> None:
    assert ":3: 'deep' in column 'depth_m' is no number" in refusal(
        write("t_s,depth_m\n0,1\n9,deep\n")
    )
    assert ":2: 'inf' in column 'depth_m' is no number" in refusal(
        write("t_s,depth_m\n0,inf\n9,1\n")
    )
    assert "has no numeric values in the 2 rows that the file leaves" in refusal(
        write("t_s,depth_m\n0,\n9,NA\n")
    )


def test_wrong_times_are_named_with_their_line(write: Write) -> None:
    for time, fault in [
        ("soon", "'soon' is not a time"),
        ("", "'' is not a time"),
        ("2024-13-01", "not a time"),
        ("nan", "not a time"),
        ("1719792000000", "too big for seconds"),
        ("2024-07-01", "is stamps without a zone in a column of plain seconds"),
    ]:
        assert fault in refusal(write(f"t_s,depth_m\n0,1\n{time},1\n"))
    mixed = write("t_s,depth_m\n2024-07-01T08:00,1\n2024-07-01T08:01Z,1\n")
    assert ":3: time '2024-07-01T08:01Z' is stamps with a zone in a column of" in refusal(mixed)


def test_one_sample_is_no_series(write: Write) -> None:
    path = write("event,t_s,depth_m\n1,0,0\n2,0,0\n2,9,0\n")
    assert "needs rows at two different times, where event=1 leaves one" in refusal(path, event="1")


def test_ragged_and_badly_quoted_lines(write: Write) -> None:
    assert ":3: 1 cells under a header of 2" in refusal(write("t_s,depth_m\n0,1\n9\n"))
    assert ":2: 3 cells under a header of 2" in refusal(write("t_s,depth_m\n0,0,45\n9,0,5\n"))
    assert "not a CSV file" in refusal(write('t_s,depth_m\n0,"1"x\n'))
    assert "not a CSV file" in refusal(write('t_s,depth_m\n0,"1\n9,1\n'))


def test_several_series_are_not_mixed_up(write: Write) -> None:
    path = write("event,t_s,depth_m\n1,0,0.1\n1,9,0.2\n2,0,0.3\n2,9,0.4\n")
    assert "2 of 4 rows contradict" in refusal(path)
    assert "choose one with --where COLUMN=VALUE: event, t_s, depth_m" in refusal(path)


def test_unknown_unit_and_wrong_gap(write: Write) -> None:
    path = write("t_s,depth_m\n0,1\n9,1\n")
    with pytest.raises(ScenarioError, match="unit 'inch' is unknown: give one of m, cm, mm"):
        load_replay(path, "depth_m", "t_s", unit="inch")
    with pytest.raises(ScenarioError, match=r"max_gap_s = 0\.0 must be over 0"):
        load_replay(path, "depth_m", "t_s", max_gap_s=0.0)


def test_message_stays_one_short_line_whatever_the_file_says(write: Write) -> None:
    long = "x" * 5000
    assert len(refusal(write(f'"a\nb",{long}\n1,2\n'))) < 300
    assert len(refusal(write(f't_s,depth_m\n0,"{long}\n{long}"\n'))) < 300


@settings(
    examples(30), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200) | st.text('01239.,;-:T"\n ae', max_size=200).map(str.encode))
def test_nothing_but_a_scenario_error_comes_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(b"t_s,depth_m\n" + content)
    replay: Replay | None = None
    with contextlib.suppress(ScenarioError):
        replay = load_replay(path, "depth_m", "t_s")
    if replay is None:
        refusal(path)
    else:
        assert replay.duration_s >= 0.0
        assert set(replay.at(replay.duration_s / 2)) <= {"depth"}


# --- real records ---------------------------------------------------------------------------------

real = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"no real records in {REAL.name} beside the project"
)


def recorded(name: str, column: str, **where: str) -> list[float]:
    """The column's numbers as the file has them."""
    with (REAL / name).open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[k] == v for k, v in where.items())]
    return [float(row[column]) for row in rows if row[column]]


@real
@pytest.mark.parametrize(
    ("name", "column", "time", "where", "unit", "factor"),
    [
        ("street_flood_depth_events.csv", "depth_m", "t_s", {"event": "12"}, None, 1.0),
        ("underpass_depth_1min.csv", "woojangchun_wl", "datetime", {}, "cm", 0.01),
        (
            "flash_flood_stage_with_spikes.csv",
            "level_m",
            "time_local_UTC+05:30",
            {"station": "Giriulla (Maha Oya)"},
            None,
            1.0,
        ),
        (
            "river_4_gauges_15min_stage_low_flow.csv",
            "value",
            "date_time_utc",
            {"station_reference": "4007"},
            None,
            1.0,
        ),
        ("small_river_3_gauges_hourly_2014_2019.csv", "stage_up_m", "time_UTC+9", {}, None, 1.0),
        ("landslide_displacement_daily_no_failure.csv", "MJ9/mm", "Date", {}, None, 0.001),
        ("river_6_gauges_15min_discharge.csv", "q", "time", {"site": "08158000"}, None, 1.0),
    ],
)
def test_real_record_plays_its_own_extremes(
    name: str, column: str, time: str, where: dict[str, str], unit: str | None, factor: float
) -> None:
    replay = load_replay(REAL / name, column, time, where, unit)
    written = recorded(name, column, **where)
    seen = [replay.at(t_s).get("depth") for t_s in replay.times_s]
    values = [value for value in seen if value is not None]
    assert max(values) == pytest.approx(max(written) * factor)
    assert min(values) == pytest.approx(min(written) * factor)
    assert len(values) == len(written)


@real
def test_every_real_street_flood_plays_and_none_mixes() -> None:
    path = REAL / "street_flood_depth_events.csv"
    with path.open(encoding="utf-8", newline="") as file:
        events = list(dict.fromkeys(row["event"] for row in csv.DictReader(file)))
    assert len(events) == 78
    for event in events[::20]:
        replay = load_replay(path, "depth_m", "t_s", {"event": event})
        assert max(v for v in replay.values if v is not None) >= 0.10
    assert "rows contradict another row of the same time" in refusal(path)
