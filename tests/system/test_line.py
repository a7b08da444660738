"""The whole line under a flood, with its parts killed in the middle of it.

The two promises, as the simulator and the gateway's own disk bear witness: the lamp turns when the
water says so, whatever else is dead; and what was sealed is in the store, once.
"""

import csv
import io
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, TypedDict

from firmware_sim.demo import programs
from firmware_sim.scenario import underpass_storm
from tests import services
from tests.services import Service
from tests.system.line import Line
from wire.aspect import Aspect

AMBER_M, RED_M = 0.15, 0.30


@contextmanager
def influxdb(folder: Path) -> Iterator[tuple[Service, dict[str, Any]]]:
    with services.influxd(folder) as server:
        yield server, {"kind": "influx", "url": server.url, "api": "v1", "database": "flood"}


@contextmanager
def victoria(folder: Path) -> Iterator[dict[str, Any]]:
    with services.victoria_metrics(folder) as server:
        where = {"api": "v2", "bucket": "flood", "org": "city", "dialect": "metricsql"}
        yield {"kind": "influx", "url": server.url, **where}


# Into the other stores it goes below, and in the demo's own tests.
def test_a_flood_goes_from_the_ruler_to_the_lamp_and_into_the_store(
    mosquitto: Service, tmp_path: Path
) -> None:
    with (
        victoria(tmp_path / "store") as store,
        Line(tmp_path / "line", mosquitto.port, **flood(tmp_path), store=store) as line,
    ):
        line.until(lambda: water_over(line, RED_M) and line.lamp(Aspect.RED))
        account = line.hand_over()
        check_lamp(line)
        check_store(line, account)


def test_the_cloud_dies_in_mid_flood(mosquitto: Service, tmp_path: Path) -> None:
    with Line(tmp_path / "line", mosquitto.port, **flood(tmp_path)) as line:
        line.until(lambda: water_over(line, AMBER_M) and line.acked())
        line.kill("cloud")
        line.until(lambda: water_over(line, RED_M) and line.lamp(Aspect.RED))
        line.until(lambda: "are sent again" in line.log("edge"))
        sealed = line.outbox().sealed
        line.until(lambda: line.outbox().sealed >= sealed + 3)  # one a second, and then they are
        line.start("cloud")
        account = line.hand_over()
        # The broker has kept the first ones for the cloud, and those sent again.
        assert account["redelivered_batches"] > 0
        check_lamp(line)
        check_store(line, account)


# Broker and gateway alone: test_nats, test_edge_kill and test_wan_faults.
def test_all_of_them_die_one_after_another(mosquitto: Service, tmp_path: Path) -> None:
    with (
        influxdb(tmp_path / "store") as (database, store),
        Line(tmp_path / "line", mosquitto.port, **flood(tmp_path), store=store) as line,
    ):
        line.until(lambda: water_over(line, 0.01))
        mosquitto.kill()
        mosquitto.start()
        line.until(lambda: water_over(line, AMBER_M))
        database.kill()
        line.kill("cloud")
        line.start("cloud")
        line.until(lambda: water_over(line, RED_M) and line.lamp(Aspect.RED) and line.sealed())
        line.kill("edge")
        sealed = line.outbox().sealed
        line.start("edge")
        line.until(lambda: line.outbox().sealed > sealed and line.lamp(Aspect.RED))
        line.until(lambda: "nothing is acknowledged until it is back" in line.log("cloud"))
        database.start()
        account = line.hand_over()
        check_lamp(line)
        check_store(line, account)


def test_the_lamp_needs_no_network_and_no_cloud(tmp_path: Path) -> None:
    steps = [(0, 0.0), (1.9, 0.0), (2, 0.2), (3.9, 0.2), (4, 0.4), (5, 0.4)]
    broker = services.mosquitto(tmp_path / "broker")  # does not run yet
    with Line(tmp_path / "line", broker.port, record=recorded(tmp_path, steps)) as line:
        line.kill("cloud")
        line.until(lambda: water_over(line, RED_M) and line.lamp(Aspect.RED))
        check_lamp(line)
        # The relay at rest shows red, and keeps it until the water is known.
        turns = [aspect for _, aspect in line.shown()]
        assert turns == [Aspect.GREEN, Aspect.AMBER, Aspect.RED]
        line.until(line.sealed)
        outbox = line.outbox()
        assert outbox.pending == outbox.sealed
        with broker:
            line.start("cloud")
            check_store(line, line.hand_over())
            line.stop("cloud")


class Flood(TypedDict):
    """How a Line is to play it."""

    record: Path
    speed: float


def flood(folder: Path) -> Flood:
    """The storm's flood from its first puddle to its highest stand, where it stays: whoever dies
    may take his time to come back. Over amber after 0.8 s, over red after 1.6 s."""
    storm = underpass_storm()
    rising = [(t - 3200, storm.at(t)["depth"]) for t in range(3200, 4285, 5)]
    return Flood(record=recorded(folder, rising), speed=200)


def recorded(folder: Path, series: Iterable[tuple[float, float]]) -> Path:
    file = folder / "depth.csv"
    file.write_text("t_s,depth_m\n" + "".join(f"{t},{depth}\n" for t, depth in series))
    return file


def water_over(line: Line, metres: float) -> bool:
    """Whether the water stands at or over `metres` now."""
    return any(depth >= metres for _, depth in line.water()[-1:])


def check_lamp(line: Line) -> None:
    """It turned amber or red while the water stood over amber, red while it stood over red, and
    red never without."""
    for metres, enough in ((AMBER_M, {Aspect.AMBER, Aspect.RED}), (RED_M, {Aspect.RED})):
        over = [(at_ms, depth >= metres) for at_ms, depth in line.water()]
        since = next(at_ms for at_ms, is_over in over if is_over)
        until = next(
            (at_ms for at_ms, is_over in over if at_ms > since and not is_over), float("inf")
        )
        turned = [at_ms for at_ms, aspect in line.shown() if aspect in enough]
        assert any(since <= at_ms <= until for at_ms in turned), (metres, over, line.shown())
        assert Aspect.RED not in [a for at_ms, a in line.shown() if at_ms < since], line.shown()


def check_store(line: Line, account: dict[str, Any]) -> None:
    """Everything that the gateway's disk has sealed is in the store, once."""
    outbox = line.outbox()
    (stream,) = account["streams"]
    assert (account["ok"], account["quarantined"], outbox.pending) == (True, 0, 0), account
    assert stream["received_batches"] == stream["sealed_batches"] == outbox.sealed, account
    assert account["readings_in_store"] == outbox.readings_sealed > 0, account
    assert "underpass-depth" in {alert["rule"] for alert in account["alerts"]}
    assert is_within(stored_depths(line), [depth for _, depth in line.water()])


def stored_depths(line: Line) -> list[float]:
    """The depths in the store in order of time, m; equal ones in a row once."""
    asked = ("--quantity", "depth", "--format", "csv", "--limit", "100000")
    done = subprocess.run(
        programs.shuichi("query", "--config", line.folder / "cloud.toml", *asked),
        capture_output=True,
        text=True,
        check=True,
    )
    rows = csv.DictReader(io.StringIO(done.stdout))
    return [depth for depth, _ in groupby(float(row["value"]) for row in rows if row["value"])]


def is_within(part: list[float], whole: list[float]) -> bool:
    """Whether `part` is `whole` with some left out: an answer can come too late to be taken."""
    rest = iter(whole)
    return all(depth in rest for depth in part)
