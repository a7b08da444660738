"""What an hour of rain has to ask: no question for each gauge while all is in its time."""

import time

from cloud.store import HOUR_MS, Bucket, Rollup
from cloud.store.rain import Question, judged_by
from wire.reading import Quantity

NOW_HOUR = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
GAUGES = 50


def hour(at_ms: int, gauge: int) -> Rollup:
    name = ("g", "s", f"r{gauge}", Quantity.RAIN_TOTAL)
    return Rollup(at_ms, *name, 0.1, 0.1, 0.1, counted=60, bad=0, missing=0, worst=1)


def questions(hour_ms: int) -> list[Question]:
    asked = []

    def kept(question: Question) -> list[Rollup]:
        asked.append(question)
        if question.query.limit is not None or question.bucket is Bucket.MINUTE:
            return []
        return [hour(hour_ms - HOUR_MS, gauge) for gauge in range(GAUGES)]

    judged_by(kept, [hour(hour_ms, gauge) for gauge in range(GAUGES)])
    return asked


def test_an_hour_that_has_just_passed_asks_for_no_gauge_alone() -> None:
    assert len(questions(NOW_HOUR - HOUR_MS)) == 2


def test_one_that_comes_late_looks_for_what_came_after_it() -> None:
    alone = [one.query.sensor for one in questions(NOW_HOUR - 48 * HOUR_MS) if one.query.limit]
    assert len(set(alone)) == GAUGES
