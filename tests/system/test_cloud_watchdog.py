"""What the aggregator tells systemd."""

import asyncio
import signal
import socket
from pathlib import Path

import pytest

from tests.services import Service
from tests.system.aggregator import Cloud
from tests.waiting import until


async def test_it_is_ready_feeds_the_watchdog_and_says_that_it_ends(
    tmp_path: Path, mosquitto: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)

        def hears(word: str) -> bool:
            try:
                while True:
                    said.append(systemd.recv(1000).decode())
            except BlockingIOError:
                return word in said

        with Cloud(tmp_path / "cloud", mosquitto) as cloud:
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            cloud.start()
            monkeypatch.delenv("NOTIFY_SOCKET")
            await until(lambda: hears("READY=1"))
            await until(lambda: hears("WATCHDOG=1"))
            said.clear()
            await until(lambda: hears("WATCHDOG=1"))
            cloud.send(signal.SIGTERM)
            await until(lambda: hears("STOPPING=1"))
            await asyncio.to_thread(cloud.wait)
