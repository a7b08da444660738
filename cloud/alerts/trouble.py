"""Trouble with equipment that counts once it has lasted. Pure."""

import msgspec

from cloud.alerts.rule import Finding
from wire.messages import Level


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """Since `since_ms` something is wrong (None: nothing is); `text`, `text_zh` and `parts` say
    what. `level` is what was told last, `newest_ms` the time up to which was looked."""

    since_ms: int | None = None
    level: Level | None = None
    text: str = ""
    text_zh: str = ""
    parts: dict[str, str | int | float | None] = {}
    newest_ms: int = 0


def judge(
    state: Trouble,
    at_ms: int,
    after_ms: int,
    level: Level,
    quantity: str,
    well: str,
    well_zh: str,
) -> tuple[Trouble, Finding | None]:
    """What is told at `at_ms` of what must be wrong for `after_ms`; `well` and
    `well_zh` tell of its end. What was told holds until it is over."""
    lasts_ms = None if state.since_ms is None else max(at_ms - state.since_ms, 0)
    is_told = state.level is not None
    if is_told == (lasts_ms is not None and (is_told or lasts_ms >= after_ms)):
        return state, None
    if lasts_ms is None:
        finding = Finding(at_ms, None, None, after_ms / 1000, "s", quantity, well, well_zh)
        return msgspec.structs.replace(state, level=None, text="", text_zh="", parts={}), finding
    finding = Finding(
        at_ms=at_ms,
        level=level,
        value=lasts_ms / 1000,
        threshold=after_ms / 1000,
        unit="s",
        quantity=quantity,
        text=state.text,
        text_zh=state.text_zh,
        parts={**state.parts, "since_ms": state.since_ms},
    )
    return msgspec.structs.replace(state, level=level), finding
