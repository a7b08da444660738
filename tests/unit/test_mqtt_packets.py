"""The packets of our own MQTT receiver: whatever a broker says, cut wherever, nothing breaks."""

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import virtual
from wire.mqtt import Broker, Disconnected, Message, PublishRefused, Room, Will, packets
from wire.mqtt.packets import Malformed
from wire.mqtt.receiver import Receiver
from wire.mqtt.terms import Terms

CONNACK = b"\x20\x03\x00\x00\x00"
ROOMY = Terms(Broker(), "probe", None, 0, 1000)
OLD = ROOMY._replace(broker=Broker(protocol="3.1.1"))


def varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number % 128 + 128)
        number //= 128
    return bytes([*digits, number])


def said(topic: str, payload: bytes, mid: int, properties: bytes = b"\x00") -> bytes:
    """A PUBLISH at QoS 1 as a broker of MQTT 5 says it."""
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + struct.pack("!H", mid) + properties + payload
    return b"\x32" + varint(len(body)) + body


class Line(asyncio.Transport):
    """What a receiver does to its line."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.reading = True
        self.aborted = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True


def connected(terms: Terms = ROOMY, connack: bytes = CONNACK) -> tuple[Receiver, Line]:
    one, line = Receiver(terms), Line()
    one.connection_made(line)
    one.data_received(connack)
    return one, line


messages = st.lists(
    st.tuples(st.text(min_size=1, max_size=9), st.binary(max_size=300), st.integers(1, 65_535)),
    max_size=20,
)


@given(messages, st.lists(st.integers(1, 400)))
def test_messages_are_the_same_wherever_they_are_cut(wanted, cuts):
    async def main() -> list[Message]:
        one, line = connected()
        data = b"".join(said(*message) for message in wanted)
        for cut in cuts:
            one.data_received(data[:cut])
            data = data[cut:]
        one.data_received(data)
        assert not line.aborted
        return await one.take(1000) if wanted else []

    heard = asyncio.run(main())
    assert [(m.topic, m.payload, m.mid) for m in heard] == wanted


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_digested_or_end_the_connection(data, v5):
    async def main() -> None:
        one, _ = connected(ROOMY if v5 else OLD, CONNACK if v5 else b"\x20\x02\x00\x00")
        one.data_received(data)
        one.eof_received()
        assert all(len(m.topic) > 0 for m in one._inbox)

    asyncio.run(main())


@given(
    st.sampled_from([0x20, 0x30, 0x31, 0x32, 0x3B, 0x40, 0x90, 0xD0, 0xE0]),
    st.binary(max_size=60),
    st.booleans(),
)
def test_a_body_of_any_bytes_is_read_or_malformed(first, body, v5):
    end = len(body)
    data = body + bytes(64)  # nothing behind its end may count
    try:
        match first >> 4:
            case 2:
                packets.connack(data, 0, end, v5)
            case 3:
                one = packets.message(first, data, 0, end, v5)
                assert one.topic.encode() in body
                assert body.endswith(one.payload)
            case 4:
                packets.confirmed(data, 0, end)
            case 9:
                packets.granted(data, 0, end, v5)
            case 14:
                packets.farewell(data, 0, end)
    except Malformed:
        pass


@pytest.mark.parametrize("mid", [1, 255, 256, 65_535])
def test_a_puback_names_its_message(mid):
    assert packets.puback(mid) == b"\x40\x02" + struct.pack("!H", mid)


def test_a_connect_says_what_was_agreed():
    """Bytes put together by hand from the standard, 3.1."""
    will = Will("w", b"gone")
    terms = Terms(Broker(username="me", keepalive_s=60), "id", will, 3600, 10)
    asked = b"\x11\x00\x00\x0e\x10\x21\x00\x0a\x27\x00\x40\x00\x00"
    body = (
        b"\x00\x04MQTT\x05\xec\x00\x3c" + bytes((len(asked),)) + asked + b"\x00\x02id"
        b"\x00" + b"\x00\x01w" + b"\x00\x04gone" + b"\x00\x02me" + b"\x00\x02pw"
    )
    assert packets.connect(terms, "pw") == b"\x10" + bytes((len(body),)) + body
    plain = OLD._replace(identifier="id")
    assert packets.connect(plain, None) == b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x1e\x00\x02id"


async def test_what_a_broker_asks_in_its_connack_is_kept_to():
    asks = b"\x21\x00\x02\x27\x00\x00\x00\x40\x12\x00\x01x\x26\x00\x01k\x00\x01v"
    one, _ = connected(connack=b"\x20" + bytes((3 + len(asks), 1, 0, len(asks))) + asks)
    one._agree(one._connected.result())
    assert one.kept
    with pytest.raises(PublishRefused, match="packet too large"):
        await one.send("t", bytes(100), retain=False)
    sent = [one.send("t", b"%d" % i, retain=False) for i in range(5)]
    assert list(one._unconfirmed) == [2, 3]
    one.data_received(b"\x40\x02\x00\x02" + b"\x40\x03\x00\x03\x10")
    assert [f.done() for f in sent] == [True, True, False, False, False]
    assert [f.result() for f in sent[:2]] == [True, False]
    assert list(one._unconfirmed) == [4, 5]
    one._hang_up()


async def test_a_hundred_acks_go_out_in_one_write():
    one, line = connected()
    one.data_received(b"".join(said("a", b"x", i) for i in range(1, 101)))
    for message in await one.take(1000):
        one.acknowledge(message)
    await asyncio.sleep(0)
    assert line.writes == [b"".join(packets.puback(i) for i in range(1, 101))]
    one._hang_up()


async def test_a_take_has_as_many_messages_as_fit_and_always_one():
    one, _ = connected()
    sizes = [100, 400, 400, 900, 100, 100]
    one.data_received(b"".join(said("a", bytes(size), i) for i, size in enumerate(sizes, 1)))
    takes = [await one.take(2, 500) for _ in range(4)]
    assert [[m.mid for m in take] for take in takes] == [[1, 2], [3], [4], [5, 6]]
    one._hang_up()


async def test_large_messages_fill_the_inbox_before_many_do():
    one, line = connected(ROOMY._replace(room=Room(500, 1000)))
    one.data_received(b"".join(said("a", bytes(300), i) for i in range(1, 11)))
    assert (len(one._inbox), line.reading) == (4, False)
    heard = await one.take(3)
    assert (len(one._inbox), line.reading) == (4, False)
    while len(heard) < 10:
        heard += await one.take(10)
    assert [m.mid for m in heard] == list(range(1, 11))
    assert line.reading
    one._hang_up()


def test_silence_is_asked_after_and_ends_the_connection():
    async def main() -> None:
        one, line = connected()
        one._agree(one._connected.result())
        began = virtual.now()
        while virtual.now() < began + 300:
            await asyncio.sleep(10)
            if packets.PINGREQ in line.writes:
                line.writes.clear()
                one.data_received(b"\xd0\x00")
        assert not line.aborted
        silent = virtual.now()
        with pytest.raises(Disconnected, match="no word from the broker for"):
            await one.take(1)
        assert line.aborted
        assert virtual.now() - silent <= 1.75 * 30

    virtual.run(main())


def test_a_full_inbox_is_no_silence_of_the_broker():
    async def main() -> None:
        one, line = connected(ROOMY._replace(receive_maximum=1))
        one._agree(one._connected.result())
        one.data_received(said("a", b"1", 1) + said("a", b"2", 2))
        await asyncio.sleep(600)
        assert not line.aborted
        assert len(line.writes) >= 600 / 30  # the broker hears of us all the while
        assert [m.payload for m in await one.take(5) + await one.take(5)] == [b"1", b"2"]
        one._hang_up()

    virtual.run(main())


@pytest.mark.parametrize("keepalive_s", [0, 5, 60, 65_535])
def test_a_broker_that_wants_no_word_of_us_is_asked_all_the_same(keepalive_s):
    """Else one that freezes (its kernel confirms all that we send) holds us for ever."""
    properties = b"\x13" + struct.pack("!H", keepalive_s)
    connack = b"\x20" + bytes((3 + len(properties), 0, 0, len(properties))) + properties

    async def main() -> None:
        one, line = connected(ROOMY, connack)
        one._agree(one._connected.result())
        began = virtual.now()
        with pytest.raises(Disconnected, match="no word from the broker for"):
            await one.take(1)
        assert virtual.now() - began <= 1.75 * min(keepalive_s or 30, 30) + 1
        assert line.aborted

    virtual.run(main())


@pytest.mark.parametrize("confirms_every_s", [None, 40])
def test_a_broker_that_confirms_nothing_is_left(confirms_every_s):
    async def main() -> None:
        one, line = connected()
        one._agree(one._connected.result())
        sent = [one.send("a", b"x", retain=False) for _ in range(20)]
        began = virtual.now()
        mid = 0
        while virtual.now() < began + 600 and one._over is None:
            await asyncio.sleep(10)
            one.data_received(b"\xd0\x00")  # it lives
            if confirms_every_s and (virtual.now() - began) % confirms_every_s == 0:
                mid += 1
                one.data_received(b"\x40\x02" + struct.pack("!H", mid))
        if confirms_every_s:
            assert mid == 15
            assert not line.aborted
            one._hang_up()
        else:
            assert "no PUBACK" in str(one._over)
            assert virtual.now() - began <= 90
            assert line.aborted
        for one_sent in sent[mid:]:
            with pytest.raises(Disconnected):
                await one_sent

    virtual.run(main())


async def test_what_waits_for_a_broker_that_confirms_nothing_is_bounded():
    small = ROOMY._replace(room=Room(1000, 10_000))
    one, _ = connected(small, b"\x20\x06\x00\x00\x03\x21\x00\x01")  # one in flight
    one._agree(one._connected.result())
    sent = [one.send("a", bytes(500), retain=False) for _ in range(1000)]
    assert sum(not future.done() for future in sent) <= 12
    with pytest.raises(Disconnected, match="more waits for the broker"):
        await sent[-1]
    for mid in range(1, 12):  # it is the broker's number, which is taken anew
        one.data_received(b"\x40\x02" + struct.pack("!H", mid))
    await asyncio.sleep(0)
    assert one._draft_bytes < 10_000
    assert not one.send("a", b"x", retain=False).done()
    one._hang_up()
