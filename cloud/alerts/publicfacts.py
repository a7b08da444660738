"""What is known of an alarm at the moment of publishing, as everybody may read it: the newest good
value with its trend, and no names of devices."""

from typing import Final

import msgspec

from cloud.alerts import episodes
from cloud.alerts.alarm import Alarm
from cloud.alerts.episodes import Present
from cloud.alerts.figures import figure_of
from cloud.alerts.records import Known, Records
from cloud.alerts.trend import Trend
from cloud.channels import Language, Measurement

_ENGLISH: Final = {Trend.RISING: "still rising", Trend.FALLING: "falling"}


def latest(records: Records, alarm: Alarm, known: Known) -> Known:
    """What the worst source of `alarm` finds now, where that is newer than what is `known`."""
    active = {name: one for name, one in alarm.sources.items() if one.level is not None}
    if active:
        name = max(active, key=lambda one: (active[one].level or 0, active[one].stage.rank))
        try:
            found = episodes.present(records.connection, alarm.site).get(name)
        except (msgspec.MsgspecError, ValueError):
            found = None  # it cannot be read: what is known is told with its time
        before = known.measured
        if found is not None and (before is None or found.finding.at_ms >= before.at_ms):
            return _public(found, name)
    sensor = "" if known.measured is None else known.measured.sensor
    cause = {
        tongue: said.removeprefix(f"{sensor}：").removeprefix(f"{sensor}: ")
        for tongue, said in known.cause.items()
    }
    return msgspec.structs.replace(known, cause=cause)


def _public(found: Present, source: str) -> Known:
    finding = found.finding
    trend: dict[Language, str] = {"zh": "", "en": ""}
    figure = figure_of(finding.quantity)
    if found.trend in _ENGLISH and figure is not None:
        grows = found.trend is Trend.RISING
        trend = {
            "zh": f"，{figure.grows if grows else figure.falls}",
            "en": f", {_ENGLISH[found.trend]}",
        }
    measured = None
    if finding.value is not None:
        sensor = source.rpartition(":")[2]
        measured = Measurement(sensor, finding.quantity, finding.value, finding.unit, finding.at_ms)
    cause: dict[Language, str] = {
        "zh": finding.text_zh + trend["zh"],
        "en": _capital(finding.text) + trend["en"],
    }
    return Known({}, cause, measured)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
