"""The gateway as a process: what systemd hears, reloads that leave the lamp alone, and what it
tells those who ask how it is."""

import json
import os
import signal
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.services import free_port
from tests.system.gateway import Gateway
from tests.waiting import PATIENCE_S

NOBODY = free_port()
SITE = "daping-underpass"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """One whose lamp shows red because of the water, and whose broker is not there."""
    with Gateway(tmp_path, NOBODY, depth_m=0.4) as gateway:
        yield gateway


def started(gateway: Gateway) -> Gateway:
    gateway.start("edge")
    gateway.until(lambda: "red confirmed" in gateway.log("edge"))
    return gateway


def test_systemd_hears_how_the_gateway_is_from_its_first_round_to_its_end(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Systemd(tmp_path / "notify") as systemd:
        gateway.change({("sensor", "crack-1", "interval_s"): 0.5})  # each loop goes round often
        gateway.change({("sensor", "river-1", "interval_s"): 0.5})
        gateway.change({("interlock", SITE, "refresh_every_s"): 1})
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        gateway.start("edge")
        monkeypatch.delenv("NOTIFY_SOCKET")
        gateway.until(lambda: systemd.hears("READY=1"))
        gateway.until(gateway.answers)  # its socket is no part of the core, and waited for by none
        assert not gateway.status()["uplink"]["connected"], "no network was needed"
        gateway.until(lambda: len(systemd.hears("WATCHDOG=1")) >= 3)
        gateway.until(lambda: systemd.hears("STATUS=daping-underpass red;"))
        before_us = time.monotonic_ns() // 1000
        os.kill(gateway.pid(), signal.SIGHUP)
        gateway.until(lambda: len(systemd.hears("READY=1")) == 2)
        (reloading,) = systemd.hears("RELOADING=1")
        at_us = int(reloading.partition("\nMONOTONIC_USEC=")[2])
        assert before_us <= at_us <= time.monotonic_ns() // 1000
        gateway.stop("edge")
    told = [word for word in systemd.heard if not word.startswith(("WATCHDOG=", "STATUS="))]
    assert told == ["READY=1", reloading, "READY=1", "STOPPING=1"]


class Systemd:
    """Takes all that a service says, at once: a socket that nobody reads holds few messages."""

    def __init__(self, address: Path) -> None:
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._thread = threading.Thread(target=self._listen, name="systemd")

    def hears(self, start: str) -> list[str]:
        """What was said so far that begins like this."""
        return [word for word in self.heard if word.startswith(start)]

    def _listen(self) -> None:
        while word := self._socket.recv(4096).decode():
            self.heard.append(word)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


def test_a_reload_changes_what_has_changed_and_leaves_the_lamp_alone(gateway: Gateway) -> None:
    started(gateway)
    before = gateway.status()
    lamps = gateway.aspects()
    gateway.change(
        {
            ("sensor", "rain-1"): None,  # goes
            ("sensor", "ruler-2"): {**gateway.config["sensor"]["ruler-1"], "unit_id": 9},  # comes
            ("port", "crack", "stop_bits"): 1,  # opened anew, with its sensor
            ("sensor", "river-1", "interval_s"): 1,
        }
    )
    gateway.reload()
    gateway.until(lambda: device(gateway.status(), "ruler-2")["failed"] >= 1)
    after = gateway.status()
    assert {one["sensor"] for one in devices(after)} == {
        "ruler-1",
        "ruler-2",
        "crack-1",
        "river-1",
    }
    assert device(after, "crack-1")["failed"] == 0
    assert after["process"]["pid"] == before["process"]["pid"]
    assert after["lamps"][0]["since_s"] > before["lamps"][0]["since_s"], "it was not asked again"

    # Now the interlock, then its signal, then the line on which both ride.
    changes: list[dict[tuple[str, ...], Any]] = [
        {("interlock", SITE, "hold_s"): 60, ("interlock", SITE, "rulers"): ["ruler-1", "ruler-2"]},
        {("interlock", SITE, "refresh_every_s"): 2},
        {("port", "bus", "stop_bits"): 2},
    ]
    for change in changes:
        gateway.change(change)
        gateway.reload()
        gateway.until(lambda: well(gateway.status()))
    assert gateway.aspects() == lamps, "the lamp did not move"

    # What a removed interlock leaves behind is at least its safe aspect.
    gateway.change({("interlock", SITE): None})
    gateway.reload()
    assert gateway.status()["lamps"] == []
    assert gateway.aspects() == lamps
    gateway.stop("edge")
    assert gateway.aspects() == lamps


def devices(status: Any) -> list[Any]:
    return [device for bus in status["buses"] for device in bus["devices"]]


def device(status: Any, sensor: str) -> Any:
    (found,) = [one for one in devices(status) if one["sensor"] == sensor]
    return found


def well(status: Any) -> bool:
    """The ruler and the lamp have both answered in the last second, and the one decides again."""
    lamp, ruler = status["lamps"][0], device(status, "ruler-1")
    return (
        lamp["wanted"] == lamp["confirmed"] == "red"
        and lamp["depth_m"] == 0.4
        and ruler["answered_s"] is not None
        and ruler["answered_s"] < 1
    )


def test_a_faulty_config_is_refused_as_a_whole_and_the_old_one_stays(gateway: Gateway) -> None:
    started(gateway)
    before = gateway.status()
    good = (gateway.folder / "gateway.toml").read_text("utf-8")
    gateway.change(
        {
            ("sensor", "rain-1"): None,
            ("port", "crack", "baud"): 9601,
            ("sensor", "river-1", "port"): "rivver",
        }
    )
    refused = gateway.command("reload")
    assert refused.returncode == 2
    faults = refused.stderr.splitlines()
    assert len(faults) == 2
    assert all(fault.startswith("shuichi: gateway.toml: ") for fault in faults)
    assert "did you mean 'river'?" in refused.stderr
    assert "baud: 9601" in refused.stderr

    (gateway.folder / "gateway.toml").write_text(good, "utf-8")
    gateway.change({("gateway", "id"): "another", ("outbox", "path"): "another.db"})
    fixed = gateway.command("reload", "--config", str(gateway.folder / "gateway.toml"))
    assert fixed.returncode == 2
    assert "no gateway runs here" in fixed.stderr, "that outbox has no gateway"
    os.kill(gateway.pid(), signal.SIGHUP)
    gateway.until(lambda: "outbox: cannot change while the gateway runs" in gateway.log("edge"))
    assert "gateway.id: cannot change while the gateway runs" in gateway.log("edge")

    (gateway.folder / "gateway.toml").write_text("[gateway", "utf-8")
    os.kill(gateway.pid(), signal.SIGHUP)
    gateway.until(lambda: "is not TOML" in gateway.log("edge"))

    (gateway.folder / "gateway.toml").write_text(good, "utf-8")
    after = gateway.status()
    assert after["gateway"] == before["gateway"]
    assert [one["sensor"] for one in devices(after)] == [one["sensor"] for one in devices(before)]
    assert after["lamps"][0]["since_s"] > before["lamps"][0]["since_s"]
    taken = gateway.command("reload")
    assert (taken.returncode, taken.stdout) == (0, "the gateway runs with the new config\n")


def test_a_person_can_read_how_the_gateway_is(gateway: Gateway) -> None:
    absent = gateway.command("status")
    assert (absent.returncode, absent.stdout) == (2, "")
    (line,) = absent.stderr.splitlines()
    assert "no gateway runs here" in line

    gateway.change({("sensor", "dead"): {"port": "bus", "profile": "ruler-cm-9600", "unit_id": 99}})
    gateway.change({("sensor", "dead", "interval_s"): 0.5})
    started(gateway)
    gateway.until(lambda: device(gateway.status(), "dead")["breaker"] == "open")
    mode = (gateway.folder / "outbox.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o660

    said = gateway.command("status")
    assert (said.returncode, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines), said.stdout
    text = " ".join(said.stdout.split())
    for part in ("red", "confirmed", "not connected", "batches wait", "dead bus open"):
        assert part in text, said.stdout

    found = json.loads(gateway.command("status", "--json").stdout)
    assert found["lamps"][0]["confirmed"] == "red"
    assert found["lamps"][0]["depth_m"] == 0.4
    bus = next(bus for bus in found["buses"] if bus["port"] == "bus")
    assert 0 < bus["busy"] < 1
    assert 0 < bus["cycle_s"] < 10  # s, not ms
    ruler = device(found, "ruler-1")
    assert 0 < ruler["median_s"] <= ruler["p95_s"] < 10
    assert found["queue"]["pending"] > 0
    assert 10 * 2**20 < found["process"]["memory_bytes"] < 200 * 2**20
    second = gateway.command("run")
    assert (second.returncode, second.stdout) == (2, "")
    assert f"runs here already (pid {gateway.pid()})" in second.stderr
    gateway.stop("edge")
    assert gateway.command("status").returncode == 2


def test_prometheus_can_read_it_too(gateway: Gateway) -> None:
    port = free_port()
    gateway.change({("metrics", "port"): port})
    started(gateway)
    with ask(port, "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = {
            family.name: family for family in text_string_to_metric_families(answer.read().decode())
        }
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    at = ("site", SITE)
    assert values["shuichi_lamp_wanted", ("aspect", "red"), at] == 1
    assert values["shuichi_lamp_wanted", ("aspect", "green"), at] == 0
    assert values["shuichi_lamp_depth_meters", at] == 0.4
    assert values["shuichi_uplink_connected",] == 0
    where = ("port", "bus"), ("sensor", "ruler-1")
    assert 0 < values[("shuichi_sensor_answer_median_seconds", *where)] < 10
    assert families["shuichi_sensor_failed_reads"].type == "counter"
    assert all(family.documentation for family in families.values())

    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(port, "/")
    with socket.create_connection(("127.0.0.1", port)) as visitor:
        visitor.sendall(b"nonsense\r\n\r\n")
        visitor.recv(100)
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.2", port))  # free: it listens on 127.0.0.1 only
    gateway.change({("metrics",): None})
    gateway.reload()
    with pytest.raises(urllib.error.URLError):
        ask(port, "/metrics")


def ask(port: int, path: str) -> Any:
    return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S)
