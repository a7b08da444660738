"""The lamp and the polling beside a network that fails in every way that a network has.

One gateway lives through all faults. What happens on its lines under each is compared with what
happened when all was well, in the same run: the simulator's word, not the gateway's.
"""

import os
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from firmware_sim import truth
from tests import services
from tests.certificates import Authority, Files
from tests.faultproxy import FaultProxy, Way
from tests.services import Service
from tests.system.gateway import Gateway
from tests.waiting import PATIENCE_S
from wire.aspect import Aspect

SITE = "daping-underpass"
RED_M = 0.30
POLL_S = 0.1
PERIOD_S = 0.63  # no multiple of the polls: the water rises at every phase of them
RISES = 5
NAP_S = 0.01
HANGS = "hangs.example"

STUBBORN_NAMES = f"""
import socket, threading

answer = socket.getaddrinfo

def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    if host in ({HANGS!r}, {HANGS.encode()!r}) and not flags & socket.AI_NUMERICHOST:
        threading.Event().wait()
    return answer(host, port, family, type, proto, flags)

socket.getaddrinfo = getaddrinfo
"""
"""A resolver that never answers, for one name."""


class Seen(NamedTuple):
    """From the first reading over red to the relay that switches, and from each reading of the
    ruler to its next one; and how much too late this process woke up in the same time: what the
    machine itself held up. ms."""

    lamp: list[int]
    poll: list[int]
    late: list[float]


class Road(NamedTuple):
    """The gateway, the way to its broker, and what was seen when all was well."""

    gateway: Gateway
    way: FaultProxy
    idle: Seen


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    folder = tmp_path_factory.mktemp("road")
    (folder / "names").mkdir()
    (folder / "names" / "sitecustomize.py").write_text(STUBBORN_NAMES, "utf-8")
    with (
        services.mosquitto(folder / "broker") as broker,
        FaultProxy(broker.port) as way,
        Gateway(folder / "line", way.port, record=waves(folder / "waves.csv")) as gateway,
    ):
        gateway.change(
            {
                ("uplink", "broker", "connect_timeout_s"): 0.5,
                ("uplink", "broker", "keepalive_s"): 5,
                ("uplink", "drain_at_stop_s"): 1,
                ("sensor", "ruler-1", "interval_s"): POLL_S,
                ("interlock", SITE, "rise_samples"): 1,
                ("interlock", SITE, "jump_cm"): 0,
                ("interlock", SITE, "hold_s"): 0,
            }
        )
        with pytest.MonkeyPatch.context() as patch:
            paths = [str(folder / "names"), os.environ.get("PYTHONPATH", "")]
            patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
            gateway.start("edge")
        gateway.until(lambda: gateway.lamp(Aspect.RED))
        gateway.until(lambda: connected(gateway))
        yield Road(gateway, way, watch(gateway))


def waves(file: Path) -> Path:
    """Water that stands low, rises at once, stands high, and never reads the same twice."""
    rows = ["t_s,depth_m"]
    for i in range(400):
        start = i * PERIOD_S
        middle, end = start + PERIOD_S / 2, start + PERIOD_S
        rows += [f"{start:.3f},0.01", f"{middle - 0.001:.3f},0.11"]
        rows += [f"{middle:.3f},0.40", f"{end - 0.001:.3f},0.58"]
    file.write_text("\n".join(rows) + "\n", "utf-8")
    return file


def watch(gateway: Gateway) -> Seen:
    """What happens on the lines in the time of some waves, and until the lamp has followed them."""
    begin_ms = time.time() * 1000
    late = doze((RISES + 1) * PERIOD_S)
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        lamp, poll = since(gateway, begin_ms)
        if len(lamp) >= RISES:
            return Seen(lamp, poll, late)
        assert time.monotonic() < give_up_s, (lamp, poll)
        late += doze(PERIOD_S)


def doze(seconds: float) -> list[float]:
    """Sleep, in short naps; by how much each took longer than it should, ms."""
    late = []
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        time.sleep(NAP_S)
        late.append((time.monotonic() - began - NAP_S) * 1000)
    return late


def since(gateway: Gateway, begin_ms: float) -> tuple[list[int], list[int]]:
    """`lamp` and `poll` of what was seen since then."""
    lamp, over_ms, was_over = [], None, True
    readings = []
    for fact in gateway.facts():
        if fact.at_ms < begin_ms:
            continue
        if isinstance(fact, truth.Answered) and fact.device == gateway.stage.ruler:
            readings.append(fact.at_ms)
            over = fact.value is not None and fact.value >= RED_M
            if over and not was_over:
                over_ms = fact.at_ms
            was_over = over
        elif isinstance(fact, truth.Outputs) and not fact.on and over_ms is not None:
            lamp.append(fact.at_ms - over_ms)
            over_ms = None
    return lamp, [later - earlier for earlier, later in pairwise(readings)]


def connected(gateway: Gateway) -> bool:
    return bool(gateway.status()["uplink"]["connected"])


def check(road: Road) -> None:
    """The lamp and the polling are as they were when all was well."""
    seen = watch(road.gateway)
    for now, idle, what in (
        (seen.lamp, road.idle.lamp, "lamp"),
        (seen.poll, road.idle.poll, "poll"),
    ):
        usual = 1.5 * statistics.median(idle) + 10 + 4 * statistics.mean(seen.late)
        assert statistics.median(now) <= usual, (what, now, idle)
    longest = max(road.idle.poll) + 2 * POLL_S * 1000 + 2 * max(seen.late)
    assert max(seen.poll) <= longest, (seen, road.idle)


def recovers(road: Road) -> None:
    road.way.make(Way.OPEN)
    road.gateway.until(lambda: connected(road.gateway))


def test_a_broker_that_is_not_there(road: Road) -> None:
    road.way.make(Way.SHUT)
    check(road)
    assert not connected(road.gateway)
    recovers(road)


def test_a_connection_that_is_half_open_and_a_broker_that_accepts_and_never_answers(
    road: Road,
) -> None:
    road.way.make(Way.SILENT)
    pending = road.gateway.status()["queue"]["pending"]
    check(road)
    road.gateway.change({("uplink", "broker", "keepalive_s"): 6})
    road.gateway.reload()  # it connects anew, and nobody answers
    check(road)
    assert not connected(road.gateway)
    assert road.gateway.status()["queue"]["pending"] > pending
    recovers(road)


def test_a_broker_that_reads_slowly(road: Road) -> None:
    road.way.make(Way.SLOW)
    check(road)
    recovers(road)


def test_a_broker_whose_certificate_is_worth_nothing(road: Road, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    expired = ours.sign("expired", ended_ago=timedelta(hours=1))
    foreign = theirs.sign("foreign")
    before = road.gateway.config["uplink"]["broker"]
    secure = {**before, "tls": True, "ca_file": str(ours.file)}
    for files, fault in ((expired, "certificate has expired"), (foreign, "issuer certificate")):
        with secure_broker(tmp_path / files.key.stem, files) as broker:
            road.gateway.change({("uplink", "broker"): {**secure, "port": broker.port}})
            road.gateway.reload()
            check(road)
            road.gateway.until(partial(is_told, road.gateway, fault))
            assert not connected(road.gateway)
    road.gateway.change({("uplink", "broker"): before})
    road.gateway.reload()
    recovers(road)


def is_told(gateway: Gateway, fault: str) -> bool:
    return fault in gateway.log("edge")


def secure_broker(folder: Path, files: Files) -> Service:
    broker = services.mosquitto(folder)
    with (folder / "mosquitto.conf").open("a") as config:
        config.write(f"certfile {files.certificate}\nkeyfile {files.key}\n")
    return broker


def test_a_name_server_that_never_answers_holds_up_neither_the_lamp_nor_the_end(
    road: Road,
) -> None:
    road.gateway.change({("uplink", "broker", "host"): HANGS})
    road.gateway.reload()
    check(road)
    assert not connected(road.gateway)
    began = time.monotonic()
    road.gateway.stop("edge")
    assert time.monotonic() - began < PATIENCE_S
    assert road.gateway.aspects()[-1] in (Aspect.AMBER, Aspect.RED)
