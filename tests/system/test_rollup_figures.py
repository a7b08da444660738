"""The figures of rollups, small: that they measure, not what."""

from pathlib import Path

from bench import city, query_rollup, rollup_late
from bench._network import Network


def quiet(*_: object) -> None:
    pass


async def test_a_backlog_is_settled_and_compared(tmp_path: Path) -> None:
    scale = rollup_late.Scale(Network(gateways=2, sensors=3, every_ms=10_000), 7200, 1)
    took = await rollup_late.backlog(tmp_path, {"kind": "sqlite"}, quiet, scale)
    assert min(took) > 0


async def test_a_query_has_all_rows(tmp_path: Path) -> None:
    scale = query_rollup.Scale(sensors=2, hours_by_minutes=1, days_by_hours=1, runs=1)
    took = await query_rollup.asked(tmp_path, {"kind": "sqlite"}, quiet, scale)
    assert [len(runs) for runs in took.values()] == [1, 1]


async def test_a_small_city_is_acknowledged_and_its_flood_told(tmp_path: Path) -> None:
    scale = city.Scale(Network(2, 5, 1000), stored_s=60, warm_up_s=0, lasts_s=3)
    found = await city.live(tmp_path, {"kind": "sqlite"}, lambda: 0.0, quiet, scale)
    assert found.worker > 0
    assert found.acks_s
    assert found.flood_s > 0
