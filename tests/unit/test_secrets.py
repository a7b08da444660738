"""Secrets: who may read the files that hold them, and that no log has them."""

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from cloud import config, secretfiles, state
from cloud.channels import log as log_channel
from configs import files
from tests.contract.telling import message, opened
from wire import keyfile, secretfile


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


async def test_nobody_else_can_read_the_state(tmp_path: Path) -> None:
    place = tmp_path / "cloud.db"
    async with state.opened(place):
        for ending in ("", "-wal", "-shm", ".lock"):
            assert mode(tmp_path / f"cloud.db{ending}") == 0o600


async def test_a_state_that_everybody_could_read_is_closed(tmp_path: Path) -> None:
    place = tmp_path / "cloud.db"
    async with state.opened(place):
        pass
    for given, after in ((0o644, 0o640), (0o666, 0o660), (0o660, 0o660)):
        place.chmod(given)
        async with state.opened(place):
            assert mode(place) == mode(tmp_path / "cloud.db-wal") == after


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (0o600, ""),
        (0o640, ""),
        (0o400, ""),
        (0o644, "chmod o="),
        (0o660, "chmod g-w"),
        (0o604, "o="),
    ],
)
def test_rights_that_are_too_wide_are_told_with_the_remedy(tmp_path, given, says) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(given)
    assert says in files.doubt(secret)
    assert bool(files.doubt(secret)) == bool(says)
    assert files.doubt(tmp_path / "none") == ""


def test_all_secrets_that_a_config_names_are_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    names = ("broker", "alerts", "web", "program", "hook", "channel")
    for name in names:
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    file.write_text(
        """
[broker]
username = "u"
password_file = "broker"
[alerts]
secret_file = "alerts"
[web]
token_file = "web"
[web.token.screen]
token_file = "program"
[hook.sms]
secret_file = "hook"
[channel.w]
kind = "webhook"
url = "http://127.0.0.1/"
secret_file = "channel"
[channel.x]
kind = "webhook"
url = "http://127.0.0.1/"
secret_file = "env:X"
"""
    )
    found = dict(secretfiles.doubts(config.read(file)))
    assert {Path(said.split()[0]).name for said in found.values()} == set(names)
    assert "web.token.screen.token_file" in found


async def test_no_log_has_what_a_message_is_answered_by(tmp_path, caplog) -> None:
    link = "https://flood.example/a/abc.def"
    one = message(
        text=f"红色。收到请回复4711确认 {link}", link=link, answer_code="4711", token="abc.def"
    )
    with caplog.at_level(logging.INFO):
        async with opened("log", tmp_path, {"path": "a.jsonl"}) as channel:
            await channel.send(one)
        async with opened("log", tmp_path, {"path": "b.jsonl", "show_answer_codes": True}) as shown:
            await shown.send(one)
    written = (tmp_path / "a.jsonl").read_text()
    for secret in (link, "abc.def", "4711"):
        assert secret not in written
        assert secret not in caplog.text
    assert json.loads(written)["text"] == f"红色。收到请回复{log_channel.HIDDEN}确认 ***"
    assert json.loads((tmp_path / "b.jsonl").read_text())["link"] == link
    assert mode(tmp_path / "a.jsonl") == 0o600


def text_file(path: Path) -> bytes:
    return files.read_text_file(path, 100, pipes=True)


@pytest.mark.parametrize("read", [secretfile.read, keyfile.read_text, text_file])
def test_a_folder_in_the_place_of_a_secret_costs_no_descriptor(tmp_path, read):
    """A channel whose secret cannot be read is tried again each minute, for as long as it takes."""

    def free() -> int:
        number = os.open(os.devnull, os.O_RDONLY)
        os.close(number)
        return number

    before = free()
    for _ in range(5):
        with pytest.raises(IsADirectoryError) as error:
            read(tmp_path)
        assert str(error.value.filename) == str(tmp_path)
        del error
    assert free() == before
