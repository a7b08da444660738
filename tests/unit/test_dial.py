"""A name with several addresses: one that swallows everything costs a moment and no more."""

import asyncio
import contextlib
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import PATIENCE_S
from wire.dial import dial, in_turn

V4, V6 = socket.AF_INET, socket.AF_INET6


def info(port, family=V4, host="127.0.0.1"):
    address = (host, port) if family is V4 else (host, port, 0, 0)
    return (family, socket.SOCK_STREAM, 6, "", address)


@contextlib.contextmanager
def swallowing():
    """The port of somebody who never answers: the backlog is full, and the kernel drops more."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(server.getsockname())
        yield server.getsockname()[1]


@contextlib.contextmanager
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def unused():
    with listening() as port:
        return port


def descriptors():
    return set(os.listdir("/proc/self/fd"))


async def reach(seconds=PATIENCE_S):
    async with asyncio.timeout(seconds):
        with await dial("twofold.example", 1, None, unanswered_s=600) as line:
            return line.getpeername()[1]


@pytest.fixture
async def names(monkeypatch):
    """What the name server answers; put the addresses in."""
    found: list[object] = []

    async def getaddrinfo(*_, **__):
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return found


async def test_an_address_that_swallows_everything_is_passed_over(names):
    with swallowing() as bad, listening() as good:
        names += [info(bad), info(bad), info(good)]
        before = descriptors()
        assert await reach() == good
        await asyncio.sleep(0)
        assert descriptors() <= before  # what an earlier test left may be collected meanwhile


async def test_the_first_that_answers_is_taken(names):
    with listening() as first, listening() as second:
        names += [info(first), info(second)]
        assert await reach() == first


async def test_one_that_refuses_makes_room_for_the_next(names):
    with listening() as good:
        names += [*(info(unused()) for _ in range(5)), info(good)]
        assert await reach() == good


async def test_a_family_that_this_machine_does_not_speak_is_passed_over(names):
    with listening() as good:
        names += [(99, socket.SOCK_STREAM, 6, "", ("?", 1)), info(good)]
        assert await reach() == good


async def test_nobody_there_is_an_error_of_the_last(names):
    with pytest.raises(OSError, match="has no address"):
        await reach()
    names += [info(unused()), info(unused())]
    with pytest.raises(ConnectionRefusedError):
        await reach()


async def test_whoever_gives_up_leaves_nothing_open(names):
    with swallowing() as bad:
        names += [info(bad)] * 4
        before = descriptors()
        with pytest.raises(TimeoutError):
            await reach(0.6)  # with two or three attempts under way
        await asyncio.sleep(0)
        assert descriptors() <= before  # what an earlier test left may be collected meanwhile


async def test_a_connection_notices_that_the_other_side_has_vanished(names):
    with listening() as good:
        names.append(info(good))
        with await dial("h", 1, None, unanswered_s=20) as line:
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20


@given(st.lists(st.sampled_from([V4, V6])))
def test_families_take_turns_and_keep_their_order(families):
    given_ones = [info(port, family) for port, family in enumerate(families)]
    found = in_turn(given_ones)
    assert sorted(found, key=given_ones.index) == given_ones
    for family in (V4, V6):
        assert [one for one in found if one[0] is family] == [
            one for one in given_ones if one[0] is family
        ]
    both = 2 * min(families.count(V4), families.count(V6))
    assert all(
        one[0] is not other[0] for one, other in zip(found[:both:2], found[1:both:2], strict=True)
    )
    if families:
        assert found[0] == given_ones[0]
