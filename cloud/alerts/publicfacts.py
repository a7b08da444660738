"""What is known of an alarm at the moment of publishing, as everybody may read it: the newest good
value with its trend, and no names of devices."""

from typing import Final

import msgspec

from cloud.alerts import causes, episodes
from cloud.alerts.alarm import Alarm
from cloud.alerts.episodes import Present
from cloud.alerts.figures import LANGUAGES, trend_in
from cloud.alerts.records import Known, Records
from cloud.channels import Language, Measurement

_SEEN: Final[dict[Language, str]] = {"zh": "现场人员报告险情", "en": "people on the spot report it"}
"""What people have reported in their own words is for those on duty."""


def latest(records: Records, alarm: Alarm, known: Known) -> Known:
    """What the worst source of `alarm` finds now, where that is newer than what is `known`."""
    active = {name: one for name, one in alarm.sources.items() if one.level is not None}
    if active:
        name = max(active, key=lambda one: (active[one].level or 0, active[one].stage.rank))
        if name == causes.BY_HAND:
            return Known({}, _SEEN)
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
    cause: dict[Language, str] = {"zh": finding.text_zh, "en": _capital(finding.text)}
    comma: dict[Language, str] = {"zh": "，", "en": ", "}
    for tongue in LANGUAGES:
        trend = "" if found.trend is None else trend_in(finding.quantity, found.trend, tongue)
        cause[tongue] += trend and comma[tongue] + trend
    measured = None
    if finding.value is not None:
        sensor = source.rpartition(":")[2]
        measured = Measurement(sensor, finding.quantity, finding.value, finding.unit, finding.at_ms)
    return Known({}, cause, measured)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
