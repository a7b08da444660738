"""What holds for every file of the repository, walked over what git tracks or would track."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE_LINES = 500  # past that look for a second subject

# Put together here, so that this file does not hold what it looks for.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("registry", "npmjs"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("crates", "io"),
        ("proxy", "golang"),
    ]
]
MACHINE_FOLDERS = re.compile(r"(?<![\w.])/(?:" + "|".join(["work", "home", "root", "farm"]) + ")/")


@pytest.fixture(scope="module")
def files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = [ROOT / name for name in listed.split("\0") if name]
    return [file for file in found if file.is_file()]  # a deleted one is still in the index


def lines_with(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {match.group()}"
        for file in files
        for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), 1)
        if (match := pattern.search(line))
    ]


def test_no_file_names_a_package_registry(files: list[Path]) -> None:
    hosts = re.compile("|".join(map(re.escape, REGISTRY_HOSTS)), re.IGNORECASE)
    assert lines_with(hosts, files) == []


def test_no_file_holds_a_path_of_somebodys_machine(files: list[Path]) -> None:
    assert lines_with(MACHINE_FOLDERS, files) == []


def test_every_package_says_in_a_line_what_it_is_for(files: list[Path]) -> None:
    folders = {file.parent for file in files if file.suffix == ".py"} - {ROOT}
    silent = [
        str(folder.relative_to(ROOT))
        for folder in sorted(folders)
        if not (init := folder / "__init__.py").is_file()
        or not ast.get_docstring(ast.parse(init.read_text("utf-8")))
    ]
    assert silent == []


def test_tests_and_benches_that_a_page_names_are_there(files: list[Path]) -> None:
    named = re.compile(r"(?:tests|bench)/[a-z_/]+\.py|(?<=python -m bench )[a-z_]+")
    names = {
        name if "/" in name else f"bench/{name}.py"
        for file in files
        if file.suffix == ".md" and file.name != "CHANGELOG.md"
        for name in named.findall(file.read_text("utf-8"))
    }
    assert sorted(name for name in names if not (ROOT / name).is_file()) == []


def test_no_python_file_is_too_long(files: list[Path]) -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines())
        for file in files
        if file.suffix == ".py"
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE_LINES} == {}
