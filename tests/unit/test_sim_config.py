"""`sim.toml`: every fault of a config at once."""

from pathlib import Path
from typing import Any

import pytest

from configs.loader import ConfigError
from firmware_sim.config import DEFAULT, load, parse

PTY = {"kind": "pty", "link": "ttyA", "baud": 9600}
RULER = {"line": "a", "profile": "ruler-cm-9600"}


def faults(tables: dict[str, Any], folder: Path = Path()) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(tables, folder)
    return [(fault.key, fault.problem) for fault in caught.value.faults]


def test_ours_has_no_fault() -> None:
    config = load(DEFAULT)
    assert {device.line for device in config.device.values()} == set(config.line)


@pytest.mark.parametrize(
    ("tables", "key", "says"),
    [
        ({"lines": {}}, "lines", "did you mean 'line'"),
        ({"line": {"a": {**PTY, "bauds": 1}}}, "line.a.bauds", "did you mean 'baud'"),
        ({"line": {"a": {**PTY, "baud": 9601}}}, "line.a.baud", "9600"),
        ({"line": {"a": {**PTY, "kind": "udp"}}}, "line.a.kind", "'pty', 'tcp'"),
        ({"line": {"ab": PTY}, "device": {"r": RULER}}, "device.r.line", "did you mean 'ab'"),
        (
            {"line": {"a": PTY}, "device": {"r": {**RULER, "profile": "ruler-cm-960"}}},
            "device.r.profile",
            "did you mean 'ruler-cm-9600'",
        ),
        (
            {"line": {"a": PTY}, "device": {"r": RULER, "s": RULER}},
            "device.s.unit_id",
            "belongs to 'r'",
        ),
        (
            {"line": {"a": PTY}, "device": {"r": {**RULER, "signal": {"depth": "dept"}}}},
            "device.r.signal.depth",
            "did you mean 'depth'",
        ),
        (
            {"line": {"a": PTY}, "device": {"r": {**RULER, "signal": {"level": "depth"}}}},
            "device.r.signal.level",
            "does not measure",
        ),
        (
            {"line": {"a": {**PTY, "baud": 19200}}, "device": {"r": RULER}},
            "device.r.line",
            "9600 baud, the line has 19200",
        ),
        (
            {"line": {"a": PTY, "b": {**PTY, "link": "x/../ttyA"}}},
            "line.b.link",
            "line 'a' is there",
        ),
        (
            {
                "line": {
                    "a": {"kind": "tcp", "port": 5020},
                    "b": {"kind": "tcp", "port": 5020, "framing": "rtu"},
                }
            },
            "line.b.port",
            "line 'a' is there",
        ),
        ({"controller": {"c": {"kind": "gbt"}}}, "controller.c.kind", "'gbt20999'"),
        (
            {"line": {"a": PTY}, "controller": {"a": {"kind": "gbt20999"}}},
            "controller.a",
            "there is a [line.a] already",
        ),
        (
            {"controller": {"c": {"kind": "gbt20999", "transport": "pty"}}},
            "controller.c",
            "link go together",
        ),
    ],
)
def test_each_fault_is_told_with_its_key(tables: dict[str, Any], key: str, says: str) -> None:
    ((found, problem),) = faults(tables)
    assert found == key
    assert says in problem


def test_all_faults_at_once() -> None:
    tables = {
        "scenario": {"sped": 2},
        "line": {"a": PTY, "b": PTY},
        "device": {"r": RULER, "s": {**RULER, "line": "c"}, "t": {**RULER, "colour": "red"}},
    }
    assert {key for key, _ in faults(tables)} == {
        "scenario.sped",
        "device.t.colour",
        "device.s.line",
        "device.t.unit_id",
        "line.b.link",
    }


def test_free_ports_and_equal_units_on_two_lines_are_no_fault() -> None:
    lines = {name: {"kind": "tcp", "port": 0} for name in "ab"}
    devices = {name: {**RULER, "line": name} for name in "ab"}
    assert len(parse({"line": lines, "device": devices}, Path()).device) == 2


def test_two_forms_of_character_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "even.toml").write_text(
        'title = "e"\nsource = "t"\nline = { parity = "even", unit_id = 9 }\n'
        '[[measure]]\nquantity = "depth"\naddress = 0\nunit = "cm"\n'
    )
    tables = {"line": {"a": PTY}, "device": {"r": RULER, "s": {"line": "a", "profile": "even"}}}
    ((key, problem),) = faults(tables, tmp_path)
    assert key == "device.s.line"
    assert "(even, 1) are not those of 'r' (none, 1)" in problem
