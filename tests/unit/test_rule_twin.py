"""Two machines with one gateway's id are found by their streams, and a lone gateway never is."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts.rule import Said, Tick
from edge import machine
from tests.rules import MINUTE, NOW, follow, levels, rule
from wire.messages import GatewayState, Level, Status

TWIN = rule("twin_gateway")


def status(stream: str, at_s: float, state: GatewayState = GatewayState.ONLINE) -> Status:
    return Status("g", state, NOW + round(at_s * 1000), stream, machine=f"serial-{stream}")


def at(second: float, said: Said) -> tuple[Said, int]:
    return said, NOW + round(second * 1000)


def turns(*streams: str, every_s: float = 25) -> list[tuple[Said, int]]:
    return [at(n * every_s, status(stream, n * every_s)) for n, stream in enumerate(streams)]


def test_streams_that_take_turns_are_two_machines_both_named() -> None:
    _, found = follow(TWIN, turns(*"abab" * 3))
    assert levels(found) == [Level.ORANGE]
    assert "serial-a" in found[0].text
    assert "serial-b" in found[0].text
    assert follow(TWIN, turns(*"abab" * 3), restart=True)[1] == found


def test_a_gateway_that_boots_again_and_again_is_one_machine() -> None:
    streams = [name for name in "abcdefghijkl" for _ in range(3)]
    assert follow(TWIN, turns(*streams))[1] == []


@given(st.lists(st.integers(0, 3), max_size=40), st.randoms(use_true_random=False))
def test_late_and_repeated_statuses_of_one_machine_are_no_twin(
    boots: list[int], random: object
) -> None:
    said = turns(*(f"s{n}" for n in sorted(boots)))
    repeated = [one for pair in zip(said, said, strict=True) for one in pair]
    order = [*repeated, *said]  # the broker delivers all of it once more
    assert follow(TWIN, order)[1] == []


def test_it_ends_when_one_machine_alone_has_spoken_for_long() -> None:
    said = turns(*"abababab")
    tick = Tick(NOW, NOW)
    said += [at(600, status("b", 600)), at(30 * 60, tick), at(41 * 60, tick), at(42 * 60, tick)]
    assert levels(follow(TWIN, said)[1]) == [Level.ORANGE, None]


def test_returns_that_lie_far_apart_do_not_add_up() -> None:
    said = [at(n * 40 * 60, status("ab"[n % 2], n * 40 * 60)) for n in range(8)]
    assert follow(TWIN, said)[1] == []
    assert TWIN.over_after_ms < 40 * MINUTE  # type: ignore[attr-defined]


def test_this_machine_has_a_name_that_fits_a_status() -> None:
    name = machine.identity()
    assert 0 < len(name) <= machine.LONGEST
    assert name.isprintable()
