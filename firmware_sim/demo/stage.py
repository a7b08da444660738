"""Puts the demo's site into a folder: its configs, with this run's ports and paths."""

import base64
import secrets
from pathlib import Path
from typing import Any, Final, NamedTuple

import tomlkit

from configs import loader

KEY_FILE: Final = "gateway.key"
SITE: Final = loader.HERE / "sites" / "underpass"


class Person(NamedTuple):
    """A contact of the plan: the name that messages use, and the tier of their area."""

    name: str
    tier: str


class Stage(NamedTuple):
    """Where things are, and the figures of the site that the report needs. Depths in m. `people`
    by their phone numbers; `areas` have the names that people use."""

    folder: Path
    gateway: str
    shard: str
    site: str
    ruler: str
    relay: str
    poll_s: float
    thresholds_m: dict[str, float]
    channels: dict[str, frozenset[int]]
    alert_log: Path
    people: dict[str, Person]
    areas: dict[str, str]


def prepare(
    folder: Path, broker_port: int, river_port: int, web_port: int, store: dict[str, Any]
) -> Stage:
    """Write gateway.toml, cloud.toml, plan.toml and sim.toml into `folder`."""
    gateway, cloud, plan, sim = (_read(name) for name in ("gateway", "cloud", "plan", "sim"))
    gateway["uplink"]["broker"]["port"] = broker_port
    gateway["uplink"]["status_every_s"] = 1
    gateway["port"]["river"]["port"] = river_port
    for name in ("bus", "crack"):
        gateway["port"][name]["device"] = str(folder / gateway["port"][name]["device"])
    cloud["broker"]["port"] = broker_port
    cloud["store"] = store
    cloud["web"]["port"] = web_port
    for channel in cloud["channel"].values():
        if channel["kind"] == "log":
            channel["show_answer_codes"] = True  # the people of the demo answer by it
    cloud["alerts"]["answer_url"] = f"http://{cloud['web']['host']}:{web_port}"
    sim["line"]["field"]["port"] = river_port
    _share_key(folder, gateway, cloud)
    documents = {"gateway": gateway, "cloud": cloud, "plan": plan, "sim": sim}
    for name, document in documents.items():
        (folder / f"{name}.toml").write_text(tomlkit.dumps(document), encoding="utf-8")
    return _stage(folder, gateway, cloud, plan, sim)


def _share_key(folder: Path, gateway: Any, cloud: Any) -> None:
    """By which the gateway knows the acks of this cloud, and the cloud the gateway's replies."""
    file = folder / KEY_FILE
    file.touch(mode=0o600)
    file.write_text(base64.b64encode(secrets.token_bytes(32)).decode() + "\n", encoding="ascii")
    gateway["uplink"]["key_file"] = file.name
    cloud["gateway"][str(gateway["gateway"]["id"])]["key_file"] = file.name


def _read(name: str) -> Any:
    return tomlkit.parse((SITE / f"{name}.toml").read_text(encoding="utf-8"))


def _stage(folder: Path, gateway: Any, cloud: Any, plan: Any, sim: Any) -> Stage:
    ((site, interlock),) = gateway["interlock"].items()
    (ruler,) = interlock["rulers"]
    (relay,) = [
        n for n, d in sim["device"].items() if d["profile"] == interlock["signal"]["profile"]
    ]
    (log,) = [c for c in cloud["channel"].values() if c["kind"] == "log"]
    return Stage(
        folder=folder,
        gateway=str(gateway["gateway"]["id"]),
        shard=str(gateway["gateway"]["shard"]),
        site=str(site),
        ruler=str(ruler),
        relay=str(relay),
        poll_s=float(gateway["sensor"][ruler]["interval_s"]),
        thresholds_m={
            "amber": float(interlock["amber_depth_cm"]) / 100,
            "red": float(interlock["red_depth_cm"]) / 100,
        },
        channels={
            str(aspect): frozenset(int(c) for c in channels)
            for aspect, channels in interlock["signal"]["channels"].items()
        },
        alert_log=folder / str(log.get("path", "alerts.jsonl")),
        people={
            str(contact["address"]["phone"]): Person(
                str(contact["name_en"]), str(plan["area"][contact["area"]]["kind"])
            )
            for contact in plan["contact"].values()
        },
        areas={str(name): str(area["name_en"]) for name, area in plan["area"].items()},
    )
