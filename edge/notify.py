"""What the gateway tells systemd: see `configs.notify`."""

from collections.abc import Callable

from configs import notify
from configs.notify import BEAT_EVERY_S, Beat, Notifier
from edge import clock

__all__ = ["BEAT_EVERY_S", "Beat", "Heartbeats", "Notifier"]


class Heartbeats(notify.Heartbeats):
    """By the gateway's own clock."""

    def __init__(self, feed: Callable[[], None], on_first: Callable[[], None]) -> None:
        super().__init__(feed, on_first, lambda: clock.monotonic())
