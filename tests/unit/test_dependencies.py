"""What a gateway installs is what a gateway imports."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = ("wire", "drivers", "edge", "configs")
OURS = {"wire", "drivers", "edge", "cloud", "firmware_sim", "configs", "bench", "shuichi"}
PACKAGES = {"paho": "paho-mqtt", "pydantic_core": "pydantic", "serial": "pyserial"}
"""Where a package is named differently from what it lets one import."""
OF_AN_EXTRA = {"pysnmp", "pyasn1"}


def imported() -> set[str]:
    """The packages that the gateway's code imports, wherever in a module."""
    found = set()
    for folder in GATEWAY:
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.split(".")[0])
    return {PACKAGES.get(name, name) for name in found - OURS - set(sys.stdlib_module_names)}


def test_the_base_install_is_what_a_gateway_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {re.split(r"[><=\[]", one)[0] for one in project["dependencies"]}
    assert imported() - OF_AN_EXTRA == named


def test_dev_has_all_other_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    (ours,) = [one for one in extras["dev"] if one.startswith("shuichi[")]
    held = set(ours.removeprefix("shuichi[").rstrip("]").split(","))
    assert held == extras.keys() - {"dev", "demo"}
