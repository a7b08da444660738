"""Frames of GB/T 20999-2017, in every dialect."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.errors import BadReply
from drivers.protocols.gbt20999 import (
    END,
    ESCAPE,
    START,
    Checksum,
    Dialect,
    Frame,
    Id,
    Kind,
    Length,
    Value,
    crc16,
    decode,
    encode,
    parse_id,
    take,
)

BYTE = st.integers(0, 255)
CONTENT = st.binary(max_size=8) | st.sampled_from([bytes((START, ESCAPE, END)), bytes((ESCAPE,))])
VALUES = st.builds(Value, st.builds(Id, BYTE, BYTE, BYTE, BYTE), CONTENT, BYTE)
FRAMES = st.builds(
    Frame,
    kind=st.sampled_from(list(Kind)),
    sequence=BYTE,
    values=st.lists(VALUES, max_size=4).map(tuple),
    host=BYTE,
    controller=st.integers(0, 2**32 - 1),
    junction=BYTE,
    version=st.integers(0, 0xFFFF),
)
STREAMS = st.builds(Dialect, st.sampled_from(Checksum), st.sampled_from(Length), st.just(True))
DIALECTS = st.builds(Dialect, st.sampled_from(Checksum), st.sampled_from(Length), st.booleans())

ALL_RED = Frame(Kind.SET, 5, (Value(Id(0x12, 1), b"\x02"),), host=1, controller=0x7E, junction=1)


def bit_by_bit(data: bytes, polynomial: int, start: int) -> int:
    """The remainder as the definition has it: divide by long division, one bit after the other."""
    crc = start
    for byte in data:
        for bit in range(7, -1, -1):
            top = crc >> 15 & 1
            crc = crc << 1 & 0xFFFF
            if top != byte >> bit & 1:
                crc ^= polynomial
    return crc


def frames_in(data: bytes, dialect: Dialect) -> list[Frame]:
    """All frames of a stream that can be believed."""
    received, found = bytearray(data), []
    while (body := take(received, dialect)) is not None:
        try:
            found.append(decode(body, dialect))
        except BadReply:
            continue
    return found


def test_a_frame_byte_by_byte() -> None:
    body = bytes.fromhex(
        "00 14"  # 20 bytes follow: 11 of head, 7 of value, 2 of checksum
        "01 02 01 00 00 00 7E 01 05 30 01"  # version, host, controller, junction, sequence, set, 1
        "01 05 12 01 00 00 02"  # value 1, 5 bytes: class 18, object 1, all red
    )
    checksum = bit_by_bit(body, 0x1005, 0).to_bytes(2, "big")
    inner = (body + checksum).replace(b"\x7e", b"\x5c\x7e")
    assert b"\x7d" not in checksum + body
    assert encode(ALL_RED, Dialect()) == b"\x7e" + inner + b"\x7d"


@pytest.mark.parametrize(("length", "says"), [("whole", 22), ("without_checksum", 18)])
def test_what_the_length_counts_is_a_setting(length: str, says: int) -> None:
    datagram = encode(ALL_RED, Dialect(length=Length(length), escaped=False))
    assert int.from_bytes(datagram[1:3], "big") == says


def test_the_checksums_are_those_of_their_definitions() -> None:
    check = b"123456789"
    assert crc16(check, Checksum.X1021_FFFF) == 0x29B1  # the catalogue's check value
    assert crc16(check, Checksum.X1021_FFFF) == bit_by_bit(check, 0x1021, 0xFFFF)
    assert crc16(check, Checksum.X1005) == bit_by_bit(check, 0x1005, 0)


@given(FRAMES, DIALECTS)
def test_a_frame_survives_the_line(frame: Frame, dialect: Dialect) -> None:
    received = bytearray(encode(frame, dialect))
    body = take(received, dialect)
    assert body is not None
    assert decode(body, dialect) == frame
    assert not received


@given(FRAMES, STREAMS)
def test_only_the_ends_of_a_frame_look_like_ends(frame: Frame, dialect: Dialect) -> None:
    inner = encode(frame, dialect)[1:-1]
    bare = inner.replace(b"\x5c\x5c", b"").replace(b"\x5c\x7e", b"").replace(b"\x5c\x7d", b"")
    assert not {START, END, ESCAPE} & set(bare)


@given(st.lists(FRAMES, max_size=3), STREAMS, st.lists(st.integers(1, 20), max_size=10))
def test_frames_are_found_in_whatever_pieces_they_come(
    frames: list[Frame], dialect: Dialect, cuts: list[int]
) -> None:
    data = b"".join(encode(frame, dialect) for frame in frames)
    received, found = bytearray(), []
    for size in (*cuts, len(data)):
        received += data[:size]
        data = data[size:]
        while (body := take(received, dialect)) is not None:
            found.append(decode(body, dialect))
    assert found == frames


@given(st.binary(max_size=30), FRAMES, STREAMS)
def test_a_whole_frame_is_found_behind_noise(noise: bytes, frame: Frame, dialect: Dialect) -> None:
    # An escape at the end of the noise takes the first byte of the frame with it, as it must.
    assume(not noise.endswith(bytes((ESCAPE,))))
    assert frames_in(noise + encode(frame, dialect), dialect)[-1:] == [frame]


@given(FRAMES, FRAMES, STREAMS, st.data())
def test_a_frame_that_was_cut_short_does_not_take_the_next_one_with_it(
    cut: Frame, frame: Frame, dialect: Dialect, data: st.DataObject
) -> None:
    whole = encode(cut, dialect)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assume(not part.endswith(bytes((ESCAPE,))))
    assert frames_in(part + encode(frame, dialect), dialect) == [frame]


@given(FRAMES, DIALECTS, st.data())
def test_a_frame_with_flipped_bits_is_refused(
    frame: Frame, dialect: Dialect, data: st.DataObject
) -> None:
    """Up to 16 bits in a row: a checksum of 16 bits sees every such burst."""
    sound = take(bytearray(encode(frame, dialect)), dialect)
    assert sound is not None
    shift = data.draw(st.integers(0, 8 * len(sound) - 16))
    burst = data.draw(st.integers(1, 0xFFFF)) << shift
    torn = (int.from_bytes(sound, "big") ^ burst).to_bytes(len(sound), "big")
    with pytest.raises(BadReply, match="wrong checksum"):
        decode(torn, dialect)


@given(st.binary(max_size=80), DIALECTS)
def test_noise_never_yields_a_frame_whose_checksum_is_wrong(noise: bytes, dialect: Dialect) -> None:
    try:
        frame = decode(noise, dialect)
    except BadReply:
        return
    assert crc16(noise[:-2], dialect.checksum).to_bytes(2, "big") == noise[-2:]
    assert encode(frame, dialect._replace(escaped=False))[1:-1] == noise


@pytest.mark.parametrize("noise", [b"", b"\x7e", b"\x7e\x7d", b"\x7d\x7e", b"hello", b"\x5c" * 9])
def test_a_datagram_that_is_no_frame_is_a_bad_reply(noise: bytes) -> None:
    dialect = Dialect(escaped=False)
    with pytest.raises(BadReply):
        decode(take(bytearray(noise), dialect) or b"", dialect)


def test_a_frame_of_another_dialect_says_which_setting_would_fit() -> None:
    body = take(bytearray(encode(ALL_RED, Dialect(Checksum.X1021_FFFF))), Dialect())
    assert body is not None
    with pytest.raises(BadReply, match='checksum = "x1021-ffff"'):
        decode(body, Dialect())
    body = take(bytearray(encode(ALL_RED, Dialect(length=Length.WHOLE))), Dialect())
    assert body is not None
    with pytest.raises(BadReply, match='length = "whole"'):
        decode(body, Dialect())


def test_ids_are_written_as_the_standard_writes_them() -> None:
    assert parse_id("0D.02.02.01") == Id(13, 2, 2, 1)
    assert str(Id(13, 2, 2, 1)) == "0D.02.02.01"
    for wrong in ("0D.02.02", "13.2.2.1", "0X.02.02.01", ""):
        with pytest.raises(ValueError, match=r"0D\.02\.02\.00|invalid literal"):
            parse_id(wrong)
