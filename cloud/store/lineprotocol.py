"""Readings as InfluxDB's line protocol, built here and nowhere else.

    depth,gateway=g1,sensor=ruler,site=underpass value=0.153,quality=1i 1700000000000

Measurement per quantity; tags gateway, sensor, site, in the order of their names, which the
server likes best; fields value (float, absent where the reading is missing) and quality
(integer); time in milliseconds. Escapes after the InfluxDB 1.x line protocol reference: in a
measurement comma and space, in a tag comma, equals sign and space, each by a backslash.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from cloud.errors import Rejected
from cloud.store import Points
from cloud.store.names import is_readable, shown
from wire.reading import Columns, Quality, Quantity, Series, columns

_TAG: Final = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_SERIES_KNOWN: Final = 32768
"""Heads that are remembered across writes, at 300 bytes each."""

_json: Final = msgspec.json.Encoder().encode
_TAILS: Final = {quality: f",quality={quality:d}i " for quality in Quality}


def encode(points: Sequence[Points]) -> bytes:
    """The lines of all `points`, in UTF-8. Raises Rejected for a name that no escape can carry."""
    return b"\n".join([_lines(gateway, columns(some)) for gateway, some in points if some])


def _lines(gateway: str, readings: Columns) -> bytes:
    """Each line in four parts; all parts of all lines are joined at once."""
    heads: list[str] = []
    for series, begin, end in readings.parts():
        heads += [_head(gateway, series)] * (end - begin)
    values = _texts(readings.values)
    qualities = readings.qualities
    if qualities.count(Quality.GOOD) == len(qualities):  # as nearly always, and none is missing
        tails = [_TAILS[Quality.GOOD]] * len(qualities)
    else:
        tails = [_TAILS[quality] for quality in qualities]
        for n, value in enumerate(readings.values):
            if value is None:  # such a line has its quality alone
                heads[n], values[n], tails[n] = heads[n][: -len("value=")], "", tails[n][1:]
    parts = [""] * (4 * len(readings))
    parts[0::4], parts[1::4], parts[2::4] = heads, values, tails
    parts[3::4] = _texts(readings.at_ms)
    return "".join(parts)[1:].encode()


def _texts(numbers: Sequence[float | None]) -> list[str]:
    """JSON writes a number as the protocol does, and msgspec in a third of repr()'s time."""
    return _json(numbers).decode()[1:-1].split(",")


@lru_cache(_SERIES_KNOWN)
def _head(gateway: str, series: Series) -> str:
    """How a line begins, up to its value. Raises Rejected."""
    site, sensor, quantity = series
    return f"\n{series_key(quantity, gateway, sensor, site)} value="


def series_key(quantity: Quantity, gateway: str, sensor: str, site: str) -> str:
    """Measurement and tags, escaped. Raises Rejected."""
    return f"{quantity},gateway={escaped(gateway)},sensor={escaped(sensor)},site={escaped(site)}"


def escaped(value: str) -> str:
    """`value` as a tag; raises Rejected if no escape can carry it, or nobody could read it."""
    if not can_be_written(value):
        raise Rejected(f"line protocol cannot carry the tag {shown(value)}")
    return value.translate(_TAG)


def can_be_written(value: str) -> bool:
    """Whether `value` can be a tag."""
    return is_readable(value) and not value.endswith("\\")
