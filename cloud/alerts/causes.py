"""What a rule has found, in the words that messages use."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud import tables
from cloud.alerts import devices, gatewaywords
from cloud.alerts.figures import FIGURES, figure_of, plain, rounded
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import Known
from cloud.alerts.rule import Finding
from cloud.channels import Language, Measurement

BY_HAND: Final = "by hand"
"""The source of the conditions that people report."""

_MEASURED: Final = frozenset(
    {
        *(str(one) for one in FIGURES),
        *(f"{one}_rise" for one in FIGURES),
        *("stage", "rain_sum", "crack_speed", "crack_acceleration"),
    }
)
"""What rules find that is a value of one moment. Anything else lasts."""


class Cause(NamedTuple):
    known: Known
    stage: Stage


def of(row: Any) -> Cause:
    """What a change of an alert, joined with it, says: a row of `alert_change` and `alert`."""
    parts: Mapping[str, Any] = msgspec.json.decode(row.parts)
    measured = None
    if row.value is not None:
        # A gateway whose clock is wrong has read it when it came, at the latest.
        at_ms = min(row.at_ms, row.received_at_ms)
        measured = Measurement(row.sensor, row.quantity, row.value, row.unit, at_ms)
    said: dict[Language, str] = {"en": row.text, "zh": row.text_zh}
    stage = str(parts.get("stage", ""))
    since_ms = _since_ms(parts, row.quantity, row.at_ms)
    known = Known(_figures(parts, measured), said, measured, since_ms)
    return Cause(known, Stage(stage) if stage in [*Stage] else Stage.NOW)


def now(source: str, finding: Finding) -> Known:
    """What a rule finds now; `source` is its name among those of the alarm."""
    sensor = source.rpartition(":")[2]
    measured = None
    if finding.value is not None:
        measured = Measurement(sensor, finding.quantity, finding.value, finding.unit, finding.at_ms)
    said: dict[Language, str] = {"en": finding.text, "zh": finding.text_zh}
    since_ms = _since_ms(finding.parts, finding.quantity, finding.at_ms)
    return Known(_figures(finding.parts, measured), said, measured, since_ms)


def _since_ms(parts: Mapping[str, Any], quantity: str, at_ms: int) -> int | None:
    """Since when it lasts; None of what is measured: that is of one moment."""
    since_ms = parts.get("since_ms")
    if isinstance(since_ms, int):
        return since_ms
    return None if quantity in _MEASURED else at_ms


def _figures(parts: Mapping[str, Any], measured: Measurement | None) -> dict[str, str]:
    """What stands in the placeholders, with the digits that people read."""
    digits = {one.placeholder: one.digits for one in FIGURES.values()}
    found = {}
    for name, value in parts.items():
        if isinstance(value, float) and name in digits:
            found[name] = rounded(value, digits[name])
        elif value is not None:
            found[name] = plain(value)
    figure = None if measured is None else figure_of(measured.quantity)
    if figure is not None and measured is not None:
        found.setdefault("device", devices.measuring(measured.quantity))
        shown = rounded(measured.value * figure.per_si, figure.digits)
        found.setdefault(figure.placeholder, shown)
    return found


def lamp(connection: Connection, site: str, hazard: Hazard, tongue: Language) -> dict[str, str]:
    """What the lamp of an underpass was last seen to show, as figures."""
    if hazard is not Hazard.UNDERPASS:
        return {}
    table = tables.interlock
    shown = connection.execute(select(table.c.confirmed).filter_by(site=site)).scalars().first()
    if tongue == "zh":
        return {"lamp": gatewaywords.aspect(shown)}
    return {"lamp": "unknown" if shown is None else str(shown).replace("_", " ")}
