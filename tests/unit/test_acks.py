"""Which acks and replies are believed: nothing forged ever is, and what is honest always."""

import base64
import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from edge.acks import HIGHEST, Acks, Proof
from edge.batches import Position
from wire import codec, keyfile
from wire.aspect import Aspect
from wire.authentication import Keys
from wire.keyfile import KeyFileError
from wire.messages import Ack, Outcome, Reply

A_KEY = base64.b64encode(bytes(range(32))) + b"\n"  # names of tests must not be random
OURS = keyfile.parse(keyfile.make())
OTHER = keyfile.parse(keyfile.make())

numbers = st.integers(1, 2**53)
ranges = st.lists(numbers, max_size=8, unique=True).map(
    lambda some: tuple(zip(sorted(some)[::2], sorted(some)[1::2], strict=False))
)
acks = st.builds(Ack, st.text(max_size=20), ranges)
replies = st.builds(
    Reply,
    st.text(max_size=20),
    st.sampled_from(Outcome),
    numbers,
    st.text(max_size=20),
    st.none() | st.sampled_from(Aspect),
    last=st.none() | st.integers(-1, 2**53),
)
messages = acks | replies
LETTERS = string.ascii_lowercase + string.digits
names = st.tuples(st.sampled_from(LETTERS), st.text(LETTERS + "-", max_size=8)).map("".join)


def over_the_wire(message):
    return codec.decode(codec.encode(message), type(message))


@given(messages, names)
def test_what_is_proven_is_believed_after_the_wire(message, gateway):
    proven = over_the_wire(OURS.prove(message, gateway))
    assert OURS.believe(proven, gateway)
    assert replace(proven, mac=UNSET) == message


@given(messages, names, names, st.data())
def test_what_is_forged_is_not_believed(message, gateway, other, data):
    proven = OURS.prove(message, gateway)
    assert not OURS.believe(message, gateway)  # no mac at all
    assert not OTHER.believe(proven, gateway)
    if other != gateway:
        assert not OURS.believe(proven, other)
    changed = data.draw(messages.filter(lambda one: one != message))
    assert not OURS.believe(replace(changed, mac=proven.mac), gateway)
    place = data.draw(st.integers(0, len(proven.mac) - 1))
    letter = data.draw(st.characters().filter(lambda one: one != proven.mac[place]))
    mac = proven.mac[:place] + letter + proven.mac[place + 1 :]
    assert not OURS.believe(replace(proven, mac=mac), gateway)
    assert not OURS.believe(replace(proven, mac=proven.mac[:place]), gateway)


def test_the_text_under_the_mac_is_the_one_that_is_documented():
    import base64
    import hashlib
    import hmac

    key = base64.b64decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    keys = Keys([key])
    ack = keys.prove(Ack("5f0c", ((1, 7), (9, 9))), "gw-07")
    text = b'shuichi/v1/ack\n["gw-07","5f0c",[[1,7],[9,9]]]'
    assert ack.mac == hmac.new(key, text, hashlib.sha256).hexdigest()
    reply = keys.prove(Reply("ab", Outcome.CONFIRMED, 5, "", Aspect.RED), "gw-07")
    text = b'shuichi/v1/reply\n["gw-07","ab","confirmed",5,"","red",null]'
    assert reply.mac == hmac.new(key, text, hashlib.sha256).hexdigest()


def test_an_older_reader_sees_the_ack_that_it_knows():
    assert codec.encode(Ack("a", ((1, 2),))) == b'{"stream":"a","batches":[[1,2]],"v":1}'
    proven = json.loads(codec.encode(OURS.prove(Ack("a", ((1, 2),)), "gw")))
    assert proven.pop("mac")
    assert proven == {"stream": "a", "batches": [[1, 2]], "v": 1}


def test_both_keys_of_a_file_are_believed_and_the_first_proves(tmp_path: Path):
    old, new = keyfile.make(), keyfile.make()
    file = tmp_path / "gw.key"
    keyfile.write(file, [new, old], tmp_path / "gateway.toml")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["gw.key"]
    both = keyfile.read(file)
    ack = Ack("s", ((1, 1),))
    assert both.believe(keyfile.parse(old).prove(ack, "gw"), "gw")
    assert both.believe(keyfile.parse(new).prove(ack, "gw"), "gw")
    assert keyfile.parse(new).believe(both.prove(ack, "gw"), "gw")
    assert not keyfile.parse(old).believe(both.prove(ack, "gw"), "gw")
    assert new not in repr(both)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "has 0 keys"),
        (b"# nothing\n\n", "has 0 keys"),
        (b"no base64!\n", "key 1 is not base64"),
        (b"AAAA\n", "has 3 bytes"),
        (b"A" * 43 + b"=\n", "the same byte"),
        (b"\xff\xfe", "not ASCII"),
        (b"\0" * 5000, "larger than"),
        (3 * A_KEY, "has 3 keys"),
        (2 * A_KEY, "the same key twice"),
    ],
)
def test_a_file_that_holds_no_key_says_why_and_never_what(tmp_path: Path, content, complaint):
    file = tmp_path / "gw.key"
    file.write_bytes(content)
    with pytest.raises(KeyFileError, match=complaint) as raised:
        keyfile.read(file)
    for line in content.splitlines():
        assert len(line) < 20 or line.decode("ascii", "replace") not in str(raised.value)


def sent(acks_: Acks, *numbers: int) -> Acks:
    for number in numbers:
        acks_.sent("s", number)
    return acks_


@pytest.mark.parametrize(
    ("stream", "batches"),
    [
        ("s", ((-1, 2**62),)),
        ("s", ((0, 3),)),
        ("s", ((1, 2**63),)),
        ("s", ((1, HIGHEST),)),
        ("s", ((1, 10**400),)),
        ("s", ((1, 4),)),
        ("s", ((4, 4),)),
        ("s", ((1, 3), (6, 6))),
        ("t", ((1, 1),)),
    ],
)
def test_without_a_key_only_what_was_sent_is_believed(stream, batches, caplog):
    judge = sent(Acks("gw"), 1, 2, 3, 5)
    for _ in range(1000):
        assert judge.believed(Ack(stream, batches)) is None
    assert judge.refused == 1000
    assert caplog.text.count("is not believed") == 1
    assert judge.believed(Ack("s", ((1, 3), (5, 5)))) == [(1, 3), (5, 5)]
    assert judge.believed(Ack("s", ((2, 3),))) == [(2, 3)]  # again: it may come twice


def test_with_a_key_only_what_is_proven_is_believed():
    judge = sent(Acks("gw", Proof(demanded=True, keys=OURS)), 1, 2)
    ack = Ack("s", ((1, 2),))
    for forged in (ack, OTHER.prove(ack, "gw"), OURS.prove(ack, "gw-2")):
        assert judge.believed(forged) is None
        assert judge.unproven
    assert judge.believed(OURS.prove(ack, "gw")) == [(1, 2)]
    assert not judge.unproven
    # What an earlier process has sent is stored all the same.
    assert judge.believed(OURS.prove(Ack("t", ((7, 9),)), "gw")) == [(7, 9)]
    assert judge.believed(OURS.prove(Ack("s", ((-1, 2**62),)), "gw")) is None
    assert judge.refused == 4


def test_a_key_that_cannot_be_read_proves_nothing():
    judge = sent(Acks("gw", Proof(demanded=True, fault="gw.key: gone")), 1)
    for ack in (Ack("s", ((1, 1),)), OURS.prove(Ack("s", ((1, 1),)), "gw")):
        assert judge.believed(ack) is None


def test_a_late_ack_to_an_earlier_process_is_no_alarm_and_deletes_nothing(caplog):
    judge = sent(Acks("gw", begin=Position("s", 10, 0, 10)), 9, 11, 12)
    for late in (((1, 10),), ((5, 12),), ((8, 8), (11, 11))):
        assert judge.believed(Ack("s", late)) is None
    assert judge.believed(Ack("of an earlier boot", ((1, 99),))) is None
    assert (judge.refused, caplog.text) == (0, "")
    assert judge.believed(Ack("s", ((5, 13),))) is None
    assert judge.refused == 1
    assert judge.believed(Ack("s", ((9, 9), (11, 12)))) == [(9, 9), (11, 12)]


def test_a_pipe_in_the_place_of_a_key_holds_nobody_up(tmp_path: Path):
    os.mkfifo(tmp_path / "gw.key")
    for place in (tmp_path / "gw.key", tmp_path):
        with pytest.raises((KeyFileError, OSError)):
            keyfile.read(place)


def test_an_ack_that_names_nothing_is_heard():
    judge = sent(Acks("gw"), 1)
    assert judge.believed(Ack("s", ())) == []
    judge = Acks("gw", Proof(demanded=True, keys=OURS))
    assert judge.believed(OURS.prove(Ack("s", ()), "gw")) == []
    assert judge.believed(Ack("s", ())) is None
