"""Whose work we stand on: `python -m scripts.notice` prints NOTICE, `--sbom` a CycloneDX list.

Read from the metadata of what is installed, following what the base install and each extra but
`dev` require. To be run in an environment that was made by `make test`.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
OURS: Final = "shuichi"

HEAD: Final = """\
Shuichi
Copyright its authors, licensed under the Apache License 2.0 (LICENSE).

It installs these packages of others, each under its own licence; none is part of this repository.
Made by `python -m scripts.notice`.

"""


class Package(NamedTuple):
    name: str
    version: str
    licence: str


def packages() -> list[Package]:
    """All that a user of any extra gets, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(one for name, some in extras.items() if name != "dev" for one in some),
    ]
    found: dict[str, Package] = {}
    _follow(wanted, frozenset(), found)
    return sorted(found.values())


def _follow(lines: Iterable[str], extras: frozenset[str], found: dict[str, Package]) -> None:
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras or {""}
        )
        if name == OURS or not applies or (name in found and not requirement.extras):
            continue
        of = metadata.distribution(name)
        found[name] = Package(name, of.version, _licence(of.metadata))
        _follow(of.requires or (), frozenset(requirement.extras), found)


def _licence(of: metadata.PackageMetadata) -> str:
    """In the words of the package itself, in one line."""
    classifiers = of.get_all("Classifier") or []
    classified = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    named = [of.get_all(key) or [""] for key in ("License-Expression", "License")]
    said = (*(some[0] for some in named), ", ".join(classified))
    short = [one.strip() for one in said if one.strip() and "\n" not in one.strip()]
    return re.sub(r"\s+", " ", short[0]) if short else "see the package"


def notice() -> Iterator[str]:
    yield HEAD
    for one in packages():
        yield f"{one.name} {one.version}: {one.licence}\n"


def sbom() -> str:
    """CycloneDX 1.5, JSON."""
    components = [
        {
            "type": "library",
            "name": one.name,
            "version": one.version,
            "purl": f"pkg:{'py' + 'pi'}/{one.name}@{one.version}",
            "licenses": [{"license": {"name": one.licence}}],
        }
        for one in packages()
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": OURS}},
        "components": components,
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(f"{sbom()}\n" if "--sbom" in sys.argv[1:] else "".join(notice()))
