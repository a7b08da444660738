"""Gateways with sensors that are all read at one interval, as points for a store."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from cloud.store import Points, Store
from wire.reading import Columns, Quality, Quantity, Series

SITES_A_VILLAGE = 10
"""Each gateway's site is of another village of the plan, so that no digest holds a message back."""


class Network(NamedTuple):
    """So many `gateways`, `sensors` of all of them together, read every `every_ms`. Levels stay
    under 1 m."""

    gateways: int
    sensors: int
    every_ms: int

    def name(self, gateway: int) -> str:
        return f"gw-{gateway:03d}"

    def site(self, gateway: int) -> str:
        return f"s{gateway * SITES_A_VILLAGE}"

    def series(self, gateway: int) -> list[Series]:
        """The sensors of a gateway; the first gateways have one more where they do not divide."""
        own = self.sensors // self.gateways + (gateway < self.sensors % self.gateways)
        return [Series(self.site(gateway), f"level-{n}", Quantity.LEVEL) for n in range(own)]

    def readings(self, gateway: int, begin_ms: int, seconds: int) -> Columns:
        """As a batch comes from the wire: series by series, each with other values."""
        series = self.series(gateway)
        times = range(begin_ms, begin_ms + seconds * 1000, self.every_ms)
        many = len(times)
        height = 0.5 + 0.3 * math.sin(begin_ms / 7e5 + gateway)
        wave = [round(height + n % 100 / 1000, 3) for n in range(many)] * 2
        values = [wave[n % many : n % many + many] for n in range(len(series))]
        return Columns(
            series,
            [n * many for n in range(len(series))],
            list(itertools.chain.from_iterable([times] * len(series))),
            list(itertools.chain.from_iterable(values)),
            [Quality.GOOD] * (many * len(series)),
            {},
        )

    def points(self, begin_ms: int, seconds: int) -> list[Points]:
        """What all gateways read from then on."""
        return [
            Points(self.name(gateway), self.readings(gateway, begin_ms, seconds))
            for gateway in range(self.gateways)
        ]


async def write(store: Store, points: Sequence[Points]) -> None:
    """Store them, with nothing in the ledger."""
    await store.write(points, lambda _: None)
