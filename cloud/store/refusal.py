"""Whose fault it is that an InfluxDB did not take lines.

The lines: 400 or 422 that names points or lines (`CONDEMNS`), and 413. `Rejected`: those to blame
are looked for one by one, and go to quarantine.

Perhaps the lines: any other 400 or 422. A line of our own is written to the same place; if that is
taken, the others are to blame.

The request (rights, limits, schema, configuration): words of a limit (`LIMITS`), 401, 403, 404,
405, 409 ..., and a place that does not even take our own line. `Unavailable`: told, and tried
again; nothing goes to quarantine.

The moment: 429, 5xx, no answer. `Unavailable`: tried again.
"""

from typing import Final

from cloud.errors import Rejected, Unavailable

CONDEMNS: Final = (
    "partial write",  # 1.x, 2.x, 3.x: some lines were taken, some were not
    "field type conflict",  # 1.x, 2.x
    "unable to parse",  # 1.x, 2.x
    "parsing for line protocol failed",  # 3.x
    "invalid column type",  # 3.x
    "points beyond retention policy",  # 1.x to 1.8
    "points outside retention policy",  # 1.12, 2.9
)
"""What servers say of lines, in lower case; met on 1.6.7, 1.12.4, 2.9.1 and 3.6.0."""

LIMITS: Final = (
    "max-series-per-database limit exceeded",  # 1.x, as a partial write too
    "max-values-per-tag limit exceeded",
    "would exceed limit",  # 3.x: databases, tables, columns
)
"""What they say where an operator has to raise a limit, or to delete something."""

LINES_OR_REQUEST: Final = frozenset({400, 422})
TOO_LARGE: Final = 413


def is_of_the_lines(status: int, words: str) -> bool | None:
    """Whether this answer condemns lines; None where it does not tell."""
    if status == TOO_LARGE:
        return True
    if status not in LINES_OR_REQUEST:
        return False
    said = words.lower()
    if any(one in said for one in LIMITS):
        return False
    return True if any(one in said for one in CONDEMNS) else None


class Refused(Unavailable):
    """A server did not take lines; `status` and `words` are its answer."""

    def __init__(
        self, place: str, status: int, words: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{place} says {status}: {words}", retry_after_s)
        self.status = status
        self.words = words

    def rejected(self) -> Rejected:
        """The same, as a fault of the lines."""
        return Rejected(str(self))
