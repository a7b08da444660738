"""The password or a certificate of a broker is changed while we run, as an operator does it: the
file of the broker, `kill -HUP`, and our own file; in this order or another."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import services
from tests.certificates import Authority
from tests.services import Service
from tests.waiting import until
from wire import mqtt
from wire.mqtt import Broker, Session

SPOILT: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_text("\n"),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\x00"),
    "another's": lambda file: file.write_text("of-somebody-else"),
}


class Connection:
    """One that is kept up. `times` is how often it came about, `troubles` why it did not."""

    def __init__(self) -> None:
        self.times = 0
        self.is_up = False
        self.troubles: list[str] = []

    async def serve(self, session: Session) -> None:
        self.times += 1
        self.is_up = True
        try:
            await session.take(1)
        finally:
            self.is_up = False


@asynccontextmanager
async def kept(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connection]:
    monkeypatch.setattr(mqtt, "_FIRST_DELAY_S", 0.02)
    monkeypatch.setattr(mqtt, "_LONGEST_DELAY_S", 0.05)
    found = Connection()
    keeping = mqtt.keep_connected(broker, "gw", found.serve, on_trouble=found.troubles.append)
    task = asyncio.create_task(keeping, name="kept")
    try:
        await until(lambda: found.is_up)
        yield found
    finally:
        task.cancel()
        await asyncio.wait((task,))


def admit(server: Service, password: str) -> None:
    """From now on the broker knows `gw` by this password, and throws out whoever had another."""
    file = server.folder / "passwords"
    file.write_text(f"gw:{password}\n")
    subprocess.run([services.command("mosquitto_passwd"), "-U", str(file)], check=True)
    os.kill(server.pid, signal.SIGHUP)


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [said for one in caplog.records if words in (said := one.getMessage())]


async def test_a_password_is_rotated_in_either_order(tmp_path, caplog, monkeypatch):
    file = tmp_path / "password"
    file.write_text("first\n")
    with services.mosquitto(tmp_path / "broker", users={"gw": "first"}) as server:
        broker = Broker(port=server.port, username="gw", password_file=str(file))
        async with kept(broker, monkeypatch) as one:
            admit(server, "second")
            await until(lambda: any("not authorized" in why for why in one.troubles))
            file.write_text("second\n")
            await until(lambda: one.is_up)
            assert len(lines(caplog, "has changed: the new secret is used")) == 1
            file.write_text("third\n")  # before the broker knows it: nothing ends
            server.stop()
            server.start()
            await until(lambda: one.times == 3 and one.is_up)
            assert len(lines(caplog, "the new secret is refused")) == 1
            admit(server, "third")
            await until(lambda: one.times == 4 and one.is_up)
    assert len(lines(caplog, "has changed: the new secret is used")) == 2
    assert not [word for word in ("first", "second", "third") if word in caplog.text]


async def test_a_password_file_that_is_spoilt_ends_nothing(tmp_path, caplog, monkeypatch):
    file = tmp_path / "password"
    file.write_text("right")
    with services.mosquitto(tmp_path / "broker", users={"gw": "right"}) as server:
        broker = Broker(port=server.port, username="gw", password_file=str(file))
        async with kept(broker, monkeypatch) as one:
            for times, spoil in enumerate(SPOILT.values(), 2):
                file.write_text("right")
                spoil(file)
                for _ in range(2):
                    server.kill()
                    await until(lambda: not one.is_up)
                    server.start()
                    await until(lambda: one.is_up)
                assert len(lines(caplog, "stays in use")) == times - 1
    assert not [word for word in ("right", "of-somebody-else") if word in caplog.text]


async def test_certificates_are_rotated(tmp_path, caplog, monkeypatch):
    """The broker's authority, and ours, are others from one restart of the broker to the next."""
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "own.pem", "own.key"))
    server = services.mosquitto(tmp_path / "broker")
    certificates = tmp_path / "broker" / "certificates"
    certificates.mkdir()
    with (tmp_path / "broker" / "mosquitto.conf").open("a") as config:
        config.write(
            f"cafile {certificates}/ca.pem\ncertfile {certificates}/own.pem\n"
            f"keyfile {certificates}/own.key\nrequire_certificate true\n"
        )

    def sign(name: str) -> Authority:
        authority = Authority(tmp_path, name)
        theirs = authority.sign(f"{name}-broker")
        for file, copy in zip(
            (authority.file, *theirs), ("ca.pem", "own.pem", "own.key"), strict=True
        ):
            (certificates / copy).write_bytes(file.read_bytes())
        return authority

    def trust(authority: Authority) -> None:
        ours = authority.sign("gw")
        for file, copy in zip((authority.file, *ours), (ca, cert, key), strict=True):
            copy.write_bytes(file.read_bytes())

    trust(sign("first"))
    with server:
        broker = Broker(
            port=server.port, tls=True, ca_file=str(ca), cert_file=str(cert), key_file=str(key)
        )
        async with kept(broker, monkeypatch) as one:
            cert.write_text("half of a certif")
            server.kill()
            server.start()
            await until(lambda: one.times == 2 and one.is_up)
            assert len(lines(caplog, "stays in use")) == 1
            server.kill()
            second = sign("second")
            server.start()
            await until(lambda: any("trusted" in why for why in one.troubles))
            trust(second)
            await until(lambda: one.times == 3 and one.is_up)
    assert len(lines(caplog, "has changed: the new secret is used")) == 1
