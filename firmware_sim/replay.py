"""Any recorded CSV series, played through one signal."""

from __future__ import annotations

import csv
import io
import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from firmware_sim.errors import ScenarioError

UNITS: Final[Mapping[str, float]] = {
    "m": 1.0,
    "cm": 1e-2,
    "mm": 1e-3,
    "m/s": 1.0,
    "mm/h": 1e-3 / 3600.0,
    "mm/min": 1e-3 / 60.0,
}
"""SI value of one of each."""

GAP_MARKS: Final = frozenset({"", "-", "--", "na", "n/a", "nan", "none", "null"})
"""What stands for "no value" in a cell, in lower case."""

UNIT_SUFFIX: Final = re.compile(r"[_/ (\[](mm|cm|m)[)\]]?$")  # depth_m · level/mm · 水深(cm)
LAST_PLAIN_SECOND: Final = 1e11  # year 5138; beyond it lie milliseconds and stamps without dashes
SEVERAL_SERIES: Final = 0.1  # more contradicting rows than this are no clock change, but two series
FEW: Final = 12  # names or values that still fit into one line


@dataclass(frozen=True, slots=True)
class Replay:
    """A recorded series as a scenario. Straight lines between neighbours at most `max_gap_s`
    apart; across a longer gap, or beside a sample without a value, the signal is absent.

    `times_s` rise strictly from 0; `values` are SI, None where the record has none.
    """

    signal: str
    times_s: tuple[float, ...]
    values: tuple[float | None, ...]
    max_gap_s: float

    @property
    def duration_s(self) -> float:
        return self.times_s[-1]

    def at(self, t_s: float) -> Mapping[str, float]:
        t_s = min(max(t_s, 0.0), self.duration_s)
        k = bisect_right(self.times_s, t_s) - 1
        left, start_s = self.values[k], self.times_s[k]
        if left is None:
            return {}
        if t_s == start_s:
            return {self.signal: left}
        right, step_s = self.values[k + 1], self.times_s[k + 1] - start_s
        if right is None or step_s > self.max_gap_s:
            return {}
        share = (t_s - start_s) / step_s
        return {self.signal: left * (1.0 - share) + right * share}


def load_replay(
    path: Path,
    column: str,
    time_column: str,
    where: Mapping[str, str] | None = None,
    unit: str | None = None,
    *,
    signal: str = "depth",
    max_gap_s: float | None = None,
) -> Replay:
    """Read one series of a CSV file with a header; raise `ScenarioError` if it can't be played.

    - `time_column`: plain seconds from any start, or ISO 8601 stamps (zone or none, `T`, blank or
      any one character between date and time; without a zone a day has 24 h). Shifted to start
      at 0, sorted; of rows with one time the last counts. Where more than a tenth of the rows
      contradict another one of their time, the file holds several series and is refused.
    - `where`: keep the rows whose columns hold exactly these texts.
    - `unit`: one of `UNITS`; without it the column's own ending (`depth_cm`), else SI.
    - `max_gap_s`: see `Replay`; 5 median steps if not given.

    Cells of `GAP_MARKS` are samples without a value. Delimiter: comma, semicolon or tab, whichever
    the header has most of. Encoding: UTF-8, or GB 18030 as spreadsheets in China write it.
    """
    if unit is not None and unit not in UNITS:
        raise ScenarioError(f"unit {unit!r} is unknown: give one of {', '.join(UNITS)}")
    if max_gap_s is not None and not max_gap_s > 0.0:
        raise ScenarioError(f"max_gap_s = {max_gap_s} must be over 0")
    table = _Table.read(path)
    rows = table.select(where or {})
    series = _series(table, rows, table.index(column), table.index(time_column))
    times = sorted(series)
    if len(times) < 2:
        raise ScenarioError(
            f"{path}: a replay needs rows at two different times, {_filter_text(where)} leaves one"
        )
    if all(value is None for value in series.values()):
        raise ScenarioError(
            f"{path}: column {column!r} has no numeric values in the {len(rows)} rows that "
            f"{_filter_text(where)} leaves; choose another column: {_listed(table.header)}"
        )
    suffix = UNIT_SUFFIX.search(column)
    factor = UNITS[unit or (suffix[1] if suffix else "m")]
    return Replay(
        signal=signal,
        times_s=tuple(t - times[0] for t in times),
        values=tuple(None if (v := series[t]) is None else v * factor for t in times),
        max_gap_s=max_gap_s or 5.0 * median(b - a for a, b in pairwise(times)),
    )


class _Row(NamedTuple):
    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Table:
    path: Path
    header: Sequence[str]
    rows: Sequence[_Row]

    @classmethod
    def read(cls, path: Path) -> _Table:
        text = _text(path)
        head = text.partition("\n")[0]
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True
        )
        rows: list[_Row] = []
        try:
            header = [name.strip() for name in next(reader, [])]
            for raw in reader:
                if any(cells := [cell.strip() for cell in raw]):
                    rows.append(_Row(reader.line_num, cells))
        except csv.Error as error:
            raise ScenarioError(
                f"{path}:{reader.line_num}: not a CSV file ({error}); mend the quotes of that line"
            ) from None
        if not rows:
            raise ScenarioError(f"{path}: needs a header line and rows under it")
        for row in rows:
            if len(row.cells) < len(header) or any(row.cells[len(header) :]):
                raise ScenarioError(
                    f"{path}:{row.line}: {len(row.cells)} cells under a header of {len(header)}; "
                    "complete or remove that line"
                )
        return cls(path, header, rows)

    def index(self, column: str) -> int:
        if column not in self.header:
            raise ScenarioError(
                f"{self.path}: no column {column!r}; columns are: {_listed(self.header)}"
            )
        return self.header.index(column)

    def select(self, where: Mapping[str, str]) -> Sequence[_Row]:
        rows = self.rows
        for column, wanted in where.items():
            i = self.index(column)
            kept = [row for row in rows if row.cells[i] == wanted]
            if not kept:
                raise ScenarioError(
                    f"{self.path}: no row has {column}={wanted}; "
                    f"values are: {_listed(list(dict.fromkeys(row.cells[i] for row in rows)))}"
                )
            rows = kept
        return rows


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScenarioError(
            f"{path}: cannot be read ({error.strerror}); give the path of a CSV file"
        ) from None
    if b"\0" not in raw:
        for encoding in ("utf-8-sig", "gb18030"):
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError:
                continue
    raise ScenarioError(f"{path}: not a text file; export it as CSV in UTF-8")


def _series(
    table: _Table, rows: Sequence[_Row], value_index: int, time_index: int
) -> dict[float, float | None]:
    """Time → value as written, the last row of a time winning."""
    series: dict[float, float | None] = {}
    contradictions = 0
    first_kind = _time(rows[0].cells[time_index])[1]
    for row in rows:
        time_text, value_text = row.cells[time_index], row.cells[value_index]
        time, kind = _time(time_text)
        if time is None or kind != first_kind:
            raise ScenarioError(
                f"{table.path}:{row.line}: time {_short(time_text)!r} is {kind}"
                + (f" in a column of {first_kind}" if time is not None else "")
                + "; write seconds or 2024-07-01T08:00:00, the same way in all rows"
            )
        value = _number(value_text)
        if value is None and value_text.lower() not in GAP_MARKS:
            raise ScenarioError(
                f"{table.path}:{row.line}: {_short(value_text)!r} in column "
                f"{table.header[value_index]!r} is no number; leave the cell empty for a gap, or "
                f"choose another column: {_listed(table.header)}"
            )
        contradictions += time in series and series[time] != value
        series[time] = value
    if contradictions > SEVERAL_SERIES * len(rows):
        raise ScenarioError(
            f"{table.path}: {contradictions} of {len(rows)} rows contradict another row of the "
            "same time, so there are several series in it; choose one with --where COLUMN=VALUE: "
            f"{_listed(table.header)}"
        )
    return series


def _time(text: str) -> tuple[float | None, str]:
    """Seconds and the kind of time; None and the fault."""
    seconds = _number(text)
    if seconds is not None:
        if abs(seconds) > LAST_PLAIN_SECOND:
            return None, "too big for seconds"
        return seconds, "plain seconds"
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        return None, "not a time"
    if stamp.tzinfo is None:
        return stamp.replace(tzinfo=UTC).timestamp(), "stamps without a zone"
    return stamp.timestamp(), "stamps with a zone"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _short(text: str) -> str:
    """Foreign text, fit for one line."""
    line = " ".join(text.split())
    return line if len(line) <= 40 else line[:39] + "…"


def _listed(values: Sequence[str]) -> str:
    few = ", ".join(_short(value) or "(empty)" for value in values[:FEW])
    return few if len(values) <= FEW else f"{few} … ({len(values)} in all)"


def _filter_text(where: Mapping[str, str] | None) -> str:
    if not where:
        return "the file"
    return "where " + " and ".join(f"{name}={_short(value)}" for name, value in where.items())
