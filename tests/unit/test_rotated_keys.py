"""The key that a gateway and its cloud share is changed in its file, at one end before the other:
both go on, and nobody restarts anything."""

from pathlib import Path

import pytest

from cloud.proofs import Ring
from edge.acks import Acks, Proof
from wire import keyfile
from wire.authentication import Keys
from wire.messages import Ack

OLD, NEW, STRANGE = (keyfile.make() for _ in range(3))


def proven(key: str, number: int = 1) -> Ack:
    return keyfile.parse(key).prove(Ack("stream", ((1, number),)), "gw")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "gateway.key").write_text(OLD)
    return tmp_path / "gateway.key"


def acks_by(file: Path) -> Acks:
    proof = Proof(demanded=True, file=file)
    proof.begin()
    return Acks("gw", proof)


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [said for one in caplog.records if words in (said := one.getMessage())]


async def test_a_gateway_finds_the_new_key_when_an_ack_is_proven_by_it(file, caplog):
    acks = acks_by(file)
    assert await acks.believed_anew(proven(OLD))
    file.write_text(f"{NEW}\n{OLD}\n")
    assert await acks.believed_anew(proven(OLD))  # nothing is read while it is believed
    assert not lines(caplog, "has changed")
    assert await acks.believed_anew(proven(NEW)) == [(1, 1)]
    assert not acks.unproven
    assert len(lines(caplog, "key_file has changed: the new secret is used")) == 1
    assert acks.proof.keys == keyfile.parse(f"{NEW}\n{OLD}")  # replies are proven by it too
    assert NEW not in caplog.text


@pytest.mark.parametrize(
    "held", [None, "", "junk", f"{STRANGE}\n"], ids=["gone", "empty", "junk", "strange"]
)
async def test_a_key_file_that_is_spoilt_ends_no_ack(file, caplog, held):
    acks = acks_by(file)
    file.unlink()
    if held is not None:
        file.write_text(held)
    assert await acks.believed_anew(proven(NEW)) is None
    assert await acks.believed_anew(proven(OLD)) == [(1, 1)]
    assert len(lines(caplog, "stays in use")) == (held != f"{STRANGE}\n")


async def test_forged_acks_do_not_keep_the_disk_busy(file, monkeypatch):
    acks = acks_by(file)
    reads: list[Path] = []
    keys = keyfile.parse(OLD)

    def read(at: Path) -> Keys:
        reads.append(at)
        return keys

    monkeypatch.setattr(keyfile, "read", read)
    for number in range(1, 51):
        assert await acks.believed_anew(proven(STRANGE, number)) is None
    assert len(reads) == 1
    monkeypatch.undo()


def test_a_cloud_reads_the_key_of_a_gateway_again_that_does_not_believe_it(file, caplog):
    ring = Ring({"gw": file, "gw-2": file.with_name("none")})
    assert ring.get("gw") == keyfile.parse(OLD)
    assert ring.get("gw-2") is None
    assert len(lines(caplog, "prove nothing")) == 1
    file.write_text("junk")
    for _ in range(2):
        ring.look_again(["gw", "gw-2"])
    assert ring.get("gw") == keyfile.parse(OLD)
    assert len(lines(caplog, "stays in use")) == 1
    file.write_text(NEW)
    file.with_name("none").write_text(STRANGE)
    for _ in range(2):
        ring.look_again(["gw", "gw-2"])
    assert (ring.get("gw"), ring.get("gw-2")) == (keyfile.parse(NEW), keyfile.parse(STRANGE))
    assert len(lines(caplog, "has changed: the new secret is used")) == 1
