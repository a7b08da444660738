"""`python -m bench` lists the figures; `python -m bench ID ...` measures them, one after another.

The last line of each is `ID value unit goal ok|short`; with --json it is one object. Exit code 0 if
all goals are met, 1 if one is not, 2 if a figure is unknown or could not be measured.
"""

import asyncio
import json
import os
import platform
import signal
import sys
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.figure import Bench, Result, Spread, known
from configs.loader import UserError, suggest

_INTERRUPTED: Final = 130


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--json", "as_json", is_flag=True, help="One object a figure, for machines.")
def main(ids: tuple[str, ...], as_json: bool) -> None:
    """Measure figures on this machine; without an ID, list them."""
    benches = known()
    if not ids:
        _list(benches, as_json)
        return
    unknown = [
        f"there is no figure {id!r}{suggest(id, benches)}" for id in ids if id not in benches
    ]
    if unknown:
        _complain(*unknown, f"there are: {', '.join(benches)}")
        sys.exit(2)
    codes = [_run(benches[id], as_json) for id in ids]
    sys.exit(max(codes))


def _run(bench: Bench, as_json: bool) -> int:
    """Measure one figure and print it; 0 if it is good enough, 1 if not, 2 if it failed."""
    machine = _machine()
    try:
        result = _measure(bench)
    except UserError as error:
        _complain(*(f"{bench.id}: {line}" for line in str(error).splitlines()))
        return 2
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    goal = bench.figure.goal
    ok = goal is None or goal.is_met(result.value)
    if as_json:
        click.echo(json.dumps(_as_dict(bench, result, ok, machine), ensure_ascii=False))
    else:
        click.echo(f"{bench.id}: {bench.figure.title}")
        for name, detail in (*result.details.items(), *machine.items()):
            click.echo(
                f"  {name}: {detail:.4g}" if isinstance(detail, float) else f"  {name}: {detail}"
            )
        click.echo(last_line(bench, result, ok))
    return 0 if ok else 1


def last_line(bench: Bench, result: Result, ok: bool) -> str:
    """`ID value unit goal ok|short`: five words; the goal of a figure without one is "-"."""
    goal = bench.figure.goal or "-"
    return f"{bench.id} {result.value:.6g} {bench.figure.unit} {goal} {'ok' if ok else 'short'}"


def _measure(bench: Bench) -> Result:
    columns = (
        TextColumn(bench.id),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starts", total=1.0)
        measured = bench.measure(
            lambda share, doing: bar.update(task, completed=share, description=doing)
        )
        return measured if isinstance(measured, Result) else asyncio.run(measured)


def _machine() -> dict[str, str | int | float]:
    """What the figures depend on. The load is that of the minute before."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load before": round(os.getloadavg()[0], 2),
        "Python": platform.python_version(),
        "system": platform.platform(),
    }


def _list(benches: dict[str, Bench], as_json: bool) -> None:
    if as_json:
        figures = {id: bench.figure for id, bench in benches.items()}
        rows = [
            {
                "id": id,
                "title": f.title,
                "unit": f.unit,
                "goal": None if f.goal is None else str(f.goal),
            }
            for id, f in figures.items()
        ]
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("ID", "what", "goal", box=None)
    for bench in benches.values():
        goal = bench.figure.goal
        table.add_row(
            bench.id, bench.figure.title, f"{goal} {bench.figure.unit}" if goal else "reported only"
        )
    Console().print(table)


def _as_dict(bench: Bench, result: Result, ok: bool, machine: dict[str, Any]) -> dict[str, Any]:
    goal = bench.figure.goal
    details = {
        name: detail._asdict() if isinstance(detail, Spread) else detail
        for name, detail in result.details.items()
    }
    return {
        "id": bench.id,
        "title": bench.figure.title,
        "value": result.value,
        "unit": bench.figure.unit,
        "goal": None if goal is None else str(goal),
        "ok": ok,
        "details": details,
        "machine": machine,
    }


def _complain(*lines: str) -> None:
    for line in lines:
        click.echo(f"bench: {line}", err=True)


if __name__ == "__main__":
    # As Ctrl-C does, so that a figure ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(prog_name="python -m bench")
