"""Whatever a person gives to a command: one line a fault, exit code 2, and never a traceback."""

import io
import os
import sys
from collections.abc import Iterator

import click
import pytest

import shuichi
from configs import commands

PATHS = (
    "nope/nope",
    "folder",
    "binary",
    "empty",
    "text",
    "x" * 300,
    "",
    "empty/x",
    "/proc/self/mem",
)
WORDS = ("é" * 300, "../..", "1" * 5000, "=", "@", "1-2-3", "a\nb", "[::1]:99999", "\udcff")
RUNS_WITHOUT = {("sim", "run"), ("demo",), ("edge", "run"), ("cloud", "run")}
"""What would run for long if it were given nothing bad; of these only the paths are tried."""

GATEWAY = (
    '[gateway]\nid = "gw-1"\nsite = "here"\n[port.bus]\nkind = "serial"\ndevice = "/dev/nope"\n'
    '[sensor.r]\nport = "bus"\nprofile = "ruler-cm-9600"\n'
)
CLOUD = '[store]\nkind = "sqlite"\n'


def leaves(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, *path, name)


def usual(param: click.Parameter) -> str:
    """Something of the right kind."""
    match param.type:
        case click.Choice(choices=choices):
            return str(next(iter(choices)))
        case click.types.IntParamType() | click.types.FloatParamType():
            return "1"
        case click.Path():
            return "nope"
    return "x"


def words(command: click.Command, bad: click.Parameter, value: str) -> list[str]:
    """A command line in which one parameter is bad and all that must be there is."""
    options: list[str] = []
    arguments: list[str] = []
    for param in command.params:
        if param is bad:
            given = value
        elif param.name == "file":
            given = "cloud.toml" if "cloud" in str(param.default) else "gateway.toml"
        elif param.required:
            given = usual(param)
        else:
            continue
        if isinstance(param, click.Option):
            options += [param.opts[-1]] if param.is_flag else [param.opts[-1], given]
        else:
            arguments.append(given)
    return [*options, "--", *arguments]


def tried() -> Iterator[tuple[str, ...]]:
    """A few values for each parameter of each command, others for each."""
    turn = 0
    for path, command in leaves(shuichi.cli):
        for param in command.params:
            is_path = isinstance(param.type, click.Path)
            if not is_path and (
                path in RUNS_WITHOUT or not isinstance(param.type, click.types.StringParamType)
            ):
                continue
            values = PATHS if is_path else WORDS
            for _ in range(2):
                turn += 1
                value = values[turn % len(values)]
                if path in RUNS_WITHOUT and value in ("nope/nope", "empty", "text", ""):
                    value = "folder"
                yield (*path, *words(command, param, value))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello\nworld")
    (tmp_path / "gateway.toml").write_text(GATEWAY)
    (tmp_path / "cloud.toml").write_text(CLOUD)
    return tmp_path


def run(line, monkeypatch):
    """Exit code and stderr of the command in this process: a traceback is an exception here."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["shuichi", *line])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            commands.main(lambda: None)
    err.flush()
    written = err.buffer
    assert isinstance(written, io.BytesIO)
    return ended.value.code, written.getvalue().decode("utf-8", "replace")


def test_no_command_line_leads_to_a_traceback(desk, monkeypatch):
    count = 0
    for line in tried():
        before = {file: file.read_bytes() for file in desk.glob("*.toml")}
        code, said = run(line, monkeypatch)
        count += 1
        assert code in (0, 1, 2, None), (line, code)
        assert "Traceback" not in said, (line, said)
        if code == 2:
            assert all(one.startswith("shuichi: ") or "Usage" in said for one in said.splitlines())
        for file, content in before.items():  # the next one finds what this one found
            file.write_bytes(content)
    assert count > 150


@pytest.mark.parametrize("group", ["edge check", "cloud check", "plan check", "sim run"])
@pytest.mark.parametrize("kind", ["folder", "binary", "nope", "empty/x"])
def test_a_config_that_is_none_is_one_line(desk, monkeypatch, group, kind):
    option = ["--config"] if group.split()[0] in ("edge", "cloud") else []
    code, said = run([*group.split(), *option, kind], monkeypatch)
    assert (code, len(said.splitlines())) == (2, 1), said
    assert kind in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_config_that_may_not_be_read(desk, monkeypatch):
    (desk / "gateway.toml").chmod(0)
    code, said = run(["edge", "check"], monkeypatch)
    assert (code, said) == (2, "shuichi: gateway.toml: cannot be read: Permission denied\n")
