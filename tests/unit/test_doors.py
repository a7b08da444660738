"""A socket that cannot be opened is opened later; one whose file is removed is opened again."""

import asyncio

import pytest

from edge import doors
from edge.doors import MOST_VISITS, Door
from tests.waiting import until


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(doors, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(doors, "LOOK_EVERY_S", 0.01)


async def answers(path):
    try:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"status\n")
        answer = await reader.read()
        writer.close()
    except OSError:
        return False
    return answer == b"well"


async def well(_request):
    return b"well"


class Open:
    def __init__(self, path, answer=well):
        self.failures: list[BaseException] = []
        self._door = Door(answer, self.failures.append)
        self._path = path

    async def __aenter__(self):
        self._task = asyncio.create_task(self._door.socket(self._path))
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.wait((self._task,))


async def test_a_place_that_is_taken_is_tried_again(tmp_path, caplog):
    path = tmp_path / "state" / "gateway.sock"
    path.parent.mkdir()
    path.write_text("somebody's file")
    async with Open(path):
        await until(lambda: "no `shuichi edge status`" in caplog.text)
        path.unlink()
        await until(lambda: answers(path))
        path.unlink()
        await until(lambda: answers(path))
    assert caplog.text.count("trying again") == 1


async def test_an_answer_that_raises_is_reported_and_the_next_one_is_given(tmp_path):
    async def fails_first(_request):
        if not door.failures:
            raise RecursionError
        return b"well"

    path = tmp_path / "gateway.sock"
    async with Open(path, fails_first) as door:
        await until(lambda: answers(path))
        assert [type(one) for one in door.failures] == [RecursionError]


async def test_too_many_visitors_are_sent_away(tmp_path):
    path = tmp_path / "gateway.sock"
    async with Open(path):
        await until(lambda: answers(path))
        silent = [await asyncio.open_unix_connection(path) for _ in range(MOST_VISITS)]
        await asyncio.sleep(0)
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        for _, one in (*silent, (reader, writer)):
            one.close()
        await until(lambda: answers(path))
