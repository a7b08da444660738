"""The simulated storm obeys its formula, loses no water, and looks like a flooded underpass."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.rain import DesignStorm, IntensityFormula
from firmware_sim.scenario import (
    SIGNALS,
    Scenario,
    ScenarioError,
    StormRun,
    UnderpassStorm,
    underpass_storm,
)
from firmware_sim.water import Catchment, Crack, Pump, River, Sump, fill, linear_reservoir
from tests.examples import examples

SEEDS = st.integers(0, 2**32)
STORMS = st.builds(
    DesignStorm,
    return_period_a=st.floats(1.0, 100.0),
    duration_s=st.floats(1800.0, 14400.0),
    peak_ratio=st.floats(0.1, 0.9),
    lead_s=st.floats(0.0, 1800.0),
    block_s=st.floats(30.0, 900.0),
    gust_sigma=st.floats(0.0, 1.0),
)
few = examples(25)


@pytest.fixture(scope="module")
def storm() -> StormRun:
    return underpass_storm()


def crossings(run: StormRun, threshold_m: float) -> list[int]:
    """Steps at which depth crosses the threshold, upwards or downwards."""
    depth = run.signals["depth"]
    over = [value >= threshold_m for value in depth]
    return [k for k in range(1, len(over)) if over[k] != over[k - 1]]


# --- rain -----------------------------------------------------------------------------------------


def test_formula_by_hand() -> None:
    # 1132 (1 + 0.958 lg 10) / (60 + 5.408)^0.595 = 184.2 L/(s·ha), so 66.3 mm in an hour
    assert IntensityFormula().intensity(3600.0, 10.0) == pytest.approx(184.2e-7, rel=1e-3)
    assert IntensityFormula().depth(3600.0, 10.0) == pytest.approx(0.0663, rel=1e-3)


@few
@given(storm=STORMS)
def test_chicago_total_is_the_formulas_depth(storm: DesignStorm) -> None:
    of_formula = storm.formula.depth(storm.duration_s, storm.return_period_a)
    assert storm.fallen(storm.duration_s) == pytest.approx(of_formula, rel=1e-12)
    assert storm.fallen(0.0) == pytest.approx(0.0, abs=1e-15)


@few
@given(storm=STORMS, share=st.floats(0.01, 1.0))
def test_chicago_holds_the_formulas_depth_in_every_duration_around_its_peak(
    storm: DesignStorm, share: float
) -> None:
    window_s = share * storm.duration_s
    peak_s = storm.peak_ratio * storm.duration_s
    start_s = peak_s - storm.peak_ratio * window_s
    fell = storm.fallen(start_s + window_s) - storm.fallen(start_s)
    assert fell == pytest.approx(storm.formula.depth(window_s, storm.return_period_a), rel=1e-9)


@few
@given(storm=STORMS, seed=SEEDS)
def test_gusts_move_rain_but_keep_its_total(storm: DesignStorm, seed: int) -> None:
    step_s = 20.0
    steps = math.ceil((storm.lead_s + storm.duration_s) / step_s)
    rates = storm.hyetograph(steps, step_s, seed)
    assert min(rates) >= 0.0
    assert math.fsum(rates) * step_s == pytest.approx(storm.total(), rel=1e-9)
    assert all(rate == 0.0 for rate in rates[: int(storm.lead_s // step_s)])
    if storm.gust_sigma > 0.01:
        assert rates != replace(storm, gust_sigma=0.0).hyetograph(steps, step_s, seed)


def test_no_rain_within_the_lead_is_no_fault() -> None:
    assert DesignStorm(lead_s=3600.0).hyetograph(10, 60.0, seed=1) == [0.0] * 10


# --- water ----------------------------------------------------------------------------------------


@few
@given(inflow=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=200), k_s=st.floats(1.0, 5000.0))
def test_linear_reservoir_keeps_its_account(inflow: list[float], k_s: float) -> None:
    step_s = 5.0
    flow = linear_reservoir(inflow, k_s, step_s)
    assert all(0.0 <= q <= max(inflow) * (1 + 1e-12) for q in flow)
    # with S = k Q, k times the last flow stays; within a step the flow decays exactly
    kept = math.exp(-step_s / k_s)
    out = 0.0
    for before, inside in zip([0.0, *flow], inflow, strict=False):
        out += inside * step_s + (before - inside) * k_s * (1.0 - kept)
    assert math.fsum(inflow) * step_s == pytest.approx(out + k_s * flow[-1], rel=1e-9, abs=1e-9)


@given(depth=st.floats(0.0, 5.0), radius=st.floats(50.0, 5000.0))
def test_sump_depth_and_volume_are_inverse(depth: float, radius: float) -> None:
    sump = Sump(sag_radius_m=radius)
    assert sump.depth(sump.volume(depth)) == pytest.approx(depth, abs=1e-6)


def test_road_is_dry_until_the_well_is_full() -> None:
    sump = Sump(well_area_m2=40.0, well_depth_m=2.0)
    assert sump.depth(79.9) == 0.0
    assert sump.depth(81.0) > 0.0


@few
@given(
    inflow=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=300),
    rated=st.floats(0.0, 20.0),  # enough to run dry within a step
    trip_at=st.floats(0.0, 1000.0),
)
def test_sump_balances(inflow: list[float], rated: float, trip_at: float) -> None:
    step_s = 5.0
    pump = Pump(rated_m3s=rated, trip_at_s=trip_at, trip_s=300.0)
    account = fill(Sump(), pump, inflow, step_s)
    assert min(account.stored) >= 0.0
    gone = math.fsum(account.inflow) - math.fsum(account.pumped) - account.stored[-1]
    assert gone == pytest.approx(0.0, abs=1e-6)
    for k, lifted in enumerate(account.pumped):
        assert 0.0 <= lifted <= rated * step_s * (1 + 1e-12)
        if pump.tripped(k * step_s):
            assert lifted == 0.0


def test_pump_lifts_no_more_than_there_is() -> None:
    pump = Pump(rated_m3s=20.0, trip_s=0.0)
    account = fill(Sump(), pump, [10.0, 0.0], 5.0)
    assert account.pumped == (0.0, 50.0)
    assert account.stored == (0.0, 50.0, 0.0)


def test_pump_waits_for_start_and_runs_down_to_stop() -> None:
    sump, pump = Sump(), Pump(rated_m3s=0.5, start_m=1.2, stop_m=0.4, trip_s=0.0)
    account = fill(sump, pump, [0.1] * 400, 5.0)
    levels = [sump.well_level(stored) for stored in account.stored]
    for k in range(1, len(account.pumped)):
        started = account.pumped[k] > 0.0 and account.pumped[k - 1] == 0.0
        stopped = account.pumped[k] == 0.0 and account.pumped[k - 1] > 0.0
        assert not started or levels[k] > pump.start_m
        assert not stopped or levels[k] <= pump.stop_m
    assert max(levels) < pump.start_m + 0.1
    assert any(lifted > 0.0 for lifted in account.pumped)


def test_river_peaks_at_the_cascades_lag() -> None:
    # the instantaneous unit hydrograph of n reservoirs peaks (n - 1) k after the rain
    step_s, river = 10.0, River(reservoirs=3, k_s=600.0, base_flow_m3s=0.0)
    level = river.level([1e-3] + [0.0] * 999, step_s)
    assert level.index(max(level)) * step_s == pytest.approx(2 * 600.0, abs=2 * step_s)
    assert river.rated(river.rating_c) == pytest.approx(river.zero_flow_m + 1.0)


def test_crack_opens_by_gain_times_rain_in_the_end() -> None:
    crack = Crack(opening_m=0.01, creep_ms=0.0, gain=0.05, k_s=100.0)
    openings = crack.openings([1e-5] * 100 + [0.0] * 900, 5.0)
    assert openings[-1] - openings[0] == pytest.approx(0.05 * 1e-5 * 500.0, rel=0.03)


# --- the scenario ---------------------------------------------------------------------------------


def test_default_storm_is_a_flooded_underpass(storm: StormRun) -> None:
    playable: Scenario = storm
    assert 9000.0 <= playable.duration_s <= 10800.0
    depth = storm.signals["depth"]
    amber, red = crossings(storm, 0.15), crossings(storm, 0.30)
    assert len(amber) == len(red) == 2
    assert amber[0] < red[0] < red[1] < amber[1]
    assert 0.45 <= max(depth) <= 0.70
    assert depth[0] == 0.0
    assert depth[-1] < 0.05


@pytest.mark.parametrize("seed", range(12))
def test_every_seed_floods_and_drains_and_the_river_comes_later(seed: int) -> None:
    run = underpass_storm(seed)
    depth, river = run.signals["depth"], run.signals["river_level"]
    assert 0.35 < max(depth) < 0.90
    assert len(crossings(run, 0.15)) == len(crossings(run, 0.30)) == 2
    assert depth[-1] < 0.05
    lag_s = (river.index(max(river)) - depth.index(max(depth))) * run.step_s
    assert 20 * 60.0 < lag_s < 90 * 60.0


@few
@given(seed=SEEDS)
def test_run_balances_and_never_goes_back(seed: int) -> None:
    run = underpass_storm(seed, site=UnderpassStorm(step_s=20.0))
    account = run.balance
    gone = math.fsum(account.inflow) - math.fsum(account.pumped) - account.stored[-1]
    assert gone == pytest.approx(0.0, abs=1e-6)
    for name in ("rain_total", "crack"):
        values = run.signals[name]
        assert all(a <= b for a, b in pairwise(values)), name
    assert run.signals["rain_total"][-1] == pytest.approx(DesignStorm().total(), rel=1e-9)
    assert all(value >= 0.0 for name in SIGNALS for value in run.signals[name])


def test_inflow_is_the_catchments_share_of_the_rain(storm: StormRun) -> None:
    catchment = Catchment()
    ran_off = DesignStorm().total() * catchment.area_ha * 1e4 * catchment.runoff_coefficient
    # what is still in the catchment 50 min after the rain is nothing that counts
    assert math.fsum(storm.balance.inflow) == pytest.approx(ran_off, rel=0.01)


def test_crack_creeps_millimetres_and_faster_in_the_wet(storm: StormRun) -> None:
    crack = storm.signals["crack"]
    third = len(crack) // 3
    assert 0.001 < crack[-1] - crack[0] < 0.010
    assert crack[2 * third] - crack[third] > 3 * (crack[third // 6] - crack[0]) * 6


def test_without_a_trip_the_pump_holds_the_storm() -> None:
    site = UnderpassStorm()
    held = underpass_storm(site=replace(site, pump=replace(site.pump, trip_s=0.0)))
    assert max(held.signals["depth"]) < max(underpass_storm().signals["depth"]) / 2


def test_same_seed_same_storm_other_seed_other_storm(storm: StormRun) -> None:
    assert underpass_storm(1) == storm
    assert underpass_storm(2) != storm


@given(t_s=st.floats(-1e6, 1e6))
def test_at_interpolates_and_clamps(storm: StormRun, t_s: float) -> None:
    seen = storm.at(t_s)
    assert list(seen) == list(SIGNALS)
    held_s = min(max(t_s, 0.0), storm.duration_s)
    assert seen == storm.at(held_s)
    left = math.floor(held_s / storm.step_s)
    right = math.ceil(held_s / storm.step_s)
    for name, value in seen.items():
        a, b = storm.signals[name][left], storm.signals[name][right]
        assert min(a, b) - 1e-12 <= value <= max(a, b) + 1e-12


def test_at_returns_the_nodes_themselves(storm: StormRun) -> None:
    for k in (0, 1, 777, len(storm.signals["depth"]) - 1):
        seen = storm.at(k * storm.step_s)
        assert seen == {name: values[k] for name, values in storm.signals.items()}


# --- wrong parameters -----------------------------------------------------------------------------


def test_all_faults_of_a_part_come_in_one_line() -> None:
    with pytest.raises(ScenarioError) as caught:
        DesignStorm(return_period_a=0.0, peak_ratio=math.nan)
    message = str(caught.value)
    assert "return_period_a = 0.0 must lie between 1.0 and 100.0" in message
    assert "peak_ratio = nan" in message
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)


def test_pump_must_stop_below_its_start() -> None:
    with pytest.raises(ScenarioError, match=r"stop_m = 1\.5 must lie below start_m = 1\.2"):
        Pump(stop_m=1.5)


def test_step_must_divide_the_duration() -> None:
    with pytest.raises(ScenarioError, match="go whole into"):
        UnderpassStorm(step_s=7.0)
