"""What a rule remembers of the future: the clock was set back, or was wrong before the start. Pure.

A moment that is still to come would let a silence, a deadline or a hole begin only then. It counts
as now; points of a curve that are still to come are forgotten.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

_MOMENT: Final = "_ms"
"""Ends the names of fields that hold a moment (UTC, ms)."""

_PRESENT_MS: Final = 1_000_000_000_000
"""Smaller numbers are none: they number bins, or count."""

_T = TypeVar("_T", bound=msgspec.Struct)


def not_after(memory: _T, now_ms: int) -> _T:
    """`memory` without anything that is after `now_ms`; the same object if there is nothing."""
    return cast(_T, _value(memory, "", now_ms))


def _value(value: Any, name: str, now_ms: int) -> Any:
    match value:
        case msgspec.Struct():
            changed = {}
            for field in value.__struct_fields__:
                before = getattr(value, field)
                if (after := _value(before, field, now_ms)) is not before:
                    changed[field] = after
            return msgspec.structs.replace(value, **changed) if changed else value
        case Mapping():
            # A plain number by a name is when that was seen.
            after = {key: _value(one, f"{key}{_MOMENT}", now_ms) for key, one in value.items()}
            return after if any(after[key] is not value[key] for key in after) else value
        case tuple() if value and all(map(_is_point, value)):
            kept = tuple(one for one in value if not _is_later(one[0], now_ms))
            return kept if len(kept) < len(value) else value
        case tuple() if _is_point(value):
            return (now_ms, *value[1:]) if _is_later(value[0], now_ms) else value
        case int() if name.endswith(_MOMENT) and _is_later(value, now_ms):
            return now_ms
    return value


def _is_point(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 1 and isinstance(value[0], int)


def _is_later(moment: int, now_ms: int) -> bool:
    return moment > max(now_ms, _PRESENT_MS)
