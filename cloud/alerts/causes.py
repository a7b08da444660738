"""What a rule has found, in the words that messages use."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud import tables
from cloud.alerts import gatewaywords
from cloud.alerts.figures import FIGURES, plain
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.records import Known
from cloud.channels import Language, Measurement

_COLON: Final[dict[Language, str]] = {"zh": "：", "en": ": "}


class Cause(NamedTuple):
    known: Known
    stage: Stage


def of(row: Any) -> Cause:
    """What a change of an alert, joined with it, says: a row of `alert_change` and `alert`."""
    parts: Mapping[str, Any] = msgspec.json.decode(row.parts)
    device = row.sensor or row.gateway
    figures = {name: plain(value) for name, value in parts.items() if value is not None}
    figures.setdefault("device", device)
    english = row.text if device else f"{row.text[:1].upper()}{row.text[1:]}"
    said: dict[Language, str] = {"en": english, "zh": row.text_zh}
    cause = {tongue: f"{device}{_COLON[tongue] * bool(device)}{said[tongue]}" for tongue in said}
    measured = None
    if row.value is not None:
        measured = Measurement(row.sensor, row.quantity, row.value, row.unit, row.at_ms)
        figure = FIGURES.get(row.quantity)
        if figure is not None:
            figures.setdefault(figure.placeholder, plain(row.value * figure.per_si))
    stage = str(parts.get("stage", ""))
    return Cause(Known(figures, cause, measured), Stage(stage) if stage in [*Stage] else Stage.NOW)


def lamp(connection: Connection, site: str, hazard: Hazard, tongue: Language) -> dict[str, str]:
    """What the lamp of an underpass was last seen to show, as figures."""
    if hazard is not Hazard.UNDERPASS:
        return {}
    table = tables.interlock
    shown = connection.execute(select(table.c.confirmed).filter_by(site=site)).scalars().first()
    if tongue == "zh":
        return {"lamp": gatewaywords.aspect(shown)}
    return {"lamp": "unknown" if shown is None else str(shown).replace("_", " ")}
