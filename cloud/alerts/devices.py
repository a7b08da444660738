"""What people call the equipment of a site: its gateways and sensors have names that only a config
knows. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from cloud.channels import Language
from wire.reading import Quantity


class Device(StrEnum):
    """What a finding is about, as the part `device` of it."""

    RULER = "ruler"
    GAUGE = "gauge"
    RAIN = "rain"
    CRACK = "crack"
    SENSOR = "sensor"
    LAMP = "lamp"
    ALL = "all"
    SERVICE = "service"


NAMES: Final[Mapping[Device, Mapping[Language, str]]] = {
    Device.RULER: {"zh": "水尺", "en": "the water gauge"},
    Device.GAUGE: {"zh": "水位计", "en": "the river gauge"},
    Device.RAIN: {"zh": "雨量计", "en": "the rain gauge"},
    Device.CRACK: {"zh": "裂缝计", "en": "the crack gauge"},
    Device.SENSOR: {"zh": "传感器", "en": "the sensor"},
    Device.LAMP: {"zh": "信号灯", "en": "the lamp"},
    Device.ALL: {"zh": "监测设备", "en": "the equipment"},
    Device.SERVICE: {"zh": "预警平台", "en": "the warning service"},
}

UNWATCHED: Final[Mapping[Device, Mapping[Language, str]]] = {
    Device.RULER: {"zh": "积水无法监测", "en": "nothing measures the water on the road"},
    Device.GAUGE: {"zh": "河道水位无法监测", "en": "nothing measures the river"},
    Device.RAIN: {"zh": "雨量无法监测", "en": "nothing measures the rain"},
    Device.CRACK: {"zh": "裂缝变化无法监测", "en": "nothing measures the crack"},
}
"""What nobody sees while it does not work."""

_MEASURES: Final[Mapping[str, Device]] = {
    Quantity.DEPTH: Device.RULER,
    Quantity.LEVEL: Device.GAUGE,
    Quantity.RAIN_TOTAL: Device.RAIN,
    Quantity.RAIN_RATE: Device.RAIN,
    Quantity.DISPLACEMENT: Device.CRACK,
}


def measuring(quantity: str) -> Device:
    """What measures a quantity."""
    return _MEASURES.get(quantity, Device.SENSOR)


def name(device: str, language: Language) -> str:
    """In words; a device that is not known is the equipment of the site."""
    return NAMES[Device(device) if device in [*Device] else Device.ALL][language]
