"""Damaged frames at the codec: the answer that was sent, or none."""

import random
from itertools import pairwise

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


CUTS = st.lists(st.integers(1, 2**16), max_size=4)


def pieces(frame: bytes, cuts: list[int]) -> list[bytes]:
    places = {1 + cut % max(1, len(frame) - 1) for cut in cuts}
    return [frame[a:b] for a, b in pairwise([0, *sorted(places), len(frame)])]


# Each example serves for all answers: to draw it takes ten times as long as to read what it says.


@examples(600)
@given(cuts=CUTS, seed=st.integers(0, 2**64))
def test_a_damaged_answer_is_the_answer_or_none(cuts, seed):
    for name, (text, _) in ANSWERS.items():
        frame = rtu(text)
        damaged = b"".join(piece.data for piece in damage(frame, random.Random(seed)))
        answer = listen(name, Rtu(), pieces(damaged, cuts))
        assert answer in (frame[1:-2], None), name


@examples(300)
@given(cuts=CUTS, noise=st.binary(max_size=40))
def test_noise_is_no_answer(cuts, noise):
    for name, (text, _) in ANSWERS.items():
        answer = listen(name, Rtu(), pieces(noise, cuts))
        assert answer in (rtu(text)[1:-2], None), name


@examples(300)
@given(cuts=CUTS, before=st.binary(max_size=20), keep=st.integers(0, 300))
def test_over_tcp_what_is_believed_has_its_number_and_length(cuts, before, keep):
    """TCP itself finds flipped bits; what may come is a wrong beginning, or too little."""
    for name, (text, _) in ANSWERS.items():
        frame = tcp(rtu(text))
        answer = listen(name, Tcp(), pieces(before + frame[:keep], cuts))
        assert answer in (frame[7:], None), name


def test_every_flip_of_up_to_three_bits_is_found():
    """Of the shortest answer all of them."""
    frame = int.from_bytes(rtu("02 03 02 00 1F"), "big")
    bits = [1 << i for i in range(7 * 8)]
    flips = {a | b | c for a in bits for b in bits for c in bits}
    for flip in flips:
        assert listen("one register", Rtu(), [(frame ^ flip).to_bytes(7, "big")]) is None
