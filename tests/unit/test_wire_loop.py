"""A name server that never answers: nobody waits for it, and it is not asked again and again."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from wire import loop

HELD = "held.example"


@pytest.fixture
def name_server(monkeypatch):
    """Answers 127.0.0.1, for `HELD` only once it is released; the names it was asked for."""
    release = threading.Event()
    asked: list[str] = []

    def getaddrinfo(host, port, family, kind, protocol, flags):
        if flags & socket.AI_NUMERICHOST:
            return numeric(host, port, family, kind, protocol, flags)
        asked.append(host.decode())
        if asked[-1] == "absent.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if asked[-1] == HELD:
            release.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    numeric = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    release.set()


def ask(host):
    return asyncio.get_running_loop().getaddrinfo(host, 1883, type=socket.SOCK_STREAM)


def test_the_end_of_the_program_does_not_wait_for_an_answer(name_server):
    async def give_up():
        for _ in range(3):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await ask(HELD)
        return await ask("other.example")

    began = time.monotonic()
    ((_, _, _, _, address),) = loop.run(give_up())
    assert time.monotonic() - began < 5
    assert address == ("127.0.0.1", 1883)
    assert name_server == [HELD, "other.example"]


def test_all_who_ask_meanwhile_get_the_same_answer_and_later_ones_a_new_one(name_server):
    async def ask_often():
        first = await asyncio.gather(*(ask("some.example") for _ in range(3)))
        return [*first, await ask("some.example")]

    answers = loop.run(ask_often())
    assert all(answer == answers[0] for answer in answers)
    assert name_server == ["some.example"] * 2


def test_a_name_that_is_not_there_is_an_error_for_everybody(name_server):
    async def ask_for_nobody():
        return await asyncio.gather(
            ask("absent.example"), ask("absent.example"), return_exceptions=True
        )

    for error in loop.run(ask_for_nobody()):
        assert isinstance(error, socket.gaierror)


def test_an_address_needs_no_name_server(name_server):
    ((family, _, _, _, address),) = loop.run(ask_for("192.0.2.7"))
    assert (family, address) == (socket.AF_INET, ("192.0.2.7", 1883))
    ((family, _, _, _, address),) = loop.run(ask_for("2001:db8::7"))
    assert (family, address[:2]) == (socket.AF_INET6, ("2001:db8::7", 1883))
    assert name_server == []


async def ask_for(host):
    return await ask(host)


def test_what_is_no_name_is_an_error_too():
    async def ask_nonsense():
        with pytest.raises(OSError, match="is not the name of a host"):
            await ask("é..b")

    loop.run(ask_nonsense())


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_would_end_the_process_is_reported_while_the_loop_contains_it(error):
    reports = []

    def fails(*_):
        raise error

    async def main():
        here = asyncio.get_running_loop()
        assert isinstance(here, loop.Loop)
        here.set_exception_handler(lambda _, report: reports.append(report["exception"]))
        here.contains_exits = True
        child = asyncio.create_task(asyncio.sleep(0))
        child.add_done_callback(fails)
        here.call_soon(fails)
        here.call_later(0.01, fails)
        with contextlib.suppress(type(error)):
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.to_thread(fails))
        await asyncio.sleep(0.05)
        here.contains_exits = False
        return "done"

    assert loop.run(main()) == "done"
    assert len(reports) == 4
    assert set(reports) == {error}

    async def ends():
        asyncio.get_running_loop().call_soon(fails)
        await asyncio.sleep(1)

    async def is_main():
        here = asyncio.get_running_loop()
        assert isinstance(here, loop.Loop)
        here.contains_exits = True
        fails()

    for last in (ends(), is_main()):
        with pytest.raises(type(error)):
            loop.run(last)
