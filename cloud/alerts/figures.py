"""How quantities are told to people: by which name, and in which unit."""

from typing import Final, NamedTuple

from wire.reading import Quantity


class Figure(NamedTuple):
    """How a quantity is told to people: its placeholder, its names, and the unit with how many of
    it make one of the SI unit."""

    placeholder: str
    zh: str
    en: str
    unit: str
    per_si: float

    def shown(self, value: float) -> str:
        """`value`, in SI, as people read it: `31 cm`."""
        return f"{plain(value * self.per_si)} {self.unit}"


FIGURES: Final = {
    Quantity.DEPTH: Figure("depth_cm", "积水深度", "depth", "cm", 100),
    Quantity.LEVEL: Figure("stage_m", "水位", "level", "m", 1),
    Quantity.RAIN_TOTAL: Figure("rain_mm", "累计雨量", "rain in all", "mm", 1000),
    Quantity.RAIN_RATE: Figure("rain_mm_h", "雨强", "rain rate", "mm/h", 3_600_000),
    Quantity.DISPLACEMENT: Figure("crack_mm", "裂缝位移", "displacement", "mm", 1000),
    Quantity.FREQUENCY: Figure("frequency_hz", "频率", "frequency", "Hz", 1),
    Quantity.TEMPERATURE: Figure("temperature_c", "温度", "temperature", "℃", 1),
    Quantity.VOLTAGE: Figure("voltage_v", "电压", "voltage", "V", 1),
}


def plain(value: object) -> str:
    """A value as it stands in a text: four digits, no exponent."""
    if not isinstance(value, float):
        return str(value)
    digits = f"{value:.4g}"
    return f"{value:.0f}" if "e" in digits and abs(value) >= 1 else digits
