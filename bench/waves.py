"""A busy serial line below a lamp, and water that rises and falls: ruler, relay and four other
rulers at 9600 baud, one reading confirms, nothing is held."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tomlkit

from configs import loader

LOW_M: Final = 0.05
HIGH_M: Final = 0.50

POLL_S: Final = 0.1
OTHERS: Final = 4
OTHERS_POLL_S: Final = 0.215

SIMULATOR: Final = (
    *("sim", "run", "sim.toml", "--truth", "truth.jsonl"),
    *("--replay", "waves.csv", "--column", "depth_m", "--time-column", "t_s"),
)
"""What the simulator is started with, in the folder."""

_SITE: Final = loader.HERE / "sites" / "underpass"


def write(folder: Path, period_s: float, count: int, tables: Mapping[str, Any]) -> str:
    """Write waves.csv with `count` waves, sim.toml, and gateway.toml with `tables` in place of its
    own; the gateway's name."""
    rows = ["t_s,depth_m"]
    for i in range(count):
        low_s, high_s, end_s = (i + part for part in (0, 0.5, 1))
        rows += [f"{low_s * period_s:.3f},{LOW_M}", f"{high_s * period_s - 0.001:.3f},{LOW_M}"]
        rows += [f"{high_s * period_s:.3f},{HIGH_M}", f"{end_s * period_s - 0.001:.3f},{HIGH_M}"]
    (folder / "waves.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    gateway, sim = _read("gateway"), _read("sim")
    sim["line"] = {"bus": sim["line"]["bus"]}
    sim["device"] = {name: sim["device"][name] for name in ("ruler-1", "relay-1")}
    gateway["port"] = {"bus": gateway["port"]["bus"]}
    ruler = gateway["sensor"]["ruler-1"]
    gateway["sensor"] = {"ruler-1": {**ruler, "interval_s": POLL_S}}
    for unit in range(10, 10 + OTHERS):
        sim["device"][f"other-{unit}"] = {**sim["device"]["ruler-1"], "unit_id": unit}
        other = {**ruler, "unit_id": unit, "interval_s": OTHERS_POLL_S}
        gateway["sensor"][f"other-{unit}"] = other
    (interlock,) = gateway["interlock"].values()
    interlock |= {"rise_samples": 1, "jump_cm": 0, "hold_s": 0}
    gateway |= {"clock": {"source": "trusted"}, **tables}
    for name, content in (("gateway", gateway), ("sim", sim)):
        (folder / f"{name}.toml").write_text(tomlkit.dumps(content), encoding="utf-8")
    return str(gateway["gateway"]["id"])


def _read(name: str) -> Any:
    return tomllib.loads((_SITE / f"{name}.toml").read_text(encoding="utf-8"))
