"""How a key comes to a gateway and its cloud, is changed, and what a person is told."""

import pytest
from click.testing import CliRunner

from cloud import config as cloud_config
from cloud import proofs
from cloud.keycli import key_command as cloud_key
from configs.loader import UserError
from edge import config
from edge.keycli import key_command as gateway_key
from wire import keyfile
from wire.messages import Ack

ACK = Ack("s", ((1, 2),))


class Ends:
    """Both ends of a line, and who types there."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        monkeypatch.chdir(folder)
        (folder / "gateway.toml").write_text('[gateway]\nid = "gw-07"\nsite = "here"\n')
        (folder / "cloud.toml").write_text('[gateway.gw-07]\nsites = ["here"]  # ours\n')

    def gateway(self, *words):
        return self._run(gateway_key, *words)

    def cloud(self, *words):
        return self._run(cloud_key, "gw-07", *words)

    def _run(self, command, *words):
        done = CliRunner().invoke(command, words)
        if done.exception is not None:
            raise done.exception
        for file in self.folder.glob("**/*.key"):  # no key on the screen, ever
            assert not any(line in done.output for line in file.read_text().split())
        return done.output

    @property
    def keys(self):
        """Of the gateway, and of the cloud."""
        setup = cloud_config.read(self.folder / "cloud.toml")
        file = config.read(self.folder / "gateway.toml").key_file
        assert file is not None
        return keyfile.read(file), proofs.read(setup).keys["gw-07"]


@pytest.fixture
def ends(tmp_path, monkeypatch):
    return Ends(tmp_path, monkeypatch)


def agree(ends):
    gateway, cloud = ends.keys
    return gateway.believe(cloud.prove(ACK, "gw-07"), "gw-07")


def test_a_key_made_at_one_end_and_taken_at_the_other_proves(ends):
    said = ends.gateway()
    assert "shuichi cloud key gw-07 --from gateway.key" in said
    ends.cloud("--from", "gateway.key")
    assert agree(ends)
    for file in ("gateway.key", "keys/gw-07.key"):
        assert (ends.folder / file).stat().st_mode & 0o777 == 0o600
    assert 'sites = ["here"]  # ours' in (ends.folder / "cloud.toml").read_text()


def test_a_key_can_be_made_at_the_cloud(ends):
    assert "shuichi gateway key --from gw-07.key" in ends.cloud()
    ends.gateway("--from", "keys/gw-07.key")
    assert agree(ends)


def test_a_change_of_keys_leaves_no_moment_without_proof(ends):
    ends.gateway()
    ends.cloud("--from", "gateway.key")
    old, _ = ends.keys
    ends.gateway("--rotate")
    assert agree(ends)  # the cloud has the old one only
    ends.cloud("--rotate", "--from", "gateway.key")
    assert agree(ends)
    gateway, cloud = ends.keys
    assert cloud.believe(gateway.prove(ACK, "gw-07"), "gw-07")
    assert gateway.believe(old.prove(ACK, "gw-07"), "gw-07")
    ends.gateway("--drop-old")
    ends.cloud("--drop-old")
    assert agree(ends)
    gateway, cloud = ends.keys
    for one in (gateway, cloud):
        assert not one.believe(old.prove(ACK, "gw-07"), "gw-07")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "exists already"),
        (("--from", "nowhere"), "--from nowhere: No such file"),
        (("--rotate", "--from", "gateway.toml"), "keys; 1 or 2 lines are needed"),
        (("--rotate", "--from", "/dev/zero"), "larger than"),
        (("--rotate", "--from", "gateway.key"), "has this key already"),
        (("--rotate", "--drop-old"), "goes with neither"),
    ],
)
def test_what_cannot_be_done_changes_nothing(ends, words, complaint):
    ends.gateway()
    before = (ends.folder / "gateway.key").read_text()
    with pytest.raises(UserError, match=complaint) as raised:
        ends.gateway(*words)
    assert len(str(raised.value).splitlines()) == 1
    assert (ends.folder / "gateway.key").read_text() == before


def test_without_a_key_there_is_nothing_to_change(ends):
    for words in (("--rotate",), ("--drop-old",)):
        with pytest.raises(UserError, match="does not exist yet"):
            ends.gateway(*words)
    assert not (ends.folder / "gateway.key").exists()
    with pytest.raises(UserError, match="cannot be the name"):
        ends._run(cloud_key, "../gw")


def test_check_says_what_is_wrong_with_a_key(ends):
    def doubts():
        gateway = config.read(ends.folder / "gateway.toml").doubts()
        cloud = proofs.doubts(cloud_config.read(ends.folder / "cloud.toml"))
        ours = (said for key, said in gateway if key == "uplink.key_file")
        return " ".join(ours), " ".join(said for _, said in cloud)

    assert "are not proven" in doubts()[0]
    assert "no key_file for gw-07" in doubts()[1]
    ends.gateway()
    ends.cloud("--from", "gateway.key")
    assert doubts() == ("", "")
    (ends.folder / "gateway.key").chmod(0o644)
    (ends.folder / "keys" / "gw-07.key").chmod(0o644)
    assert all("every user of this machine may use it" in said for said in doubts())
    (ends.folder / "gateway.key").write_text("junk")
    (ends.folder / "keys" / "gw-07.key").write_text("junk")
    assert "nothing deleted" in doubts()[0]
    assert "prove nothing" in doubts()[1]
    (ends.folder / "gateway.key").unlink()
    (ends.folder / "keys" / "gw-07.key").unlink()
    assert "No such file" in doubts()[0]
    assert "No such file" in doubts()[1]


def test_a_cloud_with_a_key_that_cannot_be_used_says_so_and_works(ends, caplog):
    ends.cloud()
    (ends.folder / "keys" / "gw-07.key").write_text("junk")
    ring = proofs.Ring(proofs.files(cloud_config.read(ends.folder / "cloud.toml")))
    assert ring.get("gw-07") is None
    assert "our acks to it prove nothing" in caplog.text
