"""TLS to a store: whom we trust, who we are to it, renewed while we run, and one line for what
fails."""

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cloud import outside, state, tls
from cloud.cli import cloud
from cloud.config import Config, Setup
from cloud.errors import Unavailable
from cloud.store import Points, Store, influx
from configs import loader
from tests.certificates import Authority, Files
from tests.httpserver import Answer, HttpServer, Request
from wire.reading import Quality, Quantity, Reading

POINTS = [Points("g", (Reading("s", "r", Quantity.DEPTH, 0.4, 1_782_000_000_000, Quality.GOOD),))]
V1 = {"api": "v1", "database": "d"}
V2 = {"api": "v2", "bucket": "b", "org": "o", "token_file": "token"}
KINDS = {
    "1.8.10": V1,
    "v2.9.1": V2,
    "3.6.0": V2,
    "victoria": V1 | {"dialect": "metricsql"},
}


class Server(HttpServer):
    """Any of the four, as far as they are asked here, behind TLS; with `clients` it lets in those
    alone whose certificate is signed by them."""

    def __init__(self, version: str, files: Files, clients: Path | None = None) -> None:
        self.version = version
        self.written = 0
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(*files)
        self.context = context
        super().__init__(self.answered, tls=context)

    def answered(self, asked: Request) -> Answer:
        path = asked.path.partition("?")[0]
        if path == "/ping":
            return Answer(204, headers={"X-Influxdb-Version": self.version})
        if path in ("/write", "/api/v2/write"):
            self.written += 1
            return Answer(204)
        if path == "/query":
            said = b'{"error": "parsing"}' if "q=SELECT&" in f"{asked.path}&" else b'{"results":[]}'
            return Answer(200, said)
        if path == "/snapshot/create":
            return Answer(200, b'{"status": "ok", "snapshot": "s"}')
        if path == "/api/v2/setup":
            return Answer(200, b'{"allowed": false}')
        if path in ("/api/v2/orgs", "/api/v2/buckets", "/api/v2/tasks"):
            return Answer(401, b'{"code": "unauthorized", "message": "no"}')
        return Answer(200 if path == "/snapshot/delete" else 201, b"{}")


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    (tmp_path / "token").write_text("t")
    return Authority(tmp_path, "ours")


@pytest.fixture(params=KINDS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings(server: HttpServer, version: str, **more: Any) -> influx.Config:
    given = {"kind": "influx", "url": server.url, "timeout_s": 5} | KINDS[version] | more
    return influx.Config.model_validate(given)


@asynccontextmanager
async def opened(config: influx.Config, folder: Path) -> AsyncIterator[Store]:
    async with (
        state.opened(folder / "cloud.db") as database,
        influx.open(config, folder, database) as store,
    ):
        yield store


async def test_every_way_to_each_server_goes_by_our_certificates(
    version: str, ours: Authority, tmp_path: Path
) -> None:
    ours.sign("server")
    mine = ours.sign("client")
    files = {"ca_file": "ours.pem", "cert_file": mine.certificate.name, "key_file": mine.key.name}
    server = Server(version, Files(tmp_path / "server.pem", tmp_path / "server.key"), ours.file)
    with server:
        async with opened(settings(server, version, **files), tmp_path) as store:
            await store.check()
            await store.send(POINTS)
            assert server.written
            assert await store.init()
        without = {"ca_file": "ours.pem"}
        async with opened(settings(server, version, **without), tmp_path) as store:
            with pytest.raises(Unavailable) as refused:
                await store.check()
            # It hangs up, so that what it says may be lost on the way.
            assert re.search(r"demands? a certificate of ours .*cert_file", str(refused.value))


@pytest.mark.parametrize("version", ["v2.9.1", "victoria"])
async def test_a_certificate_that_does_not_hold_is_told_with_its_mend(
    version: str, ours: Authority, tmp_path: Path
) -> None:
    theirs = Authority(tmp_path, "theirs")
    good, old = ours.sign("good"), ours.sign("old", ended_ago=timedelta(hours=1))
    cases: tuple[tuple[Files, dict[str, str], str], ...] = (
        (good, {}, "ca_file has to name the certificate of who signed it"),
        (good, {"ca_file": theirs.file.name}, f"who signed it is not in ca_file {theirs.file}"),
        (old, {"ca_file": "ours.pem"}, "has expired: it has to be renewed there, or the clock"),
        (good, {"ca_file": "ours.pem", "url": "localhost"}, "url has to name the server as its"),
    )
    for files, more, mend in cases:
        with Server(version, files) as server:
            if "url" in more:
                more = {**more, "url": server.url.replace("127.0.0.1", "localhost")}
            async with opened(settings(server, version, **more), tmp_path) as store:
                works: list[Callable[[], Awaitable[object]]] = [
                    store.check,
                    partial(store.send, POINTS),
                ]
                if version != "victoria":  # there, nothing is asked
                    works.append(store.init)
                for work in works:
                    with pytest.raises(Unavailable) as refused:
                        await work()
                    assert mend in str(refused.value)
                    assert "its certificate is not to be trusted" in str(refused.value)
                    assert "\n" not in str(refused.value)
            assert not server.written


async def test_the_library_that_administers_2_refuses_the_same(
    ours: Authority, tmp_path: Path
) -> None:
    """Past `/ping`, where our own client has asked already."""
    from cloud.store import influx2

    theirs = Authority(tmp_path, "theirs")
    with Server("v2.9.1", ours.sign("good")) as server:
        for ca, mend in ((None, "ca_file has to name"), (theirs.file, "is not in ca_file")):
            files = tls.Files(ca)
            with influx2.administered(server.url, "t", "o", 5, files) as client:
                setup = influx2.Setup(client, server.url, "b", "o", files)
                with pytest.raises(Unavailable, match=mend):
                    setup.first(influx2.First(None, None))


async def test_files_that_are_renewed_are_used(
    ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Authority and certificate are both replaced, one file after the other, while a store runs."""
    new = Authority(tmp_path, "new")
    mine = ours.sign("client")
    renewed = new.sign("renewed")
    names = {"ca_file": "ca.pem", "cert_file": "mine.pem", "key_file": "mine.key"}
    place = {key: tmp_path / name for key, name in names.items()}
    place["ca_file"].write_bytes(ours.file.read_bytes())
    place["cert_file"].write_bytes(mine.certificate.read_bytes())
    place["key_file"].write_bytes(mine.key.read_bytes())
    before, after = Server("1.8.10", ours.sign("a"), ours.file), new.sign("b")
    with before:
        async with opened(settings(before, "1.8.10", **names), tmp_path) as store:
            await store.send(POINTS)
            before.end_connections()
            before.context.load_verify_locations(new.file)
            before.context.load_cert_chain(*after)
            with pytest.raises(Unavailable, match="not to be trusted"):
                await store.send(POINTS)
            place["ca_file"].write_bytes(new.file.read_bytes())
            place["cert_file"].write_bytes(renewed.certificate.read_bytes())
            with pytest.raises(Unavailable, match="not to be trusted"):
                await store.send(POINTS)  # the key is still that of the old certificate
            place["key_file"].write_bytes(renewed.key.read_bytes())
            monkeypatch.setattr(tls, "LOOK_S", 0.0)
            await store.send(POINTS)
            place["ca_file"].write_bytes(ours.file.read_bytes())
            before.end_connections()
            with pytest.raises(Unavailable, match="not to be trusted"):
                await store.send(POINTS)


STORE = '[store]\nkind = "influx"\napi = "v1"\ndatabase = "d"\n'


def checked(folder: Path, more: str) -> tuple[str, list[str]]:
    (folder / "cloud.toml").write_text(STORE + more)
    done = CliRunner().invoke(cloud, ["check", "--config", str(folder / "cloud.toml")])
    return done.output, str(done.exception or "").splitlines()


def test_a_check_tells_all_faults_of_the_files_at_once(ours: Authority, tmp_path: Path) -> None:
    mine, other = ours.sign("client"), ours.sign("other")
    https = 'url = "https://127.0.0.1:1"\n'
    (tmp_path / "folder").mkdir()
    _, faults = checked(
        tmp_path, https + 'ca_file = "folder"\ncert_file = "none.pem"\nkey_file = "other.key"\n'
    )
    start = f"{tmp_path / 'cloud.toml'}: store"
    assert faults == [
        f"{start}.ca_file: {tmp_path / 'folder'}: Is a directory",
        f"{start}.cert_file: {tmp_path / 'none.pem'}: No such file or directory",
    ]
    _, faults = checked(
        tmp_path,
        https + f'ca_file = "client.key"\ncert_file = "{mine.certificate}"\n'
        f'key_file = "{other.key}"\n',
    )
    assert len(faults) == 2
    assert faults[0] == f"{start}.ca_file: {mine.key} holds no certificate (PEM)"
    assert "are no certificate and its key (PEM, without a password)" in faults[1]
    out, faults = checked(tmp_path, https + 'ca_file = "ours.pem"\n')
    assert faults == []
    out, faults = checked(tmp_path, https + 'key_file = "client.key"\n')
    assert "key_file is the key of a cert_file, and there is none" in faults[0]
    out, faults = checked(tmp_path, 'url = "http://db.example"\nca_file = "ours.pem"\n')
    assert "unsure: store: ca_file is not used: url does not begin with https://" in out
    out, _ = checked(tmp_path, 'url = "http://db.example"\nusername = "u"\npassword_file = "p"\n')
    assert "goes to http://db.example in plain text" in out


async def test_files_that_cannot_be_used_keep_no_alert_waiting(tmp_path: Path) -> None:
    """`cloud run` names them and does not start; with --unattended the store waits for them."""
    given = {"kind": "influx", "url": "https://127.0.0.1:1", **V1, "ca_file": "none.pem"}
    setup = Setup(loader.parse({"store": given}, Config, "test"), tmp_path)
    wanted = f"[store] ca_file: {tmp_path / 'none.pem'}: No such file or directory"
    assert wanted in await outside.faults(setup)
    from cloud import service

    async with service.opened(setup) as (_, store):
        with pytest.raises(Unavailable, match=r"ca_file .*none.pem: No such file"):
            await store.check()


async def test_https_that_is_spoken_to_http_is_told(tmp_path: Path) -> None:
    with HttpServer(lambda _: Answer(204)) as server:
        url = server.url.replace("http:", "https:")
        async with opened(settings(server, "1.8.10", url=url), tmp_path) as store:
            with pytest.raises(Unavailable, match="does not speak TLS"):
                await store.check()
