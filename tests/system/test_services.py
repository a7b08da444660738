"""The servers under the other tests are real, and come back after a kill with what they had."""

import json
import os
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests import services
from tests.services import Service

POINT_TIME_S = 1_700_000_000


def test_mosquitto_keeps_a_saved_message_over_a_kill(mosquitto: Service) -> None:
    _publish(mosquitto, "ruler/depth", "0.31")
    os.kill(mosquitto.pid, signal.SIGUSR1)  # mosquitto(8): save the in-memory database now
    _until((mosquitto.folder / "mosquitto.db").exists)
    mosquitto.kill()
    mosquitto.start()
    assert _retained(mosquitto, "ruler/depth").stdout == "0.31\n"


def test_mosquitto_with_users_refuses_everybody_else(tmp_path: Path) -> None:
    with services.mosquitto(tmp_path / "broker", users={"gw-1": "s3cret"}) as broker:
        _publish(broker, "ruler/depth", "0.31", "-u", "gw-1", "-P", "s3cret")
        known = _retained(broker, "ruler/depth", "-u", "gw-1", "-P", "s3cret")
        assert known.stdout == "0.31\n"
        for stranger in ([], ["-u", "gw-1", "-P", "wrong"]):
            refused = _retained(broker, "ruler/depth", *stranger)
            assert refused.returncode != 0
            assert "not authorised" in refused.stderr.lower()


def test_influxd_keeps_a_point_over_a_kill(influxd: Service) -> None:
    with urllib.request.urlopen(f"{influxd.url}/ping") as answer:
        assert answer.headers["X-Influxdb-Version"].startswith("1.")
    _post(influxd, "/query", urllib.parse.urlencode({"q": "CREATE DATABASE t"}))
    _post(influxd, "/write?db=t&precision=s", f"depth,sensor=ruler v=0.31 {POINT_TIME_S}")
    influxd.kill()
    influxd.start()
    found = _get(influxd, "/query", db="t", epoch="s", q="SELECT v FROM depth")
    series = json.loads(found)["results"][0]["series"]
    assert series[0]["values"] == [[POINT_TIME_S, 0.31]]


def test_victoria_metrics_keeps_a_point_over_a_kill_once_it_made_a_snapshot(
    victoria_metrics: Service,
) -> None:
    line = f"depth,sensor=ruler v=0.31 {POINT_TIME_S}"
    _post(victoria_metrics, "/write?precision=s", line)
    # It answers a write and holds the point in memory for some 5 s; a snapshot puts all on disk.
    assert json.loads(_get(victoria_metrics, "/snapshot/create"))["status"] == "ok"
    victoria_metrics.kill()
    victoria_metrics.start()
    point = json.loads(_get(victoria_metrics, "/api/v1/export", **{"match[]": "depth_v"}))
    assert point["metric"] == {"__name__": "depth_v", "sensor": "ruler"}
    assert (point["timestamps"], point["values"]) == ([POINT_TIME_S * 1000], [0.31])


def _publish(broker: Service, topic: str, text: str, *more: str) -> None:
    program = services.command("mosquitto_pub")
    address = ["-h", broker.host, "-p", str(broker.port)]
    subprocess.run(
        [program, *address, "-t", topic, "-m", text, "-q", "1", "-r", *more], check=True, timeout=60
    )


def _retained(broker: Service, topic: str, *more: str) -> subprocess.CompletedProcess[str]:
    program = services.command("mosquitto_sub")
    address = ["-h", broker.host, "-p", str(broker.port)]
    arguments = [program, *address, "-t", topic, "-C", "1", "-W", "30", *more]
    return subprocess.run(arguments, check=False, timeout=60, capture_output=True, text=True)


def _post(service: Service, path: str, body: str) -> None:
    with urllib.request.urlopen(service.url + path, data=body.encode(), timeout=60) as answer:
        said = answer.read()  # influxd drops a query whose asker hangs up before it has been told
    assert b"error" not in said, said


def _get(service: Service, path: str, **query: str) -> bytes:
    address = f"{service.url}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=60) as answer:
        return bytes(answer.read())


def _until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "not within the time given"
        time.sleep(0.02)
