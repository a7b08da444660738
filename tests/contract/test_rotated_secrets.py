"""A secret is revoked and the next one put into the same file, while we run: each side that knows
us by a secret is met again with the new one. A file that is missing or wrong ends nothing."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from cloud import state
from cloud.channels.running import Running
from cloud.database import Server
from cloud.errors import Rejected, Unavailable
from configs import loader
from tests import services
from tests.certificates import Authority
from tests.contract.board_and_mail import email_endpoint
from tests.contract.endpoints import endpoint
from tests.contract.telling import Endpoint, Mood, message, opened
from tests.services import Postgres, Service
from wire import secretfile

KINDS = sorted(loader.plugins("cloud.channels").keys() - {"log"})
"""Those that show somebody a secret."""

OLD = "the-secret-that-was-revoked"


def write(file: Path, text: str) -> None:
    file.write_text(text)


def be_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


SPOILT: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda file: write(file, "\n"),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\x00"),
    "a folder": be_a_folder,
    "another's": lambda file: write(file, "of-somebody-else"),
}


def spoilt(file: Path, spoil: Callable[[Path], object]) -> None:
    """`file` as `spoil` makes it, whatever was there."""
    if file.is_dir():
        file.rmdir()
    write(file, "")
    spoil(file)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("broker")
    with services.mosquitto(folder, users={"cloud": "SEC-that-nobody-may-see"}) as service:
        yield service


@pytest.fixture(params=KINDS)
async def end(
    request: pytest.FixtureRequest, tmp_path: Path, broker: Service
) -> AsyncIterator[tuple[str, Endpoint]]:
    async with endpoint(request.param, tmp_path, broker) as found:
        yield request.param, found


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [said for one in caplog.records if words in (said := one.getMessage())]


async def tell(channel: Running, end: Endpoint, key: str) -> None:
    await channel.send(message(to=end.to, key=key))


async def test_a_channel_reads_a_secret_again_that_was_refused(
    end: tuple[str, Endpoint], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind, at = end
    assert at.admits is not None
    right = at.admits.read_text()
    at.admits.write_text(OLD)
    async with opened(kind, tmp_path, at.config) as channel:
        for key in "ab":
            with pytest.raises(Rejected):
                await tell(channel, at, key)
        assert not lines(caplog, "has changed")
        at.admits.write_text(right)
        for key in "bc":
            await tell(channel, at, key)
    assert len(list(at.arrived)) == 2
    (said,) = lines(caplog, "has changed: the new secret is used")
    assert kind in said or "broker" in said
    assert not [word for word in (*at.secrets, OLD) if word in caplog.text]


async def test_a_file_that_is_spoilt_ends_no_channel_that_works(
    end: tuple[str, Endpoint], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind, at = end
    assert at.admits is not None
    silent = kind == "board"  # its no is that it says nothing
    more = {"rate_per_minute": 6000}
    keys = iter("abcdefghijklmnop")
    async with opened(kind, tmp_path, at.config | more) as channel:
        await tell(channel, at, next(keys))
        for spoil in SPOILT.values():
            spoilt(at.admits, spoil)
            at.be(Mood.AGAIN if silent else Mood.NEVER)
            with pytest.raises((Rejected, TimeoutError)):
                async with asyncio.timeout(0.05 if silent else None):
                    await tell(channel, at, key := next(keys))
            at.be(Mood.YES)
            await tell(channel, at, key)
    assert len(list(at.arrived)) == 1 + len(SPOILT)
    assert len(lines(caplog, "stays in use")) == len(SPOILT)  # one line for each
    assert not lines(caplog, "is used")


@pytest.mark.parametrize("end", ["webhook", "email", "board"], indirect=True)
async def test_a_new_secret_counts_though_the_provider_learns_it_later(
    end: tuple[str, Endpoint], tmp_path: Path
) -> None:
    """Neither the old nor the new one is taken for a while: both are tried, once each."""
    kind, at = end
    assert at.admits is not None
    right = at.admits.read_text()
    at.admits.write_text(OLD)
    async with opened(kind, tmp_path, at.config) as channel:
        at.admits.write_text("not-known-yet")
        with pytest.raises(Rejected):
            await tell(channel, at, "a")
        at.admits.write_text(right)
        await tell(channel, at, "a")
    assert len(list(at.arrived)) == 1


async def test_a_mail_server_has_a_certificate_of_another_authority(
    tmp_path: Path, broker: Service
) -> None:
    async with email_endpoint(tmp_path, broker) as at:
        right = (tmp_path / at.config["ca_file"]).read_bytes()
        (tmp_path / at.config["ca_file"]).write_bytes(
            Authority(tmp_path, "another").file.read_bytes()
        )
        async with opened("email", tmp_path, at.config) as channel:
            with pytest.raises(Unavailable):
                await tell(channel, at, "a")
            (tmp_path / at.config["ca_file"]).write_bytes(right)
            await tell(channel, at, "a")
        assert len(at.arrived) == 1


# PostgreSQL


async def test_a_password_of_the_state_is_read_again(
    tmp_path: Path, shared_postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"u{uuid.uuid4().hex}"
    made = shared_postgres.database(name)

    def ask(statement: str) -> None:
        password = shared_postgres.password_file.read_text().strip()
        with psycopg.connect(made.url, password=password, autocommit=True) as connection:
            connection.execute(statement.encode())

    ask(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'first'")
    file = tmp_path / "password"
    file.write_text("first\n")
    url = made.url.replace("//shuichi@", f"//{name}@")
    async with state.opened(Server(url, file)) as one:

        async def comes_in() -> None:
            """On a new connection."""
            ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'")
            with suppress(Unavailable):  # the end of the one before
                await one.run(lambda connection: connection.exec_driver_sql("SELECT 1"))
            await one.run(lambda connection: connection.exec_driver_sql("SELECT 1"))

        for how in ("missing", "another's"):  # while the first is the right one
            spoilt(file, SPOILT[how])
            await comes_in()
        ask(f"ALTER ROLE {name} PASSWORD 'second'")
        with pytest.raises(Unavailable):
            await comes_in()
        write(file, "second\n")
        await comes_in()
    assert len(lines(caplog, "has changed: the new secret is used")) == 1
    assert "second" not in caplog.text


# What they all use


def test_what_cannot_be_read_is_logged_once_and_again_after_it_could(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "secret"
    file.write_text("one")
    one = secretfile.InUse("it", lambda: secretfile.text(file))
    file.unlink()
    assert [one.instead("one") for _ in range(3)] == [None] * 3
    assert len(lines(caplog, "No such file")) == 1
    file.write_text("two")
    assert one.instead("one") == "two"
    assert one.value == "one"  # nobody has taken the other
    for _ in range(3):
        one.decline("two")
    assert len(lines(caplog, "is refused")) == 1
    file.unlink()
    assert one.instead("one") is None
    assert len(lines(caplog, "No such file")) == 2
    one.accept("two")
    assert one.value == one.now() == "two"
    assert one.instead("one") == "two"  # somebody else has put it in use meanwhile
    assert "two" not in caplog.text


async def test_whoever_is_refused_at_the_same_time_finds_the_new_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("one")
    one = secretfile.InUse("it", lambda: secretfile.text(tmp_path / "secret"))
    (tmp_path / "secret").write_text("two")
    found = await asyncio.gather(*(asyncio.to_thread(one.instead, "one") for _ in range(4)))
    for other in found:
        assert other == "two"
        one.accept(other)
    assert one.instead("two") is None
