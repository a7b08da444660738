"""A storm over the underpass while every known attack is fired at broker, gateway and cloud: the
signal is right, every alert is answered, and nothing that was sealed is lost."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

from bench.attacks import ATTACKS, HOSTILE, Attacker, Target
from firmware_sim.scenario import underpass_storm
from tests.waiting import until

SEED = int(os.environ.get("SEED", "1"))
SPEED = os.environ.get("SPEED", "120")
PATIENCE_S = 240.0
ELSEWHERE = ("lamp confirmed within", "nothing sealed is missing", "every reading is in the store")
"""Promises that hang on how busy the machine is, or count what the hostile gateway says it has."""


def configured(folder: Path) -> Target:
    gateway = tomllib.loads((folder / "gateway.toml").read_text("utf-8"))
    cloud = tomllib.loads((folder / "cloud.toml").read_text("utf-8"))
    port = gateway["uplink"]["broker"]["port"]
    return Target(port, gateway["gateway"]["id"], web_port=cloud["web"]["port"])


async def test_a_storm_under_attack_keeps_every_promise(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "tests.hostile_demo", "demo", "--data", str(folder)]
    command += ["--replay", str(_flood(tmp_path)), "--column", "depth_m", "--time-column", "t_s"]
    demo = _started([*command, "--speed", SPEED, "--json"])
    attacking: asyncio.Task[None] | None = None
    try:
        await until(lambda: "confirmed" in _text(folder / "edge.log") or demo.poll() is not None)
        attacker = Attacker(configured(folder), SEED)
        attacking = asyncio.create_task(attacker.run(PATIENCE_S), name="attacker")
        said, complaints = await asyncio.to_thread(demo.communicate, timeout=PATIENCE_S)
    finally:
        if attacking is not None:
            attacking.cancel()
            await asyncio.wait((attacking,))
        if demo.poll() is None:
            demo.terminate()
            demo.wait(30)
    assert demo.returncode in (0, 1), complaints
    assert said, complaints
    report = json.loads(said)
    broken = [one for one in report["promises"] if not one["kept"]]
    assert [one for one in broken if not one["name"].startswith(ELSEWHERE)] == [], report
    honest = [one for one in report["account"]["streams"] if one["gateway"] != HOSTILE]
    assert honest
    kept = _kept_by_the_gateway(folder)  # it stops in the thick of it, and has what was not stored
    for one in honest:
        assert one["missing"] == [], one
        waiting = {n for first, last in one["on_the_way"] for n in range(first, last + 1)}
        assert waiting <= kept.keys(), one
        known = one["readings_ledgered"] + sum(kept[number] for number in waiting)
        if one["sealed_batches"] == one["expected_batches"]:
            assert known == one["readings_sealed"] > 0, one
        else:  # its last status is older than its last batches
            assert known >= one["readings_sealed"] > 0, one
        assert one["readings_quarantined"] == one["readings_lost"] == 0, one
    assert len(attacker.fired) >= 0.8 * len(ATTACKS), attacker.fired
    for program in ("edge", "cloud"):
        assert "Traceback" not in _text(folder / f"{program}.log")


def _flood(folder: Path) -> Path:
    """The storm's flood: over amber after 170 s, over red from 320 to 2000 s, gone after 2280 s."""
    storm, file = underpass_storm(), folder / "flood.csv"
    rows = [f"{t - 3200},{storm.at(t)['depth']}" for t in range(3200, 5605, 5)]
    file.write_text("\n".join(["t_s,depth_m", *rows]) + "\n", "utf-8")
    return file


def _started(command: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)


def _kept_by_the_gateway(folder: Path) -> dict[int, int]:
    """How many readings the batches in its outbox hold, by number."""
    with closing(sqlite3.connect(f"file:{folder / 'outbox.db'}?mode=ro", uri=True)) as database:
        return dict(database.execute("SELECT number, readings FROM batch"))


def _text(file: Path) -> str:
    return file.read_text("utf-8", "replace") if file.exists() else ""
