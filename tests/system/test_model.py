"""The interlock as a model: spin finds no history that breaks a promise, and the model decides as
the code does."""

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from edge.interlock import View, aspect, next_band
from tests.services import command
from wire.aspect import Aspect

MODEL = Path(__file__).parent.parent / "model" / "interlock.pml"
NOT_KNOWN = 3
WITHIN_S = 250
BY_SEVERITY = {one.severity: one for one in Aspect}


def spin(folder, *arguments):
    whole = [command("spin"), *arguments, str(MODEL)]
    return subprocess.run(
        whole, cwd=folder, check=True, capture_output=True, text=True, timeout=WITHIN_S
    ).stdout


def verify(folder, *defines, compile_with, run_with=()):
    spin(folder, *defines, "-a")
    # With -O2 it takes longer to compile than it gains.
    build = [command("cc"), "-O1", "-w", "-DMEMLIM=1024", *compile_with, "-o", "pan", "pan.c"]
    subprocess.run(build, cwd=folder, check=True, capture_output=True, timeout=WITHIN_S)
    said = subprocess.run(
        ["./pan", "-m1000000", "-w20", *run_with],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    ).stdout
    found = re.search(r"errors: (\d+)", said)
    assert found, said
    return int(found[1]), said


@pytest.mark.parametrize("defines", [[], ["-DORDERS"]], ids=["two rulers", "orders"])
def test_no_history_breaks_a_promise(tmp_path, defines):
    errors, said = verify(tmp_path, *defines, compile_with=["-DSAFETY"])
    assert errors == 0, said
    assert "max search depth too small" not in said
    (stored,) = re.findall(r"(\d+) states, stored", said)
    assert int(stored) > 10_000, said  # the model does move


def test_a_dry_road_turns_green_and_stays_green(tmp_path):
    errors, said = verify(tmp_path, "-DCALM", compile_with=[], run_with=["-a", "-N", "clears"])
    assert errors == 0, said


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("lowest = AMBER", "lowest = GREEN"),
        ("settled < band && served &&", "settled < band &&"),
        ("(band < B_RED || may_fall)", "true"),
        ("since_rise < HOLD) -> wanted = lamp", "since_rise < 1) -> wanted = lamp"),
        (":: !healthy -> result = MOST(result, safe)", ":: !healthy -> skip"),
        (":: pending -> wanted = MOST(wanted, lamp)", ":: pending -> skip"),
    ],
)
def test_spin_finds_each_planted_fault(tmp_path, monkeypatch, right, wrong):
    orders = ["-DORDERS"] if "lowest" in right else []
    text = MODEL.read_text()
    assert right in text
    faulty = tmp_path / "faulty.pml"
    faulty.write_text(text.replace(right, wrong))
    monkeypatch.setattr("tests.system.test_model.MODEL", faulty)
    errors, _ = verify(tmp_path, *orders, compile_with=["-DSAFETY"])
    assert errors > 0


def test_the_model_decides_as_the_code_does(tmp_path):
    lines = [line.split() for line in spin(tmp_path, "-DTABLE", "-T", "-B").splitlines()]
    model = {tuple(line[:-1]): int(line[-1]) for line in lines if line and line[0] in "AB"}
    assert model == _bands() | _aspects()


def _bands():
    table = {}
    bits, bands = (0, 1), (0, 1, 2)
    for row in itertools.product(range(4), bits, bits, bands, bands, bands, bits, bits):
        band, healthy, fresh, confirmed, reached, settled, served, free = row
        view = View(
            bool(healthy), bool(fresh), confirmed, reached, settled, bool(served), bool(free)
        )
        after = next_band(None if band == NOT_KNOWN else band, view)
        table["B", *map(str, row)] = NOT_KNOWN if after is None else after
    return table


def _aspects():
    table = {}
    for row in itertools.product(range(4), (0, 1), (0, 1), (2, 3, 4), range(5), range(5)):
        band, healthy, over_red, safe, floor, ceiling = row
        shown = aspect(
            None if band == NOT_KNOWN else band,
            bool(healthy),
            bool(over_red),
            BY_SEVERITY[safe],
            BY_SEVERITY[floor] if floor else None,
            BY_SEVERITY[ceiling] if ceiling else None,
        )
        table["A", *map(str, row)] = shown.severity
    return table
