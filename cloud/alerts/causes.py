"""What a rule has found, in the words that messages use."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud import tables
from cloud.alerts import gatewaywords
from cloud.alerts.figures import FIGURES, figure_of, plain
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import Known
from cloud.alerts.rule import Finding
from cloud.channels import Language, Measurement

_COLON: Final[dict[Language, str]] = {"zh": "：", "en": ": "}


class Cause(NamedTuple):
    known: Known
    stage: Stage


def of(row: Any) -> Cause:
    """What a change of an alert, joined with it, says: a row of `alert_change` and `alert`."""
    parts: Mapping[str, Any] = msgspec.json.decode(row.parts)
    device = row.sensor or row.gateway
    measured = None
    if row.value is not None:
        measured = Measurement(row.sensor, row.quantity, row.value, row.unit, row.at_ms)
    said: dict[Language, str] = {"en": row.text, "zh": row.text_zh}
    if row.hazard == Hazard.EQUIPMENT and device:  # else no name of a device helps anybody
        said = {tongue: f"{device}{_COLON[tongue]}{said[tongue]}" for tongue in said}
    stage = str(parts.get("stage", ""))
    known = Known(_figures(parts, device, measured), said, measured)
    return Cause(known, Stage(stage) if stage in [*Stage] else Stage.NOW)


def now(source: str, finding: Finding) -> Known:
    """What a rule finds now; `source` is its name among those of the alarm."""
    *_, gateway, sensor = source.split(":")
    measured = None
    if finding.value is not None:
        measured = Measurement(sensor, finding.quantity, finding.value, finding.unit, finding.at_ms)
    said: dict[Language, str] = {"en": finding.text, "zh": finding.text_zh}
    return Known(_figures(finding.parts, sensor or gateway, measured), said, measured)


def _figures(parts: Mapping[str, Any], device: str, measured: Measurement | None) -> dict[str, str]:
    """What stands in the placeholders, with the digits that people read."""
    digits = {one.placeholder: one.digits for one in FIGURES.values()}
    found = {}
    for name, value in parts.items():
        if isinstance(value, float) and name in digits:
            found[name] = f"{value:.{digits[name]}f}"
        elif value is not None:
            found[name] = plain(value)
    found.setdefault("device", device)
    figure = None if measured is None else figure_of(measured.quantity)
    if figure is not None and measured is not None:
        found.setdefault(figure.placeholder, f"{measured.value * figure.per_si:.{figure.digits}f}")
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
