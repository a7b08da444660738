"""The Modbus master over a line whose answers the test writes: own answer or error, nothing else.

Frames are from the datasheets that the profiles name and from the Modbus specifications.
"""

import itertools
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BadReply, Misconfigured, Unavailable
from drivers.protocols.modbus import Master, Tcp
from tests import virtual
from tests.examples import examples
from tests.scripted_line import Chunks, ScriptedLine, rtu, tcp

WITHIN_S = 0.1

Call = Callable[[Master], Awaitable[object]]

LATE = rtu("02 03 02 11 11")
OWN = rtu("02 03 02 22 22")


async def read_one(master: Master) -> list[int]:
    return await master.read_registers(2, 3, 0, 1, within_s=WITHIN_S)


async def read_two(master: Master) -> list[int]:
    return await master.read_registers(2, 3, 0, 2, within_s=WITHIN_S)


EXCHANGES = {
    "ruler": (read_one, "02 03 00 00 00 01 84 39", "02 03 02 00 1F BD 8C", [31]),
    "rain gauge": (
        lambda m: m.read_registers(0xC0, 4, 8, 2, within_s=WITHIN_S),
        "C0 04 00 08 00 02 E0 D8",
        "C0 04 04 E0 78 00 01",
        [0xE078, 1],
    ),
    "read coils": (
        lambda m: m.read_coils(1, 0, 8, within_s=WITHIN_S),
        "01 01 00 00 00 08 3D CC",
        "01 01 01 05 91 8B",
        [True, False, True, False, False, False, False, False],
    ),
    "read three coils": (  # the specification's padding: what is not asked for is 0
        lambda m: m.read_coils(1, 4, 3, within_s=WITHIN_S),
        "01 01 00 04 00 03",
        "01 01 01 06",
        [False, True, True],
    ),
    "coil on": (
        lambda m: m.write_coil(1, 0, True, within_s=WITHIN_S),
        "01 05 00 00 FF 00 8C 3A",
        "01 05 00 00 FF 00 8C 3A",
        None,
    ),
    "coil off": (
        lambda m: m.write_coil(255, 0, False, within_s=WITHIN_S),
        "FF 05 00 00 00 00 D8 14",
        "FF 05 00 00 00 00 D8 14",
        None,
    ),
    "pulse": (
        lambda m: m.write_coil_value(1, 0x200, 7, within_s=WITHIN_S),
        "01 05 02 00 00 07 8D B0",
        "01 05 02 00 00 07 8D B0",
        None,
    ),
    "all coils": (
        lambda m: m.write_coils(1, 0, [True] * 8, within_s=WITHIN_S),
        "01 0F 00 00 00 08 01 FF BE D5",
        "01 0F 00 00 00 08 54 0D",
        None,
    ),
    "register": (
        lambda m: m.write_register(0x11, 1, 3, within_s=WITHIN_S),
        "11 06 00 01 00 03 9A 9B",
        "11 06 00 01 00 03 9A 9B",
        None,
    ),
}


def ask(call: Call, *answers: Chunks, framing: str = "rtu") -> object:
    """What one call returns or raises."""

    async def main() -> object:
        return await call(Master(ScriptedLine(*answers, framing=framing)))

    return virtual.run(main())


def in_pieces(frame: bytes, cuts: Sequence[int], gap_s: float) -> Chunks:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(frame)}), len(frame)]
    return [(0.01 + i * gap_s, frame[a:b]) for i, (a, b) in enumerate(itertools.pairwise(edges))]


CHUNKINGS = st.tuples(st.lists(st.integers(1, 12), max_size=12), st.sampled_from([1e-6, 0.001]))


@pytest.mark.parametrize("framing", ["rtu", "tcp"])
@pytest.mark.parametrize("name", EXCHANGES)
@examples(25)
@given(chunking=CHUNKINGS)
def test_the_datasheets_bytes_go_out_and_come_back_in_any_pieces(name, framing, chunking):
    call, request, reply, result = EXCHANGES[name]
    wrap = tcp if framing == "tcp" else bytes

    async def main():
        line = ScriptedLine(in_pieces(wrap(rtu(reply)), *chunking), framing=framing)
        assert await call(Master(line)) == result
        assert line.sent == [wrap(rtu(request))]

    virtual.run(main())


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ("02 03 04 00 1F 00 20 00 00", "unit 2: wrong checksum"),
        ("03 03 04 00 1F 00 20", "unit 3 spoke, unit 2 was asked"),
        ("02 04 04 00 1F 00 20", "function 4 was answered, 3 was asked"),
        ("02 84 02", "function 132 was answered, 3 was asked"),
        ("02 03 02 00 1F 00 20", "2 bytes of data, 4 were due"),
        ("02 03 06 00 1F 00 20 00 21", "6 bytes of data, 4 were due"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_a_bad_reply(reply, complaint):
    frame = bytes.fromhex(reply) if reply.endswith("00 00") else rtu(reply)
    with pytest.raises(BadReply, match=complaint):
        ask(read_two, [(0.01, frame)])


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("03 03 04 00 1F 00 20", "unit 3 spoke"),
        ("02 04 04 00 1F 00 20", "function 4 was answered"),
        ("02 03 02 00 1F 00 20", "2 bytes of data"),
        ("02 03 02 00 1F", "4 bytes, 6 were due"),
        ("02 03 06 00 1F 00 20 00 21", "8 bytes, 6 were due"),
        ("02 03", "1 bytes, 6 were due"),
    ],
)
def test_the_same_over_tcp(body, complaint):
    with pytest.raises(BadReply, match=complaint):
        ask(read_two, [(0.01, tcp(rtu(body)))], framing="tcp")


@pytest.mark.parametrize(
    "header",
    ["00 01 00 07 00 05 02 03 02 00 1F", "00 01 00 00 00 01 02 03", "00 01 00 00 00 FF 02 03"],
)
def test_a_garbage_header_over_tcp_is_a_bad_reply(header):
    with pytest.raises(BadReply, match="not a Modbus TCP frame"):
        ask(read_one, [(0.01, bytes.fromhex(header))], framing="tcp")


def test_a_short_answer_is_none():
    with pytest.raises(Unavailable, match="no answer within 100 ms after 7 stray bytes"):
        ask(read_two, [(0.01, rtu("02 03 04 00 1F 00 20")[:7])])


@pytest.mark.parametrize("click", [b"\0", b"\xff\xff", b"\0\0\0"])
def test_a_click_behind_an_answer_does_not_spoil_it(click):
    assert ask(read_one, [(0.01, OWN + click)]) == [0x2222]


@pytest.mark.parametrize("chunks", [(8, 15), (3, 8, 15), (15,)])
def test_an_adapter_that_hears_itself_is_found_out(chunks):
    heard = rtu("02 03 00 00 00 01 84 39") + OWN
    pieces = [heard[a:b] for a, b in itertools.pairwise((0, *chunks))]
    with pytest.raises(BadReply, match="set echo = true"):
        ask(read_one, [(0.01 + i * 1e-3, piece) for i, piece in enumerate(pieces)])


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (1, Misconfigured, "does not know this function"),
        (2, Misconfigured, "has no such register"),
        (3, Misconfigured, "does not take this value or count"),
        (4, Unavailable, "exception 4"),
        (6, Unavailable, "is busy"),
        (0x0B, Unavailable, "exception 11"),
    ],
)
@pytest.mark.parametrize("framing", ["rtu", "tcp"])
def test_an_exception_is_final_or_may_pass(code, error, text, framing):
    reply = rtu(f"02 83 {code:02x}")
    with pytest.raises(error, match=f"bus: unit 2.*{text}"):
        ask(read_one, [(0.01, tcp(reply) if framing == "tcp" else reply)], framing=framing)


@pytest.mark.parametrize(
    ("call", "reply"),
    [
        (lambda m: m.write_coil(1, 0, True, within_s=WITHIN_S), "01 05 00 01 FF 00"),
        (lambda m: m.write_coil(1, 0, True, within_s=WITHIN_S), "01 05 00 00 00 00"),
        (lambda m: m.write_coils(1, 0, [True] * 8, within_s=WITHIN_S), "01 0F 00 00 00 07"),
        (lambda m: m.write_register(1, 1, 3, within_s=WITHIN_S), "01 06 00 01 00 04"),
    ],
)
def test_the_echo_of_another_write_is_a_bad_reply(call, reply):
    with pytest.raises(BadReply, match="confirms another write"):
        ask(call, [(0.01, rtu(reply))])


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.read_registers(1, 3, 0, 0, within_s=WITHIN_S),
        lambda m: m.read_registers(1, 4, 0, 126, within_s=WITHIN_S),
        lambda m: m.read_registers(1, 3, 0x10000, 1, within_s=WITHIN_S),
        lambda m: m.read_coils(1, 0, 2001, within_s=WITHIN_S),
        lambda m: m.write_coils(1, 0, [], within_s=WITHIN_S),
        lambda m: m.write_coil_value(1, 0, 0x10000, within_s=WITHIN_S),
        lambda m: m.write_register(1, 0, 0x10000, within_s=WITHIN_S),
    ],
)
def test_what_no_frame_can_say_is_misconfigured_and_not_sent(call):
    async def main():
        line = ScriptedLine()
        with pytest.raises(Misconfigured, match=r"^bus: "):
            await call(Master(line))
        assert line.sent == []

    virtual.run(main())


@examples(200)
@given(st.sets(st.integers(0, 7 * 8 - 1), min_size=1, max_size=3))
def test_flipped_bits_never_become_a_value(bits):
    """A CRC-16 finds any three of them."""
    frame = int.from_bytes(rtu("02 03 02 00 1F BD 8C"), "big")
    for bit in bits:
        frame ^= 1 << bit
    with pytest.raises((BadReply, Unavailable)):
        ask(read_one, [(0.01, frame.to_bytes(7, "big"))])


def test_over_tcp_stale_transactions_are_skipped():
    async def main():
        line = ScriptedLine([], [(0.01, tcp(LATE, 1) + tcp(OWN, 2))], framing="tcp", byte_s=0.0)
        master = Master(line)
        with pytest.raises(Unavailable):
            await read_one(master)
        assert await read_one(master) == [0x2222]
        assert [frame[:2].hex() for frame in line.sent] == ["0001", "0002"]

    virtual.run(main())


def test_over_tcp_a_stale_answer_alone_is_no_answer():
    with pytest.raises(Unavailable, match="no answer"):
        ask(read_one, [(0.01, tcp(LATE, 7))], framing="tcp")


def test_transaction_numbers_start_again_at_one():
    framing = Tcp()
    numbers = [int.from_bytes(framing.wrap(2, b"\3")[:2], "big") for _ in range(0x10000)]
    assert numbers == [*range(1, 0x10000), 1]
