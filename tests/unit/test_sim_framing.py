"""How simulated devices recognise a request on a line that also carries noise."""

import pytest

from firmware_sim.framing import PAUSE_S, Request, Rtu, Tcp

READ = bytes.fromhex("02 03 00 00 00 01 84 39")
READ_REQUEST = Request(2, bytes.fromhex("03 00 00 00 01"))
WRITE_COILS = bytes.fromhex("FF 0F 00 00 00 08 01 FF 30 1D")
WRITE_COILS_REQUEST = Request(255, bytes.fromhex("0F 00 00 00 08 01 FF"))


@pytest.mark.parametrize(
    ("frame", "request_heard"), [(READ, READ_REQUEST), (WRITE_COILS, WRITE_COILS_REQUEST)]
)
@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
def test_rtu_hears_a_frame_in_pieces(frame: bytes, request_heard: Request, at_once: int) -> None:
    framing = Rtu()
    heard: list[Request] = []
    for i in range(0, len(frame), at_once):
        assert not heard
        heard += framing.feed(frame[i : i + at_once], 0.001 * i)
    assert heard == [request_heard]


def test_rtu_hears_two_frames_at_once() -> None:
    assert list(Rtu().feed(READ + WRITE_COILS, 0.0)) == [READ_REQUEST, WRITE_COILS_REQUEST]


def test_rtu_is_deaf_to_a_wrong_checksum_and_hears_the_next_frame() -> None:
    framing = Rtu()
    assert list(framing.feed(READ[:-1] + b"\0", 0.0)) == []
    assert list(framing.feed(READ, 0.001)) == [READ_REQUEST]


@pytest.mark.parametrize("noise", [b"\0", READ[:5], b"\x01\x41\x02\x03\x04", b"\xff" * 600])
def test_rtu_forgets_noise_after_a_pause(noise: bytes) -> None:
    framing = Rtu()
    assert list(framing.feed(noise, 0.0)) == []
    assert list(framing.feed(READ, PAUSE_S + 0.001)) == [READ_REQUEST]


def test_rtu_hears_a_function_whose_length_nobody_knows() -> None:
    frame = Rtu().wrap(Request(7, b""), b"\x41\x01")
    framing = Rtu()
    assert list(framing.feed(frame[:3], 0.0)) == []
    assert list(framing.feed(frame[3:], 0.001)) == [Request(7, b"\x41\x01")]


def test_rtu_wraps_as_the_datasheet_does() -> None:
    answer = Rtu().wrap(READ_REQUEST, bytes.fromhex("03 02 00 1F"))
    assert answer == bytes.fromhex("02 03 02 00 1F BD 8C")


def test_tcp_keeps_transactions_apart() -> None:
    framing = Tcp()
    first = bytes.fromhex("0007 0000 0006 01 03 0002 0003")
    second = bytes.fromhex("0008 0000 0006 01 03 0002 0001")
    assert list(framing.feed(first[:9], 0.0)) == []
    heard = list(framing.feed(first[9:] + second, 60.0))
    assert heard == [
        Request(1, bytes.fromhex("03 0002 0003"), 7),
        Request(1, bytes.fromhex("03 0002 0001"), 8),
    ]
    wrapped = framing.wrap(heard[1], bytes.fromhex("03 02 0010"))
    assert wrapped == bytes.fromhex("0008 0000 0005 01 03 02 0010")


@pytest.mark.parametrize("header", ["0001 0001 0006 01", "0001 0000 0001 01", "0001 0000 00ff 01"])
def test_tcp_drops_what_is_no_modbus(header: str) -> None:
    framing = Tcp()
    assert list(framing.feed(bytes.fromhex(header) + b"GET / HTTP", 0.0)) == []
    assert len(list(framing.feed(bytes.fromhex("0007 0000 0006 01 03 0002 0003"), 0.1))) == 1
