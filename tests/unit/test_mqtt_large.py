"""A message that is too large for us is let go, acknowledged and logged once; nothing is kept."""

import asyncio
import logging
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_mqtt_packets import OLD, ROOMY, connected, said, varint
from wire.mqtt import TO_GATEWAY, Disconnected, PublishRefused, Room, packets
from wire.mqtt.packets import Malformed
from wire.mqtt.stream import Oversize, Packet, Stream

SMALL = ROOMY._replace(room=Room(200, 10_000))
PUBACK = {mid: packets.puback(mid) for mid in range(1, 400)}


@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 12)), max_size=25),
    st.lists(st.integers(1, 700), max_size=40),
)
def test_those_that_fit_arrive_wherever_all_are_cut(messages, cuts):
    async def main() -> None:
        one, line = connected(SMALL)
        data = b"".join(
            said("t" * length, bytes(size), mid) for mid, (size, length) in enumerate(messages, 1)
        )
        for cut in cuts:
            one.data_received(data[:cut])
            data = data[cut:]
        one.data_received(data)
        await asyncio.sleep(0)
        assert not line.aborted
        packet = {
            mid: len(said("t" * length, bytes(size), mid))
            for mid, (size, length) in enumerate(messages, 1)
        }
        fit = [mid for mid, size in packet.items() if size <= 200]
        large = [mid for mid, size in packet.items() if size > 200]
        assert [m.mid for m in one._inbox] == fit
        assert b"".join(line.writes).endswith(b"".join(PUBACK[mid] for mid in large))
        assert one.skipped == len(large)

    asyncio.run(main())


async def test_the_largest_that_is_announced_is_taken():
    whole = said("t", bytes(190), 1)
    one, _ = connected(ROOMY._replace(room=Room(len(whole), 10_000)))
    one.data_received(whole + said("t", bytes(191), 2))
    assert [m.mid for m in one._inbox] == [1]


@pytest.mark.parametrize("size", [70_000, 268_435_000])
async def test_nothing_of_it_is_kept_however_large(size):
    body = struct.pack("!H", 1) + b"t" + struct.pack("!H", 9) + b"\0"
    head = b"\x32" + varint(size + len(body)) + body
    read = bytes(65_536)
    one, line = connected(ROOMY._replace(room=TO_GATEWAY))
    tracemalloc.start()
    try:
        one.data_received(head)
        for _ in range(size // len(read)):
            one.data_received(read)
        one.data_received(bytes(size % len(read)) + said("t", b"after", 10))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    await asyncio.sleep(0)
    assert [m.payload for m in one._inbox] == [b"after"]
    assert line.writes[-1] == PUBACK[9]


async def test_a_packet_that_comes_in_small_pieces_costs_its_length(monkeypatch):
    """Put together at each read, four megabytes in pieces of 1.4 kB would be copied 3000 times."""
    joined = []

    class Counting(Stream):
        def _gather(self) -> bool:
            before = len(self._data) + self._waiting
            done = super()._gather()
            joined.append(before if done else 0)
            return done

    stream = Counting(4 << 20)
    whole = said("t", bytes(4_000_000), 1)
    for at in range(0, len(whole), 1400):
        stream.feed(whole[at : at + 1400])
        found = stream.peek()
    assert isinstance(found, Packet)
    assert sum(joined) < 2 * len(whole) + 3000


async def test_it_is_logged_once_for_a_topic(caplog):
    caplog.set_level(logging.WARNING)
    one, _ = connected(SMALL)
    for mid in range(1, 30):
        one.data_received(said("a\n\x1b[2J", bytes(500), mid))
        one.data_received(said("b" * 60_000, b"", mid + 30))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "at most 200 are taken" in lines[0]
    assert all(line.isprintable() and len(line) < 700 for line in lines)


@pytest.mark.parametrize(
    "said_by_broker",
    [
        b"\x40" + varint(300) + bytes(300),
        b"\x34" + varint(300) + b"\0\x01t" + bytes(300),
        b"\x32" + varint(300) + b"\x02\x00" + bytes(300),
        b"\x32" + varint(300) + b"\0\x01t\0\0" + bytes(300),
        b"\xff" + varint(300) + bytes(300),
    ],
    ids=["puback", "qos 2", "topic", "number 0", "kind"],
)
async def test_what_is_large_and_no_message_ends_the_connection(said_by_broker):
    one, line = connected(SMALL)
    one.data_received(said_by_broker)
    assert line.aborted
    with pytest.raises(Disconnected, match="not MQTT"):
        await one.take(1)


@given(st.binary(max_size=300), st.integers(2, 200))
def test_any_bytes_are_cut_or_malformed(data, most):
    stream = Stream(most)
    stream.feed(data)
    try:
        while (found := stream.peek()) is not None:
            if isinstance(found, Oversize):
                assert found.size > most
            stream.drop()
    except Malformed:
        pass


async def test_a_large_message_before_the_connack_is_no_mqtt():
    one, line = connected(SMALL, b"")
    one.data_received(said("t", bytes(500), 1))
    assert line.aborted


async def test_the_inbox_counts_topics_too():
    one, line = connected(OLD._replace(room=Room(70_000, 100_000)), b"\x20\x02\x00\x00")
    name = b"t" * 40_000
    flood = (b"\x30" + varint(2 + len(name)) + struct.pack("!H", len(name)) + name) * 10
    one.data_received(flood)
    assert len(one._inbox) == 3
    assert not line.reading
    taken = 0
    while taken < 10:
        taken += len(await one.take(2))
    assert line.reading


def test_both_roles_announce_how_much_they_take():
    for room in (TO_GATEWAY, SMALL.room):
        asked = packets.connect(ROOMY._replace(room=room), None)
        assert b"\x27" + struct.pack("!I", room.packet_bytes) in asked
    assert b"\x27" not in packets.connect(OLD._replace(room=SMALL.room), None)


async def test_a_publish_that_the_broker_takes_no_more_is_refused_at_once():
    limit = b"\x20\x08\x00\x00\x05\x27" + struct.pack("!I", 1000)
    one, line = connected(ROOMY, limit)
    one._agree(one._connected.result())
    assert one.most_payload < 1000
    with pytest.raises(PublishRefused, match="too large"):
        await one.send("t", bytes(1001), retain=False)
    fits = one.send("t", bytes(one.most_payload), retain=False)
    await asyncio.sleep(0)
    assert len(line.writes[-1]) <= 1000
    assert not fits.done()
    one._hang_up()


async def test_a_broker_that_cannot_retain_gets_nothing_retained():
    one, line = connected(ROOMY, b"\x20\x05\x00\x00\x02\x25\x00")
    one._agree(one._connected.result())
    assert not one.retains
    one.send("t", b"x", retain=True)
    await asyncio.sleep(0)
    assert line.writes[-1][0] == 0x32
    one._hang_up()
