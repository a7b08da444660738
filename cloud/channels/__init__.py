"""Ways to reach a person, one module a channel.

A module exports `Config`, a model with `kind`, and `open(config, folder)`, an async context manager
that gives a `Channel`; `kind = "x"` in `cloud.toml` finds it by its file name. `folder` is where
relative paths in the config begin.
"""

from typing import Protocol

import msgspec

from configs.loader import Model
from wire.reading import Quantity


class ChannelConfig(Model):
    """What every channel's config has: its kind, which is the name of the file that drives it."""

    kind: str


class Notice(msgspec.Struct, frozen=True):
    """What somebody is told: an alert was raised, or cleared.

    `key` is the same each time this notice is handed over, and no other has it: a receiver that
    remembers it is not told twice. `transition` is "raised" or "cleared", `level` one of "blue",
    "yellow", "orange", "red". `value` is in `unit`, the SI unit of `quantity`, at `at_ms` (UTC,
    milliseconds since 1970).
    """

    key: str
    alert: int
    rule: str
    transition: str
    level: str
    gateway: str
    site: str
    sensor: str
    quantity: Quantity
    value: float
    unit: str
    at_ms: int
    text: str


class Channel(Protocol):
    """One way to tell somebody."""

    async def send(self, notice: Notice) -> None:
        """Hand `notice` over; when it returns, the other side has it. Raises Unavailable or
        Rejected."""
