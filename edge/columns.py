"""A table that fits the screen: what matters least is left out, and nothing is cut short."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PADDING: Final = 3
"""Around a column, with what the box has between two."""

_EDGES: Final = 2


class Column(NamedTuple):
    """A column of a table. The ones with the highest `rank` are left out where there is no room;
    one that `wraps` may have its cells on several lines."""

    heading: str
    cells: Sequence[Text | str]
    rank: int = 0
    left: bool = False
    wraps: bool = False


def show(console: Console, columns: Sequence[Column], title: str | None = None) -> None:
    """Print as many of the columns as fit, the most important ones. A cell that is wider than the
    screen is broken, not shortened: somebody may have to type it."""
    shown = list(columns)
    while _total(shown) > console.width:
        if (rank := max(column.rank for column in shown)) == 0:
            break
        shown.remove(next(column for column in reversed(shown) if column.rank == rank))
    fits = _total(shown) <= console.width
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in shown:
        justify: Literal["left", "right"] = "left" if column.left else "right"
        # A fixed width is the only one that a table keeps to where it is short of room.
        is_fixed = fits and not column.wraps
        width = max(_least(column), min(cell_len(column.heading), _spare(shown, column, console)))
        table.add_column(
            column.heading, justify=justify, overflow="fold", width=width if is_fixed else None
        )
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*row)
    console.print(table)


def _total(columns: Sequence[Column]) -> int:
    return sum(_least(column) + _PADDING for column in columns) + _EDGES


def _spare(columns: Sequence[Column], one: Column, console: Console) -> int:
    """How wide a column can be where the others are as narrow as they can be; where all headings
    fit beside each other, as wide as its own."""
    wanted = sum(max(_least(c), cell_len(c.heading)) - _least(c) for c in columns)
    if _total(columns) + wanted <= console.width:
        return cell_len(one.heading)
    return _least(one)


def _least(column: Column) -> int:
    """The width in which nothing is broken but between words, where that is allowed."""
    cells = [str(cell) for cell in column.cells]
    if column.wraps:
        cells = [word for cell in cells for word in cell.split()]
    return max(map(cell_len, (*column.heading.split(), *cells)))
