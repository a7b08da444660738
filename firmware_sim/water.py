"""Where the rain goes: catchment, sump with its pump, river, slope. Pure, SI, fixed step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from firmware_sim.errors import ScenarioError, check_bounds

SQUARE_METRES_PER_HECTARE = 1e4


def linear_reservoir(inflow: Iterable[float], k_s: float, step_s: float) -> list[float]:
    """Flow at each step's end out of a store that sheds `1/k_s` of its content a second.

    Exact for an inflow that is constant within a step; starts empty. Unit of the inflow.
    """
    kept = math.exp(-step_s / k_s)
    flow = accumulate(inflow, lambda out, q: kept * out + (1.0 - kept) * q, initial=0.0)
    return list(flow)[1:]


@dataclass(frozen=True, slots=True)
class Catchment:
    """What drains to the underpass: rational-method loss, then one linear reservoir.

    GB 50014-2021, 5.10.2, asks a runoff coefficient of 0.9 to 1.0 and a concentration time of 2
    to 10 min for underpasses; the reservoir's `k_s` stands for the latter. Area: an assumption.
    """

    area_ha: float = 2.0
    runoff_coefficient: float = 0.9
    k_s: float = 360.0

    def __post_init__(self) -> None:
        check_bounds(
            self, area_ha=(0.01, 1000.0), runoff_coefficient=(0.0, 1.0), k_s=(1.0, 86400.0)
        )

    def runoff(self, rain: Iterable[float], step_s: float) -> list[float]:
        """Rain (m/s, each step's mean) → flow to the sump (m3/s)."""
        effective_m2 = self.area_ha * SQUARE_METRES_PER_HECTARE * self.runoff_coefficient
        return linear_reservoir((rate * effective_m2 for rate in rain), self.k_s, step_s)


@dataclass(frozen=True, slots=True)
class Sump:
    """A wet well under the grate, and above it the road in a sag curve.

    A sag of radius R rises x²/2R beside its lowest point, so water of depth d covers
    2·sqrt(2·R·d) of its length and holds (4/3)·sqrt(2R)·width·d^1.5. The curve is taken to go on
    beyond its tangent points. Depth is what the ruler reads: above the road's lowest point.
    Dimensions: assumptions of ordinary size.
    """

    well_area_m2: float = 40.0
    well_depth_m: float = 2.0
    road_width_m: float = 14.0
    sag_radius_m: float = 800.0

    def __post_init__(self) -> None:
        check_bounds(
            self,
            well_area_m2=(0.1, 1e5),
            well_depth_m=(0.1, 50.0),
            road_width_m=(1.0, 200.0),
            sag_radius_m=(10.0, 1e5),
        )

    def _road_factor(self) -> float:
        return 4.0 / 3.0 * math.sqrt(2.0 * self.sag_radius_m) * self.road_width_m

    def well_level(self, stored_m3: float) -> float:
        """Level (m) in the well above its floor, at most the well's depth."""
        return min(stored_m3 / self.well_area_m2, self.well_depth_m)

    def depth(self, stored_m3: float) -> float:
        """Depth (m) on the road."""
        on_road_m3 = stored_m3 - self.well_area_m2 * self.well_depth_m
        return math.pow(max(on_road_m3, 0.0) / self._road_factor(), 2.0 / 3.0)

    def volume(self, depth_m: float) -> float:
        """Content (m3) at that depth on the road: the inverse of `depth`."""
        well_m3 = self.well_area_m2 * self.well_depth_m
        return well_m3 + self._road_factor() * math.pow(depth_m, 1.5)


@dataclass(frozen=True, slots=True)
class Pump:
    """Runs from `start_m` until `stop_m` of level in the well; dead while tripped.

    The trip (lightning, a flooded cabinet) is why the underpass drowns: untripped, the same pump
    keeps the default storm under half a metre. `trip_s = 0` for a pump that never trips. Times are
    scenario seconds.
    """

    rated_m3s: float = 0.5
    start_m: float = 1.2
    stop_m: float = 0.4
    trip_at_s: float = 3000.0
    trip_s: float = 660.0

    def __post_init__(self) -> None:
        check_bounds(
            self,
            rated_m3s=(0.0, 100.0),
            start_m=(0.0, 50.0),
            stop_m=(0.0, 50.0),
            trip_at_s=(0.0, 86400.0),
            trip_s=(0.0, 86400.0),
        )
        if self.stop_m >= self.start_m:
            raise ScenarioError(
                f"Pump: stop_m = {self.stop_m} must lie below start_m = {self.start_m}"
            )

    def tripped(self, t_s: float) -> bool:
        return self.trip_at_s <= t_s < self.trip_at_s + self.trip_s


@dataclass(frozen=True, slots=True)
class Balance:
    """The sump's account. Volumes in m3; `stored` has one value more than the flows: node 0."""

    inflow: tuple[float, ...]
    pumped: tuple[float, ...]
    stored: tuple[float, ...]


def fill(sump: Sump, pump: Pump, inflow: Iterable[float], step_s: float) -> Balance:
    """Run the sump from empty, explicitly: the pump decides on the level at a step's start."""
    entered: list[float] = []
    pumped: list[float] = []
    stored = [0.0]
    running = False
    for k, flow in enumerate(inflow):
        level = sump.well_level(stored[-1])
        running = not pump.tripped(k * step_s) and level > (
            pump.stop_m if running else pump.start_m
        )
        entered.append(flow * step_s)
        lifted = min(pump.rated_m3s * step_s, stored[-1] + entered[-1]) if running else 0.0
        pumped.append(lifted)
        stored.append(stored[-1] + entered[-1] - lifted)
    return Balance(tuple(entered), tuple(pumped), tuple(stored))


@dataclass(frozen=True, slots=True)
class River:
    """A bigger catchment that answers later: Nash cascade, then a rating curve.

    Nash (1957), The form of the instantaneous unit hydrograph, IAHS Publ. 45: `reservoirs` equal
    linear reservoirs in series, lag = reservoirs · k. Rating Q = c (h - zero_flow)^exponent
    (ISO 18320), 5/3 being Manning's exponent for a wide channel. Sizes: assumptions.
    """

    area_ha: float = 1200.0
    runoff_coefficient: float = 0.35
    reservoirs: int = 3
    k_s: float = 1200.0
    base_flow_m3s: float = 1.5
    rating_c: float = 18.0
    rating_exponent: float = 5.0 / 3.0
    zero_flow_m: float = 0.2

    def __post_init__(self) -> None:
        check_bounds(
            self,
            area_ha=(1.0, 1e7),
            runoff_coefficient=(0.0, 1.0),
            reservoirs=(1, 20),
            k_s=(1.0, 864000.0),
            base_flow_m3s=(0.0, 1e5),
            rating_c=(0.01, 1e5),
            rating_exponent=(1.0, 4.0),
            zero_flow_m=(-100.0, 100.0),
        )

    def level(self, rain: Iterable[float], step_s: float) -> list[float]:
        """Rain (m/s, each step's mean) → level above gauge zero (m) at each step's end."""
        effective_m2 = self.area_ha * SQUARE_METRES_PER_HECTARE * self.runoff_coefficient
        flow = [rate * effective_m2 for rate in rain]
        for _ in range(self.reservoirs):
            flow = linear_reservoir(flow, self.k_s, step_s)
        return [self.rated(self.base_flow_m3s + q) for q in flow]

    def rated(self, flow_m3s: float) -> float:
        """Level (m) at which that flow passes."""
        return self.zero_flow_m + math.pow(flow_m3s / self.rating_c, 1.0 / self.rating_exponent)


@dataclass(frozen=True, slots=True)
class Crack:
    """A crack that creeps, faster while the slope is wet: v = creep + gain · seepage.

    Seepage (m/s) is rain through one linear reservoir. So `gain` is the opening (m) that one metre
    of rain brings in the end. The numbers only draw a plausible curve: no standard gives any.
    """

    opening_m: float = 0.012
    creep_ms: float = 5e-8  # about 4 mm a day
    gain: float = 0.04
    k_s: float = 2400.0

    def __post_init__(self) -> None:
        check_bounds(
            self, opening_m=(0.0, 10.0), creep_ms=(0.0, 1.0), gain=(0.0, 10.0), k_s=(1.0, 864000.0)
        )

    def openings(self, rain: Iterable[float], step_s: float) -> list[float]:
        """Rain (m/s, each step's mean) → opening (m): at start, then at each step's end."""
        seepage = linear_reservoir(rain, self.k_s, step_s)
        growth = ((self.creep_ms + self.gain * flow) * step_s for flow in seepage)
        return list(accumulate(growth, initial=self.opening_m))
