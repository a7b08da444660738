"""Hours worked out while their minutes are made are those of the minutes that are kept, whatever
comes: a minute made anew, another worker, a restart, an hour that was made already."""

import random

import pytest

from cloud.store import HOUR_MS, MINUTE_MS, Grid, Rollup
from cloud.store.combine import from_finer
from cloud.store.live_hours import LiveHours
from cloud.store.marks import GRACE_MS, Touched
from wire.reading import Quantity

START = 1_782_000_000_000 // HOUR_MS * HOUR_MS
GRID = Grid(HOUR_MS, 0)
Name = tuple[int, str, str, str, Quantity]


class Cloud:
    """Kept minutes and hours, the marks of hours, and two workers; the clock is the test's."""

    def __init__(self) -> None:
        self.now_ms = START
        self.minutes: dict[Name, Rollup] = {}
        self.hours: dict[Name, Rollup] = {}
        self.due: dict[tuple[str, int], int] = {}
        self.workers = [LiveHours(), LiveHours()]
        self.start = self.asked = self.taken = 0

    def make(self, worker: int, minute_ms: int, made: list[Rollup]) -> None:
        """Minutes of the gateways "g" and "h" are made, as upkeep does it."""
        self.minutes |= {one[:5]: one for one in made}
        self.start += 1_000_000
        touched = Touched(self.start, [])
        for gateway in ("g", "h"):
            place = (gateway, minute_ms // HOUR_MS * HOUR_MS)
            self.due[place] = self.due[place] + 1 if place in self.due else self.start
            touched.marks.append((*place, self.due[place]))
        places = [(gateway, minute_ms) for gateway in ("g", "h")]
        self.workers[worker].add(places, made, touched, self.now_ms)

    def settle(self, worker: int) -> None:
        for (gateway, at_ms), times in list(self.due.items()):
            if at_ms + HOUR_MS + GRACE_MS > self.now_ms:
                continue
            made = self.workers[worker].take(gateway, at_ms, times)
            if made is None:
                self.asked += 1
                made = from_finer(
                    [
                        one
                        for one in self.minutes.values()
                        if one.gateway == gateway and GRID.begin(one.at_ms) == at_ms
                    ],
                    GRID,
                )
            else:
                self.taken += 1
            self.hours |= {one[:5]: one for one in made}
            del self.due[gateway, at_ms]

    def check(self) -> None:
        wanted = {one[:5]: one for one in from_finer(self.minutes.values(), GRID)}
        assert self.hours.keys() == wanted.keys()
        for name, one in self.hours.items():
            other = wanted[name]
            assert one._replace(mean=None) == other._replace(mean=None), name
            assert one.mean == pytest.approx(other.mean), name


def minute(chance: random.Random, at_ms: int) -> list[Rollup]:
    found = []
    for gateway in ("g", "h"):
        for sensor in ("a", "b"):
            counted, bad, missing = (chance.choice([0, 1, 6]) for _ in range(3))
            low, high = sorted(chance.choice([-2.5, 0.0, 0.25, 8.0]) for _ in range(2))
            worst = 4 if bad else chance.choice([1, 2, 3]) if counted else None
            name = (gateway, "s", sensor, Quantity.DEPTH)
            one = Rollup(at_ms, *name, low, (low + high) / 2, high, counted, bad, missing, worst)
            found.append(one if counted else one._replace(min=None, mean=None, max=None))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_made_the_hours_are_those_of_the_minutes(seed: int) -> None:
    chance = random.Random(seed)
    cloud = Cloud()
    mostly_one = chance.random() < 0.7
    for n in range(150):
        cloud.now_ms = START + n * MINUTE_MS + MINUTE_MS + GRACE_MS
        at_ms = START + n * MINUTE_MS
        worker = 0 if mostly_one else chance.randrange(2)
        match chance.choices(["in turn", "late", "none", "restart"], [90, 2, 2, 1])[0]:
            case "in turn":
                cloud.make(worker, at_ms, minute(chance, at_ms))
            case "late":
                late_ms = at_ms - chance.randrange(1, 100) * MINUTE_MS
                cloud.make(worker, at_ms, minute(chance, at_ms))
                cloud.make(worker, late_ms, minute(chance, late_ms))
            case "restart":
                cloud.workers[worker] = LiveHours()
                cloud.make(worker, at_ms, minute(chance, at_ms))
        if chance.random() < 0.5:
            cloud.settle(worker if chance.random() < 0.9 else 1 - worker)
    cloud.now_ms += 2 * HOUR_MS
    cloud.settle(0)
    cloud.check()


def test_an_hour_whose_minutes_come_in_turn_is_asked_of_nobody() -> None:
    chance = random.Random(3)
    cloud = Cloud()
    for n in range(120):
        at_ms = START + n * MINUTE_MS
        cloud.now_ms = at_ms + MINUTE_MS + GRACE_MS
        cloud.make(0, at_ms, minute(chance, at_ms))
        cloud.settle(0)
    cloud.check()
    assert (cloud.asked, cloud.taken) == (0, 4)
    assert cloud.workers[0]._many == 0


def test_it_keeps_no_more_hours_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.store.live_hours.MOST_HOURS", 3)
    chance = random.Random(3)
    cloud = Cloud()
    for n in range(60):
        at_ms = START + n * MINUTE_MS
        cloud.now_ms = at_ms + MINUTE_MS + GRACE_MS
        cloud.make(0, at_ms, minute(chance, at_ms))
        assert cloud.workers[0]._many <= 3
    cloud.settle(0)
    cloud.check()
    assert cloud.asked >= 1


def test_a_mean_that_no_float_holds_is_left_to_the_store() -> None:
    live = LiveHours()
    for n in range(2):
        name, wild = ("g", "s", "a", Quantity.DEPTH), 1.7e308
        one = Rollup(START + n * MINUTE_MS, *name, wild, wild, wild, 1, 0, 0, 1)
        touched = Touched(7, [("g", START, 7 + n)])
        live.add([("g", one.at_ms)], [one], touched, one.at_ms)
    assert live.take("g", START, 8) is None


def test_an_hour_that_a_wrong_clock_had_made_too_early_is_made_anew_from_the_store() -> None:
    chance = random.Random(4)
    cloud = Cloud()
    for n in range(60):
        at_ms = START + n * MINUTE_MS
        cloud.now_ms = at_ms + MINUTE_MS + GRACE_MS
        cloud.make(0, at_ms, minute(chance, at_ms))
        if n == 30:
            cloud.now_ms += HOUR_MS  # for a moment
            cloud.settle(0)
    cloud.settle(0)
    cloud.check()
    assert (cloud.asked, cloud.taken) == (2, 2)
