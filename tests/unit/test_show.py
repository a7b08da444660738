"""Readings on a screen: nothing is cut off at 80 columns, and no line goes where nothing was."""

import io
import itertools
from collections.abc import Sequence
from datetime import UTC
from io import BytesIO

import pytest

from cloud import show
from cloud.plots import png
from cloud.show import Shown
from cloud.store import Rollup, Row
from wire.reading import Quantity

T0 = 1_705_305_600_000  # 2024-01-15T08:00:00Z
LONG = ("yuzhong-underpass-01", "jialing-huangshaxi")


def row(sensor: str, n: int, value: float | None, quality: int = 1) -> Row:
    return Row(T0 + n * 1000, *LONG, sensor, Quantity.DEPTH, value, quality)


def rollup(sensor: str, n: int) -> Rollup:
    values = (0.0163619, 123456.0, 0.0163619)
    at_ms = T0 + n * 60_000
    return Rollup(at_ms, *LONG, sensor, Quantity.DISPLACEMENT, *values, 6000, 0, 0, 2)


def on_a_screen(rows: Sequence[Shown], monkeypatch: pytest.MonkeyPatch, width: int = 80) -> str:
    monkeypatch.setattr(show, "_FILE_WIDTH", width)
    out = io.StringIO()
    show.table(rows, UTC, out)
    return out.getvalue()


def test_at_eighty_columns_each_sensor_has_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [rollup(sensor, n) for n in range(3) for sensor in ("ruler-north", "ruler-south")]
    text = on_a_screen(rows, monkeypatch)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    heads = [line for line in lines if line.startswith(" ".join(LONG))]
    assert [line.split()[2] for line in heads] == ["ruler-north", "ruler-south"]
    assert len([line for line in lines if line.startswith("2024-01-15 08:0")]) == 6


def test_where_there_is_room_it_is_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(sensor, n, 0.15) for n in range(3) for sensor in ("a", "b")]
    wide = on_a_screen(rows, monkeypatch, 160).splitlines()
    assert len([line for line in wide if line.startswith("time")]) == 1
    assert [line.split()[4] for line in wide if line.startswith("2024")] == ["a", "b"] * 3
    some = on_a_screen(rows, monkeypatch, 60).splitlines()  # what all have in common is its title
    assert some[0] == " ".join(LONG)
    assert [line.split()[2] for line in some if line.startswith("2024")] == ["a", "b"] * 3


def charted(rows: Sequence[Shown]) -> list[str]:
    out = io.StringIO()
    show.chart(rows, UTC, out)
    return out.getvalue().splitlines()


def test_a_bad_reading_is_no_part_of_a_chart() -> None:
    lines = charted(
        [row("r", n, 9.99 if n == 5 else n / 100, 4 if n == 5 else 1) for n in range(9)]
    )
    assert lines[2].startswith("0.08")  # the highest
    bad = charted([row("r", n, 9.99, 4) for n in range(9)])
    assert bad == ["depth: no values, only missing or bad ones"]


def test_names_stand_under_a_chart_not_on_it() -> None:
    lines = charted([row(sensor, n, n / 10) for sensor in ("north", "south") for n in range(9)])
    assert lines[-3:-1] == ["  *  north", "  x  south"]
    frame = [line for line in lines if line.rstrip().endswith("│")]
    assert len(frame) > 10
    assert not any("north" in line or "south" in line for line in frame)


def test_a_line_breaks_where_nothing_was() -> None:
    times = [0, 1, 2, 3, 20, 21, 22, 30, 31]
    points = [(at, None if at == 21 else 1.0) for at in times]
    runs = [[at for at, _ in run] for run in show.unbroken(points)]
    assert runs == [[0, 1, 2, 3], [20], [22], [30, 31]]
    assert list(show.unbroken([])) == []
    assert list(show.unbroken([(0, None)])) == []
    assert list(itertools.chain(*show.unbroken([(0, 2.0)]))) == [(0, 2.0)]


@pytest.mark.parametrize(
    "rows",
    [
        [row("r", 0, 0.1)],
        [row("r", 0, None, 9)],
        [row("r", n, n / 10, 1 + n % 4) for n in range(9)],
        [rollup(sensor, n) for sensor in "abcdefghijkl" for n in range(5)],
        [rollup("a", 0)._replace(min=None, mean=None, max=None, worst=None)],
    ],
)
def test_whatever_there_is_makes_a_picture(rows: list[Shown]) -> None:
    out = BytesIO()
    png(rows, UTC, out)
    assert out.getvalue().startswith(b"\x89PNG")
