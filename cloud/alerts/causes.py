"""What a rule has found, in the words that messages use."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from cloud.alerts.hazard import Stage
from cloud.alerts.records import Known
from cloud.channels import Language, Measurement
from wire.reading import Quantity


class Figure(NamedTuple):
    """How a quantity is told to people: its placeholder, its name, and the unit with how many of
    it make one of the SI unit."""

    placeholder: str
    zh: str
    unit: str
    per_si: float


FIGURES: Final = {
    Quantity.DEPTH: Figure("depth_cm", "积水深度", "cm", 100),
    Quantity.LEVEL: Figure("stage_m", "水位", "m", 1),
    Quantity.RAIN_TOTAL: Figure("rain_mm", "累计雨量", "mm", 1000),
    Quantity.RAIN_RATE: Figure("rain_mm_h", "雨强", "mm/h", 3_600_000),
    Quantity.DISPLACEMENT: Figure("crack_mm", "裂缝位移", "mm", 1000),
    Quantity.TEMPERATURE: Figure("temperature_c", "温度", "℃", 1),
    Quantity.VOLTAGE: Figure("voltage_v", "电压", "V", 1),
}


class Cause(NamedTuple):
    known: Known
    stage: Stage


def of(row: Any) -> Cause:
    """What a change of an alert, joined with it, says: a row of `alert_change` and `alert`."""
    parts: Mapping[str, Any] = msgspec.json.decode(row.parts)
    figures = {name: _plain(value) for name, value in parts.items() if value is not None}
    figures.setdefault("device", row.sensor or row.gateway)
    cause: dict[Language, str] = {"en": row.text}
    measured = None
    figure = FIGURES.get(row.quantity)
    if row.value is not None:
        measured = Measurement(row.sensor, row.quantity, row.value, row.unit, row.at_ms)
        if figure is not None and row.unit != "m/d":
            shown = _plain(row.value * figure.per_si)
            figures.setdefault(figure.placeholder, shown)
            cause["zh"] = f"{row.sensor or row.gateway} {figure.zh} {shown} {figure.unit}"
    cause.setdefault("zh", row.text)
    stage = str(parts.get("stage", ""))
    return Cause(Known(figures, cause, measured), Stage(stage) if stage in [*Stage] else Stage.NOW)


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
