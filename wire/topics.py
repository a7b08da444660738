"""The only place that spells a topic: `shuichi/v1/<shard>/<gateway>/<what>`."""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from wire import limits

ROOT: Final = "shuichi/v1"

ANSWER: Final = f"{ROOT}/answer"
"""Where whoever was sent a call answers it: a board or a loudspeaker with a button."""

NAME_PATTERN: Final = rf"[a-z0-9][a-z0-9-]{{0,{limits.NAME - 1}}}"
"""Names of shards, gateways, sites and sensors: safe in a topic, in SenML (RFC 8428, section
4.5.1), in InfluxDB tags and in file names alike."""

_NAME: Final = re.compile(NAME_PATTERN)


class What(StrEnum):
    """The last part of a topic."""

    DATA = "data"
    EVENT = "event"
    STATUS = "status"
    REPLY = "reply"
    INTERLOCK = "interlock"
    ACK = "ack"
    COMMAND = "command"


class Address(NamedTuple):
    """A topic, taken apart. `site` is set for `interlock` only."""

    shard: str
    gateway: str
    what: What
    site: str | None = None


def is_name(text: str) -> bool:
    """Whether `text` may name a shard, gateway, site or sensor."""
    return _NAME.fullmatch(text) is not None


def topic(shard: str, gateway: str, what: What, site: str | None = None) -> str:
    """The topic of one gateway; `site` goes with `interlock`."""
    parts = [ROOT, shard, gateway, what.value]
    return "/".join(parts if site is None else [*parts, site])


def every_gateway(shard: str, what: What) -> str:
    """The filter that subscribes to `what` of every gateway in a shard."""
    return topic(shard, "+", what, "+" if what is What.INTERLOCK else None)


def parse(text: str) -> Address | None:
    """The address of a topic, or None if it is not one of ours."""
    return None if len(text) > limits.TOPIC else _parse(text)


@lru_cache(4096)  # few gateways say very much
def _parse(text: str) -> Address | None:
    parts = text.split("/")
    if "/".join(parts[:2]) != ROOT or len(parts) not in (5, 6):
        return None
    shard, gateway, word, *site = parts[2:]
    if word not in set(What) or len(site) != (word == What.INTERLOCK):
        return None
    if not all(is_name(name) for name in (shard, gateway, *site)):
        return None
    return Address(shard, gateway, What(word), *site)
