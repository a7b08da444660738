"""What keeps a database or a certificate from being used is said so that it can be mended."""

import asyncio
import os
import socket

import pytest
from click.testing import CliRunner

from cloud import database, state
from cloud.database import Server
from cloud.errors import Unavailable
from cloud.http import secret
from configs import trouble
from configs.loader import UserError
from edge.cli import edge
from wire.mqtt import Broker, Refused, connect

GATEWAY = '[gateway]\nid = "gw-1"\nsite = "here"\n[outbox]\npath = "{}"\n'


@pytest.fixture
def places(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("hello")
    (tmp_path / "garbage").write_bytes(b"no database at all" * 300)
    return tmp_path


PLACES = [
    ("folder", "is a folder: name a file in it"),
    ("file/x.db", "file is a file and no folder: name another place"),
    ("nope/x.db", "nope: make it, or name another place"),
    ("garbage", "file is not a database: something else stands there; move it away"),
    ("x" * 300, "File name too long: name another file"),
]


@pytest.mark.parametrize(("name", "says"), PLACES, ids=range(len(PLACES)))
def test_a_state_that_cannot_be_opened(places, name, says):
    async def open_it() -> None:
        async with state.opened(places / name):
            pass

    with pytest.raises(Unavailable) as caught:
        asyncio.run(open_it())
    assert str(caught.value).startswith(f"{places / name}: ")
    assert says in str(caught.value)


def test_what_the_disk_itself_does(tmp_path, monkeypatch):
    file = tmp_path / "x.db"
    assert "`dmesg`" in trouble.of_database(file, "disk I/O error")
    assert f"make room on the disk of {tmp_path}" in trouble.of_database(
        file, "database or disk is full"
    )
    assert trouble.of_database(file, "something new") == "something new"
    file.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: path != file)
    assert "may not be read and written by user" in trouble.of_database(file, "x")
    monkeypatch.setattr(os, "access", lambda path, mode: path == file)
    assert f"may not make files in {tmp_path}" in trouble.of_database(file, "x")


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (FileNotFoundError, "no gateway runs here: there is no "),
        (ConnectionRefusedError, "has ended; `shuichi edge run` starts one"),
        (PermissionError, "you may not ask this gateway: run this as root, as its user, or as a"),
    ],
)
def test_a_gateway_that_cannot_be_asked(tmp_path, monkeypatch, raised, says):
    (tmp_path / "gateway.toml").write_text(GATEWAY.format("outbox.db"))

    async def fail(path):
        raise raised

    monkeypatch.setattr(asyncio, "open_unix_connection", fail)
    for command in ("status", "reload"):
        with pytest.raises(UserError) as caught:
            CliRunner().invoke(
                edge, [command, "--config", str(tmp_path / "gateway.toml")], catch_exceptions=False
            )
        assert says in str(caught.value)
        assert ("no gateway runs" in str(caught.value)) == (raised is not PermissionError)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"ca_file": "nope"}, "No such file or directory: {}/nope"),
        ({"ca_file": "folder"}, "Is a directory: {}/folder"),
        ({"ca_file": "file"}, "ca_file {}/file holds no certificate"),
        ({"ca_file": "garbage"}, "ca_file {}/garbage holds no certificate"),
        ({"cert_file": "nope", "key_file": "nope"}, "No such file or directory: {}/nope"),
        (
            {"cert_file": "file", "key_file": "garbage"},
            "cert_file {0}/file and key_file {0}/garbage are no certificate and its key",
        ),
    ],
)
def test_certificate_files_that_cannot_be_used(places, files, says):
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            broker = Broker(host="127.0.0.1", port=port, tls=True, **files).beside(places)
            async with connect(broker, "gw-1"):
                pass

    with pytest.raises(Refused) as caught:
        asyncio.run(main())
    assert says.format(places) in str(caught.value)
    assert "None" not in str(caught.value)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_password_is_read_whatever_editor_wrote_it(tmp_path, mark, end):
    (tmp_path / "password").write_bytes(mark + "geheim é".encode() + end)
    broker = Broker(username="a", password_file="password").beside(tmp_path)
    assert broker.password() == "geheim é"
    assert secret(tmp_path, "password") == "geheim é"


def test_a_password_of_the_state_that_is_no_text(tmp_path):
    (tmp_path / "password").write_bytes(b"\xff\xfe\x00")
    place = Server("postgresql://u@127.0.0.1/x", tmp_path / "password")
    with pytest.raises(Unavailable, match="password: is not text in UTF-8"):
        database.engine(place, read_only=True)
