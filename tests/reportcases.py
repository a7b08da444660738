"""Incidents of every kind, for the report: each a dispatch that has lived through one."""

import math
from collections.abc import Callable
from functools import cache
from typing import Final

from cloud import tables
from cloud.alerts import byhand, review
from cloud.alerts.byhand import Demand, Raise
from cloud.alerts.hazard import Hazard, Stage
from cloud.alerts.news import News
from cloud.alerts.review import Facts, Series
from tests.dispatching import BEGIN_MS, MINUTE, SITE, Office
from wire.messages import Level
from wire.reading import Quantity

HOUR: Final = 60 * MINUTE


def facts(office: Office, *series: Series) -> Facts:
    """What is on record of the only incident, with these readings."""
    with office.connection.begin():
        (incident,) = [row.id for row in office.connection.execute(tables.incident.select())]
        found = review._of_state(office.connection, incident, office.now_ms)
    return found._replace(series=series)


def answered(office: Office) -> None:
    call = office.last_call()
    office.work(lambda c, n: office.dispatch.answer(c, call.id, "", "link", "马上到", n))


def reported(office: Office, result: str, said: str = "") -> None:
    call = office.last_call()
    news = News("result", "link", said, {"result": result, "people": 23})
    office.work(lambda c, n: office.dispatch.report(c, call.id, news, n))


def depth(*points: tuple[float, float], sensor: str = "ruler-1") -> Series:
    """Depths in m, by minutes after the beginning."""
    placed = tuple((BEGIN_MS + round(minutes * MINUTE), value) for minutes, value in points)
    return Series(sensor, Quantity.DEPTH, placed, len(placed))


def flood(*points: tuple[float, float]) -> Facts:
    """One flood that was answered and is over, with these readings."""
    return _flood()._replace(series=(depth(*points),) if points else ())


@cache
def _flood() -> Facts:
    office = Office()
    office.find(Level.ORANGE, value=0.16)
    office.run(6)
    answered(office)
    office.run(1)
    reported(office, "closed")
    office.find(None, value=0.1)
    office.run(15)
    return facts(office)


def wave(count: int = 200) -> list[tuple[float, float]]:
    return [(n / 10, 0.2 + 0.2 * math.sin(n / 30)) for n in range(count)]


@cache
def several_rises() -> Facts:
    office = Office()
    for level in (Level.YELLOW, Level.ORANGE, Level.RED, Level.ORANGE, Level.RED):
        office.find(level, value=0.1 * level)
        office.run(12)
    answered(office)
    office.find(None)
    office.run(30)
    return facts(office, depth(*wave()))


@cache
def reopened() -> Facts:
    office = Office()
    office.find(Level.RED)
    office.run(1)
    answered(office)
    office.run(2)
    reported(office, "cannot-act", "堵车")
    office.run(2)
    answered(office)
    office.run(1)
    reported(office, "evacuated")
    return facts(office, depth(*wave(40)))


@cache
def by_hand() -> Facts:
    office = Office()
    given = Raise(SITE, Hazard.UNDERPASS, Level.RED, "李伟", "村里来电：水过车轮")
    office.work(lambda c, n: byhand.raise_alert(office.dispatch, c, given, n))
    office.run(2)
    demand = Demand(office.alarm().alert, "李伟", "水已退")
    answered(office)
    office.work(lambda c, n: byhand.note(office.dispatch, c, demand, n))
    office.work(lambda c, n: byhand.resolve(office.dispatch, c, demand, n))
    return facts(office)


@cache
def several_rulers() -> Facts:
    found = flood(*wave())
    names = ("ruler-1", "ruler-2", "石桥北路出口处的很长很长名字的雷达水位计-备用")
    series = [found.series[0]._replace(sensor=name) for name in names]
    level = [(at_ms, 183.4 + value) for at_ms, value in found.series[0].points]
    river = Series("gauge", Quantity.LEVEL, tuple(level), 200, 150.0)
    return found._replace(series=(*series, river))


@cache
def equipment() -> Facts:
    office = Office()
    office.find(Level.YELLOW, rule="dead", hazard=Hazard.EQUIPMENT, value=600)
    office.run(20)
    return facts(office)


@cache
def exercise() -> Facts:
    office = Office()
    place = (SITE, Hazard.UNDERPASS, Level.RED, Stage.NOW)
    office.work(lambda c, n: office.dispatch.exercise(c, *place, n))
    office.run(3)
    return facts(office)


@cache
def running() -> Facts:
    office = Office()
    office.find(Level.RED)
    office.run(20)
    return facts(office, depth(*wave(200)))


@cache
def unanswered() -> Facts:
    office = Office()
    office.find(Level.RED)
    office.run(1)
    office.find(None)
    office.run(11)
    return facts(office, depth((0, 0.3), (10, 0.0)))


@cache
def days() -> Facts:
    found = flood(*((n * 10, 0.3 + n / 1000) for n in range(300)))
    return found._replace(end_ms=found.begin_ms + 3 * 24 * HOUR)


CASES: Final[dict[str, Callable[[], Facts]]] = {
    "no reading": flood,
    "one reading": lambda: flood((1, 0.35)),
    "two readings": lambda: flood((-1, 0.02), (12, 0.35)),
    "gaps": lambda: flood(*(one for one in wave() if not 5 < one[0] < 9)),
    "wild values": lambda: flood(*wave(), (20.1, 9999.0), (20.2, -40.0), (20.3, math.inf)),
    "all the same": lambda: flood(*((n / 10, 0.0) for n in range(100))),
    "several rises": several_rises,
    "reopened": reopened,
    "by hand": by_hand,
    "several rulers": several_rulers,
    "equipment": equipment,
    "exercise": exercise,
    "running": running,
    "over and unanswered": unanswered,
    "days": days,
}
