"""The lamp and the polling beside a network that fails in every way that a network has.

One gateway lives through all faults, and another one beside it through none. What happens on their
lines is the simulator's word, not the gateways': between the reading that turns the lamp and the
lamp nothing else is read, and the ruler is not left alone more often than in the same moment by the
gateway that is well. How long anything takes on this machine is not judged.
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

pytestmark = pytest.mark.xdist_group("road")  # one after another, on one road

SITE = "daping-underpass"
RED_M = 0.30
POLL_S = 0.1
PERIOD_S = 0.63  # no multiple of the polls: the water rises at every phase of them
RISES = 5
LONG_MS = 4 * POLL_S * 1000
"""A gap in the readings of the ruler in which some were skipped: what holds up the whole gateway,
for the half second of a connection attempt or for ever, leaves one at each attempt."""

BY_CHANCE = 2
HANGS = "hangs.example"

SETTINGS = {
    ("uplink", "broker", "connect_timeout_s"): 0.5,
    ("uplink", "broker", "keepalive_s"): 5,
    ("uplink", "drain_at_stop_s"): 1,
    ("sensor", "ruler-1", "interval_s"): POLL_S,
    ("interlock", SITE, "rise_samples"): 1,
    ("interlock", SITE, "jump_cm"): 0,
    ("interlock", SITE, "hold_s"): 0,
}

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
    """How many readings of any device came between the first one over red and the relay that
    switches; and the time from each reading of the ruler to its next one, ms."""

    between: list[int]
    gaps_ms: list[int]


class Road(NamedTuple):
    """The gateway, the way to its broker, and the gateway beside it that is well."""

    gateway: Gateway
    way: FaultProxy
    beside: Gateway


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    folder = tmp_path_factory.mktemp("road")
    (folder / "names").mkdir()
    (folder / "names" / "sitecustomize.py").write_text(STUBBORN_NAMES, "utf-8")
    with (
        services.mosquitto(folder / "broker") as broker,
        FaultProxy(broker.port) as way,
        Gateway(folder / "line", way.port, record=waves(folder / "waves.csv")) as gateway,
        Gateway(folder / "beside", broker.port, record=folder / "waves.csv") as beside,
    ):
        with pytest.MonkeyPatch.context() as patch:
            paths = [str(folder / "names"), os.environ.get("PYTHONPATH", "")]
            patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
            for one in (gateway, beside):
                one.change(SETTINGS)
            beside.change({("gateway", "id"): "gw-beside"})
            for one in (gateway, beside):
                one.start("edge")
        for one in (gateway, beside):
            one.until(partial(one.lamp, Aspect.RED))
            one.until(partial(connected, one))
        yield Road(gateway, way, beside)


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


def since(gateway: Gateway, begin_ms: float) -> Seen:
    """What was seen since then."""
    between, passed, was_over = [], None, True
    readings: list[int] = []
    for fact in gateway.facts():
        if fact.at_ms < begin_ms:
            continue
        if isinstance(fact, truth.Answered):
            if passed is not None:
                passed += 1
            if fact.device == gateway.stage.ruler:
                readings.append(fact.at_ms)
                over = fact.value is not None and fact.value >= RED_M
                if over and not was_over:
                    passed = 0
                was_over = over
        elif isinstance(fact, truth.Outputs) and not fact.on and passed is not None:
            between.append(passed)
            passed = None
    return Seen(between, [later - earlier for earlier, later in pairwise(readings)])


def connected(gateway: Gateway) -> bool:
    return bool(gateway.status()["uplink"]["connected"])


def check(road: Road) -> None:
    """The lamp and the polling are as those of the gateway that is well."""
    begin_ms = time.time() * 1000
    give_up_s = time.monotonic() + PATIENCE_S
    while len((seen := since(road.gateway, begin_ms)).between) < RISES:
        assert time.monotonic() < give_up_s, seen
        time.sleep(PERIOD_S)
    beside = since(road.beside, begin_ms)
    # One more where an answer was too late for a gateway that had to wait for the machine.
    assert statistics.median(seen.between) <= 1, seen
    allowed = BY_CHANCE + 2 * long_gaps(beside)
    assert long_gaps(seen) <= allowed, (seen, beside)


def long_gaps(seen: Seen) -> int:
    return sum(gap_ms >= LONG_MS for gap_ms in seen.gaps_ms)


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
