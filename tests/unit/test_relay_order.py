"""In which order a relay board switches that takes one channel at a time."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from configs import loader
from configs.loader import ConfigError
from drivers.ports.serial import Config as Serial
from drivers.profiles import find
from drivers.signals.modbus_relay import Channels, Config, safe_order, severity
from wire.aspect import Aspect

GREEN, AMBER, RED = Aspect.GREEN, Aspect.AMBER, Aspect.RED


def config(hold: object = "pulse", **changes: object) -> Config:
    table = {
        "kind": "modbus_relay",
        "port": "bus",
        "channels": {"green": [0], "amber": [1], "red": []},
        **({"pulse_ms": 3000} if hold == "pulse" else {"hold": hold}),
        **changes,
    }
    table = {key: value for key, value in table.items() if value is not None}
    return loader.parse(table, Config, "test")


def pictures_between(lit: Channels, order: tuple[int, ...]) -> list[Channels]:
    """What is lit after each write but the last."""
    seen = []
    for channel in order[:-1]:
        lit = lit ^ {channel}
        seen.append(lit)
    return seen


CHANNELS = st.frozensets(st.integers(0, 4), max_size=3)


@st.composite
def maps(draw: st.DrawFn) -> dict[Channels, Aspect]:
    """Channels of green, amber and red, perhaps of flashing amber; a warning has none."""
    at_rest = draw(st.sampled_from([RED, AMBER, Aspect.FLASHING_AMBER]))
    others = {GREEN, AMBER, RED, at_rest} - {at_rest}
    lists = draw(st.lists(CHANNELS, min_size=len(others), max_size=len(others), unique=True))
    assume(frozenset() not in lists)
    return {frozenset(): at_rest, **dict(zip(lists, sorted(others), strict=True))}


@given(maps())
def test_what_the_config_accepts_never_passes_through_a_less_restrictive_picture(
    pictures: dict[Channels, Aspect],
) -> None:
    channels = {aspect.value: sorted(on) for on, aspect in pictures.items()}
    try:
        config(channels=channels).unit(find)
    except ConfigError:
        return  # the refusals have tests of their own
    for lit, before in pictures.items():
        for wanted, after in pictures.items():
            order = safe_order(lit, wanted, pictures)
            assert sorted(order) == sorted(lit ^ wanted)
            floor = min(before.severity, after.severity)
            for picture in pictures_between(lit, order):
                assert severity(picture, pictures) >= floor


@given(maps(), CHANNELS)
def test_whatever_is_lit_the_wanted_picture_is_reached(
    pictures: dict[Channels, Aspect], stray: Channels
) -> None:
    for wanted in pictures:
        assert sorted(safe_order(stray, wanted, pictures)) == sorted(stray ^ wanted)


@pytest.mark.parametrize(
    ("lit", "wanted", "order"),
    [
        ({0}, {1}, (0, 1)),  # green goes before amber comes: red, at rest, is between
        ({1}, {0}, (1, 0)),
        ({0}, set(), (0,)),
        ({0, 1}, set(), (0, 1)),  # a mixture: first what is green about it
    ],
)
def test_green_goes_first(lit: set[int], wanted: set[int], order: tuple[int, ...]) -> None:
    pictures = config().pictures
    assert safe_order(frozenset(lit), frozenset(wanted), pictures) == order


def test_a_more_restrictive_lamp_comes_before_a_less_restrictive_one_goes() -> None:
    # At rest the board only flashes: between amber and red there would be less than both.
    pictures = config(
        channels={"green": [0], "flashing_amber": [], "amber": [1], "red": [2]}
    ).pictures
    assert safe_order(frozenset({1}), frozenset({2}), pictures) == (2, 1)
    assert safe_order(frozenset({0}), frozenset({2}), pictures) == (0, 2)


def test_a_map_without_a_safe_order_is_refused_where_it_matters() -> None:
    # From amber to red at rest, one of the two contacts goes first: green or flashing remains.
    channels = {"green": [1], "flashing_amber": [0], "amber": [0, 1], "red": []}
    with pytest.raises(ConfigError, match="from amber to red it would pass through a less restr"):
        config(channels=channels).unit(find)
    assert config("latch", channels=channels).unit(find) == 1  # all coils in one message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"profile": "relay-lctech-8ch"}, "knows no pulses"),
        ({"pulse_ms": 250}, "pulses of up to 6553500 ms in steps of 100 ms, not 250"),
        ({"profile": "relay-laskakit-8ch", "pulse_ms": 1500}, "up to 255000 ms in steps of 1000"),
        ({"channels": {"green": [8], "amber": [1], "red": []}}, "there is no channel 8"),
        ({"profile": "ruler-cm-9600"}, "is not a relay board"),
    ],
)
def test_a_board_that_cannot_do_it_is_a_fault(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config(**changes).unit(find)


def test_a_board_falls_back_by_itself_unless_it_is_told_to_hold() -> None:
    assert config().refresh_within_s == 3
    assert config(pulse_ms=None).refresh_within_s == 30
    assert config("latch").refresh_within_s is None
    with pytest.raises(ConfigError, match='pulse_ms goes with hold = "pulse"'):
        config("latch", pulse_ms=3000)


def test_the_time_of_a_write_counts_every_frame() -> None:
    line = Serial(kind="serial", device="/dev/ttyUSB0")
    # Two reads (8 + 7, a byte of coils counted as a register), two writes and their echoes (8 + 8
    # each), two silences and 5 ms for each of the four exchanges.
    characters = 2 * 15 + 2 * 16 + 8 * 3.5
    seconds = characters * 10 / 9600 + 4 * 0.005
    assert config().show_s(line, find) == pytest.approx(seconds)
    assert config("latch").show_s(line, find) < config().show_s(line, find)
