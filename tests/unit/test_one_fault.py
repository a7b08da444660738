"""One bad value in any of the shipped configs is told where it stands, and nothing else is."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud import config as cloud_config
from cloud.alerts import plan
from configs import loader
from configs.loader import ConfigError
from edge import config as gateway_config
from firmware_sim import config as sim_config

SITE = loader.HERE / "sites" / "underpass"
READ: dict[str, Any] = {
    "gateway": (SITE / "gateway.toml", gateway_config.read),
    "cloud": (SITE / "cloud.toml", cloud_config.read),
    "sim": (SITE / "sim.toml", sim_config.load),
    "plan": (loader.HERE / "plans" / "example-city.toml", plan.read),
}


MOST = 25
"""Places that are tried of one config, spread over it: each is read as a whole."""


def leaves(tables: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the values stand."""
    items = tables.items() if isinstance(tables, dict) else enumerate(tables)
    for key, item in items:
        if isinstance(item, dict | list) and item:
            yield from leaves(item, (*here, key))
        else:
            yield (*here, key)


def set_at(tables: Any, place: tuple[str | int, ...], value: object) -> None:
    for part in place[:-1]:
        tables = tables[part]
    tables[place[-1]] = value


@pytest.mark.parametrize("name", list(READ))
def test_a_bad_value_has_no_followers(name: str, tmp_path: Path) -> None:
    source, read = READ[name]
    shutil.copytree(source.parent, tmp_path, dirs_exist_ok=True)
    file = tmp_path / source.name
    tables = loader.read(source)
    read(file)  # as it is shipped nothing is wrong with it
    tried = 0
    places = list(leaves(tables))
    for place in places[:: max(1, len(places) // MOST)]:
        spoiled = loader.read(source)
        set_at(spoiled, place, {"this is": {"no value": 1}})
        file.write_text(tomlkit.dumps(spoiled), "utf-8")
        with pytest.raises(ConfigError) as caught:
            read(file)
        tried += 1
        where = ".".join(map(str, place))
        for fault in caught.value.faults:
            # At the place, in it, or what should have it: the table that has no such part now.
            assert fault.key.startswith(where) or where.startswith(f"{fault.key}."), (
                f"{name} {where}: {fault}"
            )
    assert tried >= 15
