"""The people of the demo: whoever holds a phone that the cloud's messages name. Those of the
nearest tier do not answer; those of the next open the link in their message and say yes."""

import asyncio
import time
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from firmware_sim.demo.stage import Person
from firmware_sim.demo.watch import Answer, Picture

ANSWERS: Final = "village"
"""The tier whose people answer."""

_THINKS_S: Final = 1.0
_LOOKS_EVERY_S: Final = 0.1
_TIMEOUT_S: Final = 30.0
_SAID: Final = "on my way"
_OPENER: Final = build_opener(ProxyHandler({}))  # whatever proxy the environment names


async def live(picture: Picture, phones: dict[str, Person]) -> None:
    """Answer calls for ever."""
    seen = 0
    async with asyncio.TaskGroup() as group:
        while True:
            for message in picture.alerts[seen:]:
                seen += 1
                person = phones.get(message["to"])
                if person is not None and person.tier == ANSWERS and message["link"]:
                    group.create_task(_answer(picture, person, message), name="demo answer")
            await asyncio.sleep(_LOOKS_EVERY_S)


async def _answer(picture: Picture, person: Person, message: dict[str, Any]) -> None:
    await asyncio.sleep(_THINKS_S)
    status = await asyncio.to_thread(_post, message["link"])
    picture.answers.append(
        Answer(
            time.time_ns() // 1_000_000,
            message["at_ms"],
            person.name,
            message["incident"],
            status,
        )
    )


def _post(link: str) -> int:
    """What the button on the page behind the link does; the HTTP status, 0 if nobody is there."""
    form = urlencode({"answer": "yes", "said": _SAID}).encode()
    try:
        with _OPENER.open(Request(link, form), timeout=_TIMEOUT_S) as page:
            return int(page.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError):
        return 0
