"""A line that is lost at any moment, an answer that waited, and what a library raises: each costs
one exchange, and says so."""

import asyncio
import contextlib
import os
import socket
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import loader
from drivers.errors import BadReply, DriverError, LineDown, Unavailable
from drivers.ports import serial, tcp, udp
from drivers.ports.line import MOST_KEPT
from drivers.protocols.modbus import Master
from tests import virtual
from tests.examples import examples
from tests.scripted_line import ScriptedLine, rtu

WITHIN_S = 0.1
OWN = rtu("02 03 02 22 22")


async def read(master, unit=2):
    return await master.read_registers(unit, 3, 0, 1, within_s=WITHIN_S)


@examples(200)
@given(lost_after_s=st.floats(0.0, 0.4), urgent=st.booleans())
def test_a_line_lost_at_any_moment_costs_that_exchange_only(lost_after_s, urgent):
    """While it rests after it was opened, while the answer is waited for, and in between."""

    async def main():
        line = ScriptedLine([(0.01, OWN)])
        master = Master(line).for_lamps() if urgent else Master(line)
        await line.close()
        asyncio.get_running_loop().call_later(lost_after_s, line.break_off, "hung up")
        with contextlib.suppress(LineDown):
            assert await read(master) == [0x2222]
        await asyncio.sleep(0.5)
        line.answers = [[(0.01, OWN)]]
        assert await read(master) == [0x2222]

    virtual.run(main())


@examples(50)
@given(every_s=st.floats(0.001, 0.5))
def test_a_line_that_flaps_is_down_and_nothing_else(every_s):
    async def main():
        line = ScriptedLine()
        flapping = asyncio.create_task(flap(line, every_s), name="flapping")
        for _ in range(30):
            with pytest.raises(Unavailable):
                await read(Master(line))
            await asyncio.sleep(0.05)
        flapping.cancel()
        await asyncio.wait((flapping,))
        line.answers = [[(0.01, OWN)]]
        assert await read(Master(line)) == [0x2222]

    virtual.run(main())


async def flap(line, every_s):
    while True:
        await asyncio.sleep(every_s)
        line.break_off("hung up")


@pytest.mark.parametrize(
    "error", [ValueError("bad file descriptor"), OSError(5, "EIO"), AttributeError("no serial")]
)
@pytest.mark.parametrize("where", ["write", "open"])
def test_what_a_library_raises_is_a_line_that_is_down_and_is_told_once(where, error, caplog):
    class Faulty(ScriptedLine):
        def write(self, data):
            if where == "write":
                raise error
            super().write(data)

        async def open(self):
            if where == "open":
                raise error
            await super().open()

    async def main():
        line = Faulty([(0.01, OWN)])
        for _ in range(3):
            await line.close()
            with pytest.raises(LineDown):
                await read(Master(line))
            await asyncio.sleep(2)

    virtual.run(main())
    assert len(caplog.records) == 1


@pytest.mark.parametrize("framing", ["rtu", "tcp", "silent scan"])
@pytest.mark.parametrize("noise", [b"\x55", b"\x02\x03", b"\x7e", b"\0\0\0\0\0\xff"])
def test_a_line_that_babbles_without_end_takes_no_memory(framing, noise):
    async def main():
        line = ScriptedLine(framing="tcp" if framing == "tcp" else "rtu")
        kept = []

        async def babble():
            for _ in range(400):
                line.received(noise * 400)
                kept.append(len(line._strays) + len(line._buffer))
                await asyncio.sleep(0.02)

        babbling = asyncio.create_task(babble())
        while not babbling.done():
            with contextlib.suppress(DriverError):
                if framing == "silent scan":
                    await line.exchange(
                        b"?", lambda _: None, answer_bytes=1, answer_within_s=5, mistakable=False
                    )
                else:
                    await read(Master(line))
        assert max(kept) <= 2 * MOST_KEPT + len(noise) * 400
        await asyncio.sleep(1)
        line.answers = [[(0.01, OWN if framing != "tcp" else b"")]]
        if framing != "tcp":
            assert await read(Master(line)) == [0x2222]

    virtual.run(main())


def test_a_datagram_that_is_no_answer_by_its_size_is_not_looked_at():
    async def main():
        line = ScriptedLine([(0.01, b"x" * (MOST_KEPT + 1)), (0.02, b"right")], framing="tcp")
        line.datagrams = True
        looked = []

        def scan(received):
            looked.append(len(received))
            return bytes(received)

        assert await line.exchange(b"?", scan, answer_bytes=5, answer_within_s=1) == b"right"
        assert looked == [5]

    virtual.run(main())


def test_a_scan_that_fails_is_a_bad_reply():
    def scan(received):
        raise IndexError("none")

    async def main():
        line = ScriptedLine([(0.01, OWN)])
        with pytest.raises(BadReply, match="IndexError"):
            await line.exchange(b"?", scan, answer_bytes=7, answer_within_s=WITHIN_S)

    virtual.run(main())


@examples(50)
@given(comes_s=st.floats(0.0, WITHIN_S), wakes_s=st.floats(0.0, 5.0))
def test_an_answer_that_waited_until_its_time_was_over_is_not_believed(comes_s, wakes_s):
    async def main():
        line = ScriptedLine()
        start = virtual.now()

        def stop():
            line.feed([(comes_s, OWN)])
            virtual.pass_by(wakes_s)  # the process is stopped; the answer waits in the socket

        asyncio.get_running_loop().call_soon(stop)
        try:
            assert await read(Master(line)) == [0x2222]
        except Unavailable:
            assert virtual.now() - start > WITHIN_S
        else:
            assert line.answered_at - start <= WITHIN_S + 15 * line.byte_s + 1e-9

    virtual.run(main())


async def test_a_terminal_that_vanishes_is_a_line_that_is_down(tmp_path):
    config = serial.Config(kind="serial", device=str(tmp_path / "tty"))
    async with serial.open("bus", config) as port:
        for _ in range(2):
            adapter, terminal = os.openpty()
            tty.setraw(terminal)
            (tmp_path / "tty").symlink_to(os.ttyname(terminal))
            await port.open()
            os.close(terminal)
            os.close(adapter)
            with pytest.raises(LineDown):
                await read(Master(port))
            assert not port.state().is_open
            assert port.state().error
            (tmp_path / "tty").unlink()
            with pytest.raises(LineDown):
                await read(Master(port))


@pytest.mark.parametrize("device", ["/dev/null", "/proc/version", "/nowhere", ""])
async def test_what_is_no_terminal_is_a_line_that_is_down(device, tmp_path):
    config = serial.Config(kind="serial", device=device or str(tmp_path))
    async with serial.open("bus", config) as port:
        with pytest.raises(LineDown):
            await read(Master(port))


@contextlib.asynccontextmanager
async def server(behave):
    """A server of one kind of behaviour; its port, and the connections that it has taken."""
    accepted = []

    async def accept(reader, writer):
        accepted.append(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await behave(reader, writer)
        writer.transport.abort()

    one = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield one.sockets[0].getsockname()[1], accepted
    finally:
        one.close()
        for writer in accepted:
            writer.transport.abort()
        await asyncio.sleep(0)


async def keep_silent(reader, writer):
    while await reader.read(260):
        pass


def tcp_config(number, **keys):
    table = {"kind": "tcp", "host": "127.0.0.1", "port": number, **keys}
    return loader.parse(table, tcp.Config, "test")


@pytest.mark.parametrize("framing", ["rtu", "tcp"])
@pytest.mark.parametrize("hold_s", [0.0, 0.02])
async def test_a_server_that_hangs_up_is_a_line_that_is_down(framing, hold_s):
    async def hang_up(reader, writer):
        await asyncio.sleep(hold_s)

    async with (
        server(hang_up) as (number, _),
        tcp.open("bus", tcp_config(number, framing=framing)) as port,
    ):
        for _ in range(4):
            with pytest.raises(Unavailable):
                await read(Master(port))


async def test_a_connection_in_which_nobody_ever_answers_is_made_anew():
    """The peer has vanished without a word: the kernel takes what is written, and nobody hears."""
    async with (
        server(keep_silent) as (number, accepted),
        tcp.open("bus", tcp_config(number)) as port,
    ):
        asked = 0
        while len(accepted) < 4:
            with pytest.raises(DriverError):
                await Master(port).read_registers(2, 3, 0, 1, within_s=0.01)
            asked += 1
            await asyncio.sleep(0.01)
        assert asked == 3 + 6 + 12 + 1  # each time it waits longer, where it is of no use


async def test_a_unit_that_answers_keeps_the_connection_of_silent_ones():
    async def answer_unit_2(reader, writer):
        while request := await reader.read(260):
            if request[6] == 2:
                writer.write(request[:4] + b"\0\5" + request[6:8] + b"\2\x22\x22")

    async with (
        server(answer_unit_2) as (number, accepted),
        tcp.open("bus", tcp_config(number)) as port,
    ):
        for _ in range(5):
            for unit in (3, 4):
                with pytest.raises(Unavailable):
                    await Master(port).read_registers(unit, 3, 0, 1, within_s=0.01)
            assert await Master(port).read_registers(2, 3, 0, 1, within_s=5) == [0x2222]
        assert len(accepted) == 1


async def test_every_connection_is_watched_by_the_kernel():
    async with server(keep_silent) as (number, _):
        line = tcp.TcpLine("bus", tcp_config(number, connect_within_ms=2000))
        await line.open()
        assert line._connection is not None
        assert line._connection._transport is not None
        sock = line._connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await line.close()


async def test_an_address_that_swallows_everything_does_not_take_the_whole_time(monkeypatch):
    loop = asyncio.get_running_loop()
    swallowed = asyncio.Event()
    connect = loop.sock_connect

    async def getaddrinfo(host, port, **_):
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, ("127.0.0.2", port)), (*kind, ("127.0.0.1", port))]

    async def sock_connect(sock, address):
        if address[0] == "127.0.0.2":
            swallowed.set()
            await asyncio.Event().wait()
        await connect(sock, address)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    async with server(keep_silent) as (number, _):
        config = tcp_config(number, host="two.example", connect_within_ms=60000)
        async with tcp.open("bus", config) as port:
            await port.open()
            assert swallowed.is_set()
            assert port.state().is_open


async def test_a_datagram_port_whose_socket_is_gone_is_down_and_comes_back():
    config = loader.parse({"kind": "udp", "host": "127.0.0.1", "port": 9}, udp.Config, "test")
    line = udp.UdpLine("far", config)
    await line.open()
    assert line._socket is not None
    assert line._socket._transport is not None
    line._socket._transport.abort()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await read(Master(line))
    await line.close()
