"""The options that choose what the devices live through: a storm, or a recorded series."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from configs import numbers
from configs.loader import UserError
from firmware_sim.errors import ScenarioError
from firmware_sim.replay import load_replay
from firmware_sim.scenario import SIGNALS, Scenario, underpass_storm


class Record(NamedTuple):
    """A recorded series, as the command line names it; `file` is None for the storm."""

    file: Path | None
    column: str | None
    time_column: str | None
    where: tuple[str, ...]
    unit: str | None
    signal: str

    @property
    def label(self) -> str:
        """What to call it on a screen."""
        assert self.file is not None
        return " ".join((self.file.name, *self.where))

    def arguments(self) -> list[str]:
        """The same for another command line."""
        if self.file is None:
            return []
        given = {
            "--replay": str(self.file.resolve()),
            "--column": self.column,
            "--time-column": self.time_column,
            "--unit": self.unit,
            "--signal": self.signal,
        }
        pairs = [*given.items(), *(("--where", pair) for pair in self.where)]
        return [word for option, value in pairs if value is not None for word in (option, value)]


class BesideAtRest:
    """A record, and all signals that it does not hold at rest: a gauge that stands dry answers,
    a gauge without any signal would keep silent and hold up the bus that it shares."""

    def __init__(self, record: Scenario, signal: str) -> None:
        self.duration_s = record.duration_s
        self._record = record
        self._rest = {name: 0.0 for name in SIGNALS if name != signal}

    def at(self, t_s: float) -> Mapping[str, float]:
        """The record's own signal as it has it, gaps included; all others 0."""
        return {**self._rest, **self._record.at(t_s)}


def scenario_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `record`, `speed` and `seed` to a command."""

    @click.option(
        "--speed",
        type=numbers.SPEED,
        help="Scenario seconds per second.",
    )
    @click.option("--seed", type=numbers.SEED, help="Moves the gusts of the storm.")
    @click.option(
        "--replay",
        type=click.Path(path_type=Path),
        metavar="CSV",
        help="Play a recorded series in place of the storm.",
    )
    @click.option("--column", help="The column of the record to play.")
    @click.option("--time-column", help="The column with its times, s or ISO 8601.")
    @click.option(
        "--where", multiple=True, metavar="COLUMN=VALUE", help="Only these rows; repeatable."
    )
    @click.option("--unit", help="Unit of the column, where its name does not end in it.")
    @click.option(
        "--signal",
        type=click.Choice(list(SIGNALS)),
        default="depth",
        show_default=True,
        help="What the column is.",
    )
    @functools.wraps(command)
    def with_record(
        *args: Any,
        replay: Path | None,
        column: str | None,
        time_column: str | None,
        where: tuple[str, ...],
        unit: str | None,
        signal: str,
        **others: Any,
    ) -> Any:
        if replay is None and (column or time_column or where or unit):
            raise UserError("--column, --time-column, --where and --unit go with --replay")
        record = Record(replay, column, time_column, where, unit, signal)
        return command(*args, record=record, **others)

    return with_record


def choose_scenario(record: Record, seed: int) -> Scenario:
    """The recorded series, or the storm. Raises UserError for a record that cannot be played."""
    if record.file is None:
        return underpass_storm(seed)
    if not record.file.is_file():
        raise UserError(f"--replay {record.file}: there is no such file")
    if record.column is None or record.time_column is None:
        raise UserError(
            f"--replay {record.file}: say which columns with --column and --time-column"
        )
    wanted = {}
    for pair in record.where:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UserError(f"--where {pair!r}: write it as COLUMN=VALUE")
        wanted[key] = value
    try:
        played = load_replay(
            record.file,
            record.column,
            record.time_column,
            wanted,
            record.unit,
            signal=record.signal,
        )
        return BesideAtRest(played, record.signal)
    except ScenarioError as error:
        raise UserError(str(error)) from None
