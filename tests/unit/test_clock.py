"""UTC on a gateway without a clock battery: known late, never back, never 1970. No real time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import (
    ABSORBED_UP_TO_MS,
    NOT_BEFORE_MS,
    SUSPECT_FROM_MS,
    TOLD_FROM_MS,
    Clock,
    Source,
    ThisMachine,
)
from tests.machine import UTC_MS, FakeMachine, trusted

HOUR_S = 3600


def learned(clock: Clock) -> int:
    offset_ms = clock.candidate()
    assert offset_ms is not None
    return offset_ms


@pytest.mark.parametrize(
    ("source", "ntp", "utc_ms", "known"),
    [
        (Source.NTP, False, UTC_MS, False),
        (Source.NTP, True, UTC_MS, True),
        (Source.NTP, True, 0, False),  # the kernel would have to err
        (Source.RTC, False, UTC_MS, True),
        (Source.RTC, False, NOT_BEFORE_MS - 1, False),  # an empty battery
        (Source.RTC, False, 4_102_444_800_000_000, False),
        (Source.TRUSTED, False, UTC_MS, True),
        (Source.TRUSTED, False, 5_000, False),
    ],
)
def test_when_the_time_is_known(source, ntp, utc_ms, known):
    machine = FakeMachine(utc_ms=utc_ms, up_s=10, ntp=ntp)
    assert Clock(machine, source).candidate() == (utc_ms - 10_000 if known else None)


def test_a_battery_that_has_been_empty_is_seen_by_what_the_disk_remembers():
    machine = FakeMachine(utc_ms=UTC_MS)
    clock = Clock(machine, Source.RTC)
    clock.recall(None, UTC_MS + 2 * ABSORBED_UP_TO_MS)
    assert clock.candidate() is None
    machine.ntp = True  # then it is the older time that was wrong
    assert clock.candidate() is not None


def test_until_it_is_known_times_count_from_the_boot():
    machine = FakeMachine(up_s=12.5)
    clock = Clock(machine, Source.NTP)
    assert not clock.trusted
    assert (clock.stamp(3.25), clock.now()) == (3250, 12_500)
    machine.ntp = True
    clock.trust(learned(clock))
    assert clock.stamp(3.25) == UTC_MS - 12_500 + 3250
    assert clock.now() == UTC_MS


def test_without_network_it_goes_on_by_the_crystal():
    machine = FakeMachine(ntp=True)
    clock = trusted(machine, Source.NTP)
    machine.ntp = False
    machine.wait(3 * 86_400)
    machine.step(-500_000)  # somebody's hand: nobody vouches for it
    assert clock.look() is None
    assert clock.now() == UTC_MS + 3 * 86_400_000
    machine.ntp = True
    machine.step(500_007)
    assert clock.look() == (7000, True)
    assert clock.now() == UTC_MS + 3 * 86_400_000 + 7000


def test_an_earlier_process_of_the_same_boot_has_left_the_offset():
    machine = FakeMachine(ntp=False)
    clock = Clock(machine, Source.NTP)
    clock.recall(UTC_MS, UTC_MS + 1)
    assert clock.candidate() == UTC_MS


def test_a_leap_second_is_told_and_absorbed():
    machine = FakeMachine(ntp=True)
    clock = trusted(machine, Source.NTP)
    machine.wait(0.5)
    before = clock.now()
    machine.step(-1)  # the kernel repeats 23:59:59
    assert clock.look() == (-1000, True)
    stamps = []
    for _ in range(6):
        stamps.append(clock.now() - before)
        assert clock.sure(machine.up_s)
        machine.wait(0.5)
    assert stamps == [0, 250, 500, 750, 1000, 1500]


def test_while_it_is_far_ahead_readings_are_suspect():
    machine = FakeMachine(ntp=True)
    clock = trusted(machine, Source.NTP)
    machine.step(-20)
    clock.look()
    machine.wait(1)
    assert not clock.sure(machine.up_s)
    machine.wait(40)
    assert clock.sure(machine.up_s)
    assert clock.now() == machine.utc_ms()


def test_a_step_back_that_is_too_far_begins_a_stream():
    machine = FakeMachine(ntp=True)
    clock = trusted(machine, Source.NTP)
    machine.step(-2 * HOUR_S)
    assert clock.look() == (-7_200_000, False)
    assert clock.now() == machine.utc_ms()
    assert clock.sure(machine.up_s)


@pytest.mark.parametrize(
    ("ahead_ms", "goes_on"), [(0, True), (1000, True), (ABSORBED_UP_TO_MS + 1, False)]
)
def test_a_process_goes_on_after_the_last_time_of_its_stream(ahead_ms, goes_on):
    machine = FakeMachine(ntp=True)
    clock = Clock(machine, Source.NTP)
    last_ms = UTC_MS + ahead_ms
    assert clock.trust(learned(clock), last_ms) is goes_on
    assert (clock.now() > last_ms) is goes_on


moves = st.lists(
    st.tuples(
        st.floats(0.05, 30),  # between two readings
        st.one_of(st.just(0.0), st.floats(-30, 30), st.floats(-7200, 7200)),
        st.booleans(),  # whether the kernel is synchronised
    ),
    max_size=40,
)


@given(moves)
def test_within_a_stream_time_never_goes_back_and_errs_only_as_told(steps):
    machine = FakeMachine(ntp=True)
    clock = trusted(machine, Source.NTP)
    last_ms = clock.now()
    for passed_s, step_s, ntp in steps:
        machine.wait(passed_s)
        machine.ntp = ntp
        machine.step(step_s)
        jump = clock.look()
        now_ms = clock.now()
        if jump is not None and not jump.absorbed:
            assert abs(now_ms - machine.utc_ms()) <= 1
        else:
            assert now_ms >= last_ms + passed_s * 500 - 2  # half speed at least, to the ms
        if ntp and clock.sure(machine.up_s):
            assert abs(now_ms - machine.utc_ms()) <= SUSPECT_FROM_MS
        last_ms = now_ms


@given(st.floats(-2, 2))
def test_a_jump_is_told_and_a_slew_is_not(step_s):
    machine = FakeMachine(ntp=True)
    clock = trusted(machine, Source.NTP)
    machine.step(step_s)
    told = clock.look() is not None
    assert told == (abs(round(machine.shown_ms) - UTC_MS) >= TOLD_FROM_MS)


def test_this_machine_answers():
    machine = ThisMachine()
    assert machine.boot == ThisMachine().boot
    assert isinstance(machine.synchronised(), bool)
    assert abs(machine.utc_ms() - ThisMachine().utc_ms()) < 1000
    assert machine.monotonic() > 0
