"""Every number that a command takes has bounds, and none of them is no number."""

import math
from collections.abc import Iterator

import click
import pytest

import shuichi


def options(command: click.Command, path: str = "shuichi") -> Iterator[tuple[str, click.Parameter]]:
    """All parameters of all commands, each with how it is typed."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from options(found, f"{path} {name}")
    for param in command.params:
        yield f"{path} {param.opts[-1]}", param


ALL = list(options(shuichi.cli))
CHECKED_BY_THE_COMMAND = {  # tests/unit/test_alertcli.py
    f"shuichi alert {name} --minutes" for name in ("shelve", "suppress", "out-of-service")
}
NUMBERS = [
    (name, param)
    for name, param in ALL
    if isinstance(param.type, click.types.IntParamType | click.types.FloatParamType)
    and name not in CHECKED_BY_THE_COMMAND
]


def refused(param: click.Parameter, text: str) -> str:
    with pytest.raises(click.BadParameter) as caught:
        param.type.convert(text, param, None)
    return caught.value.message


def test_there_are_numbers():
    assert len(NUMBERS) >= 20
    assert {name.split()[1] for name, _ in NUMBERS} >= {
        *("cloud", "command", "demo", "edge", "plan", "port"),
        *("quarantine", "query", "sensor", "sim"),
    }


@pytest.mark.parametrize(("name", "param"), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_a_number_has_bounds(name, param):
    kind = param.type
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    assert least is not None, f"{name} has no lower bound"
    assert most is not None, f"{name} has no upper bound"
    for text in ("nan", "NaN", "-nan", "inf", "-inf", "infinity", "1e999", "", "x", "٣x"):
        refused(param, text)
    for beyond in (least - 1, most + 1, -(10**30), 10**30):
        refused(param, str(beyond))
    if kind.min_open:
        refused(param, str(least))
    inside = most if math.isfinite(most) else least + 1
    assert kind.convert(str(inside), param, None) == inside


@pytest.mark.parametrize(("name", "param"), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_a_default_is_within_the_bounds(name, param):
    default = param.get_default(click.Context(click.Command("x")))
    for value in default if isinstance(default, tuple) else (default,):
        if isinstance(value, int | float):
            assert param.type.convert(str(value), param, None) == value
