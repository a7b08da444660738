"""The Modbus master over a line whose answers the test writes: own answer or error, nothing else.

Frames are from the datasheets that the profiles name and from the Modbus specifications.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import BadReply, DriverError, Misconfigured, Unavailable
from drivers.ports.line import Line
from drivers.protocols.modbus import Master
from tests import virtual

BYTE_S = 10 / 9600
GAP_S = 3.5 * BYTE_S
WITHIN_S = 0.1
NEVER = 10.0

Chunks = Sequence[tuple[float, bytes]]
"""Seconds after the request, and the bytes that arrive then."""

Call = Callable[[Master], Awaitable[object]]

READ_RULER: Call = lambda m: m.read_registers(2, 3, 0, 1, within_s=WITHIN_S)  # noqa: E731
READ_TWO: Call = lambda m: m.read_registers(2, 3, 0, 2, within_s=WITHIN_S)  # noqa: E731

EXCHANGES = {
    "ruler": (READ_RULER, "02 03 00 00 00 01 84 39", "02 03 02 00 1F BD 8C", [31]),
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


class ScriptedLine(Line):
    """A line without a wire: keeps what is written, and each write sets off the next answer."""

    def __init__(self, *answers: Chunks, framing: str = "rtu", byte_s: float = BYTE_S) -> None:
        super().__init__("bus")
        self.framing, self.byte_s, self.gap_s = framing, byte_s, 3.5 * byte_s
        self.sent: list[bytes] = []
        self.sent_at: list[float] = []
        self.opened = 0
        self.refuses: str | None = None
        self._answers = list(answers)
        self._open = True

    @property
    def is_open(self) -> bool:
        return self._open

    async def open(self) -> None:
        self.opened += 1
        if self.refuses is not None:
            raise Unavailable(self.refuses)
        self._open = True

    def write(self, data: bytes) -> None:
        assert self._open
        self.sent.append(data)
        self.sent_at.append(virtual.now())
        if self.refuses is not None:
            self.break_off(self.refuses)
        elif self._answers:
            self.feed(self._answers.pop(0))

    async def close(self) -> None:
        self._open = False

    def feed(self, chunks: Chunks) -> None:
        for delay_s, data in chunks:
            asyncio.get_running_loop().call_later(delay_s, self.received, data)

    def break_off(self, why: str) -> None:
        self._open = False
        self.lost(why)


def crc(frame: bytes) -> bytes:
    """MODBUS over Serial Line V1.02, 6.2.2, bit by bit."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def rtu(text: str) -> bytes:
    """A frame, with its checksum added if the text has none."""
    frame = bytes.fromhex(text)
    return frame if crc(frame[:-2]) == frame[-2:] else frame + crc(frame)


def tcp(frame: bytes, transaction: int = 1) -> bytes:
    """The Modbus TCP frame with the content of an RTU frame."""
    body = frame[:-2]
    return transaction.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(2, "big") + body


def ask(call: Call, *answers: Chunks, framing: str = "rtu") -> object:
    """What one call returns or raises."""

    async def main() -> object:
        return await call(Master(ScriptedLine(*answers, framing=framing)))

    return virtual.run(main())


def in_pieces(frame: bytes, cuts: Sequence[int], gap_s: float) -> Chunks:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(frame)}), len(frame)]
    return [(0.01 + i * gap_s, frame[a:b]) for i, (a, b) in enumerate(itertools.pairwise(edges))]


CHUNKINGS = st.tuples(st.lists(st.integers(1, 12), max_size=12), st.sampled_from([0.0, 0.001]))


@pytest.mark.parametrize("framing", ["rtu", "tcp"])
@pytest.mark.parametrize("name", EXCHANGES)
@settings(max_examples=25, deadline=None)
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
        ("02 03 02 00 1F 00 20", "2 bytes of registers, 4 were due"),
        ("02 03 06 00 1F 00 20 00 21", "11 bytes, 9 were due"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_a_bad_reply(reply, complaint):
    frame = bytes.fromhex(reply) if reply.endswith("00 00") else rtu(reply)
    with pytest.raises(BadReply, match=complaint):
        ask(READ_TWO, [(0.01, frame)])


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("03 03 04 00 1F 00 20", "unit 3 spoke"),
        ("02 04 04 00 1F 00 20", "function 4 was answered"),
        ("02 03 02 00 1F 00 20", "2 bytes of registers"),
        ("02 03 02 00 1F", "4 bytes, 6 were due"),
        ("02 03 06 00 1F 00 20 00 21", "8 bytes, 6 were due"),
        ("02 03", "1 bytes, 6 were due"),
    ],
)
def test_the_same_over_tcp(body, complaint):
    with pytest.raises(BadReply, match=complaint):
        ask(READ_TWO, [(0.01, tcp(rtu(body)))], framing="tcp")


@pytest.mark.parametrize(
    "header",
    ["00 01 00 07 00 05 02 03 02 00 1F", "00 01 00 00 00 01 02 03", "00 01 00 00 00 FF 02 03"],
)
def test_a_garbage_header_over_tcp_is_a_bad_reply(header):
    with pytest.raises(BadReply, match="not a Modbus TCP frame"):
        ask(READ_RULER, [(0.01, bytes.fromhex(header))], framing="tcp")


def test_a_short_answer_is_none():
    with pytest.raises(Unavailable, match="no answer within 100 ms after 7 stray bytes"):
        ask(READ_TWO, [(0.01, rtu("02 03 02 00 1F"))])


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
        ask(READ_RULER, [(0.01, tcp(reply) if framing == "tcp" else reply)], framing=framing)


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
        with pytest.raises(Misconfigured, match="^bus: "):
            await call(Master(line))
        assert line.sent == []

    virtual.run(main())


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 7 * 8 - 1), min_size=1, max_size=3))
def test_flipped_bits_never_become_a_value(bits):
    """A CRC-16 finds any three of them."""
    frame = int.from_bytes(rtu("02 03 02 00 1F BD 8C"), "big")
    for bit in bits:
        frame ^= 1 << bit
    with pytest.raises((BadReply, Unavailable)):
        ask(READ_RULER, [(0.01, frame.to_bytes(7, "big"))])


def test_silence_costs_its_time_limit_and_then_as_long_a_rest():
    async def main():
        line = ScriptedLine([], [(0.01, rtu("02 03 02 00 1F"))])
        master = Master(line)
        start = virtual.now()
        with pytest.raises(Unavailable, match="bus: no answer within 100 ms$"):
            await READ_RULER(master)
        over = virtual.now()
        assert over - start == pytest.approx((8 + 7) * BYTE_S + WITHIN_S)
        assert await READ_RULER(master) == [31]
        assert line.sent_at[1] - over == pytest.approx(WITHIN_S + 7 * BYTE_S + GAP_S)

    virtual.run(main())


def test_after_an_answer_the_line_rests_for_the_gap_only():
    async def main():
        answer = [(0.01, rtu("02 03 02 00 1F"))]
        line = ScriptedLine(answer, [(0.01, rtu("02 83 02"))], answer)
        master = Master(line)
        await READ_RULER(master)
        with pytest.raises(Misconfigured):
            await READ_RULER(master)
        await READ_RULER(master)
        assert line.sent_at[1] - line.sent_at[0] == pytest.approx(0.01 + GAP_S)
        assert line.sent_at[2] - line.sent_at[1] == pytest.approx(0.01 + GAP_S)

    virtual.run(main())


async def _fail(how: str, line: ScriptedLine, master: Master) -> None:
    """An exchange that ends without its answer, at a moment at which one may still come."""
    match how:
        case "silent":
            with pytest.raises(Unavailable):
                await READ_RULER(master)
        case "garbled":
            line.feed([(0.02, b"\xff\xff")])
            with pytest.raises(BadReply):
                await READ_RULER(master)
        case "cancelled":
            task = asyncio.create_task(master.read_registers(2, 3, 0, 1, within_s=WITHIN_S))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        case "lost":
            asyncio.get_running_loop().call_later(0.02, line.break_off, "adapter gone")
            with pytest.raises(Unavailable, match="bus: adapter gone"):
                await READ_RULER(master)


LATE = rtu("02 03 02 11 11")
OWN = rtu("02 03 02 22 22")
REST_S = WITHIN_S + 7 * BYTE_S
FAILURES = st.sampled_from(["silent", "garbled", "cancelled", "lost"])
STRAYS = st.lists(
    st.tuples(
        st.floats(0.0, REST_S),
        st.one_of(
            st.just(LATE),
            st.integers(1, 6).map(lambda cut: LATE[:cut]),
            st.integers(1, 6).map(lambda cut: LATE[cut:]),
            st.just(rtu("02 83 02")),
            st.binary(min_size=1, max_size=12),
        ),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(how=FAILURES, strays=STRAYS)
def test_what_comes_before_the_next_request_is_never_its_answer(how, strays):
    async def main():
        line = ScriptedLine([], [(0.01, OWN)])
        master = Master(line)
        await _fail(how, line, master)
        over = virtual.now()
        line.feed(strays)
        assert await READ_RULER(master) == [0x2222]
        assert line.sent_at[1] - over >= REST_S

    virtual.run(main())


@settings(max_examples=100, deadline=None)
@given(how=FAILURES, cut=st.integers(1, 6), before_own=st.booleans())
def test_the_tail_of_a_late_answer_spoils_the_next_one_at_most(how, cut, before_own):
    async def main():
        tail = (0.005 if before_own else 0.01, LATE[cut:])
        line = ScriptedLine([], [tail, (0.01, OWN)], [(0.01, OWN)])
        master = Master(line)
        await _fail(how, line, master)
        line.feed([(REST_S, LATE[:cut])])
        with pytest.raises(DriverError):
            await READ_RULER(master)
        assert await READ_RULER(master) == [0x2222]

    virtual.run(main())


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 0.5))
def test_a_caller_that_leaves_at_any_moment_leaves_a_usable_line(leaves_after_s):
    """While the line rests, while it waits for the answer, and when it has come."""

    async def main():
        line = ScriptedLine([], [(0.02, LATE)], [(0.01, OWN)], [(0.01, OWN)])
        master = Master(line)
        with pytest.raises(Unavailable):
            await READ_RULER(master)
        over = virtual.now()
        try:
            async with asyncio.timeout(leaves_after_s):
                assert await READ_RULER(master) == [0x1111]
        except TimeoutError:
            line.feed([(0.0, LATE), (REST_S / 2, LATE)])
            line._answers[:-1] = []
        sent = len(line.sent)
        left = virtual.now()
        assert await READ_RULER(master) == [0x2222]
        if sent == 1:  # it left before it had asked
            assert line.sent_at[-1] - over >= REST_S
        elif left < line.sent_at[1] + 0.02:
            assert line.sent_at[-1] - left >= REST_S

    virtual.run(main())


def test_callers_take_turns():
    async def main():
        answers = [rtu(f"{unit:02x} 03 02 00 {unit:02x}") for unit in range(1, 6)]
        line = ScriptedLine(*([(0.01, answer)] for answer in answers))
        master = Master(line)
        results = await asyncio.gather(
            *(master.read_registers(unit, 3, 0, 1, within_s=WITHIN_S) for unit in range(1, 6))
        )
        assert results == [[unit] for unit in range(1, 6)]

    virtual.run(main())


def test_over_tcp_stale_transactions_are_skipped():
    async def main():
        line = ScriptedLine([], [(0.01, tcp(LATE, 1) + tcp(OWN, 2))], framing="tcp", byte_s=0.0)
        master = Master(line)
        with pytest.raises(Unavailable):
            await READ_RULER(master)
        assert await READ_RULER(master) == [0x2222]
        assert [frame[:2].hex() for frame in line.sent] == ["0001", "0002"]

    virtual.run(main())


def test_over_tcp_a_stale_answer_alone_is_no_answer():
    with pytest.raises(Unavailable, match="no answer"):
        ask(READ_RULER, [(0.01, tcp(LATE, 7))], framing="tcp")


def test_transaction_numbers_start_again_at_one():
    async def main():
        line = ScriptedLine(framing="tcp", byte_s=0.0)
        master = Master(line)
        master._framing._transaction = 0xFFFE
        for number in (0xFFFF, 1):
            line._answers.append([(0.01, tcp(OWN, number))])
            assert await READ_RULER(master) == [0x2222]

    virtual.run(main())


def test_a_line_lost_while_it_rests_is_opened_again():
    async def main():
        line = ScriptedLine([], [(0.01, OWN)])
        master = Master(line)
        with pytest.raises(Unavailable):
            await READ_RULER(master)
        asyncio.get_running_loop().call_later(REST_S / 2, line.break_off, "connection lost")
        assert await READ_RULER(master) == [0x2222]
        assert line.opened == 1

    virtual.run(main())


def test_a_line_that_takes_no_bytes_is_unavailable():
    async def main():
        line = ScriptedLine()
        line.refuses = "write failed"
        with pytest.raises(Unavailable, match="^bus: write failed$"):
            await READ_RULER(Master(line))
        assert not line.is_open

    virtual.run(main())


def test_a_line_that_cannot_be_opened_is_tried_once_a_second():
    async def main():
        line = ScriptedLine([(0.01, OWN)])
        master = Master(line)
        await line.close()
        line.refuses = "no such port"
        for _ in range(30):
            with pytest.raises(Unavailable, match="^bus: no such port$"):
                await READ_RULER(master)
            await asyncio.sleep(0.1)
        assert line.opened == 3
        line.refuses = None
        await asyncio.sleep(1.0)
        assert await READ_RULER(master) == [0x2222]

    virtual.run(main())
