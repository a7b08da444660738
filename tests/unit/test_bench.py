"""The frame around the figures: list, last line, exit codes; not what they measure."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import bench
from bench.__main__ import main
from bench.figure import Goal, known, percentile, spread

PLAIN = """
from bench.figure import Figure, Goal, Result, spread
FIGURE = Figure("how fast it is", "ms", Goal("<=", 750))
def measure(progress):
    progress(0.5, "half way")
    return Result({value}, {{"run, ms": spread([3.0, 1.0, 2.0]), "what": "a fake"}})
"""
ASYNC = """
import asyncio
from bench.figure import Figure, Goal, Result
FIGURE = Figure("reads against another's reads", "ratio", Goal(">=", 0.97))
async def measure(progress):
    await asyncio.sleep(0)
    return Result(0.98)
"""
REPORTED = """
from bench.figure import Figure, Result
FIGURE = Figure("two shards against one", "ratio", None)
def measure(progress):
    return Result(1.9)
"""
BROKEN = """
from bench.figure import Figure, Goal, Result
from configs.loader import UserError
FIGURE = Figure("nothing", "ms", Goal("<=", 1))
def measure(progress):
    raise UserError("the server is not installed")
"""


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures beside ours: what stands in the folder is found by its file name."""
    sources = {
        "fast": PLAIN.format(value=602.9),
        "slow": PLAIN.format(value=750.01),
        "absurd": PLAIN.format(value='float("nan")'),
        "through": ASYNC,
        "splinters": REPORTED,
        "broken": BROKEN,
        "no_figure": "FIGURES = 3\n",
        "_shared": PLAIN.format(value=1),
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, f"bench.{name}", raising=False)
    monkeypatch.setattr(bench, "__path__", [*bench.__path__, str(tmp_path)])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="python -m bench")


def test_every_figure_of_ours_says_what_it_is():
    figures = known()
    assert "demo_lamp" in figures
    for one in figures.values():
        assert one.figure.title
        assert len(one.figure.unit.split()) == 1
        assert callable(one.measure)


@pytest.mark.usefixtures("figures")
def test_the_list_names_each_figure_with_its_goal():
    listed = run()
    assert listed.exit_code == 0
    rows = {line.split()[0]: line for line in listed.output.splitlines()}
    assert "<=750 ms" in rows["fast"]
    assert "reads against another's reads" in rows["through"]
    assert ">=0.97 ratio" in rows["through"]
    assert "reported only" in rows["splinters"]
    assert not {"no_figure", "_shared", "figure", "programs"} & set(rows)
    by_id = {row["id"]: row for row in json.loads(run("--json").output)}
    assert by_id["fast"] == {"id": "fast", "title": "how fast it is", "unit": "ms", "goal": "<=750"}
    assert by_id["splinters"]["goal"] is None


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize(
    ("id", "last_line", "code"),
    [
        ("fast", "fast 602.9 ms <=750 ok", 0),
        ("slow", "slow 750.01 ms <=750 short", 1),
        ("absurd", "absurd nan ms <=750 short", 1),
        ("through", "through 0.98 ratio >=0.97 ok", 0),
        ("splinters", "splinters 1.9 ratio - ok", 0),
    ],
)
def test_the_last_line_is_the_verdict(id: str, last_line: str, code: int):
    result = run(id)
    assert result.stdout.splitlines()[-1] == last_line
    assert result.exit_code == code


@pytest.mark.usefixtures("figures")
def test_details_and_the_machine_stand_above_it():
    lines = run("fast").stdout.splitlines()
    assert lines[0] == "fast: how fast it is"
    assert "  run, ms: median 2, 1 to 3, 3 runs" in lines
    assert "  what: a fake" in lines
    assert any(line.startswith("  cores: ") for line in lines)
    assert any(line == f"  Python: {sys.version.split()[0]}" for line in lines)


@pytest.mark.usefixtures("figures")
def test_several_figures_end_with_the_worst_code():
    result = run("fast", "slow", "through")
    verdicts = [line for line in result.stdout.splitlines() if line.endswith((" ok", " short"))]
    assert [verdict.split()[0] for verdict in verdicts] == ["fast", "slow", "through"]
    assert result.exit_code == 1


@pytest.mark.usefixtures("figures")
def test_json_is_one_object_a_figure():
    result = run("slow", "through", "--json")
    slow, through = map(json.loads, result.stdout.splitlines())
    assert (slow["id"], slow["value"], slow["unit"], slow["goal"], slow["ok"]) == (
        "slow",
        750.01,
        "ms",
        "<=750",
        False,
    )
    assert slow["details"]["run, ms"] == {"median": 2.0, "min": 1.0, "max": 3.0, "runs": 3}
    assert slow["machine"]["cores"] >= 1
    assert through["ok"] is True
    assert result.exit_code == 1


@pytest.mark.usefixtures("figures")
def test_an_unknown_figure_starts_nothing_and_names_the_known_ones():
    result = run("fast", "throuhg")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "there is no figure 'throuhg' (did you mean 'through'?)" in result.stderr
    assert "there are: " in result.stderr
    assert "demo_lamp" in result.stderr


@pytest.mark.usefixtures("figures")
def test_a_figure_that_cannot_be_measured_is_one_line():
    result = run("broken", "fast")
    assert result.exit_code == 2
    assert "bench: broken: the server is not installed\n" in result.stderr
    assert result.stdout.splitlines()[-1] == "fast 602.9 ms <=750 ok"


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal("<=", 1.05), 1.05, True),
        (Goal("<=", 1.05), 1.051, False),
        (Goal(">=", 0.97), 0.97, True),
        (Goal(">=", 0.97), 0.969, False),
        (Goal("<=", 0), 0, True),
    ],
)
def test_a_goal_includes_its_number(goal: Goal, value: float, met: bool):
    assert goal.is_met(value) is met


def test_percentile_is_the_nearest_rank():
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 99) == 99
    assert percentile(values, 50) == 50
    assert percentile(values, 100) == 100
    assert percentile(values[:24], 99) == 100
    assert percentile([7.0], 1) == 7
    assert spread([4.0, 1.0, 2.0, 8.0]) == (3.0, 1.0, 8.0, 4)
