"""How quantities are told to people: by which words, in which unit, with how many digits."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from cloud.alerts.trend import Trend
from cloud.channels import Language
from wire.messages import Level
from wire.reading import Quantity

LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")


_HUGE: Final = 1e7


class Figure(NamedTuple):
    """A quantity as people read it. `placeholder` is its name in instructions; `zh` and `en` are
    its names; `zh_now` and `en_now` say a value, which stands for `{}`; `unit` and `unit_zh` have
    `per_si` of it in one of the SI unit, told with `digits` decimals. `grows` and `falls` say in
    Chinese that the value rises and falls; English has the same words for all."""

    placeholder: str
    zh: str
    en: str
    zh_now: str
    en_now: str
    unit: str
    unit_zh: str
    per_si: float
    digits: int
    grows: str
    falls: str

    @property
    def worth(self) -> float:
        """What a change must be to be worth a word, in `unit`."""
        return 2.0 if self.placeholder == "rain_mm" else 0.5 * 10.0**-self.digits

    @property
    def more(self) -> str:
        """What a greater value is in Chinese; of rain there is more, water stands higher."""
        return "多" if self.placeholder.startswith("rain_") else "高"

    @property
    def less(self) -> str:
        return "少" if self.placeholder.startswith("rain_") else "低"

    def shown(self, value: float, language: Language = "en") -> str:
        """`value`, in SI, with its unit: `31 cm`, `31厘米`."""
        text = rounded(value * self.per_si, self.digits)
        return text + self.unit_zh if language == "zh" else f"{text} {self.unit}"

    def limit(self, value: float, language: Language) -> str:
        """The same for a threshold, with all the digits that it was given."""
        text = plain(float(f"{value * self.per_si:.9g}"))
        return text + self.unit_zh if language == "zh" else f"{text} {self.unit}"

    def now(self, value: float, language: Language) -> str:
        """What is measured, as the beginning of a sentence: `积水约35厘米`."""
        form = self.zh_now if language == "zh" else self.en_now
        return form.format(self.shown(value, language))


FIGURES: Final = {
    Quantity.DEPTH: Figure(
        *("depth_cm", "积水深度", "depth", "积水约{}", "{} of water", "cm", "厘米", 100, 0),
        *("仍在上涨", "正在消退"),
    ),
    Quantity.LEVEL: Figure(
        *("stage_m", "水位", "level", "水位{}", "water level {}", "m", "米", 1, 2),
        *("仍在上涨", "正在回落"),
    ),
    Quantity.RAIN_TOTAL: Figure(
        *("rain_mm", "累计雨量", "rain in all", "累计雨量{}", "{} of rain in all", "mm", "毫米"),
        *(1000, 1, "雨仍在下", "雨势减弱"),
    ),
    Quantity.RAIN_RATE: Figure(
        *("rain_mm_h", "雨强", "rain rate", "雨强{}", "rain at {}", "mm/h", "毫米每小时"),
        *(3_600_000, 0, "雨势增强", "雨势减弱"),
    ),
    Quantity.DISPLACEMENT: Figure(
        *("crack_mm", "裂缝位移", "displacement", "裂缝位移{}", "displacement {}", "mm", "毫米"),
        *(1000, 1, "仍在增大", "正在减小"),
    ),
    Quantity.FREQUENCY: Figure(
        *("frequency_hz", "频率", "frequency", "频率{}", "frequency {}", "Hz", "赫兹", 1, 1),
        *("正在升高", "正在降低"),
    ),
    Quantity.TEMPERATURE: Figure(
        *("temperature_c", "温度", "temperature", "温度{}", "temperature {}", "℃", "摄氏度", 1, 1),
        *("正在升高", "正在降低"),
    ),
    Quantity.VOLTAGE: Figure(
        *("voltage_v", "电压", "voltage", "电压{}", "voltage {}", "V", "伏", 1, 1),
        *("正在升高", "正在降低"),
    ),
}

_OF_A_RULE: Final[Mapping[str, Quantity]] = {
    "stage": Quantity.LEVEL,  # above another datum
    "rain_sum": Quantity.RAIN_TOTAL,  # of a window
}
"""What a rule makes of a quantity, and what is told by the same figures."""

_ENGLISH: Final = {
    Trend.RISING: "still rising",
    Trend.STEADY: "steady",
    Trend.FALLING: "falling",
}
_TREND_EN: Final[Mapping[str, Mapping[Trend, str]]] = {
    Quantity.RAIN_TOTAL: {Trend.RISING: "still raining", Trend.STEADY: "little rain now"},
    Quantity.RAIN_RATE: {
        Trend.RISING: "raining harder",
        Trend.STEADY: "raining as before",
        Trend.FALLING: "raining less",
    },
    Quantity.DISPLACEMENT: {
        Trend.RISING: "still growing",
        Trend.STEADY: "steady",
        Trend.FALLING: "closing",
    },
}
_STEADY_ZH: Final[Mapping[str, str]] = {
    Quantity.RAIN_TOTAL: "雨势已小",
    Quantity.RAIN_RATE: "雨势不减",
}
_GOES_BACK: Final = {Quantity.RAIN_TOTAL}
"""Counters: that they fall says nothing."""


_NAMED: Final[Mapping[str, Figure]] = {
    **{str(quantity): one for quantity, one in FIGURES.items()},
    **{name: FIGURES[quantity] for name, quantity in _OF_A_RULE.items()},
}


def figure_of(quantity: str) -> Figure | None:
    """How what a rule or a sensor has measured is told, None if no quantity of that name is."""
    return _NAMED.get(quantity)


def trend_in(quantity: str, trend: Trend, language: Language) -> str:
    """Whether it rises, in words; "" where that says nothing: of what a rule has found that is a
    change itself."""
    name, figure = _OF_A_RULE.get(quantity, quantity), figure_of(quantity)
    if figure is None or (trend is Trend.FALLING and name in _GOES_BACK):
        return ""
    if language == "en":
        return _TREND_EN.get(name, _ENGLISH)[trend]
    if trend is Trend.STEADY:
        return _STEADY_ZH.get(name, "目前平稳")
    return figure.grows if trend is Trend.RISING else figure.falls


LEVEL_ZH: Final = {
    Level.BLUE: "蓝色",
    Level.YELLOW: "黄色",
    Level.ORANGE: "橙色",
    Level.RED: "红色",
}


def against(level: Level, limit: str, language: Language) -> str:
    """The limit of a level, in brackets behind what is measured: `（红色标准30厘米）`."""
    if language == "zh":
        return f"（{LEVEL_ZH[level]}标准{limit}）"
    return f" ({level.name.lower()} limit {limit})"


def rounded(value: float, digits: int) -> str:
    """With so many decimals; without the sign of a zero, and without the row of digits that a
    broken gauge can send."""
    text = f"{value:.{digits}f}" if abs(value) < _HUGE else f"{value:.3g}"
    return text.removeprefix("-") if float(text) == 0 else text


def plain(value: object) -> str:
    """A value as it stands in a text: four digits, no exponent."""
    if not isinstance(value, float):
        return str(value)
    digits = f"{value:.4g}"
    return f"{value:.0f}" if "e" in digits and abs(value) >= 1 else digits
