"""Design rain: a rain-intensity formula and the Chicago storm built from it. Pure, SI."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from firmware_sim.errors import check_bounds

LITRE_PER_SECOND_HECTARE = 1e-7  # m/s: 1e-3 m3/s over 1e4 m2


@dataclass(frozen=True, slots=True)
class IntensityFormula:
    """The Chinese rain-intensity formula (暴雨强度公式), form of GB 50014:

        q = a (1 + c lg P) / (t + b)^n      q in L/(s·ha), t in min, P in years

    (`a` is 167·A1 where a city gives A1 in mm/min.)

    Default: Chongqing, Shapingba zone (between the Yangtze and the Jialing), revision published
    by the city as 渝建〔2017〕443号. UNCERTAIN: the numbers were read in two public copies of
    that notice, not in the print; the edition of 2013 differs (1563.609, 0.633, 6.947, 0.624).
    For design work use the notice itself.
    """

    a: float = 1132.0
    c: float = 0.958
    b_min: float = 5.408
    n: float = 0.595

    def __post_init__(self) -> None:
        check_bounds(self, a=(1.0, 1e5), c=(0.0, 5.0), b_min=(0.1, 100.0), n=(0.1, 0.99))

    def intensity(self, duration_s: float, return_period_a: float) -> float:
        """Mean intensity (m/s) of the rain of that duration which returns every P years."""
        t_min = duration_s / 60.0
        rain_force = self.a * (1.0 + self.c * math.log10(return_period_a))
        return rain_force / math.pow(t_min + self.b_min, self.n) * LITRE_PER_SECOND_HECTARE

    def depth(self, duration_s: float, return_period_a: float) -> float:
        """Depth (m) of that rain."""
        return self.intensity(duration_s, return_period_a) * duration_s


@dataclass(frozen=True, slots=True)
class DesignStorm:
    """Chicago storm: within every duration around its peak it holds the formula's own depth.

    Source: Keifer & Chu (1957), Synthetic storm pattern for drainage design, J. Hydraul. Div.
    ASCE 83(HY4). Their two intensity curves are used here in integrated form, so that depths
    are exact whatever the step.

    - `return_period_a`: years. GB 50014 asked of underpass drainage at least 10, in city centres
      20 to 30 (4.10.2, editions before 2021).
    - `duration_s`: 2 h, the usual short design storm.
    - `peak_ratio`: part of the duration that lies before the peak. Surveys of Chinese cities give
      0.3 to 0.5; 0.4 is common practice where there is none.
    - `lead_s`: dry time before the first drop.
    - `block_s`: intensity is constant within a block, because formulas are fitted from 5 min up
      and the curve's sharp tip below that is not rain that anybody measured.
    - `gust_sigma`, `gust_s`: log standard deviation and correlation time of the multiplicative
      gusts, a first-order autoregressive process. They move rain in time, never its total.
      Engineering choice.
    """

    formula: IntensityFormula = field(default_factory=IntensityFormula)
    return_period_a: float = 20.0
    duration_s: float = 7200.0
    peak_ratio: float = 0.4
    lead_s: float = 600.0
    block_s: float = 300.0
    gust_sigma: float = 0.25
    gust_s: float = 180.0

    def __post_init__(self) -> None:
        check_bounds(
            self,
            return_period_a=(1.0, 100.0),
            duration_s=(600.0, 86400.0),
            peak_ratio=(0.05, 0.95),
            lead_s=(0.0, 86400.0),
            block_s=(1.0, 3600.0),
            gust_sigma=(0.0, 1.0),
            gust_s=(1.0, 3600.0),
        )

    def total(self) -> float:
        """Depth (m) of the whole storm."""
        return self.formula.depth(self.duration_s, self.return_period_a)

    def fallen(self, t_s: float) -> float:
        """Depth (m) fallen `t_s` seconds after the lead, without blocks or gusts."""
        r = self.peak_ratio
        from_peak_s = min(max(t_s, 0.0), self.duration_s) - r * self.duration_s
        share = r if from_peak_s < 0 else 1.0 - r
        beside_peak = share * self.formula.depth(abs(from_peak_s) / share, self.return_period_a)
        return r * self.total() + math.copysign(beside_peak, from_peak_s)

    def hyetograph(self, steps: int, step_s: float, seed: int) -> list[float]:
        """Mean intensity (m/s) of each of `steps` steps from scenario start, gusts included.

        Sum × step equals what the storm lets fall in that time without gusts.
        """
        fallen = [self._fallen_in_blocks(k * step_s - self.lead_s) for k in range(steps + 1)]
        calm = [(b - a) / step_s for a, b in pairwise(fallen)]
        gusty = [rate * gust for rate, gust in zip(calm, self._gusts(seed, step_s), strict=False)]
        scale = math.fsum(calm) / math.fsum(gusty) if any(gusty) else 1.0
        return [rate * scale for rate in gusty]

    def _fallen_in_blocks(self, t_s: float) -> float:
        t_s = min(max(t_s, 0.0), self.duration_s)
        start_s = t_s // self.block_s * self.block_s
        end_s = min(start_s + self.block_s, self.duration_s)
        if end_s <= start_s:
            return self.total()
        before, after = self.fallen(start_s), self.fallen(end_s)
        return before + (after - before) * (t_s - start_s) / (end_s - start_s)

    def _gusts(self, seed: int, step_s: float) -> Iterator[float]:
        """Endless factors of median 1, alike within about `gust_s`."""
        dice = random.Random(seed)
        memory = math.exp(-step_s / self.gust_s)
        fresh = math.sqrt(1.0 - memory**2)
        state = dice.gauss(0.0, 1.0)
        while True:
            yield math.exp(self.gust_sigma * state)
            state = memory * state + fresh * dice.gauss(0.0, 1.0)
