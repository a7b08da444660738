"""Metrics as Prometheus reads them: text format 0.0.4.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from configs.text import clean

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_LONGEST: Final = 200
"""Characters of a label's value."""


class Family(NamedTuple):
    """One metric: `samples` are labels and value, and None is left out."""

    name: str
    kind: str
    help: str
    samples: Iterable[tuple[dict[str, str], float | None]]


def text(families: Iterable[Family]) -> str:
    """All of them. A label may be what a stranger says: it is one label on one line."""
    return "".join(line for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP shuichi_{family.name} {family.help}\n"
    yield f"# TYPE shuichi_{family.name} {family.kind}\n"
    for labels, value in family.samples:
        if value is not None:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"shuichi_{family.name}{f'{{{shown}}}' if shown else ''} {float(value)!r}\n"


def _escaped(label: str) -> str:
    return clean(label, _LONGEST).replace("\\", r"\\").replace('"', r"\"")
