"""Fixtures for all tests: real servers, the shared real data, and a watch on what a test leaves."""

import asyncio
import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tests import examples, influxservers, services
from tests.influxservers import InfluxServer, Mortal, Place
from tests.services import Postgres, Service

ROOT = Path(__file__).resolve().parents[1]
GONE_WITHIN_S = 20.0


examples.register()


def pytest_configure() -> None:
    # Tests start our programs some hundred times. Where nothing may keep what was compiled, each
    # start would compile every module again, which takes longer than the start itself.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    # A process whose parent has died becomes ours instead of init's, so that one left behind by a
    # killed program is seen too (prctl PR_SET_CHILD_SUBREAPER, Linux only).
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def pytest_collection_finish() -> None:
    # Some thousand tests and all that they import stay until the end: the garbage collector need
    # not look through them each time, which took longer than many of the tests.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_leaked_threads_and_processes() -> Iterator[None]:
    """Fail a test that leaves a thread or a process behind, and end such a process."""
    threads = set(threading.enumerate())
    processes = set(_processes())
    yield
    deadline = time.monotonic() + GONE_WITHIN_S
    while True:
        stray = set(_processes()) - processes
        left = [f"thread {one.name}" for one in set(threading.enumerate()) - threads]
        left += [f"process {_describe(one)}" for one in stray]
        if not left:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for process in stray:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    pytest.fail("left behind: " + ", ".join(left), pytrace=False)


# Set up after the fixture above, so that its loop has ended, with its threads, when that one looks.
@pytest.fixture(autouse=True)
def no_leaked_tasks(request: pytest.FixtureRequest, no_leaked_threads_and_processes: None) -> None:
    """Fail an async test that leaves a task behind; the loop would cancel it without a word."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_watch_over_tasks")


@pytest_asyncio.fixture
async def _watch_over_tasks() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:  # a task that was told to end may need a turn of the loop for it
        _, left = await asyncio.wait(left, timeout=GONE_WITHIN_S)
    if left:
        names = sorted({f"task {task.get_name()}" for task in left})
        pytest.fail("left behind: " + ", ".join(names), pytrace=False)


@pytest.fixture(autouse=True)
def new_databases_are_quick(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lay out new SQLite files without alembic, unless the module says REAL_MIGRATIONS."""
    # Tests of the gateway have no business with the cloud, nor with what it imports.
    if "cloud.migrations" in sys.modules and not getattr(request.module, "REAL_MIGRATIONS", False):
        from tests import layout

        monkeypatch.setattr("cloud.migrations.upgrade", layout.upgrade)


def _processes() -> list[psutil.Process]:
    if not _has_children():
        return []
    running = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # ended while we look
            if process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
    return running


def _has_children() -> bool:
    """Ask the kernel first: to look through all processes of the machine twice for each of some
    thousand tests, most of which start none, takes longer than many of the tests."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.NoSuchProcess:
        return str(process.pid)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real records beside the checkout; they are not part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real records in ../shared/data, which is not beside this checkout")
    return folder


# One of each server for all tests that only use it, and one for a test that kills or fills it.
# A broker that asks for passwords: `with services.mosquitto(tmp_path / "broker", users={...})`.


@pytest.fixture(scope="session")
def shared_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with services.mosquitto(tmp_path_factory.mktemp("mosquitto")) as service:
        yield service


@pytest.fixture(scope="session")
def shared_influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with services.influxd(tmp_path_factory.mktemp("influxd")) as service:
        yield service


@pytest.fixture(scope="session")
def shared_victoria_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with services.victoria_metrics(tmp_path_factory.mktemp("victoria-metrics")) as service:
        yield service


@pytest.fixture(scope="session")
def shared_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with services.postgres(tmp_path_factory.mktemp("postgres")) as service:
        yield service


@pytest.fixture(scope="session")
def influx_room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that all test processes of this run know."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "room"


@pytest.fixture(scope="session")
def given_influx(
    influx_room: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, InfluxServer]]:
    """The servers that the environment names, by major version; started, if need be."""
    with influxservers.given(tmp_path_factory.mktemp("given"), influx_room) as servers:
        yield servers


@pytest.fixture(params=influxservers.ALL)
def influx_place(
    request: pytest.FixtureRequest,
    shared_influxd: Service,
    given_influx: dict[int, InfluxServer],
    tmp_path: Path,
) -> Iterator[Place]:
    """A place on an InfluxDB of each kind; nothing of it is made yet."""
    debians = InfluxServer(1, shared_influxd.url, tmp_path)
    with given_influx.get(request.param, debians).place() as place:
        yield place


@pytest.fixture(params=influxservers.GIVEN)
def given_place(
    request: pytest.FixtureRequest, given_influx: dict[int, InfluxServer]
) -> Iterator[Place]:
    """A place on a given server; nothing of it is made yet."""
    with given_influx[request.param].place() as place:
        yield place


@pytest.fixture(params=influxservers.GIVEN)
def mortal_influx(
    request: pytest.FixtureRequest, tmp_path: Path, influx_room: Path
) -> Iterator[Mortal]:
    """A place on a server that can die."""
    with influxservers.mortal(request.param, tmp_path, influx_room) as made:
        yield made


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Service]:
    with services.mosquitto(tmp_path / "mosquitto") as service:
        yield service


@pytest.fixture
def influxd(tmp_path: Path) -> Iterator[Service]:
    with services.influxd(tmp_path / "influxd") as service:
        yield service


@pytest.fixture
def victoria_metrics(tmp_path: Path) -> Iterator[Service]:
    with services.victoria_metrics(tmp_path / "victoria-metrics") as service:
        yield service


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    with services.postgres(tmp_path / "postgres") as service:
        yield service
