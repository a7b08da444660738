"""Damaged frames at the codec: the answer that was sent, or none."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply
from drivers.protocols.modbus import Rtu, Tcp
from firmware_sim.faults import damage
from tests.examples import examples
from tests.scripted_line import rtu, tcp

ANSWERS = {
    "one register": ("02 03 02 00 1F", 2 + 2),
    "many registers": ("02 03 20" + " 00 1F" * 16, 2 + 32),
    "coils": ("01 01 01 05", 2 + 1),
    "a coil switched": ("01 05 00 00 FF 00", 5),
    "coils switched": ("01 0F 00 00 00 08", 5),
}
ASKED = {"02 03": "03 00 00 00 01", "01 01": "01 00 00 00 03", "01 05": "05 00 00 FF 00"}


def listen(name: str, framing: Rtu | Tcp, heard: list[bytes]) -> bytes | None:
    """What is believed of what is heard, piece by piece."""
    text, length = ANSWERS[name]
    body = bytes.fromhex(text)
    request = bytes.fromhex(ASKED.get(text[:5], "0F 00 00 00 08 01 FF"))
    framing.wrap(body[0], request)
    reads = body[1] in (1, 3)
    scan = framing.scan(body[0], body[1:3] if reads else body[1:2], length)
    received = bytearray()
    for piece in heard:
        received += piece
        try:
            if (answer := scan(received)) is not None:
                return answer
        except BadReply:
            return None
    return None


@st.composite
def pieces(draw, frame: bytes) -> list[bytes]:
    cuts = draw(st.sets(st.integers(1, max(1, len(frame) - 1)), max_size=4))
    return [frame[a:b] for a, b in pairwise([0, *sorted(cuts), len(frame)])]


@pytest.mark.parametrize("name", ANSWERS)
@examples(600)
@given(data=st.data(), seed=st.integers(0, 2**64))
def test_a_damaged_answer_is_the_answer_or_none(name, data, seed):
    frame = rtu(ANSWERS[name][0])
    damaged = b"".join(piece.data for piece in damage(frame, random.Random(seed)))
    answer = listen(name, Rtu(), data.draw(pieces(damaged)))
    assert answer in (frame[1:-2], None)


@pytest.mark.parametrize("name", ANSWERS)
@examples(300)
@given(data=st.data(), noise=st.binary(max_size=40))
def test_noise_is_no_answer(name, data, noise):
    assert listen(name, Rtu(), data.draw(pieces(noise))) in (rtu(ANSWERS[name][0])[1:-2], None)


@pytest.mark.parametrize("name", ANSWERS)
@examples(300)
@given(data=st.data(), before=st.binary(max_size=20), keep=st.integers(0, 300))
def test_over_tcp_what_is_believed_has_its_number_and_length(name, data, before, keep):
    """TCP itself finds flipped bits; what may come is a wrong beginning, or too little."""
    frame = tcp(rtu(ANSWERS[name][0]))
    answer = listen(name, Tcp(), data.draw(pieces(before + frame[:keep])))
    assert answer in (frame[7:], None)


def test_every_flip_of_up_to_three_bits_is_found():
    """Of the shortest answer all of them."""
    frame = int.from_bytes(rtu("02 03 02 00 1F"), "big")
    bits = [1 << i for i in range(7 * 8)]
    flips = {a | b | c for a in bits for b in bits for c in bits}
    for flip in flips:
        assert listen("one register", Rtu(), [(frame ^ flip).to_bytes(7, "big")]) is None
