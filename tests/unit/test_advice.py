"""Advice can be followed: a key that a message names exists, and so does a command."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

import shuichi
from configs import loader
from drivers import profiles
from wire.aspect import Aspect

ROOT = Path(loader.__file__).parent.parent
PACKAGES = ("configs", "wire", "drivers", "edge", "cloud", "firmware_sim")


_KEY = r"[a-z]+(?:_[a-z0-9]+)+"
ADVISED = re.compile(
    rf"\b(?:set|lower|raise|shorten|lengthen|say|give|or)\s+`?({_KEY})\b(?!`?\()(?: = )?"
)
COMMAND = re.compile(r"`shuichi ([a-z][a-z -]*[a-z])")


@cache
def nodes() -> dict[Path, list[ast.AST]]:
    """Of each of our files, all that its tree has."""
    return {
        file: [*ast.walk(ast.parse(file.read_text("utf-8")))]
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
    }


def texts(file: Path) -> Iterator[str]:
    """What a file says to people: its string literals but for docstrings; f-strings with a mark
    where something is put in."""
    docs = {
        node.body[0].value
        for node in nodes()[file]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside = {
        part for node in nodes()[file] if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in nodes()[file]:
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in docs
            and node not in inside
        ):
            yield node.value


@cache
def said() -> list[tuple[str, str]]:
    """File and text of everything that is said anywhere."""
    found = [(str(file.relative_to(ROOT)), text) for file in nodes() for text in texts(file)]
    for name in profiles.available():
        found += [(f"profile {name}", doubt) for doubt in profiles.find(name).uncertain]
    return found


def known_keys() -> set[str]:
    """What a config can have: the annotated names of all classes, the words of all enumerations,
    and the aspects."""
    words = {
        item.value.value
        for tree in nodes().values()
        for node in tree
        if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(one) for one in node.bases)
        for item in node.body
        if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant)
        if isinstance(item.value.value, str)
    }
    return (
        words
        | {aspect.value for aspect in Aspect}
        | {
            item.target.id
            for tree in nodes().values()
            for node in tree
            if isinstance(node, ast.ClassDef)
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        }
    )


def test_a_key_that_is_advised_exists():
    keys = known_keys()
    advised = {(file, key) for file, text in said() for key in ADVISED.findall(text)}
    assert len(advised) >= 5
    assert {(file, key) for file, key in advised if key not in keys} == set()


def commands() -> set[str]:
    found: set[str] = set()

    def walk(command: click.Command, path: str) -> None:
        found.add(path.strip())
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                walk(inner, f"{path} {name}")

    walk(shuichi.cli, "")
    return found


def test_a_command_that_is_advised_exists():
    known = commands()
    advised = {(file, line) for file, text in said() for line in COMMAND.findall(text)}
    assert len(advised) >= 10

    def is_known(line: str) -> bool:
        words = line.partition(" --")[0].split()
        return any(" ".join(words[:count]) in known for count in (2, 1) if len(words) >= count)

    assert {(file, line) for file, line in advised if not is_known(line)} == set()


@pytest.mark.parametrize("word", ["framing", "baud", "x"])
def test_nobody_is_advised_to_write_what_he_wrote(word):
    assert loader.suggest(word, [word]) == ""
    assert word not in loader.suggest(word, [word, f"{word}s"]).replace(f"{word}s", "")
