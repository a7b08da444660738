"""Minutes worked out while readings are stored are those that the readings give, whatever comes:
late, twice, of another worker, after a restart."""

import random
from typing import Any

import pytest

from cloud.store import MINUTE_MS, Points, Rollup, Row, marks
from cloud.store.combine import from_readings
from cloud.store.live import Live
from cloud.store.marks import GRACE_MS, Touched
from wire.reading import Quality, Quantity, Reading, columns

START = 1_782_000_000_000 // 3_600_000 * 3_600_000


class Cloud:
    """A store, its marks, and workers beside them; the clock is the test's."""

    def __init__(self) -> None:
        self.now_ms = START
        self.rows: dict[tuple[Any, ...], Row] = {}
        self.due: dict[tuple[str, int], int] = {}
        self.kept: dict[tuple[Any, ...], Rollup] = {}
        self.workers = [Live(), Live()]
        self.asked = self.taken = self.start = 0

    def store(self, worker: int, *some: tuple[str, list[Reading]]) -> None:
        points = [Points(gateway, columns(readings)) for gateway, readings in some]
        for gateway, readings in points:
            for r in readings:
                value = Row(r.at_ms, gateway, r.site, r.sensor, r.quantity, r.value, int(r.quality))
                self.rows[value[:5]] = value
        places = {(p.gateway, m) for p in points for m in marks.minutes(columns(p.readings))}
        self.start += 1_000_000
        touched = Touched(self.start, [])
        for place in sorted(places):
            times = self.due[place] + 1 if place in self.due else self.start
            self.due[place] = times
            touched.marks.append((*place, times))
        self.workers[worker].add(points, touched, self.now_ms)

    def settle(self, worker: int) -> None:
        for (gateway, at_ms), times in list(self.due.items()):
            if at_ms + MINUTE_MS + GRACE_MS > self.now_ms:
                continue
            made = self.workers[worker].take(gateway, at_ms, times)
            if made is None:
                self.asked += 1
                made = from_readings(self.of(gateway, at_ms))
            else:
                self.taken += 1
            self.kept |= {one[:5]: one for one in made}
            del self.due[gateway, at_ms]

    def of(self, gateway: str, at_ms: int) -> list[Row]:
        end = at_ms + MINUTE_MS
        return [r for r in self.rows.values() if r.gateway == gateway and at_ms <= r.at_ms < end]

    def check(self) -> None:
        wanted = {one[:5]: one for one in from_readings(self.rows.values())}
        assert self.kept.keys() == wanted.keys()
        for name, one in self.kept.items():
            other = wanted[name]
            assert one[:6] + one[7:] == other[:6] + other[7:], name
            assert one.mean == pytest.approx(other.mean), name


def batch(chance: random.Random, sensor: str, first_ms: int, many: int) -> list[Reading]:
    found = []
    for n in range(many):
        quality = chance.choices([1, 2, 3, 4, 9], [60, 5, 5, 2, 2])[0]
        value = None if quality == 9 else chance.choice([-1.5, 0.0, 0.25, 3.0])
        at_ms = first_ms + n * 1000
        found.append(Reading("s", sensor, Quantity.DEPTH, value, at_ms, Quality(quality)))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_whatever_comes_the_minutes_are_those_of_the_readings(seed: int) -> None:
    chance = random.Random(seed)
    cloud = Cloud()
    mostly_one = chance.random() < 0.7
    for _ in range(60):
        cloud.now_ms += 10_000
        worker = 0 if mostly_one else chance.randrange(2)
        some = []
        for gateway in ("g", "h"):
            readings = batch(chance, "a", cloud.now_ms - 10_000, 10)
            readings += batch(chance, "b", cloud.now_ms - 10_000, 10)
            some.append((gateway, readings))
        match chance.choices(["live", "late", "twice", "lost", "restart"], [80, 6, 5, 5, 4])[0]:
            case "live":
                cloud.store(worker, *some)
            case "late":
                cloud.store(worker, *some)
                late = cloud.now_ms - chance.randrange(20_000, 300_000)
                cloud.store(worker, ("g", batch(chance, "a", late, chance.randrange(1, 90))))
            case "twice":
                cloud.store(worker, *some)
                cloud.store(worker, *some)
            case "lost":
                cloud.store(worker, some[0])
            case "restart":
                cloud.workers[worker] = Live()
                cloud.store(worker, *some)
        if chance.random() < 0.3:
            cloud.settle(worker if chance.random() < 0.9 else 1 - worker)
    cloud.now_ms += 2 * MINUTE_MS
    cloud.settle(0)
    cloud.check()


def test_what_comes_in_order_is_asked_of_nobody() -> None:
    chance = random.Random(1)
    cloud = Cloud()
    for _ in range(60):
        cloud.now_ms += 10_000
        cloud.store(0, ("g", batch(chance, "a", cloud.now_ms - 10_000, 10)))
        cloud.settle(0)
    cloud.now_ms += 2 * MINUTE_MS
    cloud.settle(0)
    cloud.check()
    assert cloud.asked == 1  # the first, before which nobody knows what came
    assert cloud.taken == 9


def test_a_mean_that_no_float_holds_is_left_to_the_store() -> None:
    live = Live()
    at_ms = START
    for n, value in enumerate((1.0, 1.7e308, 1.7e308)):
        one = Reading("s", "a", Quantity.DEPTH, value, at_ms + (n + 59) * 1000, Quality.GOOD)
        minute = one.at_ms // MINUTE_MS * MINUTE_MS
        touched = Touched(7, [("g", minute, 7 if n < 2 else 8)])
        live.add([Points("g", columns([one]))], touched, one.at_ms)
    assert live.take("g", at_ms + MINUTE_MS, 8) is None


def test_it_keeps_no_more_minutes_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.store.live.MOST_MINUTES", 10)
    cloud = Cloud()
    chance = random.Random(2)
    for _ in range(60):
        cloud.now_ms += 10_000
        cloud.store(0, ("g", batch(chance, "a", cloud.now_ms - 10_000, 10)))
    cloud.now_ms += 2 * MINUTE_MS
    cloud.settle(0)
    cloud.check()
    assert cloud.asked >= 5
    assert cloud.workers[0]._minutes == 0  # what was taken or forgotten has left its room


def test_a_minute_that_a_wrong_clock_has_made_too_early_is_asked_for() -> None:
    chance = random.Random(3)
    cloud = Cloud()
    for _ in range(63):
        cloud.now_ms += 10_000
        cloud.store(0, ("g", batch(chance, "a", cloud.now_ms - 10_000, 10)))
        if cloud.now_ms % MINUTE_MS == 30_000:
            right, cloud.now_ms = cloud.now_ms, cloud.now_ms + 86_400_000
            cloud.settle(0)  # the first half of it
            cloud.now_ms = right
    cloud.now_ms += 2 * MINUTE_MS
    cloud.settle(0)
    cloud.check()
