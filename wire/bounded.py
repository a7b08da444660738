"""Makes what is to be sent fit into `wire.limits`, so that nobody who receives it must refuse it.

A text loses its end, a number beyond all bounds becomes a text, and details beyond the last that is
allowed are left out. Counts of events, gaps and intervals are the gateway's to keep to: it cuts a
batch into several.
"""

from typing import Final, TypeVar

from msgspec.structs import replace

from wire import limits
from wire.messages import Ack, Command, Detail, Event, Gap, InterlockState, Lease, Reply, Status

_Small = TypeVar("_Small", bound=Ack | Status | InterlockState | Command | Reply | Lease)

_ELLIPSIS: Final = "…"


def text(whole: str, most: int) -> str:
    """`whole`, of which the end is left out where it is longer than `most` characters."""
    return whole if len(whole) <= most else whole[: most - 1] + _ELLIPSIS


def event(one: Event) -> Event:
    """The same within the limits."""
    detail = {
        text(key, limits.DETAIL_KEY): _detail(value)
        for key, value in [*one.detail.items()][: limits.DETAIL_KEYS]
    }
    return Event(
        one.at_ms, one.site, text(one.kind, limits.KIND), text(one.text, limits.TEXT), detail
    )


def gap(one: Gap) -> Gap:
    """The same within the limits."""
    if len(one.reason) <= limits.REASON:
        return one
    return replace(one, reason=text(one.reason, limits.REASON))


def small(message: _Small) -> _Small:
    """The same within the limits. An order and its id are as they are: what nobody may cut."""
    match message:
        case InterlockState(cause=str(cause)) if len(cause) > limits.REASON:
            return replace(message, cause=text(cause, limits.REASON))
        case Reply(reason=str(reason)) if len(reason) > limits.REASON:
            return replace(message, reason=text(reason, limits.REASON))
    return message


def _detail(value: Detail) -> Detail:
    match value:
        case str():
            return text(value, limits.DETAIL_TEXT)
        case bool() | None:
            return value
        case int() | float():
            # Not a number, or one with which nobody could reckon.
            return value if abs(value) <= limits.NUMBER else text(str(value), limits.DETAIL_TEXT)
