"""The rules over real records: what fires, and what must not."""

import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.rules import MINUTE, NOW, follow, levels, live, reading, rule
from wire.messages import Level
from wire.reading import Quantity, Reading

DATA = ROOT.parent / "shared" / "data"


def rows(name: str, delimiter: str = ",") -> Iterator[dict[str, str]]:
    file = DATA / name
    if not file.exists():
        pytest.skip(f"{name} is not there: real records lie beside the project")
    with Path(file).open(encoding="utf-8-sig", newline="") as lines:
        yield from csv.DictReader(lines, delimiter=delimiter)


def moment(text: str, shape: str) -> int:
    return round(datetime.strptime(text, shape).replace(tzinfo=UTC).timestamp() * 1000)


DEPTH = rule(
    "threshold",
    quantity="depth",
    orange={"over_cm": 15, "clear_cm": 12},
    red={"over_cm": 30, "clear_cm": 27},
)


def test_street_floods_raise_what_their_depth_deserves_and_clear_again() -> None:
    """78 floods of at least 10 cm, with the noise of real ultrasonic rulers."""
    floods: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows("street_flood_depth_events.csv"):
        at_ms = NOW + round(1000 * float(row["t_s"]))
        floods[row["event"]].append((at_ms, float(row["depth_m"])))
    assert len(floods) == 78
    highest: dict[Level | None, int] = defaultdict(int)
    for points in floods.values():
        _, found = follow(DEPTH, live(reading(depth, at_ms) for at_ms, depth in sorted(points)))
        deepest = max(depth for _, depth in points)
        deserved = Level.RED if deepest >= 0.3 else Level.ORANGE if deepest >= 0.15 else None
        assert max(levels(found), key=lambda level: level or 0, default=None) == deserved
        ends_dry = max(points)[1] <= 0.12
        assert not ends_dry or levels(found)[-1:] in ([], [None])
        highest[deserved] += 1
    assert highest == {None: 30, Level.ORANGE: 29, Level.RED: 19}


def test_a_dwell_calms_the_street_without_missing_a_flood() -> None:
    calm = rule(
        "threshold", quantity="depth", orange={"over_cm": 15, "clear_cm": 12}, clear_for_s=300
    )
    raised: dict[str, list[int]] = {"at once": [], "calm": []}
    floods: dict[str, list[Reading]] = defaultdict(list)
    for row in rows("street_flood_depth_events.csv"):
        at_ms = NOW + round(1000 * float(row["t_s"]))
        floods[row["event"]].append(reading(float(row["depth_m"]), at_ms))
    plain = rule("threshold", quantity="depth", orange={"over_cm": 15, "clear_cm": 12})
    for name, one in (("at once", plain), ("calm", calm)):
        for readings in floods.values():
            said = live(sorted(readings, key=lambda reading: reading.at_ms))
            raised[name].append(levels(follow(one, said)[1]).count(Level.ORANGE))
    assert [bool(n) for n in raised["at once"]] == [bool(n) for n in raised["calm"]]
    assert sum(raised["calm"]) < sum(raised["at once"])


def test_a_real_underpass_that_stayed_passable_raises_one_alert_at_most() -> None:
    """At most 16 cm in the whole record."""
    said = live(
        reading(float(row["woojangchun_wl"]) / 100, moment(row["datetime"], "%Y-%m-%d %H:%M:%S"))
        for row in rows("underpass_depth_1min.csv")
    )
    deepest = max(one.value or 0 for one, _ in said if isinstance(one, Reading))
    _, found = follow(DEPTH, said)
    assert (deepest >= 0.15) is bool(found)
    assert Level.RED not in levels(found)


def test_tips_of_a_real_gauge_stay_under_the_table_and_reach_lower_marks() -> None:
    """Its maxima are 16.0 mm in 1 h and 19.0 mm in 3 h (its publisher's figures): no rainstorm by
    the national table, which must keep silent for all 526 mm."""
    total = 0.0
    said: list[Reading] = []
    for row in rows("tipping_bucket_tips_0.2mm.csv", ";"):
        total += float(row["davis1"])
        at_ms = moment(row["date"], "%d.%m.%Y %H:%M")
        if said and said[-1].at_ms == at_ms:
            said[-1] = reading(total / 1000, at_ms, quantity=Quantity.RAIN_TOTAL)
        else:
            # The gauge tells of every tip and of nothing else: it was dry until just before.
            if said and at_ms - said[-1].at_ms > 10 * MINUTE:
                dry = said[-1].value
                said.append(reading(dry, at_ms - MINUTE, quantity=Quantity.RAIN_TOTAL))
            said.append(reading(total / 1000, at_ms, quantity=Quantity.RAIN_TOTAL))
    assert total == pytest.approx(526.2)
    assert follow(rule("rain_sum"), live(said))[1] == []
    for hours, mm in ((1, 16.0), (3, 19.0)):
        at = rule("rain_sum", red={"hours": hours, "over_mm": mm - 0.4})
        above = rule("rain_sum", red={"hours": hours, "over_mm": mm + 0.4})
        assert levels(follow(at, live(said))[1]) == [Level.RED, None]
        assert follow(above, live(said))[1] == []


def test_flash_floods_raise_and_sensor_spikes_do_not() -> None:
    """Giriulla has two false readings, 0.70 m on 08-02 and 2.09 m on 08-09, among real floods."""
    stations: dict[str, list[Reading]] = defaultdict(list)
    for row in rows("flash_flood_stage_with_spikes.csv"):
        at_ms = moment(row["time_local_UTC+05:30"], "%Y-%m-%d %H:%M:%S")
        one = reading(float(row["level_m"]), at_ms, quantity=Quantity.LEVEL)
        stations[row["station"]].append(one)
    rise = rule("rise", quantity="level", window_min=360, orange={"over_cm": 60, "clear_cm": 20})
    fired = {}
    for name, readings in stations.items():
        _, found = follow(rise, live(sorted(readings, key=lambda reading: reading.at_ms)))
        fired[name.split()[0]] = [
            f"{datetime.fromtimestamp(one.at_ms / 1000, UTC):%m-%d}" for one in found if one.level
        ]
    assert fired == {
        "Giriulla": ["08-01", "08-03", "08-03"],
        "Holombuwa": ["08-01", "08-03", "08-03"],
    }


def test_a_slope_that_did_not_fail_is_never_more_than_yellow_at_its_own_v0() -> None:
    """Eight stations over four and a half years without a failure. V0 = max(1.5 mean, mean + 2
    sigma) of the daily speed, as for steady creep."""
    table = list(rows("landslide_displacement_daily_no_failure.csv"))
    for station in [name for name in table[0] if name.endswith("/mm") and name != "Rainfall/mm"]:
        points = [
            (moment(row["Date"], "%Y-%m-%d"), float(row[station])) for row in table if row[station]
        ]
        speeds = [b - a for (_, a), (_, b) in itertools.pairwise(points)]
        mean = sum(speeds) / len(speeds)
        sigma = (sum((s - mean) ** 2 for s in speeds) / len(speeds)) ** 0.5
        one = rule("crack", v0_mm_day=max(1.5 * mean, mean + 2 * sigma))
        said = live(reading(mm / 1000, at, quantity=Quantity.DISPLACEMENT) for at, mm in points)
        found = levels(follow(one, said)[1])
        assert max(found, key=lambda level: level or 0) == Level.YELLOW, station
