"""Readings as InfluxDB's line protocol, built here and nowhere else.

    depth,gateway=g1,sensor=ruler,site=underpass value=0.153,quality=1i 1700000000000

Measurement per quantity; tags gateway, sensor, site, in the order of their names, which the
server likes best; fields value (float, absent where the reading is missing) and quality
(integer); time in milliseconds. Escapes after the InfluxDB 1.x line protocol reference: in a
measurement comma and space, in a tag comma, equals sign and space, each by a backslash.
"""

from collections.abc import Sequence
from typing import Final

from cloud.errors import Rejected
from cloud.store import Points

_TAG: Final = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})


def encode(points: Sequence[Points]) -> bytes:
    """The lines of all `points`, in UTF-8. Raises Rejected for a name that no escape can carry."""
    lines = []
    for gateway, readings in points:
        heads: dict[tuple[str, str, str], str] = {}
        for r in readings:
            name = (r.quantity, r.sensor, r.site)
            if (head := heads.get(name)) is None:
                head = heads[name] = (
                    f"{r.quantity},gateway={_tag(gateway)},"
                    f"sensor={_tag(r.sensor)},site={_tag(r.site)}"
                )
            if r.value is None:
                lines.append(f"{head} quality={r.quality:d}i {r.at_ms}")
            else:
                lines.append(f"{head} value={float(r.value)!r},quality={r.quality:d}i {r.at_ms}")
    return "\n".join(lines).encode()


def _tag(value: str) -> str:
    if not value or "\n" in value or value.endswith("\\"):
        raise Rejected(f"line protocol cannot carry the tag {value!r}")
    return value.translate(_TAG)
