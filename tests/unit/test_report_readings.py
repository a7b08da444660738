"""Readings of an incident, from the store to the curve: as the rules have used them."""

import json
import time
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from cloud import service, tables
from cloud.alerts import report, review
from cloud.alerts.dispatch import Dispatch, Settings
from cloud.alerts.document import Chart
from cloud.alerts.hazard import Hazard
from cloud.alerts.tokens import Tokens
from cloud.config import Config, Setup
from cloud.store import Points
from configs import loader
from tests.dispatching import PLAN
from tests.findings import Findings
from wire.messages import Level
from wire.reading import Quality, Quantity, Reading

NOW = time.time_ns() // 1_000_000
ZONE = ZoneInfo("Asia/Shanghai")
SITE = "jialing-huangshaxi"

Rule = tuple[dict[str, str], dict[str, float], float]
"""What it says that it has measured, by what, and its threshold."""

STAGE: Rule = ({"quantity": "stage", "unit": "m"}, {"gauge_zero_m": 170.0}, 183.5)
LEVEL: Rule = ({"quantity": "level", "unit": "m"}, {}, 13.5)
RISE: Rule = ({"quantity": "level_rise", "unit": "m"}, {"within_s": 600}, 0.5)


@pytest.mark.parametrize(
    ("rule", "shift", "lines"),
    [(STAGE, 170.0, (("red", 183.5),)), (LEVEL, 0.0, (("red", 13.5),)), (RISE, 0.0, ())],
    ids=["stage", "level", "rise"],
)
async def test_the_curve_is_what_the_rule_has_read(tmp_path, rule, shift, lines):
    described, parts, threshold = rule
    setup = Setup(loader.parse({"store": {"kind": "sqlite"}}, Config, "test"), tmp_path)
    dispatch = Dispatch(PLAN, PLAN.channel, Tokens(b"x"), Settings())

    def begin(connection):
        Findings().add(connection, NOW, Level.RED, site=SITE, hazard=Hazard.RIVER, value=13.7)
        connection.execute(update(tables.alert).values(described))
        changed = {"parts": json.dumps(parts), "threshold": threshold}
        connection.execute(update(tables.alert_change).values(changed))
        dispatch.round(connection, NOW)
        return connection.execute(tables.incident.select()).one().id

    async with service.opened(setup) as (database, store):
        incident = await database.run(begin)
        readings = [
            Reading(SITE, "ruler-1", Quantity.LEVEL, value, NOW + at * 1000, quality)
            for at, value, quality in (
                (-30, 13.0, Quality.GOOD),
                (-20, 99.0, Quality.BAD),
                (0, 13.7, Quality.GOOD),
                (3600, 14.2, Quality.GOOD),
            )
        ]
        await store.write([Points("gw", readings)], lambda _: None)
        facts = await review.read(database, store, incident, NOW + 7_200_000)
        past = await review.read(database, store, incident)
    (series,) = facts.series
    shown = [round(value, 2) for _, value in series.points]
    assert shown == [13.0 + shift, 13.7 + shift, 14.2 + shift]  # it goes on: to this moment
    assert past.series[0].total == 2
    document = report.build(facts, "zh", ZONE)
    (chart,) = [part for one in document.sections for part in one.parts if isinstance(part, Chart)]
    assert chart.lines == lines
    assert [turn.word for turn in chart.turns] == ["红色预警"]
