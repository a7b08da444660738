"""One contract for every channel, each against a real endpoint.

A channel in cloud/channels is found here by its file name, its endpoint in endpoints.py.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloud.channels import Message
from cloud.errors import Rejected, Unavailable
from configs import loader
from tests import services
from tests.contract.endpoints import endpoint
from tests.contract.telling import SECRET, Endpoint, Mood, message, opened, raw_server
from tests.services import Service

KINDS = sorted(loader.plugins("cloud.channels"))
SPOKEN = "voice"
"""It says the title and the beginning of the text, in words."""

NO_PLACE_FOR_A_KEY = ("dingtalk", "feishu", "wecom")
QUICK_S = 0.15
"""For a line that will never answer."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("broker")
    with services.mosquitto(folder, users={"cloud": SECRET}) as service:
        yield service


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def end(kind: str, tmp_path: Path, broker: Service) -> AsyncIterator[Endpoint]:
    async with endpoint(kind, tmp_path, broker) as found:
        yield found


@asynccontextmanager
async def telling(
    kind: str, folder: Path, end: Endpoint, config: dict[str, Any] | None = None
) -> AsyncIterator[Any]:
    """A function that sends a message to the endpoint's address."""
    async with opened(kind, folder, end.config if config is None else config) as channel:

        async def tell(**changes: Any) -> Any:
            return await channel.send(message(**{"to": end.to} | changes))

        yield tell


async def test_a_message_arrives_once_with_every_letter(
    kind: str, tmp_path: Path, end: Endpoint
) -> None:
    async with telling(kind, tmp_path, end) as tell:
        await tell()
        (arrival,) = end.arrived
        sent = message()
        shown = arrival.shown.replace("\r\n", "\n")
        if kind == SPOKEN:
            assert shown.startswith("红色预警，大坪下穿道。积水 0.31米，请立即封闭道路！")
        else:
            assert sent.title in shown
            assert sent.text in shown
        await tell(key="2", title="解除", text="水已退")
        assert len(list(end.arrived)) == 2
        assert "水已退" in list(end.arrived)[1].shown


async def test_a_repetition_has_the_same_key_and_no_other_message_has_it(
    kind: str, tmp_path: Path, end: Endpoint
) -> None:
    if kind in NO_PLACE_FOR_A_KEY:
        pytest.skip("the provider's message has no place for a key")
    async with telling(kind, tmp_path, end) as tell:
        for key in ("a", "a", "b"):
            await tell(key=key)
    first, again, other = (arrival.key for arrival in end.arrived)
    assert first == again != other


@pytest.mark.parametrize("changes", [{"exercise": True}, {"kind": "test"}])
@pytest.mark.parametrize("language", ["zh", "en"])
async def test_an_exercise_and_a_test_are_seen_at_first_sight(
    language: str, changes: dict[str, Any], kind: str, tmp_path: Path, end: Endpoint
) -> None:
    marks = {"exercise": ("【演练】", "[EXERCISE] ", "这是演练。")}
    of_kind = marks.get(next(iter(changes)), ("【测试】", "[TEST] ", "这是测试。"))
    mark = of_kind[2 if kind == "voice" else language == "en"]
    async with telling(kind, tmp_path, end) as tell:
        if language == "zh":
            await tell(**changes, text="水深 0.31 m。")
        elif kind != "voice":  # its endpoint expects the Chinese prompt
            await tell(**changes, language="en", title="red alert", text="0.31 m deep.")
    for arrival in end.arrived:
        title, _, text = arrival.shown.partition("\n")
        assert title.startswith(mark)
        assert kind == SPOKEN or text.lstrip("\r\n").startswith(mark)


async def refused(
    kind: str, folder: Path, end: Endpoint, config: dict[str, Any] | None = None
) -> Exception:
    """What a send raises that must not succeed."""
    async with telling(kind, folder, end, config) as tell:
        with pytest.raises((Unavailable, Rejected)) as caught:
            await tell()
    return caught.value


def assert_kept(end: Endpoint, error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """No secret is in the error, in what led to it, or in any log."""
    # What the SMTP server of the test writes is its own.
    texts = [one.getMessage() for one in caplog.records if one.name != "mail.log"]
    link: BaseException | None = error
    while link is not None:
        texts.append(f"{link!s} {link!r}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    for secret in end.secrets:
        assert not any(secret in text for text in texts)


@pytest.mark.parametrize("mood", [mood for mood in Mood if mood is not Mood.YES])
async def test_a_no_is_a_no_whatever_it_is_wrapped_in(
    mood: Mood, kind: str, tmp_path: Path, end: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    if mood not in end.moods:
        pytest.skip(f"{kind} has no such answer")
    caplog.set_level(logging.DEBUG)
    end.be(mood)
    silent = kind == "board"  # its no is that it says nothing
    error = await refused(kind, tmp_path, end, end.config | {"timeout_s": QUICK_S if silent else 5})
    assert type(error) is (Rejected if mood is Mood.NEVER else Unavailable)
    assert "\n" not in str(error)
    assert_kept(end, error, caplog)
    assert not end.arrived
    end.be(Mood.YES)
    async with telling(kind, tmp_path, end) as tell:
        await tell()
    assert len(list(end.arrived)) == 1


async def test_a_wrong_secret_is_said_once_and_for_all(
    kind: str, tmp_path: Path, end: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    if end.admits is None:
        pytest.skip(f"{kind} has no secret")
    caplog.set_level(logging.DEBUG)
    if kind == "feishu":  # the token is its path
        assert end.admits.name == "secret"
    end.admits.write_text("not-the-right-one")
    error = await refused(kind, tmp_path, end)
    assert type(error) is Rejected
    assert "not-the-right-one" not in str(error)
    assert "not-the-right-one" not in caplog.text
    assert not end.arrived


async def test_a_secret_that_is_missing_is_one_line_before_anything_is_sent(
    kind: str, tmp_path: Path, end: Endpoint
) -> None:
    if end.admits is None:
        pytest.skip(f"{kind} has no secret")
    end.admits.unlink()
    with pytest.raises(Unavailable, match=f"{end.admits.name}: the secret cannot be read: No such"):
        async with opened(kind, tmp_path, end.config):
            pytest.fail("it is open without its secret")


TROUBLES = {
    "garbled": (b"\x00\xff not what you speak \r\n\r\n", True),
    "hangs up": (None, True),
    "says nothing": (None, False),
}


@pytest.mark.parametrize("trouble", ["down", *TROUBLES])
async def test_a_line_that_fails_is_tried_again(
    trouble: str, kind: str, tmp_path: Path, end: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    if end.at is None:
        pytest.skip(f"{kind} has no line")
    caplog.set_level(logging.DEBUG)
    if trouble == "down":
        config = end.at(services.free_port())
        error = await refused(kind, tmp_path, end, config | {"timeout_s": 5})
    else:
        first, hang_up = TROUBLES[trouble]
        with raw_server(first, hang_up=hang_up) as port:
            config = end.at(port) | {"timeout_s": QUICK_S if trouble == "says nothing" else 5}
            error = await refused(kind, tmp_path, end, config)
    assert type(error) is Unavailable
    assert "\n" not in str(error)
    assert trouble == "says nothing" or "no answer" not in str(error)
    assert_kept(end, error, caplog)


async def test_who_has_no_address_is_named(kind: str, tmp_path: Path, end: Endpoint) -> None:
    if not end.to:
        pytest.skip(f"{kind} needs no address")
    async with telling(kind, tmp_path, end) as tell:
        with pytest.raises(Rejected, match="张 “三” has no"):
            await tell(to="")
    async with telling(kind, tmp_path, end, end.config | {"to": end.to}) as tell:
        await tell(to="")
    assert len(end.arrived) == 1


async def test_a_message_that_is_cancelled_ends_at_once(
    kind: str, tmp_path: Path, end: Endpoint
) -> None:
    if end.at is None:
        pytest.skip(f"{kind} has no line")
    with raw_server(None, hang_up=False) as port:
        async with telling(kind, tmp_path, end, end.at(port) | {"timeout_s": 60}) as tell:
            task = asyncio.create_task(tell(), name="tell")
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                async with asyncio.timeout(30):
                    await task


def test_every_message_of_an_exercise_is_marked_once() -> None:
    marked = message(title="a", text="b", exercise=True)
    assert (marked.title, marked.text) == ("【演练】a", "【演练】b")
    assert msgspec.structs.replace(marked) == marked
    assert msgspec.json.decode(msgspec.json.encode(marked), type=Message) == marked
